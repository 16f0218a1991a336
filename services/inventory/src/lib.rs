//! firstcome-inventory: products, live stock and reservations.
//!
//! Redis proposes, Postgres commits, and only then is anyone told. Start reading at [`reserve`],
//! the way of a wish; [`gate`] and [`store`] are what it passes through, [`live`] what happens
//! when the two disagree, [`keeper`] what happens when nobody asks.
//!
//! It knows nothing of orders or payments: reservations are ids, buyers are ids.

pub mod app;
pub mod config;

pub mod catalog;
pub mod hold;

pub mod gate;
pub mod keeper;
pub mod live;
pub mod reserve;
pub mod stock;

pub mod badge;
pub mod offer;
pub mod shelf;
pub mod turn;

pub mod store;

pub mod error;
pub mod measure;
pub mod metrics;
pub mod rpc;

/// Every place where a test may stop this process, in the order in which a hold passes them.
pub const FAILPOINTS: [&str; 7] = [
    "inventory.between_gate_and_ledger",
    "inventory.between_commit_and_answer",
    "inventory.between_command_and_answer",
    "inventory.between_expire_and_free",
    "inventory.between_free_and_delete",
    "inventory.between_epoch_and_load",
    "inventory.between_load_chunks",
];
