//! payment moves money, each step exactly once by the payment's id.
//!
//! It owns the payments and never the goods: it knows nothing of orders, stock or people. The
//! provider's ledger is the truth about the money; a payment's row follows it.
//!
//! Failpoints, in the order in which a call passes them: `payment.after_intent` (the row is saved,
//! the provider not asked), `payment.after_provider` (it answered, the row does not know),
//! `payment.after_commit` (the row knows, the caller does not). A webhook passes
//! `webhook.before_effect` (it is on record, its sender knows) and `webhook.after_effect` (the
//! payment has followed, the record does not know). Inside the sandbox provider:
//! `sandbox.after_commit` (its ledger has moved, nobody was told) and `sandbox.after_told` (its
//! merchant has heard, its outbox does not know).

pub mod app;
pub mod config;
pub mod error;
pub mod metrics;

pub mod charge;
pub mod payment;
pub mod signature;
pub mod webhook;

pub mod provider;
pub mod rpc;
pub mod sandbox;
pub mod store;
pub mod stripe;

mod http_client;
