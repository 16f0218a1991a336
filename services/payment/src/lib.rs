//! payment moves money, each step exactly once by the payment's id.
//!
//! It owns the payments and never the goods: it knows nothing of orders, stock or people. The
//! provider's ledger is the truth about the money; a payment's row follows it.
//!
//! Failpoints, in the order in which a call passes them: `payment.after_intent` (the row is saved,
//! the provider not asked), `payment.after_provider` (it answered, the row does not know),
//! `payment.after_commit` (the row knows, the caller does not). Inside the sandbox provider:
//! `sandbox.after_commit` (its ledger has moved, nobody was told).

pub mod app;
pub mod config;
pub mod error;

pub mod charge;
pub mod payment;

pub mod provider;
pub mod rpc;
pub mod sandbox;
pub mod store;
