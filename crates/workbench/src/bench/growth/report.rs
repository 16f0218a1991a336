//! Medians over the rounds, how flat they are, and the goals.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    memory::Memory,
    origin::Origin,
    plan::{Axis, Curve, Plan, Setting},
    stage::Pair,
};
use crate::bench::{
    cost::Part,
    path::Sample,
    report::{median, round},
};

/// The dearest point of a flat curve costs at most this many times the cheapest.
pub const FLAT_MAX: f64 = 1.2;
/// A service that nobody calls.
const IDLE_MIB_MAX: f64 = 30.0;
/// An open hold in Redis.
const HOLD_BYTES_MAX: f64 = 320.0;

/// Everything found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it comes from.
    pub origin: Origin,
    /// How many rounds the figures are the medians of.
    pub rounds: usize,
    /// Cost along with what grows.
    pub curves: Vec<Measured>,
    /// Memory.
    pub memory: Memory,
    /// What was to be reached.
    pub goals: Vec<Goal>,
}

/// One curve.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What grows.
    pub axis: Axis,
    /// The load, in words.
    pub load: String,
    /// Whether the winners' cost should stay flat.
    pub is_goal: bool,
    /// The dearest winner over the cheapest.
    pub winner_spread: f64,
    /// The dearest refusal over the cheapest.
    pub refused_spread: f64,
    /// Ascending.
    pub points: Vec<Point>,
}

/// One point of a curve.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// How much there is of what grows.
    pub count: u32,
    /// Calls in flight in all.
    pub in_flight: u32,
    /// An order and its hold, durable.
    pub winner: Figures,
    /// Told that nothing is left.
    pub refused: Figures,
}

/// Medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Processor time of one call in all our processes, stores included, microseconds.
    pub cost_us: f64,
    /// Calls a second while it was measured.
    pub rate_per_s: f64,
    /// Half of the answers were no slower.
    pub p50_ms: f64,
    /// The cost by part.
    pub split_us: BTreeMap<Part, f64>,
}

/// What was to be reached, and whether it was.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// In words.
    pub name: String,
    /// What was found.
    pub figure: f64,
    /// What it may be.
    pub at_most: f64,
    /// Whether it is.
    pub ok: bool,
}

impl Report {
    /// Medians and goals of what the rounds found.
    pub fn new(
        origin: Origin,
        plan: &Plan,
        samples: &BTreeMap<Setting, Vec<Pair>>,
        memory: Memory,
    ) -> Self {
        let curves: Vec<Measured> =
            plan.curves.iter().map(|curve| Measured::of(curve, samples)).collect();
        let goals = goals(&curves, &memory);
        let rounds = samples.values().map(Vec::len).min().unwrap_or_default();
        Self { origin, rounds, curves, memory, goals }
    }

    /// Where it comes from, in one line.
    pub fn signature(&self) -> String {
        let rounds = if self.rounds == 1 { "round" } else { "rounds" };
        format!("{} · median of {} {rounds}", self.origin, self.rounds)
    }

    /// Whether every goal was reached.
    pub fn is_good(&self) -> bool {
        self.goals.iter().all(|goal| goal.ok)
    }
}

impl Measured {
    fn of(curve: &Curve, samples: &BTreeMap<Setting, Vec<Pair>>) -> Self {
        let point = |setting: &Setting| {
            let pairs = samples.get(setting).map_or(&[][..], Vec::as_slice);
            Point {
                count: setting.count(curve.axis),
                in_flight: setting.in_flight_in_all(),
                winner: Figures::of(&pairs.iter().map(|pair| &pair.winner).collect::<Vec<_>>()),
                refused: Figures::of(&pairs.iter().map(|pair| &pair.refused).collect::<Vec<_>>()),
            }
        };
        let points: Vec<Point> = curve.points.iter().map(point).collect();
        let spread_of = |figures: fn(&Point) -> &Figures| {
            round(spread(points.iter().map(|point| figures(point).cost_us)))
        };
        Self {
            axis: curve.axis,
            load: curve.load.clone(),
            is_goal: curve.is_goal,
            winner_spread: spread_of(|point| &point.winner),
            refused_spread: spread_of(|point| &point.refused),
            points,
        }
    }
}

impl Figures {
    fn of(samples: &[&Sample]) -> Self {
        let splits: Vec<BTreeMap<Part, f64>> =
            samples.iter().map(|sample| sample.cost_us()).collect();
        let parts = splits.first().into_iter().flat_map(BTreeMap::keys).copied();
        let split_us = parts
            .map(|part| {
                let cost = |split: &BTreeMap<Part, f64>| split.get(&part).copied().unwrap_or(0.0);
                (part, round(median(&splits, cost)))
            })
            .filter(|(_, cost)| *cost >= 0.05)
            .collect();
        Self {
            cost_us: round(median(&splits, |split| split.values().sum())),
            rate_per_s: median(samples, |sample| sample.load.rate_per_s()).round(),
            p50_ms: round(median(samples, |sample| sample.load.quantile_ms(0.5))),
            split_us,
        }
    }
}

impl Goal {
    fn new(name: String, figure: f64, at_most: f64) -> Self {
        // A figure that is no number reaches nothing.
        Self { name, figure: round(figure), at_most, ok: figure <= at_most }
    }
}

fn goals(curves: &[Measured], memory: &Memory) -> Vec<Goal> {
    let flat = curves.iter().filter(|curve| curve.is_goal).map(|curve| {
        let name = format!("winner over {}, dearest / cheapest", curve.axis);
        Goal::new(name, curve.winner_spread, FLAT_MAX)
    });
    let idle = memory
        .idle_mib
        .iter()
        .map(|(part, mib)| Goal::new(format!("idle memory of {part}, MiB"), *mib, IDLE_MIB_MAX));
    let hold = Goal::new(
        "open hold in redis, bytes of dataset".to_owned(),
        memory.hold.dataset_bytes,
        HOLD_BYTES_MAX,
    );
    flat.chain(idle).chain([hold]).collect()
}

/// The largest over the smallest; 1 is perfectly flat.
fn spread(costs: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = costs.clone().fold(f64::NAN, f64::max);
    let least = costs.clone().fold(f64::NAN, f64::min);
    // One that was not measured may have been anything.
    if costs.into_iter().any(f64::is_nan) { f64::NAN } else { most / least }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for curve in &self.curves {
            let Measured { axis, load, winner_spread, refused_spread, .. } = curve;
            writeln!(
                f,
                "\n{:<11} {:>9} {:>10} {:>10} {:>8} {:>11} {:>11}  winner by part, µs   [{load}]",
                axis.to_string(),
                "in flight",
                "winner µs",
                "winners/s",
                "p50 ms",
                "refused µs",
                "refused/s"
            )?;
            for point in &curve.points {
                let (winner, refused) = (&point.winner, &point.refused);
                let split: Vec<String> = winner
                    .split_us
                    .iter()
                    .map(|(part, cost)| format!("{part} {cost:.1}"))
                    .collect();
                writeln!(
                    f,
                    "{:<11} {:>9} {:>10.1} {:>10.0} {:>8.1} {:>11.1} {:>11.0}  {}",
                    point.count,
                    point.in_flight,
                    winner.cost_us,
                    winner.rate_per_s,
                    winner.p50_ms,
                    refused.cost_us,
                    refused.rate_per_s,
                    split.join(" · "),
                )?;
            }
            writeln!(
                f,
                "{:<21} {winner_spread:>10.2} {refused_spread:>31.2}",
                "dearest / cheapest"
            )?;
        }
        writeln!(f, "\n{:<50} {:>8} {:>8}", "goal", "figure", "at most")?;
        for goal in &self.goals {
            let verdict = if goal.ok { "ok" } else { "MISSED" };
            let Goal { name, figure, at_most, .. } = goal;
            writeln!(f, "{name:<50} {figure:>8.2} {at_most:>8.1} {verdict:>7}")?;
        }
        let hold = &self.memory.hold;
        writeln!(
            f,
            "\nan open hold, of {}: {:.0} bytes of used_memory_dataset, {:.0} of used_memory, \
             which counts buffers too",
            hold.holds, hold.dataset_bytes, hold.used_bytes
        )?;
        writeln!(f, "cost: processor time of all our processes for one call, stores included")?;
        write!(f, "{}", self.signature())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::bench::growth::memory::HoldMemory;

    /// A report whose winners cost that along every axis.
    pub fn report(costs: [f64; 3]) -> Report {
        let plan = Plan::of(1.0);
        let figures = |cost_us| Figures {
            cost_us,
            rate_per_s: 1_000.0,
            p50_ms: 1.0,
            split_us: BTreeMap::new(),
        };
        let curve = |curve: &Curve| {
            let point = |(setting, cost): (&Setting, f64)| Point {
                count: setting.count(curve.axis),
                in_flight: setting.in_flight_in_all(),
                winner: figures(cost),
                refused: figures(cost / 4.0),
            };
            let points = curve.points.iter().zip(costs).map(point).collect();
            let spread = spread(costs.into_iter());
            Measured {
                axis: curve.axis,
                load: curve.load.clone(),
                is_goal: curve.is_goal,
                winner_spread: spread,
                refused_spread: spread,
                points,
            }
        };
        let curves: Vec<Measured> = plan.curves.iter().map(curve).collect();
        let hold = HoldMemory { holds: 100_000, dataset_bytes: 280.0, used_bytes: 300.0 };
        let memory = Memory { idle_mib: [(Part::Edge, 20.0)].into(), hold };
        let origin = Origin {
            commit: "abc1234".into(),
            with_changes: true,
            date: "2026-02-05".into(),
            cores: 2,
            is_debug: false,
            command: "cargo xtask bench growth".into(),
        };
        let goals = goals(&curves, &memory);
        Report { origin, rounds: 3, curves, memory, goals }
    }

    #[test]
    fn flat_is_the_dearest_over_the_cheapest_whichever_comes_first() {
        let spread = |costs: &[f64]| spread(costs.iter().copied());
        assert_eq!(spread(&[100.0, 110.0, 120.0]), 1.2);
        assert_eq!(spread(&[120.0, 110.0, 100.0]), 1.2);
        assert_eq!(spread(&[7.0, 7.0]), 1.0);
        assert!(spread(&[7.0, f64::NAN]).is_nan());
        assert!(spread(&[]).is_nan());
    }

    #[test]
    fn a_curve_that_is_not_flat_misses_its_goal_and_fails_the_whole() {
        assert!(report([100.0, 110.0, 119.0]).is_good());
        let steep = report([100.0, 110.0, 121.0]);
        assert!(!steep.is_good());
        let missed: Vec<&str> =
            steep.goals.iter().filter(|goal| !goal.ok).map(|goal| goal.name.as_str()).collect();
        assert_eq!(
            missed,
            [
                "winner over open holds, dearest / cheapest",
                "winner over products, dearest / cheapest",
                "winner over edges, dearest / cheapest"
            ]
        );
    }

    #[test]
    fn what_was_not_measured_reaches_no_goal() {
        assert!(!Goal::new("nothing".into(), f64::NAN, 1.0).ok);
        let report = Report::new(
            report([1.0; 3]).origin,
            &Plan::of(1.0),
            &BTreeMap::new(),
            report([1.0; 3]).memory,
        );
        assert!(!report.is_good());
    }

    #[test]
    fn the_table_says_ok_or_missed_and_where_it_comes_from() {
        let table = report([100.0, 110.0, 130.0]).to_string();
        assert!(table.contains("MISSED") && table.contains("ok"), "{table}");
        assert!(table.contains("commit abc1234 with changes · 2026-02-05 · 2 cores"), "{table}");
    }
}
