//! When and how a product sells.

use firstcome_proto::{Refusal, inventory_v1 as wire, timestamp};
use time::OffsetDateTime;

/// How long a hold waits for its payment when the drop does not say.
pub const HOLD_TTL_MS_DEFAULT: i32 = 5 * 60 * 1000;
/// The bounds of a drop's hold time.
const HOLD_TTL_MS: std::ops::RangeInclusive<i32> = 1_000..=3_600_000;
/// The per-buyer limit at most; beyond it nobody means a limit.
const LIMIT_MAX: i32 = 1_000_000;

/// When and how a product sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// The first instant at which it sells.
    pub opens_at: OffsetDateTime,
    /// The first instant at which it no longer does.
    pub closes_at: Option<OffsetDateTime>,
    /// 0: no limit.
    pub limit_per_buyer: i32,
    /// How long a hold waits for its payment.
    pub hold_ttl_ms: i32,
}

impl TryFrom<wire::Drop> for Drop {
    type Error = Refusal;

    fn try_from(drop: wire::Drop) -> Result<Self, Refusal> {
        // After 1970 and before 10000, so that milliseconds are positive and 0 can mean "none".
        let instant = |field: &str, stamp: &prost_types::Timestamp| {
            timestamp::from_wire(stamp)
                .filter(|instant| instant.unix_timestamp() > 0)
                .ok_or_else(|| Refusal::invalid(field, "want a time after 1970"))
        };
        let opens_at = drop.opens_at.as_ref();
        let opens_at = opens_at.ok_or_else(|| Refusal::invalid("drop.opens_at", "want a time"))?;
        let opens_at = instant("drop.opens_at", opens_at)?;
        let closes_at =
            drop.closes_at.as_ref().map(|stamp| instant("drop.closes_at", stamp)).transpose()?;
        if closes_at.is_some_and(|closes_at| closes_at <= opens_at) {
            return Err(Refusal::invalid("drop.closes_at", "want a time after opens_at"));
        }
        if !(0..=LIMIT_MAX).contains(&drop.limit_per_buyer) {
            let want = format!("want 0 to {LIMIT_MAX}");
            return Err(Refusal::invalid("drop.limit_per_buyer", want));
        }
        let hold_ttl_ms = match drop.hold_ttl {
            None => HOLD_TTL_MS_DEFAULT,
            Some(span) => timestamp::duration_from_wire(&span)
                .and_then(|span| i32::try_from(span.as_millis()).ok())
                .filter(|ms| HOLD_TTL_MS.contains(ms))
                .ok_or_else(|| Refusal::invalid("drop.hold_ttl", "want 1 s to 1 h"))?,
        };
        Ok(Self { opens_at, closes_at, limit_per_buyer: drop.limit_per_buyer, hold_ttl_ms })
    }
}

impl From<&Drop> for wire::Drop {
    fn from(drop: &Drop) -> Self {
        let hold_ttl_ms = u64::try_from(drop.hold_ttl_ms).expect("a hold time is positive");
        Self {
            opens_at: Some(timestamp::to_wire(drop.opens_at)),
            closes_at: drop.closes_at.map(timestamp::to_wire),
            limit_per_buyer: drop.limit_per_buyer,
            hold_ttl: Some(timestamp::duration_to_wire(std::time::Duration::from_millis(
                hold_ttl_ms,
            ))),
        }
    }
}
