//! How a service reaches Postgres: connections that stay at hand, the settings of a session, and
//! what a failed statement means. The statements themselves stand in each service's `store.rs`.

mod named;
mod pool;
mod slices;
mod trouble;
mod usage;

pub use pool::{Lent, Pool, Settings};
pub use slices::Slices;
pub use trouble::{Trouble, broken_constraint};
