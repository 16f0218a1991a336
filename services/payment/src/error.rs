//! Why a call fails, and what its caller is told.

use std::time::Duration;

use firstcome_mesh::Rejected;
use firstcome_postgres::Trouble;
use firstcome_proto::{Reason, Refusal};
use tonic::Status;

use crate::{payment::State, provider::Unreadable, signature::Fault};

/// How long a caller should wait before it asks an unreachable system again.
const UNAVAILABLE_RETRY: Duration = Duration::from_millis(200);

/// Everything that can go wrong here.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request is not valid.
    #[error("{}", .0.message)]
    Invalid(Refusal),
    /// No such payment, or somebody else's.
    #[error("no such payment")]
    NotFound,
    /// The payment's id was used for another charge.
    #[error("the payment's id was used with other contents")]
    KeyReused,
    /// The payment's state does not allow this, now or ever.
    #[error("the payment is {}", .0.name())]
    WrongState(State),
    /// Webhooks of this provider are not taken here.
    #[error("no such provider")]
    NoSuchProvider,
    /// A webhook that nobody we know has signed about now.
    #[error(transparent)]
    Signature(#[from] Fault),
    /// A webhook that is signed and makes no sense.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The provider gave no answer; it may have done what it was asked.
    #[error("the provider's answer is unknown")]
    ProviderUnknown,
    /// The row could not be read or written; it may have been written.
    #[error("the database does not answer")]
    StoreUnavailable,
    /// A fault of ours, logged where it happened.
    #[error("a fault of ours")]
    Internal,
    /// The queue in front of the database refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

impl From<sqlx::Error> for Error {
    /// Logs the detail, here and nowhere else.
    fn from(error: sqlx::Error) -> Self {
        if Trouble::of(&error) == Trouble::Passing {
            tracing::warn!(%error, "database does not answer");
            Self::StoreUnavailable
        } else {
            tracing::error!(%error, "statement failed");
            Self::Internal
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid(refusal) => refusal,
            Error::NotFound => Refusal::not_found("payment"),
            Error::KeyReused => Refusal::because(Reason::KeyReused, message),
            Error::WrongState(state) => {
                Refusal::because(Reason::WrongState, message).with("state", state.name())
            }
            Error::NoSuchProvider => Refusal::not_found("provider"),
            Error::Signature(_) => Refusal::because(Reason::SignatureInvalid, message),
            Error::Unreadable(Unreadable(what)) => Refusal::invalid("body", what),
            Error::ProviderUnknown | Error::StoreUnavailable => {
                Refusal::because(Reason::UpstreamUnavailable, message)
                    .retry_after(UNAVAILABLE_RETRY)
            }
            Error::Internal => Refusal::internal(),
            Error::Rejected(rejected) => rejected.into(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}
