//! Medians over the rounds, ratios to the floors of the same round, and the goals.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    cost::Part,
    path::{Path, Sample},
    setting::Setting,
};

/// A refusal costs less than two bare calls (promise G7), with room to spare.
const REFUSED_ECHOES_MAX: f64 = 1.8;
/// An order with its hold, durable.
const WINNER_ECHOES_MAX: f64 = 4.0;
/// One at a time there is no batch to share: hops, and two commits.
const ALONE_ECHOES_MAX: f64 = 6.0;
/// See [`ALONE_ECHOES_MAX`]: the hold's and the order's.
const ALONE_COMMITS: f64 = 2.0;
/// What batching must leave of a reservation's time in Redis.
const REDIS_FCALLS_MAX: f64 = 0.3;
/// One hop more, with an HTTP/2 server and a client in it.
const READ_ECHOES_MAX: f64 = 3.2;
/// Five steps over four services, each on record.
const PAY_ECHOES_MAX: f64 = 25.0;

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub path: String,
    /// Processor time of one call in all our processes, microseconds; the median of the rounds.
    pub cost_us: f64,
    /// Against the row's floor; the median of the rounds. None for a floor.
    pub ratio: Option<f64>,
    /// What the ratio may be at most, if anything.
    pub goal: Option<f64>,
    /// False when there is a goal and it was missed.
    pub ok: bool,
    /// Calls a second while it was measured.
    pub rate_per_s: f64,
    /// Half of the answers were no slower. None where nobody took it.
    pub p50_ms: Option<f64>,
    /// 99 of 100 were no slower.
    pub p99_ms: Option<f64>,
    /// The cost by part.
    pub split_us: BTreeMap<Part, f64>,
    /// What the ratio is taken of.
    pub against: &'static str,
}

/// Everything found.
#[derive(Debug)]
pub struct Report {
    /// The paths, floors first.
    pub rows: Vec<Row>,
    /// Postgres transactions of one payment.
    pub commits_per_payment: Option<f64>,
}

impl Report {
    /// Whether every goal was reached, and there was one.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.ok) && self.rows.iter().any(|row| row.goal.is_some())
    }
}

/// One path in one round.
#[derive(Clone, Debug)]
struct Figures {
    split_us: BTreeMap<Part, f64>,
    rate_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Figures {
    fn of(sample: &Sample) -> Self {
        Self {
            split_us: sample.cost_us(),
            rate_per_s: sample.load.rate_per_s(),
            p50_ms: sample.load.quantile_ms(0.5),
            p99_ms: sample.load.quantile_ms(0.99),
        }
    }

    fn cost_us(&self) -> f64 {
        self.split_us.values().sum()
    }

    /// Of the floor alone: what the rest of the shop does meanwhile is no part of a bare call.
    fn floor_us(&self) -> f64 {
        self.part_us(Part::Echo)
    }

    fn part_us(&self, part: Part) -> f64 {
        self.split_us.get(&part).copied().unwrap_or_default()
    }
}

/// What the rounds found.
#[derive(Debug, Default)]
pub struct Samples {
    paths: BTreeMap<Path, Vec<Figures>>,
    otherwise: BTreeMap<(Setting, Path), Vec<Figures>>,
}

impl Samples {
    /// Takes a round's sample in; the answer is for the terminal.
    pub fn add(&mut self, path: Path, sample: &Sample) -> String {
        let figures = Figures::of(sample);
        let line = line(&format!("{path:?}"), &figures);
        self.paths.entry(path).or_default().push(figures);
        line
    }

    /// Takes a sample in that was taken in a mesh set otherwise.
    pub fn add_otherwise(&mut self, setting: Setting, path: Path, sample: &Sample) -> String {
        let figures = Figures::of(sample);
        let line = line(&format!("{path:?}, {setting}"), &figures);
        self.otherwise.entry((setting, path)).or_default().push(figures);
        line
    }

    /// Medians and goals.
    pub fn report(&self, commits_per_payment: &[f64]) -> Report {
        let mut rows = Vec::new();
        for (&path, rounds) in &self.paths {
            rows.push(self.row(path, rounds));
            if path == Path::Winner {
                rows.extend(self.redis_row());
            }
        }
        let echo = self.paths.get(&Path::Echo).map(|rounds| median(rounds, Figures::floor_us));
        for ((setting, path), rounds) in &self.otherwise {
            let ratio = echo.map(|echo| median(rounds, Figures::cost_us) / echo);
            let name = format!("{}, {setting}", name(*path));
            rows.push(row(name, rounds, ratio, None, "echo"));
        }
        let commits_per_payment = (!commits_per_payment.is_empty())
            .then(|| median(commits_per_payment, |commits| *commits));
        Report { rows, commits_per_payment }
    }

    fn row(&self, path: Path, rounds: &[Figures]) -> Row {
        let (ratio, goal, against) = match path {
            Path::Echo | Path::EchoAlone | Path::Fcall1 | Path::Commit1 => (None, None, ""),
            Path::WinnerAlone => {
                let p50 = |figures: &Figures| figures.p50_ms;
                let own = self.against(rounds, p50, Path::EchoAlone, p50);
                let commits = self.paths.get(&Path::Commit1);
                let commit =
                    commits.and_then(|commits| self.against(commits, p50, Path::EchoAlone, p50));
                let goal = commit.map(|commit| ALONE_ECHOES_MAX + ALONE_COMMITS * commit);
                (own, goal, "p50 of echo-alone")
            }
            _ => {
                let goal = match path {
                    Path::Refused => Some(REFUSED_ECHOES_MAX),
                    Path::Winner => Some(WINNER_ECHOES_MAX),
                    Path::Read => Some(READ_ECHOES_MAX),
                    Path::Pay => Some(PAY_ECHOES_MAX),
                    _ => None,
                };
                (
                    self.against(rounds, Figures::cost_us, Path::Echo, Figures::floor_us),
                    goal,
                    "echo",
                )
            }
        };
        row(name(path), rounds, ratio, goal, against)
    }

    fn redis_row(&self) -> Option<Row> {
        let redis = |figures: &Figures| figures.part_us(Part::Redis);
        let winners = self.paths.get(&Path::Winner)?;
        let ratio = self.against(winners, redis, Path::Fcall1, redis);
        let only_redis: Vec<Figures> = winners
            .iter()
            .map(|figures| Figures {
                split_us: [(Part::Redis, redis(figures))].into(),
                ..figures.clone()
            })
            .collect();
        let name = "redis-per-winner".to_owned();
        Some(row(name, &only_redis, ratio, Some(REDIS_FCALLS_MAX), "fcall1 in redis"))
    }

    /// The median of the ratios that each round had to a floor of its own.
    fn against(
        &self,
        rounds: &[Figures],
        figure: impl Fn(&Figures) -> f64,
        floor: Path,
        of_floor: impl Fn(&Figures) -> f64,
    ) -> Option<f64> {
        let floors = self.paths.get(&floor)?;
        let ratios: Vec<f64> =
            rounds.iter().zip(floors).map(|(own, floor)| figure(own) / of_floor(floor)).collect();
        (!ratios.is_empty()).then(|| median(&ratios, |ratio| *ratio))
    }
}

fn row(
    path: String,
    rounds: &[Figures],
    ratio: Option<f64>,
    goal: Option<f64>,
    against: &'static str,
) -> Row {
    let latency = |ms: f64| (ms > 0.0).then_some(round(ms));
    let parts = rounds.iter().flat_map(|figures| figures.split_us.keys().copied());
    let parts: std::collections::BTreeSet<Part> = parts.collect();
    let split_us = parts
        .into_iter()
        .map(|part| (part, round(median(rounds, |figures| figures.part_us(part)))))
        .filter(|(_, cost)| *cost >= 0.05)
        .collect();
    Row {
        path,
        cost_us: round(median(rounds, Figures::cost_us)),
        ratio: ratio.map(round),
        goal: goal.map(round),
        ok: goal.is_none_or(|goal| ratio.is_some_and(|ratio| ratio <= goal)),
        rate_per_s: median(rounds, |figures| figures.rate_per_s).round(),
        p50_ms: latency(median(rounds, |figures| figures.p50_ms)),
        p99_ms: latency(median(rounds, |figures| figures.p99_ms)),
        split_us,
        against,
    }
}

fn line(name: &str, figures: &Figures) -> String {
    let (cost, rate) = (figures.cost_us(), figures.rate_per_s);
    format!("{name:<40} {cost:>8.1} µs {rate:>9.0}/s {:>8.2} ms", figures.p50_ms)
}

/// As on the command line.
fn name(path: Path) -> String {
    use clap::ValueEnum as _;
    path.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The value in the middle.
pub(super) fn median<T>(values: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut figures: Vec<f64> = values.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => figures[len / 2],
        len => f64::midpoint(figures[len / 2 - 1], figures[len / 2]),
    }
}

/// Three decimals are more than any machine repeats.
pub(super) fn round(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<42} {:>9} {:>7} {:>7} {:>6} {:>9} {:>8} {:>8}  cost by part, µs",
            "path", "cost µs", "ratio", "goal", "", "calls/s", "p50 ms", "p99 ms"
        )?;
        for row in &self.rows {
            let figure = |figure: Option<f64>| match figure {
                Some(figure) => format!("{figure:.2}"),
                None => "-".to_owned(),
            };
            let verdict = match (row.goal, row.ok) {
                (None, _) => "",
                (Some(_), true) => "ok",
                (Some(_), false) => "MISSED",
            };
            let split: Vec<String> =
                row.split_us.iter().map(|(part, cost)| format!("{part} {cost:.1}")).collect();
            writeln!(
                f,
                "{:<42} {:>9.1} {:>7} {:>7} {:>6} {:>9.0} {:>8} {:>8}  {}",
                row.path,
                row.cost_us,
                figure(row.ratio),
                figure(row.goal),
                verdict,
                row.rate_per_s,
                figure(row.p50_ms),
                figure(row.p99_ms),
                split.join(" · "),
            )?;
        }
        if let Some(commits) = self.commits_per_payment {
            writeln!(f, "\ntransactions in postgres for one payment: {commits:.2}")?;
        }
        writeln!(f, "cost: processor time of all our processes for one call, stores included")?;
        write!(f, "ratio: to echo, a bare tonic call of the same sizes, unless the row says else")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on beside the floor is none of its cost.
    fn figures(path: Path, cost: f64) -> Figures {
        let split_us = match path {
            Path::Echo => [(Part::Echo, cost), (Part::Redis, 1.0)],
            _ => [(Part::Edge, cost - 1.0), (Part::Redis, 1.0)],
        };
        Figures { split_us: split_us.into(), rate_per_s: 1.0, p50_ms: cost, p99_ms: cost }
    }

    fn samples(paths: &[(Path, &[f64])]) -> Samples {
        let rounds = |path, costs: &[f64]| costs.iter().map(|&cost| figures(path, cost)).collect();
        let paths = paths.iter().map(|&(path, costs)| (path, rounds(path, costs))).collect();
        Samples { paths, otherwise: BTreeMap::new() }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_own_ratios() {
        // The machine was twice as slow in the second round, for both.
        let samples =
            samples(&[(Path::Echo, &[10.0, 20.0, 10.0]), (Path::Refused, &[17.0, 34.0, 19.0])]);
        let report = samples.report(&[]);
        let refused = report.rows.iter().find(|row| row.path == "refused").unwrap();
        assert_eq!((refused.ratio, refused.goal, refused.ok), (Some(1.7), Some(1.8), true));
        assert!(report.is_good());
    }

    #[test]
    fn a_goal_that_is_missed_fails_the_whole() {
        let samples = samples(&[(Path::Echo, &[10.0]), (Path::Winner, &[40.1])]);
        assert!(!samples.report(&[]).is_good());
    }

    #[test]
    fn a_goal_without_its_floor_is_not_reached() {
        let report = samples(&[(Path::Winner, &[10.0])]).report(&[]);
        assert!(!report.is_good());
    }

    #[test]
    fn one_at_a_time_may_wait_for_two_commits() {
        let alone = |p50| {
            samples(&[
                (Path::EchoAlone, &[0.1]),
                (Path::Commit1, &[0.5]),
                (Path::WinnerAlone, &[p50]),
            ])
        };
        assert!(alone(1.55).report(&[]).is_good());
        assert!(!alone(1.65).report(&[]).is_good());
    }
}
