//! The contract: requests become domain types once, here, and answers leave from here.

pub mod account_service;
pub mod address_book_service;
pub mod profile_service;
pub mod revocation_service;
pub mod token_key_service;

use firstcome_proto::{Reason, Refusal, error_v1::FieldViolation};

/// Gathers the faults of all fields, so that a client learns them at once.
#[derive(Default)]
pub(crate) struct Faults(Vec<FieldViolation>);

impl Faults {
    /// Keeps the value, or its fault.
    pub(crate) fn check<T>(&mut self, field: Result<T, Refusal>) -> Option<T> {
        field.map_err(|refusal| self.0.extend(refusal.violations)).ok()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The refusal that names them all.
    pub(crate) fn refusal(self) -> Refusal {
        let mut refusal = Refusal::because(Reason::InvalidArgument, "the request is not valid");
        refusal.violations = self.0;
        refusal
    }
}
