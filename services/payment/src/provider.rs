//! What a payment provider can do for us. Whoever it is: it is far away, it is idempotent by our
//! key, and sometimes its answer never comes.

use firstcome_mesh::Deadline;
use firstcome_proto::{Money, PaymentId};

use crate::payment::State;

/// A charge, as the provider is asked for it.
#[derive(Clone, Debug)]
pub struct Charge {
    /// The provider's idempotency key.
    pub key: PaymentId,
    /// How much.
    pub amount: Money,
    /// The provider's token of a card.
    pub payment_method: String,
}

/// How a charge stands in the provider's own ledger after it did, or refused, what it was asked.
/// A refused step is one after which the charge stands as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The provider has never heard of it, or has not decided.
    Unseen,
    /// Reserved.
    Authorized,
    /// Refused for good, with the provider's code, as in `insufficient_funds`.
    Declined(String),
    /// Taken.
    Captured,
    /// Never to be taken.
    Voided,
    /// Given back.
    Refunded,
}

impl Standing {
    /// The state that a payment's row has to follow to; `None` when there is nothing to follow.
    pub fn state(&self) -> Option<State> {
        match self {
            Self::Unseen => None,
            Self::Authorized => Some(State::Authorized),
            Self::Declined(_) => Some(State::Declined),
            Self::Captured => Some(State::Captured),
            Self::Voided => Some(State::Voided),
            Self::Refunded => Some(State::Refunded),
        }
    }
}

/// What a provider tells us unasked: that something happened to a charge. It wakes us up; what is
/// true is what [`Provider::look`] then says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The provider's own id; a redelivery has the same.
    pub id: String,
    /// Its kind, in the provider's word.
    pub told: String,
    /// Whose charge, where it is one of ours, and the state that it came to.
    pub about: Option<(PaymentId, State)>,
    /// The provider's own name of the charge, where it has one.
    pub reference: Option<String>,
}

/// A body that is no event of this provider, signed though it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// How the body of a provider's webhook reads.
pub type Reader = fn(&[u8]) -> Result<Vec<Event>, Unreadable>;

/// No answer came: the provider did what it was asked, or will, or never heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer is unknown")]
pub struct Unknown;

/// A payment provider. Each call may be repeated with the same key as often as one likes.
#[async_trait::async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Reserves the amount. A charge that was voided before it came stays voided.
    async fn authorize(&self, charge: Charge, deadline: Deadline) -> Result<Standing, Unknown>;

    /// Takes what was reserved.
    async fn capture(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown>;

    /// Gives a reservation up, and leaves a tombstone where there is none yet.
    async fn void(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown>;

    /// Only looks how the charge stands.
    async fn look(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown>;

    /// Gives back what was taken, whole.
    async fn refund(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown>;
}
