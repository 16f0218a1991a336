//! Processor time of our processes, from the operating system's own accounting. It holds on a
//! noisy machine, where rates and latencies say more about the neighbours.

use std::{collections::BTreeMap, fmt, fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::{time::clock_getcpuclockid, unistd::Pid};
use serde::Serialize;

/// Whose time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The floor's own server.
    Echo,
    /// One of the five.
    Edge,
    /// One of the five.
    Order,
    /// One of the five.
    Inventory,
    /// One of the five.
    Payment,
    /// One of the five.
    User,
    /// All nodes, replicas too.
    Redis,
    /// The server with all its children.
    Postgres,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Echo => "echo",
            Self::Edge => "edge",
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::User => "user",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
        })
    }
}

/// Time by part.
pub type Costs = BTreeMap<Part, Duration>;

/// The processes whose time counts.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    processes: Vec<(Part, u32)>,
}

/// Where all clocks stood at one moment.
#[derive(Debug)]
pub struct Reading {
    /// By process number; children come and go.
    clocks: BTreeMap<u32, (Part, Duration)>,
    /// What children that ended had used in all.
    ended: BTreeMap<u32, (Part, Duration)>,
}

impl Meter {
    /// Counts a process and its children from now on.
    pub fn watch(&mut self, part: Part, pid: u32) {
        self.processes.push((part, pid));
    }

    /// Replaces the process of a part that has one, as after a restart.
    pub fn replace(&mut self, part: Part, pid: u32) {
        self.processes.retain(|(known, _)| *known != part);
        self.watch(part, pid);
    }

    /// Reads every clock.
    pub fn read(&self) -> Result<Reading> {
        let mut reading = Reading { clocks: BTreeMap::new(), ended: BTreeMap::new() };
        for &(part, pid) in &self.processes {
            // First, so that a child which ends meanwhile is counted at most once.
            reading.ended.insert(pid, (part, time_of_ended_children(pid)?));
            let time = clock(pid).with_context(|| format!("the {part} process {pid} is gone"))?;
            reading.clocks.insert(pid, (part, time));
            for child in children(pid)? {
                // One that ended since it was listed will stand among the ended next time.
                if let Some(time) = clock(child) {
                    reading.clocks.insert(child, (part, time));
                }
            }
        }
        Ok(reading)
    }
}

impl Reading {
    /// The time that passed on each part's clocks.
    pub fn since(&self, earlier: &Self) -> Costs {
        let mut costs = Costs::new();
        for (pid, &(part, time)) in &self.clocks {
            let before = earlier.clocks.get(pid).map_or(Duration::ZERO, |(_, time)| *time);
            *costs.entry(part).or_default() += time.saturating_sub(before);
        }
        for (pid, &(part, time)) in &self.ended {
            let before = earlier.ended.get(pid).map_or(Duration::ZERO, |(_, time)| *time);
            *costs.entry(part).or_default() += time.saturating_sub(before);
        }
        // Whoever ended in between was counted with its whole life.
        for (pid, &(part, time)) in &earlier.clocks {
            if !self.clocks.contains_key(pid) {
                let cost = costs.entry(part).or_default();
                *cost = cost.saturating_sub(time);
            }
        }
        costs
    }
}

fn clock(pid: u32) -> Option<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    clock_getcpuclockid(pid).and_then(|clock| clock.now()).ok().map(Duration::from)
}

/// The children of a process's first thread, which is who forks in Postgres and nobody elsewhere.
fn children(pid: u32) -> Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .with_context(|| format!("find the children of process {pid}"))?;
    Ok(list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// Time of children that ended and were waited for, in the kernel's ticks of 10 ms.
fn time_of_ended_children(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The name in parentheses may hold anything; the fields after it are numbers, the state first.
    let (_, fields) = stat.rsplit_once(')').context("read a process's accounting")?;
    let ticks = fields.split_ascii_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_on_the_clock_and_waiting_does_not() {
        let mut meter = Meter::default();
        meter.watch(Part::Echo, std::process::id());
        let before = meter.read().unwrap();
        let mut sum = 0_u64;
        while clock(std::process::id()).unwrap() < before.clocks[&std::process::id()].1 + ms(30) {
            sum = sum.wrapping_mul(31).wrapping_add(1);
        }
        assert_ne!(sum, 0);
        let worked = meter.read().unwrap().since(&before)[&Part::Echo];
        assert!(worked >= ms(30), "{worked:?}");
    }

    #[test]
    fn a_child_that_ended_counts_once_with_what_it_used_since() {
        let at = |clocks: &[(u32, u64)], ended| Reading {
            clocks: clocks.iter().map(|&(pid, time)| (pid, (Part::Postgres, ms(time)))).collect(),
            ended: [(1, (Part::Postgres, ms(ended)))].into(),
        };
        let before = at(&[(1, 100), (2, 40)], 10);
        let after = at(&[(1, 105), (3, 7)], 10 + 40 + 6);
        assert_eq!(after.since(&before)[&Part::Postgres], ms(5 + 7 + 6));
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
