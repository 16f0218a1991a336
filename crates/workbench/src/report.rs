//! What `rush` and `verify` say in the end: for people on at most 80 columns, and as one JSON
//! object.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    rush::Latency,
    verify::{Promise, VerifyReport},
};

/// Offending rows shown for each rule; the others are only counted.
pub(crate) const ROWS_SHOWN: usize = 5;
/// With their indentation rows stay within 100 columns.
const ROW_COLUMNS: usize = 90;

/// What came of a rush.
#[derive(Clone, Debug)]
pub struct RushReport {
    /// Names the run, its product and its receipts.
    pub run: String,
    pub buyers: u32,
    pub stock: u32,
    /// Units sold, by the ledger.
    pub sold: i64,
    /// Units held or sold beyond the stock, by the ledger.
    pub oversold: i64,
    /// Buyers who went home without, by the last reason they heard.
    pub refused: BTreeMap<&'static str, u64>,
    /// Answers that refused, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Buyers who walked away from an order.
    pub abandoned: u64,
    /// Buyers whose card was declined.
    pub declined: u64,
    /// Units that came back and were sold.
    pub resold: u64,
    /// From the opening until everybody was home.
    pub duration_s: f64,
    pub place_order_ms: Latency,
    /// Where every answer stands.
    pub receipts: PathBuf,
    pub verified: VerifyReport,
}

impl RushReport {
    /// True when every promise was kept and nothing was left while somebody went home without.
    pub fn is_success(&self) -> bool {
        let is_sold_out = self.sold == i64::from(self.stock);
        self.verified.is_clean() && self.oversold == 0 && (is_sold_out || self.refused.is_empty())
    }

    /// The one object of `--json`.
    pub fn to_json(&self) -> Value {
        json!({
            "buyers": self.buyers,
            "stock": self.stock,
            "sold": self.sold,
            "oversold": self.oversold,
            "refused": self.refused,
            "refusals": self.refusals,
            "abandoned": self.abandoned,
            "declined": self.declined,
            "resold": self.resold,
            "duration_s": rounded(self.duration_s),
            "place_order_ms": {
                "p50": rounded(self.place_order_ms.p50),
                "p95": rounded(self.place_order_ms.p95),
                "p99": rounded(self.place_order_ms.p99),
                "max": rounded(self.place_order_ms.max),
            },
            "promises": promises(&self.verified),
        })
    }
}

impl fmt::Display for RushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = &self.place_order_ms;
        writeln!(f, "\nrush {}\n", self.run)?;
        let rows = [
            (
                "buyers",
                grouped(self.buyers.into()),
                format!("for {} units", grouped(self.stock.into())),
            ),
            (
                "sold",
                grouped(self.sold.unsigned_abs()),
                format!("{} of them had come back", grouped(self.resold)),
            ),
            ("oversold", grouped(self.oversold.unsigned_abs()), String::new()),
            ("walked away", grouped(self.abandoned), "their holds expired".to_owned()),
            ("declined", grouped(self.declined), "their holds were released".to_owned()),
        ];
        for (name, count, words) in rows {
            writeln!(f, "{}", format!("  {name:<12} {count:>10}   {words}").trim_end())?;
        }
        let duration = Duration::from_secs_f64(self.duration_s);
        writeln!(f, "  {:<12} {:>8.1} s   from the opening", "took", duration.as_secs_f64())?;
        writeln!(
            f,
            "\n  PlaceOrder   p50 {:.1} ms   p95 {:.1} ms   p99 {:.1} ms   max {:.1} ms",
            latency.p50, latency.p95, latency.p99, latency.max
        )?;

        let reasons: BTreeSet<_> = self.refused.keys().chain(self.refusals.keys()).collect();
        if !reasons.is_empty() {
            writeln!(f, "\n  {:<24} {:>10} {:>10}", "refused", "buyers", "answers")?;
        }
        for reason in reasons {
            let count =
                |of: &BTreeMap<&'static str, u64>| grouped(of.get(reason).copied().unwrap_or(0));
            let (buyers, answers) = (count(&self.refused), count(&self.refusals));
            writeln!(f, "  {reason:<24} {buyers:>10} {answers:>10}")?;
        }
        writeln!(f, "\n{}", self.verified)?;
        writeln!(f, "  receipts     {}", self.receipts.display())?;
        if self.sold != i64::from(self.stock) && !self.refused.is_empty() {
            writeln!(f, "\n  not sold out, though buyers went home without")?;
        }
        Ok(())
    }
}

impl VerifyReport {
    /// The one object of `--json`.
    pub fn to_json(&self) -> Value {
        let violations: Vec<_> = self
            .violations
            .iter()
            .map(|found| {
                json!({ "promise": found.promise.name(), "rule": found.rule, "row": found.row })
            })
            .collect();
        json!({
            "promises": promises(self),
            "examined": self.examined,
            "violations": violations,
            "warnings": self.warnings,
            "fault": self.fault,
        })
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let examined = &self.examined;
        let counts = [
            (examined.products, "products"),
            (examined.gates, "gates"),
            (examined.holds, "holds"),
            (examined.orders, "orders"),
            (examined.charges, "charges"),
            (examined.receipts, "receipts"),
        ];
        let mut line = String::from("  examined    ");
        for (place, (count, name)) in counts.into_iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(line, "{comma} {} {name}", grouped(count.try_into().unwrap_or(u64::MAX)))?;
        }
        writeln!(f, "{line}")?;
        if let Some(fault) = &self.fault {
            writeln!(f, "  FAILED       {fault}")?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "  to look at ({}):", self.warnings.len())?;
        }
        for warning in self.warnings.iter().take(ROWS_SHOWN) {
            for line in folded(warning) {
                writeln!(f, "        {line}")?;
            }
        }
        for promise in Promise::ALL {
            let is_broken = self.violations.iter().any(|found| found.promise == promise);
            let verdict = match (is_broken, self.is_kept(promise)) {
                (true, _) => "BROKEN",
                (false, true) => "kept",
                (false, false) => "not shown",
            };
            writeln!(f, "  {}  {:<52} {verdict}", promise.name(), promise.words())?;
            let mut by_rule: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for found in self.violations.iter().filter(|found| found.promise == promise) {
                by_rule.entry(found.rule).or_default().push(&found.row);
            }
            for (rule, rows) in by_rule {
                writeln!(f, "      {rule} ({}):", rows.len())?;
                for row in rows.iter().take(ROWS_SHOWN) {
                    for line in folded(row) {
                        writeln!(f, "        {line}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Breaks a row at its spaces.
pub(crate) fn folded(row: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in row.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= ROW_COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `{"G1": true, …}`.
pub(crate) fn promises(report: &VerifyReport) -> impl Serialize {
    Promise::ALL
        .into_iter()
        .map(|promise| (promise.name(), report.is_kept(promise)))
        .collect::<BTreeMap<_, _>>()
}

/// To three decimals: below that is noise.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// With a space between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Violation;

    fn report() -> RushReport {
        RushReport {
            run: "00c0ffee".into(),
            buyers: 20_000,
            stock: 500,
            sold: 500,
            oversold: 0,
            refused: BTreeMap::from([("SOLD_OUT", 19_170)]),
            refusals: BTreeMap::from([("SOLD_OUT", 24_311), ("OVERLOADED", 12)]),
            abandoned: 166,
            declined: 164,
            resold: 200,
            duration_s: 31.234_56,
            place_order_ms: Latency { p50: 12.34, p95: 56.7, p99: 99.0, max: 120.123_45 },
            receipts: ".dev/receipts/00c0ffee.jsonl".into(),
            verified: VerifyReport::default(),
        }
    }

    #[test]
    fn the_json_has_what_the_issue_names_and_nothing_else() {
        let mut keys: Vec<_> = report().to_json().as_object().unwrap().keys().cloned().collect();
        keys.sort();
        let mut wanted = [
            "buyers",
            "stock",
            "sold",
            "oversold",
            "refused",
            "refusals",
            "abandoned",
            "declined",
            "resold",
            "duration_s",
            "place_order_ms",
            "promises",
        ];
        wanted.sort_unstable();
        assert_eq!(keys, wanted);
        let json = report().to_json();
        assert_eq!(json["promises"]["G6"], true);
        assert_eq!(json["place_order_ms"]["max"], 120.123);
        assert_eq!(json["refused"]["SOLD_OUT"], 19_170);
    }

    #[test]
    fn what_people_read_fits_on_eighty_columns() {
        let text = report().to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains("20 000"), "{text}");
    }

    #[test]
    fn success_needs_every_promise_and_an_empty_shop() {
        assert!(report().is_success());
        assert!(!RushReport { sold: 499, ..report() }.is_success());
        let all_served = BTreeMap::new();
        assert!(RushReport { sold: 300, refused: all_served, ..report() }.is_success());
        let violation =
            Violation { promise: Promise::G4, rule: "a rule", row: "the row".to_owned() };
        let mut verified = VerifyReport::default();
        verified.violations.push(violation);
        let broken = RushReport { verified, ..report() };
        assert!(!broken.is_success());
        assert_eq!(broken.to_json()["promises"]["G4"], false);
        assert!(broken.to_string().contains("the row"));
    }

    #[test]
    fn long_rows_are_folded() {
        let row = "word ".repeat(40);
        assert!(folded(&row).iter().all(|line| line.len() <= ROW_COLUMNS));
        assert_eq!(folded(&row).join(" "), row);
    }

    #[test]
    fn thousands_are_apart() {
        let table = [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
    }
}
