//! Every way in which this service says no, and the one place where that becomes a reason.

use std::time::Duration;

use firstcome_mesh::Rejected;
use firstcome_proto::{Reason, Refusal};
use tonic::Status;

use crate::{order, store};

/// When somebody else is at work on an order, look again after this long: most payments take less.
const IN_PROGRESS_RETRY: Duration = Duration::from_millis(500);
/// When Postgres or a peer cannot be reached.
const UNAVAILABLE_RETRY: Duration = Duration::from_millis(200);

/// Why a call was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else's reason, or a faulty field, passed on as it is.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// No such order, or not the caller's.
    #[error("no such order")]
    NotFound,
    /// No such address in the caller's book.
    #[error("no such address")]
    NoSuchAddress,
    /// The order's key was used with other contents.
    #[error("the key was used with other contents")]
    KeyReused,
    /// The order's hold has ended.
    #[error("the order has expired")]
    OrderExpired,
    /// The order is past the point where this could be done.
    #[error("the order's state does not allow this")]
    WrongState(order::State),
    /// The goods were delivered too long ago to be returned.
    #[error("the return window is over")]
    ReturnWindowOver,
    /// A payment of the order, or another of the same buyer, is under way.
    #[error("a payment is under way")]
    PaymentInProgress,
    /// A call with the same key is under way.
    #[error("a call with the same key is under way")]
    PlacementInProgress,
    /// The list, or its line, has no room.
    #[error("the list has 50 lines, or the line 1000 units")]
    BasketFull,
    /// The payment came to nothing.
    #[error("the payment failed")]
    PaymentFailed(order::Failure),
    /// The caller's time was up; the work goes on.
    #[error("the outcome is not known yet")]
    DeadlineExceeded,
    /// A peer, or Postgres, cannot be reached.
    #[error("a part of the shop cannot be reached")]
    Unavailable,
    /// Something that cannot be; logged where it was found.
    #[error("a fault of ours")]
    Internal,
    /// A batch did not carry it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Postgres refused.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Refused(refusal) => refusal,
            Error::Rejected(rejected) => rejected.into(),
            Error::NotFound => Refusal::not_found("order"),
            Error::NoSuchAddress => {
                Refusal::invalid("address_id", "want an address in your address book")
            }
            Error::KeyReused => Refusal::because(Reason::KeyReused, message),
            Error::OrderExpired => Refusal::because(Reason::OrderExpired, message),
            Error::WrongState(state) => {
                Refusal::because(Reason::WrongState, message).with("state", state.name())
            }
            Error::ReturnWindowOver => Refusal::because(Reason::ReturnWindowOver, message),
            Error::PaymentInProgress => {
                Refusal::because(Reason::PaymentInProgress, message).retry_after(IN_PROGRESS_RETRY)
            }
            Error::PlacementInProgress => Refusal::because(Reason::PlacementInProgress, message)
                .retry_after(IN_PROGRESS_RETRY),
            Error::BasketFull => Refusal::because(Reason::BasketFull, message),
            Error::PaymentFailed(failure) => failure.refusal(),
            Error::DeadlineExceeded => Refusal::because(Reason::DeadlineExceeded, message),
            Error::Unavailable | Error::Store(store::Error::Unavailable(_)) => {
                Refusal::because(Reason::UpstreamUnavailable, "try again with the same key")
                    .retry_after(UNAVAILABLE_RETRY)
            }
            Error::Internal => Refusal::internal(),
            Error::Store(fault @ (store::Error::Data(_) | store::Error::Fault(_))) => {
                tracing::error!(%fault, "a statement failed");
                Refusal::internal()
            }
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}
