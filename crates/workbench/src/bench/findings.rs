//! What was found, each with its goal if it has one.

use std::fmt;

use serde::Serialize;

use super::heard::Summary;
use crate::verify::VerifyReport;

/// A figure, and what it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The step that found it.
    pub step: &'static str,
    /// What was counted or measured.
    pub what: String,
    /// The figure.
    pub found: f64,
    /// What it is a figure of, as in `ms`; empty for a count.
    pub unit: &'static str,
    /// What it must be; none for what is only told.
    pub goal: Option<Goal>,
    /// False when there is a goal and it was missed.
    pub ok: bool,
}

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// This, counted.
    Exactly(u64),
}

impl Goal {
    fn is_reached(self, found: f64) -> bool {
        match self {
            Self::AtMost(most) => found <= most,
            Self::AtLeast(least) => found >= least,
            // Counts of ours are far below what a float holds exactly.
            Self::Exactly(count) => found == count as f64,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {}", figure(*most)),
            Self::AtLeast(least) => write!(f, ">= {}", figure(*least)),
            Self::Exactly(count) => write!(f, "= {count}"),
        }
    }
}

/// Everything that was found, in order.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a figure that is only told.
    pub fn tell(
        &mut self,
        step: &'static str,
        what: impl Into<String>,
        found: f64,
        unit: &'static str,
    ) {
        self.add(step, what.into(), found, unit, None);
    }

    /// Adds a figure with its goal.
    pub fn check(
        &mut self,
        step: &'static str,
        what: impl Into<String>,
        found: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        self.add(step, what.into(), found, unit, Some(goal));
    }

    /// Adds that nothing was left unexplained, and what was.
    pub fn unexplained(&mut self, step: &'static str, heard: &Summary) {
        for (words, count) in &heard.unexplained {
            self.tell(step, format!("unexplained: {words}"), *count as f64, "");
        }
        let unexplained = heard.unexplained() as f64;
        self.check(step, "unexplained answers", unexplained, "", Goal::Exactly(0));
    }

    /// Adds that the books keep every promise, and where they do not.
    pub fn books(&mut self, step: &'static str, verified: &VerifyReport) {
        for violation in &verified.violations {
            self.tell(step, format!("violated: {violation:?}"), 1.0, "");
        }
        if let Some(fault) = &verified.fault {
            self.tell(step, format!("not verified: {fault}"), 1.0, "");
        }
        let broken = verified.violations.len() + usize::from(verified.fault.is_some());
        self.check(step, "violations in the books", broken as f64, "", Goal::Exactly(0));
    }

    /// True when every goal was reached, and there was one.
    pub fn is_good(&self) -> bool {
        self.0.iter().all(|finding| finding.ok) && self.0.iter().any(|one| one.goal.is_some())
    }

    /// The figures, for a machine.
    pub fn rows(&self) -> &[Finding] {
        &self.0
    }

    fn add(
        &mut self,
        step: &'static str,
        what: String,
        found: f64,
        unit: &'static str,
        goal: Option<Goal>,
    ) {
        let ok = goal.is_none_or(|goal| goal.is_reached(found));
        self.0.push(Finding { step, what, found, unit, goal, ok });
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut step = "";
        for finding in &self.0 {
            if finding.step != step {
                step = finding.step;
                writeln!(f, "\n{step}")?;
            }
            let goal = finding.goal.map(|goal| goal.to_string()).unwrap_or_default();
            let verdict = match (finding.goal, finding.ok) {
                (None, _) => "",
                (Some(_), true) => "ok",
                (Some(_), false) => "MISSED",
            };
            let (what, found) = (&finding.what, figure(finding.found));
            let line = format!("  {what:<48} {found:>10} {:<4} {goal:<12} {verdict}", finding.unit);
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Counts as they are, the rest with one decimal.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_at_its_bound_and_not_beyond() {
        for (goal, reached, missed) in [
            (Goal::AtMost(300.0), 300.0, 300.1),
            (Goal::AtLeast(90.0), 90.0, 89.9),
            (Goal::Exactly(500), 500.0, 501.0),
        ] {
            assert!(goal.is_reached(reached) && !goal.is_reached(missed), "{goal}");
        }
        assert!(!Goal::AtMost(1.0).is_reached(f64::NAN), "what was not measured reaches nothing");
    }

    #[test]
    fn one_missed_goal_fails_the_whole_and_no_goal_is_no_success() {
        let mut findings = Findings::default();
        findings.tell("herd", "p99", 12.3, "ms");
        assert!(!findings.is_good());
        findings.check("herd", "orders", 500.0, "", Goal::Exactly(500));
        assert!(findings.is_good());
        findings.check("watchers", "memory of the edge", 301.0, "MiB", Goal::AtMost(300.0));
        assert!(!findings.is_good());
        let text = findings.to_string();
        assert!(text.contains("MISSED") && text.contains("<= 300"), "{text}");
    }
}
