//! Stories through the edge, on real processes and real stores.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]
#![allow(clippy::large_futures, reason = "a story runs once")]

#[path = "it/baskets.rs"]
mod baskets;
#[path = "it/books.rs"]
mod books;
// The longest: stories begin in the order of their names, and this one should not be the last.
#[path = "it/browser.rs"]
mod browser;
#[path = "it/catalogue.rs"]
mod catalogue;
#[path = "it/events.rs"]
mod events;
#[path = "it/examples.rs"]
mod examples;
// Release builds have no failpoints.
#[cfg(debug_assertions)]
#[path = "it/failpoints.rs"]
mod failpoints;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/grpcurl.rs"]
mod grpcurl;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/identity.rs"]
mod identity;
#[path = "it/life.rs"]
mod life;
// A debug build would take minutes for it.
#[cfg(not(debug_assertions))]
#[path = "it/main_job.rs"]
mod main_job;
#[path = "it/metrics.rs"]
mod metrics;
#[path = "it/privacy.rs"]
mod privacy;
#[path = "it/purchase.rs"]
mod purchase;
#[path = "it/races.rs"]
mod races;
#[path = "it/roll.rs"]
mod roll;
#[path = "it/rubbish.rs"]
mod rubbish;
#[path = "it/sale.rs"]
mod sale;
// The load would only be a debug build's own.
#[cfg(not(debug_assertions))]
#[path = "it/scenarios.rs"]
mod scenarios;
#[path = "it/traces.rs"]
mod traces;
#[path = "it/upgrade.rs"]
mod upgrade;
#[path = "it/web.rs"]
mod web;
#[path = "it/webhooks.rs"]
mod webhooks;
