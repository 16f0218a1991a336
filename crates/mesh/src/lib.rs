//! What every binary of the mesh does the same way, from its first line to its last:
//! [`config`] → [`telemetry`] and [`metrics`] → [`server`] (health, reflection) → drain under a
//! deadline ([`shutdown`]); how one service calls another: [`upstream`], [`deadline`], [`retry`], and the
//! [`batcher`] that makes every hop nearly free; and how both prove who they are: [`tls`].
//!
//! It knows nothing of shops, stock or money.

pub mod config;
pub mod metrics;
pub mod telemetry;
pub mod tls;

pub mod open_files;
pub mod server;
pub mod shutdown;

mod answer;
pub mod deadline;
pub mod identity;
pub mod retry;
pub mod upstream;

pub mod batcher;
pub mod failpoint;
pub mod page;

/// Every binary's: batches are made of many small pieces, which one thread makes and another drops.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use batcher::{Answers, BatchCall, Batcher, Rejected, Reply};
pub use deadline::Deadline;
pub use identity::Identity;
pub use shutdown::Shutdown;
pub use tls::{Credentials, Tls};
