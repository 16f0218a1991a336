//! The life of a hold as one table: held → pinned → settled, or freed in one of four ways.

use std::fmt;

use firstcome_proto::{BuyerId, ReservationId, SkuId, inventory_v1::HoldState};
use time::OffsetDateTime;

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its payment until it expires.
    Held,
    /// Being paid; does not expire.
    Pinned,
    /// Sold.
    Settled,
    /// Freed by the saga or by an undo.
    Released,
    /// Freed by time.
    Expired,
    /// Freed by the buyer before payment.
    Cancelled,
    /// Freed after it was sold.
    Returned,
}

/// What may be done to a hold after its admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Keep it from expiring while it is paid.
    Pin,
    /// Sell it.
    Settle,
    /// End it because its payment failed.
    Release,
    /// End it because the buyer wishes so.
    Cancel,
    /// End it because its time is over, and only then.
    Expire,
    /// End it because whoever was admitted cannot use it.
    Undo,
    /// Take it back after it was sold.
    Restock,
}

/// How the counters of a hold's SKUs follow a command, per unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Added to `held`.
    pub held: i32,
    /// Added to `settled`.
    pub settled: i32,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Held,
        Self::Pinned,
        Self::Settled,
        Self::Released,
        Self::Expired,
        Self::Cancelled,
        Self::Returned,
    ];

    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Pinned => "pinned",
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Returned => "returned",
        }
    }

    /// Reads the word in the ledger.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// True when the units are on sale again, or on their way there.
    pub fn is_freed(self) -> bool {
        !matches!(self, Self::Held | Self::Pinned | Self::Settled)
    }

    /// The word in the contract.
    pub fn to_wire(self) -> HoldState {
        match self {
            Self::Held => HoldState::Held,
            Self::Pinned => HoldState::Pinned,
            Self::Settled => HoldState::Settled,
            Self::Released => HoldState::Released,
            Self::Expired => HoldState::Expired,
            Self::Cancelled => HoldState::Cancelled,
            Self::Returned => HoldState::Returned,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Command {
    /// The states that it may end.
    pub fn starts_from(self) -> &'static [State] {
        match self {
            Self::Pin | Self::Cancel | Self::Expire | Self::Undo => &[State::Held],
            Self::Settle => &[State::Pinned],
            // The saga alone ends a pinned hold.
            Self::Release => &[State::Held, State::Pinned],
            Self::Restock => &[State::Settled],
        }
    }

    /// The state that it leads to.
    pub fn leads_to(self) -> State {
        match self {
            Self::Pin => State::Pinned,
            Self::Settle => State::Settled,
            Self::Release | Self::Undo => State::Released,
            Self::Cancel => State::Cancelled,
            Self::Expire => State::Expired,
            Self::Restock => State::Returned,
        }
    }

    /// True when a hold in this state needs nothing more for the command to be so.
    pub fn is_done_in(self, state: State) -> bool {
        match self {
            Self::Pin => matches!(state, State::Pinned | State::Settled),
            Self::Settle => state == State::Settled,
            Self::Release | Self::Cancel | Self::Expire | Self::Undo => state.is_freed(),
            Self::Restock => state == State::Returned,
        }
    }

    /// What it does to the counters.
    pub fn effect(self) -> Effect {
        match self {
            Self::Pin => Effect { held: 0, settled: 0 },
            Self::Settle => Effect { held: -1, settled: 1 },
            Self::Release | Self::Cancel | Self::Expire | Self::Undo => {
                Effect { held: -1, settled: 0 }
            }
            Self::Restock => Effect { held: 0, settled: -1 },
        }
    }

    /// True when the gate must be told.
    pub fn frees(self) -> bool {
        self.leads_to().is_freed()
    }
}

/// Units of one SKU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Which.
    pub sku: SkuId,
    /// How many, 1 to 1 000.
    pub quantity: i32,
}

/// What one buyer asks for: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The reservation's id.
    pub reservation: ReservationId,
    /// Who asks.
    pub buyer: BuyerId,
    /// Over the whole order.
    pub fingerprint: [u8; 16],
    /// 1 to 10, each SKU once.
    pub lines: Vec<Line>,
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What was asked for.
    pub wish: Wish,
    /// Where it stands.
    pub state: State,
    /// Its place in the order of admissions.
    pub seq: i64,
    /// When it frees itself unless pinned.
    pub expires_at: OffsetDateTime,
    /// The gate no longer keeps its record.
    pub forgotten: bool,
}

impl Hold {
    /// True while the gate keeps its record.
    pub fn is_in_gate(&self) -> bool {
        !self.state.is_freed() && !self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification: what each command makes of each state; `-` is refused.
    const TABLE: [(Command, [&str; 7]); 7] = [
        // from:            held        pinned      settled     released    expired    cancelled    returned
        (Command::Pin, ["pinned", "pinned", "settled", "-", "-", "-", "-"]),
        (Command::Settle, ["-", "settled", "settled", "-", "-", "-", "-"]),
        (
            Command::Release,
            ["released", "released", "-", "released", "expired", "cancelled", "returned"],
        ),
        (Command::Cancel, ["cancelled", "-", "-", "released", "expired", "cancelled", "returned"]),
        (Command::Expire, ["expired", "-", "-", "released", "expired", "cancelled", "returned"]),
        (Command::Undo, ["released", "-", "-", "released", "expired", "cancelled", "returned"]),
        (Command::Restock, ["-", "-", "returned", "-", "-", "-", "returned"]),
    ];

    #[test]
    fn every_command_on_every_state() {
        for (command, row) in TABLE {
            for (from, want) in State::ALL.into_iter().zip(row) {
                let have = if command.starts_from().contains(&from) {
                    command.leads_to().as_str()
                } else if command.is_done_in(from) {
                    from.as_str()
                } else {
                    "-"
                };
                assert_eq!(have, want, "{command:?} on {from}");
            }
        }
    }

    #[test]
    fn states_read_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("sold"), None);
    }
}
