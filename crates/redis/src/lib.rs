//! Redis Cluster as firstcome uses it: one small pool, the names of all keys, and typed calls of
//! server-side functions that survive failovers.
//!
//! It holds no rule of the business: what a function does stands with the service that owns it.

pub mod error;
pub mod keys;
pub mod pool;
mod shards;
mod telling;

pub use error::Error;
pub use pool::{Apart, RedisPool};
