//! What inventory says of a reservation, read once and checked.

use firstcome_proto::{Money, Refusal, SkuId, inventory_v1, timestamp};
use time::OffsetDateTime;

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for its payment.
    Held,
    /// Being paid.
    Pinned,
    /// Sold.
    Settled,
    /// Freed by the saga or by an undo.
    Released,
    /// Freed by time.
    Expired,
    /// Freed by the buyer.
    Cancelled,
    /// Freed after it was sold.
    Returned,
}

/// Units of one SKU with their price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The variant.
    pub sku: SkuId,
    /// Units.
    pub quantity: i32,
    /// Of one unit, when they were held.
    pub unit_price: Money,
}

/// A reservation as the ledger has it.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Where it stands.
    pub state: State,
    /// Its place in the order of admissions.
    pub sequence: i64,
    /// When it frees itself.
    pub expires_at: OffsetDateTime,
    /// True for the one call that took it from stock.
    pub newly_admitted: bool,
    /// What was held, with its prices.
    pub lines: Vec<Line>,
}

impl State {
    /// Reads inventory's number; `None` for one that this build does not know.
    pub fn from_wire(number: i32) -> Option<Self> {
        use inventory_v1::HoldState as Wire;
        match Wire::try_from(number).ok()? {
            Wire::Unspecified => None,
            Wire::Held => Some(Self::Held),
            Wire::Pinned => Some(Self::Pinned),
            Wire::Settled => Some(Self::Settled),
            Wire::Released => Some(Self::Released),
            Wire::Expired => Some(Self::Expired),
            Wire::Cancelled => Some(Self::Cancelled),
            Wire::Returned => Some(Self::Returned),
        }
    }
}

impl TryFrom<inventory_v1::Hold> for Hold {
    type Error = Refusal;

    fn try_from(hold: inventory_v1::Hold) -> Result<Self, Refusal> {
        let state = State::from_wire(hold.state)
            .ok_or_else(|| Refusal::invalid("hold.state", "want a known state"))?;
        let expires_at = hold
            .expires_at
            .as_ref()
            .and_then(timestamp::from_wire)
            .and_then(to_microseconds)
            .ok_or_else(|| Refusal::invalid("hold.expires_at", "want an instant"))?;
        let lines = hold.lines.into_iter().map(Line::try_from).collect::<Result<Vec<_>, _>>()?;
        if lines.is_empty() {
            return Err(Refusal::invalid("hold.lines", "want a line"));
        }
        let (sequence, newly_admitted) = (hold.sequence, hold.newly_admitted);
        Ok(Self { state, sequence, expires_at, newly_admitted, lines })
    }
}

/// Postgres keeps microseconds: the first answer must not say more than all later ones.
fn to_microseconds(instant: OffsetDateTime) -> Option<OffsetDateTime> {
    instant.replace_nanosecond(instant.microsecond() * 1000).ok()
}

impl TryFrom<inventory_v1::HeldLine> for Line {
    type Error = Refusal;

    fn try_from(line: inventory_v1::HeldLine) -> Result<Self, Refusal> {
        Ok(Self {
            sku: SkuId::from_wire("hold.lines.sku_id", &line.sku_id)?,
            quantity: line.quantity,
            unit_price: Money::from_field("hold.lines.unit_price", line.unit_price)?,
        })
    }
}
