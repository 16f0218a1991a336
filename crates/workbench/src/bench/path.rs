//! What there is to measure, and what one measurement gives.

use std::{collections::BTreeMap, time::Duration};

use super::{
    cost::{Costs, Part},
    load::Load,
};

/// What is measured, in the order of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Path {
    /// Floor: a bare tonic call of the same sizes.
    Echo,
    /// Floor: the same, one call at a time.
    EchoAlone,
    /// Floor: one reservation straight against the gate.
    Fcall1,
    /// Floor: one row committed in Postgres, one at a time.
    Commit1,
    /// Told that nothing is left, with a token that the edge sees for the first time.
    RefusedFirstSeen,
    /// Told that nothing is left.
    Refused,
    /// An order, its hold and itself durable.
    Winner,
    /// The same, one call at a time.
    WinnerAlone,
    /// A product read through the edge.
    Read,
    /// The whole saga of a payment.
    Pay,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Echo,
        Self::EchoAlone,
        Self::Fcall1,
        Self::Commit1,
        Self::RefusedFirstSeen,
        Self::Refused,
        Self::Winner,
        Self::WinnerAlone,
        Self::Read,
        Self::Pay,
    ];

    /// Calls of one round: about two seconds of work each.
    pub(super) fn calls(self) -> u32 {
        match self {
            Self::Echo | Self::Refused => 80_000,
            Self::Read => 40_000,
            Self::RefusedFirstSeen | Self::Winner | Self::Fcall1 => 20_000,
            Self::EchoAlone | Self::WinnerAlone | Self::Commit1 => 500,
            Self::Pay => 4_000,
        }
    }

    /// Floors are always measured.
    pub(super) fn is_floor(self) -> bool {
        matches!(self, Self::Echo | Self::EchoAlone | Self::Fcall1 | Self::Commit1)
    }
}

/// What one path cost in one round.
pub struct Sample {
    /// What the caller saw.
    pub load: Load,
    /// Processor time of all our processes.
    pub costs: Costs,
}

impl Sample {
    /// Microseconds of a call by part.
    pub fn cost_us(&self) -> BTreeMap<Part, f64> {
        let calls = f64::from(self.load.calls);
        let cost = |time: &Duration| time.as_secs_f64() * 1e6 / calls;
        self.costs.iter().map(|(part, time)| (*part, cost(time))).collect()
    }
}
