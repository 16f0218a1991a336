//! Why inventory refuses, and the one place where faults become documented reasons.

use std::time::Duration;

use firstcome_postgres::Trouble;
use firstcome_proto::{Reason, Refusal};

use crate::{
    gate,
    store::{catalog::CreateError, edits::Refused},
};

/// A rebuild takes tens of milliseconds; a failover several seconds. Retries spread between.
const FENCED_RETRY: Duration = Duration::from_millis(250);
/// A full queue of visitors is done within half a second or so.
const OVERLOADED_RETRY: Duration = Duration::from_millis(500);
/// A store that does not answer needs longer than a rebuild.
const UNAVAILABLE_RETRY: Duration = Duration::from_millis(500);

/// The product's live stock is being rebuilt.
pub fn fenced() -> Refusal {
    Refusal::because(Reason::Fenced, "the live stock is being rebuilt").retry_after(FENCED_RETRY)
}

/// A store does not answer; what was asked may have been done, and asking again is safe.
pub fn unavailable() -> Refusal {
    Refusal::because(Reason::UpstreamUnavailable, "a store does not answer")
        .retry_after(UNAVAILABLE_RETRY)
}

/// Too many wait for what was asked; nothing was done.
pub fn overloaded() -> Refusal {
    Refusal::because(Reason::Overloaded, "too many ask at once").retry_after(OVERLOADED_RETRY)
}

/// Postgres failed: logged here, told without detail.
pub fn database(error: &sqlx::Error) -> Refusal {
    match Trouble::of(error) {
        Trouble::Passing => {
            tracing::warn!(%error, "postgres is not serving");
            unavailable()
        }
        Trouble::Data | Trouble::Fault => {
            tracing::error!(%error, "postgres refused a statement");
            Refusal::internal()
        }
    }
}

/// A change of the catalogue was refused.
pub fn change(refused: &Refused) -> Refusal {
    match refused {
        Refused::NotFound(thing) => Refusal::not_found(thing),
        Refused::BelowCommitted(floor) => {
            Refusal::because(Reason::BelowCommitted, "the total is below what is held and sold")
                .with("floor", floor)
        }
        Refused::NameTaken => name_taken(),
        Refused::Discontinued => Refusal::because(
            Reason::WrongState,
            "the product is discontinued; make it active first",
        )
        .with("state", "DISCONTINUED"),
        Refused::Misfit(misfit) => Refusal::invalid(misfit.field.clone(), misfit.want),
    }
}

fn name_taken() -> Refusal {
    Refusal::because(Reason::NameTaken, "another product has this name")
}

/// A product was not made.
pub fn create(error: &CreateError) -> Refusal {
    match error {
        CreateError::NameTaken => name_taken(),
        CreateError::KeyReused => {
            Refusal::because(Reason::KeyReused, "the key was used with other contents")
        }
        CreateError::Database(error) => database(error),
    }
}

/// The gate did not do what was asked, and nobody needs to rebuild it for that.
pub fn gate(fault: &gate::Fault) -> Refusal {
    match fault {
        gate::Fault::Redis(error) => {
            tracing::warn!(%error, "redis does not answer");
            unavailable()
        }
        gate::Fault::Unreadable(_) => {
            tracing::error!(%fault, "gate answered out of shape");
            Refusal::internal()
        }
        _ => fenced(),
    }
}
