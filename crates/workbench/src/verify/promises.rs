//! The promises as checks of the books: each gives its violations with the offending rows, and
//! none does any I/O.

mod charges;
mod keys;
mod order_of_admission;
mod stock;
mod survival;

use std::fmt;

use super::books::Books;

/// What must be true; ARCHITECTURE.md says where each is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// No oversell.
    G1,
    /// First come, and no more than the limit.
    G2,
    /// No lost stock.
    G3,
    /// No charge without goods, no goods without a charge.
    G4,
    /// One effect per idempotency key.
    G5,
    /// What was acknowledged survives.
    G6,
}

impl Promise {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::G1, Self::G2, Self::G3, Self::G4, Self::G5, Self::G6];

    /// As in `G1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::G1 => "G1",
            Self::G2 => "G2",
            Self::G3 => "G3",
            Self::G4 => "G4",
            Self::G5 => "G5",
            Self::G6 => "G6",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::G1 => "no oversell",
            Self::G2 => "first come, and no more than the limit",
            Self::G3 => "no lost stock",
            Self::G4 => "no charge without goods, no goods without a charge",
            Self::G5 => "one effect per idempotency key",
            Self::G6 => "what was acknowledged survives",
        }
    }

    /// Looks for violations.
    pub fn check(self, books: &Books) -> Vec<Violation> {
        let checks: &[Check] = match self {
            Self::G1 => &stock::NO_OVERSELL,
            Self::G2 => &order_of_admission::FIRST_COME,
            Self::G3 => &stock::NO_LOST_STOCK,
            Self::G4 => &charges::CHARGE_AND_GOODS,
            Self::G5 => &keys::ONE_EFFECT,
            Self::G6 => &survival::SURVIVES,
        };
        checks
            .iter()
            .flat_map(|(rule, check)| {
                let rows = check(books);
                rows.into_iter().map(|row| Violation { promise: self, rule, row })
            })
            .collect()
    }
}

/// A rule in words, and what breaks it: one text per offending row.
type Check = (&'static str, fn(&Books) -> Vec<String>);

/// A rule that an entry of the books breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise is broken.
    pub promise: Promise,
    /// The rule, in words.
    pub rule: &'static str,
    /// The offending row.
    pub row: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.promise.name(), self.rule, self.row)
    }
}

#[cfg(test)]
mod tests;
