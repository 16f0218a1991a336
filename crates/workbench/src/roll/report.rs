//! What `roll` says in the end: for people on at most 80 columns, and as one JSON object.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{arrivals::Sent, steps::Restart};
use crate::{
    journal::{self, Heard, Second, Witness},
    report::{ROWS_SHOWN, folded, grouped, promises, rounded},
    verify::VerifyReport,
};

/// Of the buyers that the rate asks for, so many must have come: the others fit between two ticks.
const SENT_SHARE_MIN: f64 = 0.99;
/// A buyer who came later than this by our own machine's fault came to another second than planned.
const LATE_MAX: Duration = Duration::from_secs(1);

/// What came of one roll.
#[derive(Clone, Debug)]
pub struct RollReport {
    /// Names the run, its products and its receipts.
    pub run: String,
    /// Buyers who were to come each second.
    pub rate: u32,
    /// Those who came.
    pub sent: Sent,
    /// The rush, second by second.
    pub seconds: Vec<Second>,
    /// The rush as a whole.
    pub whole: Witness,
    /// What those were told whose tries did not help.
    pub faults: BTreeMap<String, u64>,
    /// What was done to the processes, and what calls saw of it.
    pub restarts: Vec<(Restart, Witness)>,
    /// How much was to be done.
    pub steps: usize,
    /// What the services' logs say of faults of ours.
    pub errors_logged: Vec<String>,
    /// Where every answer stands.
    pub receipts: PathBuf,
    /// The books.
    pub verified: VerifyReport,
}

/// Each restart with the calls that were under way from its begin to the next one's.
pub fn witnessed(restarts: &[Restart], calls: &[Heard]) -> Vec<(Restart, Witness)> {
    let ends = restarts.iter().skip(1).map(|next| next.begun_ms).chain([u64::MAX]);
    let witness = |(restart, end): (&Restart, u64)| {
        (restart.clone(), journal::between(calls, restart.begun_ms, end))
    };
    restarts.iter().zip(ends).map(witness).collect()
}

impl RollReport {
    /// True when nobody noticed more than what a retry survives.
    pub fn is_success(&self) -> bool {
        self.complaints().is_empty()
    }

    /// Why it did not hold, if it did not.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.losses();
        let silent = self.seconds.iter().filter(|second| second.answered == 0).count();
        if silent > 0 || self.seconds.is_empty() {
            complaints.push(format!("{silent} of {} seconds without answers", self.seconds.len()));
        }
        if !self.errors_logged.is_empty() {
            let count = self.errors_logged.len();
            complaints.push(format!("faults of ours in the logs: {count}"));
        }
        let wanted = f64::from(self.rate) * self.sent.span.as_secs_f64();
        if (self.sent.buyers as f64) < wanted * SENT_SHARE_MIN || self.sent.late > LATE_MAX {
            complaints.push(format!(
                "this machine could not send {} a second: {} buyers in {:.1} s, one {:.1} s late",
                grouped(self.rate.into()),
                grouped(self.sent.buyers),
                self.sent.span.as_secs_f64(),
                self.sent.late.as_secs_f64(),
            ));
        }
        complaints
    }

    /// The longest time in which nobody had an answer, in whole seconds.
    pub fn silence(&self) -> Duration {
        let silences = self.seconds.split(|second| second.answered > 0);
        Duration::from_secs(silences.map(|silent| silent.len() as u64).max().unwrap_or(0))
    }

    /// The part of it that no slow machine excuses.
    pub fn losses(&self) -> Vec<String> {
        let mut losses = Vec::new();
        if self.whole.failed > 0 {
            let count = grouped(self.whole.failed);
            losses.push(format!("{count} calls failed in spite of their retries"));
        }
        if !self.verified.is_clean() {
            losses.push("a promise was broken".to_owned());
        }
        if self.restarts.len() < self.steps {
            losses.push(format!("{} of {} restarts", self.restarts.len(), self.steps));
        }
        losses
    }

    /// The one object of `--json`.
    pub fn to_json(&self) -> Value {
        let restarts: Vec<_> = self
            .restarts
            .iter()
            .map(|(restart, witness)| {
                json!({
                    "service": restart.step.service,
                    "replica": restart.step.replica,
                    "kind": restart.step.kind,
                    "drain_s": rounded(restart.drained.as_secs_f64()),
                    "down_s": rounded(restart.down.as_secs_f64()),
                    "starts": restart.starts,
                    "calls": witness,
                })
            })
            .collect();
        json!({
            "run": self.run,
            "rate": self.rate,
            "buyers": self.sent.buyers,
            "late_s": rounded(self.sent.late.as_secs_f64()),
            "duration_s": rounded(self.sent.span.as_secs_f64()),
            "calls": self.whole,
            "faults": self.faults,
            "seconds": self.seconds,
            "restarts": restarts,
            "errors_logged": self.errors_logged.len(),
            "promises": promises(&self.verified),
            "complaints": self.complaints(),
        })
    }

    fn fmt_restarts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n  {:<22} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8}",
            "restarted", "drain", "down", "calls", "retried", "failed", "slowest"
        )?;
        for (restart, witness) in &self.restarts {
            let name = format!("{} {}", restart.step.service, restart.step.replica);
            writeln!(
                f,
                "  {name:<22} {:>6.1} s {:>6.1} s {:>9} {:>8} {:>8} {:>6.2} s",
                restart.drained.as_secs_f64(),
                restart.down.as_secs_f64(),
                grouped(witness.calls),
                grouped(witness.retried),
                grouped(witness.failed),
                Duration::from_millis(witness.slowest_ms).as_secs_f64(),
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for RollReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nroll {}\n", self.run)?;
        let fewest = self.seconds.iter().map(|second| second.answered).min().unwrap_or(0);
        let most = self.seconds.iter().map(|second| second.answered).max().unwrap_or(0);
        writeln!(
            f,
            "  buyers       {:>9}   {} a second for {:.0} s",
            grouped(self.sent.buyers),
            grouped(self.rate.into()),
            self.sent.span.as_secs_f64()
        )?;
        writeln!(
            f,
            "  calls        {:>9}   {} to {} answered in a second",
            grouped(self.whole.calls),
            grouped(fewest),
            grouped(most)
        )?;
        writeln!(f, "  retried      {:>9}", grouped(self.whole.retried))?;
        writeln!(f, "  failed       {:>9}   in spite of it", grouped(self.whole.failed))?;
        self.fmt_restarts(f)?;
        writeln!(f, "\n{}", self.verified)?;
        for (fault, count) in &self.faults {
            for line in folded(&format!("{} x {fault}", grouped(*count))) {
                writeln!(f, "  {line}")?;
            }
        }
        if !self.errors_logged.is_empty() {
            writeln!(f, "  to look at in the logs ({}):", self.errors_logged.len())?;
        }
        for line in self.errors_logged.iter().take(ROWS_SHOWN) {
            for line in folded(line) {
                writeln!(f, "        {line}")?;
            }
        }
        writeln!(f, "  receipts     {}", self.receipts.display())?;
        for complaint in self.complaints() {
            writeln!(f, "  FAILED       {complaint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{roll::steps, verify::Violation};

    fn report() -> RollReport {
        let restarts: Vec<_> = (0..10)
            .zip(steps::all())
            .map(|(place, step)| Restart {
                step,
                begun_ms: 1_000 * place,
                drained: Duration::from_millis(1_200),
                down: Duration::from_millis(1_900),
                starts: 1,
            })
            .collect();
        let heard = Heard { asked_ms: 100, answered_ms: 1_300, tries: 2, failed: false };
        let second = Second { asked: 1_120, answered: 1_100, retried: 3, failed: 0 };
        RollReport {
            run: "00c0ffee".into(),
            rate: 1_000,
            sent: Sent {
                buyers: 99_995,
                late: Duration::from_millis(12),
                span: Duration::from_secs(100),
            },
            seconds: vec![second; 100],
            whole: Witness { calls: 112_000, retried: 300, failed: 0, slowest_ms: 1_200 },
            faults: BTreeMap::new(),
            restarts: witnessed(&restarts, &[heard]),
            steps: 10,
            errors_logged: Vec::new(),
            receipts: ".dev/roll/receipts/00c0ffee.jsonl".into(),
            verified: VerifyReport::default(),
        }
    }

    #[test]
    fn a_call_is_seen_by_the_restarts_during_which_it_was_under_way() {
        let retried: Vec<_> = report().restarts.iter().map(|(_, seen)| seen.retried).collect();
        assert_eq!(retried, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_people_read_fits_on_eighty_columns() {
        let text = report().to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains("firstcome-inventory 2"), "{text}");
    }

    #[test]
    fn a_silence_is_as_long_as_its_seconds_in_a_row() {
        assert_eq!(report().silence(), Duration::ZERO);
        let mut report = report();
        for place in [3, 10, 11, 12, 99] {
            report.seconds[place].answered = 0;
        }
        assert_eq!(report.silence(), Duration::from_secs(3));
    }

    #[test]
    fn it_holds_only_when_nobody_noticed_and_all_of_it_was_done() {
        assert_eq!(report().complaints(), Vec::<String>::new());
        let failed = Witness { failed: 1, ..report().whole };
        let mut silent = report().seconds;
        silent[40].answered = 0;
        let sent = report().sent;
        let violation =
            Violation { promise: crate::verify::Promise::G1, rule: "a", row: "b".into() };
        let mut broken = VerifyReport::default();
        broken.violations.push(violation);
        for (words, faulty) in [
            ("failed", RollReport { whole: failed, ..report() }),
            ("1 of 100 seconds", RollReport { seconds: silent, ..report() }),
            ("in the logs: 1", RollReport { errors_logged: vec!["x: ERROR".into()], ..report() }),
            ("10 of 11", RollReport { steps: 11, ..report() }),
            ("promise", RollReport { verified: broken, ..report() }),
            ("could not", RollReport { sent: Sent { buyers: 98_000, ..sent }, ..report() }),
            ("late", RollReport { sent: Sent { late: LATE_MAX * 2, ..sent }, ..report() }),
        ] {
            let complaints = faulty.complaints();
            assert!(complaints.len() == 1 && complaints[0].contains(words), "{complaints:?}");
            assert!(faulty.to_string().contains("FAILED"));
        }
    }
}
