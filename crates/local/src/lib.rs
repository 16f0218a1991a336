//! A private firstcome on this machine: the programs it needs, a Redis Cluster, a Postgres, and
//! the five services, all children of this process and gone with it.
//!
//! It never touches an instance that the distribution or anybody else runs.

pub mod address;
pub mod certificates;
pub mod checkout;
pub mod database;
pub mod mesh;
pub mod port;
pub mod postgres;
pub mod process;
mod ready;
pub mod redis_cluster;
pub mod replica;
pub mod runner;
pub mod secret;
pub mod service;
pub mod stores;
pub mod tools;

pub use address::Address;
pub use certificates::Certificates;
pub use checkout::Checkout;
pub use database::{Database, Role};
pub use mesh::Mesh;
pub use postgres::Postgres;
pub use process::Process;
pub use redis_cluster::RedisCluster;
pub use replica::Replica;
pub use service::Service;
pub use stores::Stores;
