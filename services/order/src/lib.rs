//! Orders and the purchase saga.
//!
//! This service alone knows that a purchase is a hold, a charge and a row. In the rush it turns
//! admitted placements into rows, many at a time ([`intake`]); afterwards it drives each order
//! through its payment and its life after it, step by saved step ([`saga`]), as people ask
//! ([`commands`]) and as time goes by, and picks up what a dead process left ([`worker`]).
//!
//! *Invariant*: there is no SQL outside [`store`], and no I/O in [`order`], [`life`], [`hold`],
//! [`basket`], [`wanted`] and [`place`]. There is no clock here that decides anything: a hold's end
//! is inventory's to say, a lease's and a day's are Postgres's. Where goods go is sealed by whoever
//! writes it: no row, event or log line has it in the clear.

pub mod config;
pub mod error;

pub mod basket;
pub mod hold;
pub mod life;
pub mod order;
pub mod place;
pub mod wanted;

pub mod attempt;
pub mod baskets;
pub mod commands;
pub mod intake;
pub mod metrics;
pub mod peers;
pub mod rpc;
pub mod saga;
pub mod store;
pub mod watch;
pub mod worker;

pub mod app;

/// Where a test may stop the process dead, in the order in which a purchase passes them.
pub const FAILPOINTS: &[&str] = &[
    "order.before_insert",
    "order.after_insert",
    "pay.after_mark",
    "pay.after_pin",
    "pay.before_authorize",
    "pay.after_authorize",
    "pay.before_settle",
    "pay.after_settle",
    "pay.before_capture",
    "pay.after_capture",
    "pay.before_restock",
    "pay.after_restock",
    "pay.before_void",
    "pay.after_void",
    "pay.before_refund",
    "pay.after_refund",
    "pay.before_release",
    "pay.after_release",
    "cancel.after_mark",
    "cancel.after_release",
    "expire.before_release",
    "expire.after_release",
    "ship.due",
    "ship.before_save",
    "deliver.due",
    "deliver.before_save",
    "confirm.due",
    "confirm.before_save",
    "give_back.before_restock",
    "give_back.after_restock",
    "give_back.before_refund",
    "give_back.after_refund",
    "attempt.after_intent",
    "attempt.after_hold",
    "attempt.before_undo",
    "attempt.after_finish",
];

#[cfg(test)]
mod tests {
    use crate::{FAILPOINTS, order::Step};

    #[test]
    fn every_step_has_its_two_failpoints_in_the_list() {
        let steps = Step::ALL.iter().map(|step| step.failpoints());
        let names: Vec<&str> = steps.flat_map(|(before, after)| [before, after]).collect();
        assert!(names.iter().all(|name| FAILPOINTS.contains(name)), "{names:?}");
        assert_eq!(names.len() + 2 + 4, FAILPOINTS.len(), "and those of insert and attempts");
    }
}
