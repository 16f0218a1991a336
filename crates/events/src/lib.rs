//! What happened in a service becomes known to whoever acts on it.
//!
//! A service writes each event into its outbox, in the transaction of what happened. The [`relay`]
//! appends it to a stream in Redis, and a [`consumer`] hands it to whoever has to do something
//! about it. Postgres is the truth: when Redis loses its streams, everything that the outbox still
//! keeps is appended again.
//!
//! *Invariant*: an event may be delivered more than once and, after a loss, out of order; it is not
//! lost while its row is kept. Whoever acts on it records the event's id with the effect.
//! *Invariant*: there is no rule of the business here, and no SQL.
//!
//! Failpoint: `relay.after_append` (events stand in their stream, the outbox does not know).

pub mod consumer;
pub mod relay;
pub mod streams;
mod telling;

pub use consumer::{Delivered, Handler, Outcome, Parked};
pub use relay::{Claim, Lease, Outbox, Unpublished};
pub use streams::Streams;
