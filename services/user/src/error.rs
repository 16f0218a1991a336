//! Why a call fails, and what its caller is told.

use std::time::Duration;

use firstcome_postgres::Trouble;
use firstcome_proto::{Reason, Refusal};
use tonic::Status;

use crate::account::State;

/// How long a caller should wait before it asks an unreachable or busy system again.
const RETRY: Duration = Duration::from_millis(500);
/// How long one should wait whose password found the queue full: what the whole queue takes on a busy
/// machine. A thousand people who all ask again twice a second are a load of their own.
const RETRY_PASSWORD: Duration = Duration::from_secs(4);

/// Everything that can go wrong here. None of it says whether an address has an account.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request is not valid.
    #[error("{}", .0.message)]
    Invalid(Refusal),
    /// No such account, or another password.
    #[error("email or password is wrong")]
    BadCredentials,
    /// The right password of an account that is not active yet.
    #[error("the email is not verified")]
    EmailNotVerified,
    /// The right password of an account that an operator has shut.
    #[error("the account is shut")]
    AccountBanned,
    /// Wrong, burned or over.
    #[error("the code is wrong, burned or over")]
    CodeInvalid,
    /// Not a token of ours.
    #[error("the token is not valid")]
    TokenInvalid,
    /// The token's or session's time is over.
    #[error("the session has expired")]
    TokenExpired,
    /// The session was ended.
    #[error("the session was ended")]
    TokenRevoked,
    /// There is no such thing, or it is somebody else's.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The key was used with other contents.
    #[error("the key was used with other contents")]
    KeyReused,
    /// The address book has no room.
    #[error("the address book has 20 addresses")]
    AddressBookFull,
    /// The default address stays until another one is the default.
    #[error("this is the default address")]
    DefaultAddress,
    /// Too many wrong passwords, or mails to one address: nothing happened, and there is room again
    /// after this long.
    #[error("too many tries")]
    RateLimited(Duration),
    /// An account that stands there is not banned, or let in again.
    #[error("the account's state does not allow this")]
    WrongState(State),
    /// Too many passwords wait to be hashed.
    #[error("too many log-ins at once")]
    Overloaded,
    /// Postgres or Redis does not answer; what was asked may have happened.
    #[error("a store does not answer")]
    StoreUnavailable,
    /// A fault of ours, logged where it happened.
    #[error("a fault of ours")]
    Internal,
}

impl Error {
    /// Logs a fault of ours, here and nowhere else.
    pub fn internal(what: &str, fault: impl std::fmt::Display) -> Self {
        tracing::error!(%fault, "{what}");
        Self::Internal
    }
}

impl From<sqlx::Error> for Error {
    /// Logs the detail, here and nowhere else.
    fn from(error: sqlx::Error) -> Self {
        if Trouble::of(&error) == Trouble::Passing {
            tracing::warn!(%error, "database does not answer");
            Self::StoreUnavailable
        } else {
            Self::internal("statement failed", error)
        }
    }
}

impl From<firstcome_redis::Error> for Error {
    /// Logs the detail, here and nowhere else.
    fn from(error: firstcome_redis::Error) -> Self {
        if error.is_unavailable() {
            tracing::warn!(%error, "redis does not answer");
            Self::StoreUnavailable
        } else {
            Self::internal("redis function failed", error)
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let reason = match &error {
            Error::Invalid(_) => Reason::InvalidArgument,
            Error::BadCredentials => Reason::BadCredentials,
            Error::EmailNotVerified => Reason::EmailNotVerified,
            Error::AccountBanned => Reason::AccountBanned,
            Error::CodeInvalid => Reason::CodeInvalid,
            Error::RateLimited(_) => Reason::RateLimited,
            Error::NotFound(_) => Reason::NotFound,
            Error::WrongState(_) => Reason::WrongState,
            Error::TokenInvalid => Reason::TokenInvalid,
            Error::TokenExpired => Reason::TokenExpired,
            Error::TokenRevoked => Reason::TokenRevoked,
            Error::KeyReused => Reason::KeyReused,
            Error::AddressBookFull => Reason::AddressBookFull,
            Error::DefaultAddress => Reason::DefaultAddress,
            Error::Overloaded => Reason::Overloaded,
            Error::StoreUnavailable => Reason::UpstreamUnavailable,
            Error::Internal => Reason::Internal,
        };
        match error {
            Error::Invalid(refusal) => refusal,
            Error::Internal => Refusal::internal(),
            Error::NotFound(thing) => Refusal::not_found(thing),
            Error::WrongState(state) => {
                Refusal::because(reason, error.to_string()).with("state", state.name())
            }
            Error::RateLimited(wait) => {
                Refusal::because(reason, error.to_string()).retry_after(wait)
            }
            Error::Overloaded => {
                Refusal::because(reason, error.to_string()).retry_after(RETRY_PASSWORD)
            }
            Error::StoreUnavailable => {
                Refusal::because(reason, error.to_string()).retry_after(RETRY)
            }
            error => Refusal::because(reason, error.to_string()),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}
