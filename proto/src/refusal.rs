//! Refusals: every error that leaves a service has one of the documented reasons, and the reason
//! alone decides its gRPC code.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub use crate::error_v1::{Reason, Refusal, SharedRefusal};
use crate::{error_v1::FieldViolation, timestamp};

/// A peer that cannot be reached needs about this long to come back or to be replaced.
const UNAVAILABLE_RETRY: Duration = Duration::from_millis(200);

/// The `domain` of every ErrorInfo.
pub const DOMAIN: &str = "firstcome";

impl Reason {
    /// The name in ErrorInfo, as in `SOLD_OUT`.
    pub fn name(self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix("REASON_").unwrap_or(name)
    }

    /// Reads the name in ErrorInfo.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::from_str_name(&format!("REASON_{name}"))
    }

    /// The gRPC code, chosen by what the caller does next.
    pub fn code(self) -> Code {
        match self {
            Self::NotOpen
            | Self::Closed
            | Self::LimitPerBuyer
            | Self::OrderExpired
            | Self::WrongState
            | Self::OutOfStock
            | Self::ReturnWindowOver
            | Self::CardDeclined
            | Self::InsufficientFunds
            | Self::EmailNotVerified
            | Self::BelowCommitted
            | Self::BasketFull
            | Self::DefaultAddress
            | Self::AddressBookFull
            | Self::AccountBanned
            | Self::CodeInvalid => Code::FailedPrecondition,
            Self::SoldOut | Self::RateLimited => Code::ResourceExhausted,
            Self::PaymentInProgress | Self::PlacementInProgress => Code::Aborted,
            Self::KeyReused | Self::NameTaken => Code::AlreadyExists,
            Self::Overloaded | Self::Fenced | Self::WatcherTooSlow | Self::UpstreamUnavailable => {
                Code::Unavailable
            }
            Self::TokenInvalid
            | Self::TokenExpired
            | Self::TokenRevoked
            | Self::BadCredentials
            | Self::SignatureInvalid => Code::Unauthenticated,
            Self::NotFound => Code::NotFound,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::InvalidArgument => Code::InvalidArgument,
            Self::NoSuchMethod => Code::Unimplemented,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Unspecified | Self::Internal => Code::Internal,
        }
    }
}

impl Refusal {
    /// A refusal with a reason and a message for a developer.
    pub fn because(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason: reason as i32, message: message.into(), ..Self::default() }
    }

    /// INVALID_ARGUMENT with one faulty field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::because(Reason::InvalidArgument, "the request is not valid")
            .and_violation(field, description)
    }

    /// NOT_FOUND of a thing with a lower-case name.
    pub fn not_found(thing: &str) -> Self {
        Self::because(Reason::NotFound, format!("no such {thing}"))
    }

    /// INTERNAL without detail; log the fault where you make this.
    pub fn internal() -> Self {
        Self::because(Reason::Internal, "a fault of ours; try again with the same key")
    }

    /// Adds another faulty field.
    pub fn and_violation(
        mut self,
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.violations
            .push(FieldViolation { field: field.into(), description: description.into() });
        self
    }

    /// Says how long to wait before the next try.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(timestamp::duration_to_wire(wait));
        self
    }

    /// Adds what the reason documents.
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Puts the path of an enclosing field in front of each violation's.
    pub fn within(mut self, path: &str) -> Self {
        for violation in &mut self.violations {
            violation.field = format!("{path}.{}", violation.field);
        }
        self
    }

    /// Reads a refusal back out of a status; one without our ErrorInfo becomes the nearest reason.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let reason = info.and_then(|info| Reason::from_name(&info.reason));
        let mut refusal = Self::because(
            reason.unwrap_or_else(|| nearest_reason(status.code())),
            status.message(),
        );
        if let Some(info) = info {
            refusal.metadata = info.metadata.clone();
        }
        if let Some(wait) = details.retry_info().and_then(|info| info.retry_delay) {
            refusal = refusal.retry_after(wait);
        } else if refusal.reason().code() == Code::Unavailable {
            refusal = refusal.retry_after(UNAVAILABLE_RETRY);
        }
        if let Some(bad) = details.bad_request() {
            for violation in &bad.field_violations {
                refusal = refusal.and_violation(&violation.field, &violation.description);
            }
        }
        refusal
    }
}

impl SharedRefusal {
    /// Each place with what is said to it.
    pub fn each(self) -> impl Iterator<Item = (u32, Arc<Refusal>)> {
        let refusal = Arc::new(self.refusal.unwrap_or_else(Refusal::internal));
        self.indexes.into_iter().map(move |index| (index, Arc::clone(&refusal)))
    }
}

/// Refusals seen lately are looked through for an equal one; in a rush there are two or three.
const LOOKED_THROUGH_MAX: usize = 4;

/// The refusals of one batched answer: those that say the same travel once.
#[derive(Debug, Default)]
pub struct SharedRefusals(Vec<(Arc<Refusal>, Vec<u32>)>);

impl SharedRefusals {
    /// Refuses the item at this place.
    pub fn add(&mut self, index: u32, refusal: Arc<Refusal>) {
        let same = |(known, _): &&mut (Arc<Refusal>, Vec<u32>)| {
            Arc::ptr_eq(known, &refusal) || *known == refusal
        };
        match self.0.iter_mut().rev().take(LOOKED_THROUGH_MAX).find(same) {
            Some((_, indexes)) => indexes.push(index),
            None => self.0.push((refusal, vec![index])),
        }
    }

    /// The contract's form.
    pub fn into_wire(self) -> Vec<SharedRefusal> {
        let to_wire = |(refusal, indexes)| SharedRefusal {
            refusal: Some(Arc::unwrap_or_clone(refusal)),
            indexes,
        };
        self.0.into_iter().map(to_wire).collect()
    }
}

/// What a status without our ErrorInfo (made by tonic, or by somebody's proxy) most nearly means.
fn nearest_reason(code: Code) -> Reason {
    match code {
        // A service of ours never says the last three without a reason: the transport does, when a
        // connection breaks in the middle of an answer. What was asked may have been done.
        Code::Unavailable | Code::Internal | Code::Unknown | Code::DataLoss => {
            Reason::UpstreamUnavailable
        }
        Code::DeadlineExceeded | Code::Cancelled => Reason::DeadlineExceeded,
        Code::ResourceExhausted => Reason::Overloaded,
        Code::InvalidArgument | Code::OutOfRange => Reason::InvalidArgument,
        Code::Unimplemented => Reason::NoSuchMethod,
        Code::NotFound => Reason::NotFound,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::TokenInvalid,
        Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists | Code::Ok => {
            Reason::Internal
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.reason();
        let metadata: HashMap<String, String> = refusal.metadata;
        let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, metadata);
        if let Some(wait) = refusal.retry_after.and_then(|wait| Duration::try_from(wait).ok()) {
            details.set_retry_info(Some(wait));
        }
        for violation in refusal.violations {
            details.add_bad_request_violation(violation.field, violation.description);
        }
        Status::with_error_details(reason.code(), refusal.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_way_through_a_status() {
        let refusal = Refusal::invalid("lines[2].quantity", "want 1 to 1000")
            .with("holds_open", 7)
            .retry_after(Duration::from_millis(250));
        let status = Status::from(refusal.clone());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(Refusal::from_status(&status), refusal);
    }

    #[test]
    fn a_connection_that_broke_in_mid_answer_is_unavailable() {
        let broken = Status::internal("h2 protocol error: error reading a body from connection");
        let refusal = Refusal::from_status(&broken);
        assert_eq!(refusal.reason(), Reason::UpstreamUnavailable);
        assert!(refusal.retry_after.is_some());
        let ours = Status::from(Refusal::internal());
        assert_eq!(Refusal::from_status(&ours).reason(), Reason::Internal);
    }

    #[test]
    fn every_reason_has_a_name_that_reads_back() {
        for number in 1..=37 {
            let reason = Reason::try_from(number).expect("numbers are without gaps");
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
        }
        assert!(Reason::try_from(38).is_err(), "extend this test with the enum");
    }
}
