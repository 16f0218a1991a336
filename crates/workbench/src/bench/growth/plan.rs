//! What is measured: three things that grow, one at a time, and the calls that are made meanwhile.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

/// Open holds of the one product on sale.
const HOLDS: [u32; 3] = [1_000, 10_000, 100_000];
/// Products on sale at once.
const PRODUCTS: [u16; 3] = [1, 8, 64];
/// Edges that take calls.
const EDGES: [u16; 3] = [1, 2, 4];
/// Calls in flight where each product brings its own.
const IN_FLIGHT_OF_PRODUCT: u16 = 64;
/// Calls in flight where each edge brings its own.
const IN_FLIGHT_OF_EDGE: u16 = 256;
/// Calls in flight where they are shared out.
const IN_FLIGHT_IN_ALL: u16 = 512;
/// Winners of one round: seconds of work, so that what inventory does every other second takes its
/// share of it, and three times as many as are ever in flight.
const WINNERS: u32 = 12_288;
/// Among open holds the winners come in so many turns, because each opens one more: the next turn
/// may begin with a product that holds as many as it should.
const TURNS_AMONG_HOLDS: u32 = 6;
/// Refusals for each winner; they cost less.
const REFUSALS_PER_WINNER: u32 = 2;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// Open holds.
    Holds,
    /// Products on sale.
    Products,
    /// Edges.
    Edges,
}

/// One state of the shop and the load on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// Open holds of each product when measuring begins.
    pub holds: u32,
    /// Products on sale.
    pub products: u16,
    /// Edges that take calls.
    pub edges: u16,
    /// Calls in flight for each product at each edge.
    pub in_flight: u16,
}

/// How the cost goes along with one thing that grows.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What grows.
    pub axis: Axis,
    /// The load, in words.
    pub load: String,
    /// Whether the cost should stay flat; else it is only reported.
    pub is_goal: bool,
    /// Ascending.
    pub points: Vec<Setting>,
}

/// Everything that is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of the report.
    pub curves: Vec<Curve>,
    scale: f64,
}

impl Plan {
    /// The plan with its open holds and its calls multiplied by that.
    pub fn of(scale: f64) -> Self {
        let one = Setting { holds: 0, products: 1, edges: 1, in_flight: IN_FLIGHT_IN_ALL };
        let curve = |axis, load: &str, is_goal, points: Vec<Setting>| {
            let load = load.to_owned();
            Curve { axis, load, is_goal, points }
        };
        let curves = vec![
            curve(
                Axis::Holds,
                &in_all(),
                true,
                HOLDS.map(|holds| Setting { holds: scaled(holds, scale), ..one }).into(),
            ),
            curve(
                Axis::Products,
                &format!("{IN_FLIGHT_OF_PRODUCT} calls in flight for each product"),
                true,
                PRODUCTS
                    .map(|products| Setting { products, in_flight: IN_FLIGHT_OF_PRODUCT, ..one })
                    .into(),
            ),
            curve(
                Axis::Products,
                &in_all(),
                false,
                PRODUCTS
                    .map(|products| {
                        let in_flight = IN_FLIGHT_IN_ALL / products;
                        Setting { products, in_flight, ..one }
                    })
                    .into(),
            ),
            curve(
                Axis::Edges,
                &format!("{IN_FLIGHT_OF_EDGE} calls in flight at each edge"),
                true,
                EDGES.map(|edges| Setting { edges, in_flight: IN_FLIGHT_OF_EDGE, ..one }).into(),
            ),
            curve(
                Axis::Edges,
                &in_all(),
                false,
                EDGES
                    .map(|edges| Setting { edges, in_flight: IN_FLIGHT_IN_ALL / edges, ..one })
                    .into(),
            ),
        ];
        Self { curves, scale }
    }

    /// The settings of one round, in order. What stands on two curves is measured once.
    pub fn settings(&self) -> Vec<Setting> {
        let all: BTreeSet<Setting> =
            self.curves.iter().flat_map(|curve| curve.points.iter().copied()).collect();
        let mut settings: Vec<Setting> = all.into_iter().collect();
        // Inventory goes on looking after products that were sold of late, so many come last. Holds
        // come first, because they take the longest to prepare.
        settings.sort_by_key(|setting| (setting.products, setting.holds == 0));
        settings
    }

    /// The setting with the most open holds.
    pub fn most_holds(&self) -> Setting {
        let settings = self.curves.iter().flat_map(|curve| &curve.points);
        *settings.max_by_key(|setting| setting.holds).expect("a plan has settings")
    }

    /// As many edges as any setting has.
    pub fn most_edges(&self) -> u16 {
        let settings = self.curves.iter().flat_map(|curve| &curve.points);
        settings.map(|setting| setting.edges).max().unwrap_or(1)
    }

    /// Buyers of whom each wins at most once in a turn.
    pub fn winners(&self) -> u32 {
        scaled(WINNERS, self.scale)
    }

    /// Winners of one turn for each product at each edge.
    pub fn winners_of(&self, setting: Setting) -> u32 {
        (self.winners() / setting.lanes() / setting.turns()).max(1)
    }

    /// Refusals of one turn for each product at each edge.
    pub fn refusals_of(&self, setting: Setting) -> u32 {
        REFUSALS_PER_WINNER * self.winners_of(setting)
    }
}

impl Setting {
    /// Products times edges: each pair has its own calls in flight.
    pub fn lanes(self) -> u32 {
        u32::from(self.products) * u32::from(self.edges)
    }

    /// How often winners come in a round.
    pub fn turns(self) -> u32 {
        if self.holds > 0 { TURNS_AMONG_HOLDS } else { 1 }
    }

    /// Calls in flight in all.
    pub fn in_flight_in_all(self) -> u32 {
        self.lanes() * u32::from(self.in_flight)
    }

    /// How much there is of what grows.
    pub fn count(self, axis: Axis) -> u32 {
        match axis {
            Axis::Holds => self.holds,
            Axis::Products => self.products.into(),
            Axis::Edges => self.edges.into(),
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "open holds",
            Self::Products => "products",
            Self::Edges => "edges",
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holds, products, edges, in_flight: _ } = self;
        let in_flight = self.in_flight_in_all();
        write!(f, "holds {holds}, products {products}, edges {edges}, {in_flight} in flight")
    }
}

fn in_all() -> String {
    format!("{IN_FLIGHT_IN_ALL} calls in flight in all")
}

/// Never so few that a turn has nothing to do.
fn scaled(count: u32, scale: f64) -> u32 {
    ((f64::from(count) * scale) as u32).max(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_grows_at_a_time() {
        for curve in Plan::of(1.0).curves {
            let counts = |axis| {
                let counts = curve.points.iter().map(|setting| setting.count(axis));
                counts.collect::<BTreeSet<u32>>().len()
            };
            for axis in [Axis::Holds, Axis::Products, Axis::Edges] {
                let different = if axis == curve.axis { 3 } else { 1 };
                assert_eq!(counts(axis), different, "{axis} in {curve:?}");
            }
        }
    }

    #[test]
    fn a_goal_keeps_the_load_of_each_and_a_report_the_load_in_all() {
        for curve in Plan::of(1.0).curves {
            let each: BTreeSet<u16> = curve.points.iter().map(|point| point.in_flight).collect();
            let all: BTreeSet<u32> =
                curve.points.iter().map(|point| point.in_flight_in_all()).collect();
            let constant = if curve.is_goal { each.len() } else { all.len() };
            assert_eq!(constant, 1, "{curve:?}");
        }
    }

    #[test]
    fn nobody_wins_twice_in_a_turn() {
        for scale in [0.001, 0.1, 1.0, 4.0] {
            let plan = Plan::of(scale);
            for setting in plan.settings() {
                let of_product = plan.winners_of(setting) * u32::from(setting.edges);
                assert!(of_product <= plan.winners(), "{setting} at {scale}");
            }
        }
    }
}
