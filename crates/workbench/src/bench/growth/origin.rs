//! What a result stands for: the commit, the day, the machine, and how to get it again.

use std::{fmt, process::Command};

use anyhow::{Context as _, Result, ensure};
use firstcome_local::Checkout;
use serde::Serialize;
use time::{Date, OffsetDateTime};

/// Where a result comes from.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// The commit, short.
    pub commit: String,
    /// Whether the checkout differs from it, results aside.
    pub with_changes: bool,
    /// The day, in UTC.
    pub date: String,
    /// Cores that client and shop share.
    pub cores: usize,
    /// Programs that were not optimised say little.
    pub is_debug: bool,
    /// What was typed.
    pub command: String,
}

impl Origin {
    /// This process's.
    pub fn of(checkout: &Checkout) -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        // A result that is renewed does not make the programs other ones.
        let changes = git(checkout, &["status", "--porcelain", "--", ".", ":!bench/results"])?;
        Ok(Self {
            commit: git(checkout, &["rev-parse", "--short", "HEAD"])?,
            with_changes: !changes.is_empty(),
            date: day(OffsetDateTime::now_utc().date()),
            cores: std::thread::available_parallelism()?.get(),
            is_debug: cfg!(debug_assertions),
            command: format!("cargo xtask {}", arguments.join(" ")),
        })
    }
}

fn git(checkout: &Checkout, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").arg("-C").arg(checkout.root()).args(arguments).output();
    let output = output.context("run git, which names the commit of a result")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn day(date: Date) -> String {
    format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = if self.with_changes { " with changes" } else { "" };
        let debug = if self.is_debug { " (debug build)" } else { "" };
        let Self { commit, date, cores, command, .. } = self;
        write!(f, "commit {commit}{changes}{debug} · {date} · {cores} cores · {command}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_with_the_largest_part_first() {
        assert_eq!(day(Date::from_ordinal_date(2026, 36).unwrap()), "2026-02-05");
    }
}
