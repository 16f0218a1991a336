//! The real edge on a port of its own, in front of scripted services that speak real gRPC.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "it/mesh.rs"]
mod mesh;

#[path = "it/forwarding.rs"]
mod forwarding;
#[path = "it/limits.rs"]
mod limits;
#[path = "it/my_page.rs"]
mod my_page;
#[path = "it/orders.rs"]
mod orders;
#[path = "it/outage.rs"]
mod outage;
#[path = "it/revocations.rs"]
mod revocations;
#[path = "it/rush.rs"]
mod rush;
#[path = "it/tokens.rs"]
mod tokens;
#[path = "it/watching.rs"]
mod watching;
#[path = "it/web.rs"]
mod web;
#[path = "it/webhooks.rs"]
mod webhooks;
