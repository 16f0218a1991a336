//! The steps, done: what each asks of inventory and payment, and how that ended.
//!
//! Every arm may run again after it ran, and beside itself. A step on the holds of several products
//! is all or nothing: what it did is undone before it says that it was refused.

use firstcome_proto::{Reason, Refusal, inventory_v1::ReleaseCause, payment_v1::PaymentState};
use futures::future::join_all;

use super::table::Outcome;
use crate::{
    hold,
    order::{Failure, Order, Step},
    peers::{Charges, Inventory, Payment, Verb},
};

/// Where the steps are done.
#[derive(Clone)]
pub struct Acts {
    pub inventory: Inventory,
    pub charges: Charges,
}

impl Acts {
    /// Does a step.
    pub async fn act(&self, step: Step, order: &Order) -> Outcome {
        let id = order.id;
        match step {
            Step::Expire => self.expire(order).await,
            Step::Cancel => self.free(step, order, ReleaseCause::Cancel).await,
            Step::Release => self.free(step, order, ReleaseCause::Saga).await,
            Step::Pin => match self.keep(step, order, Verb::Pin).await {
                // Of several holds some may be pinned now, and a pinned hold has no end by itself.
                Outcome::Refused if order.attempt.is_some() => {
                    and_refused(self.free(Step::Release, order, ReleaseCause::Saga).await)
                }
                outcome => outcome,
            },
            Step::Settle => match self.keep(step, order, Verb::Settle).await {
                Outcome::Refused if order.attempt.is_some() => {
                    // Those that are sold come back first; the others are not sold, and refuse.
                    match self.keep(Step::Restock, order, Verb::Restock).await {
                        Outcome::Unknown => Outcome::Unknown,
                        _ => and_refused(self.free(Step::Release, order, ReleaseCause::Saga).await),
                    }
                }
                outcome => outcome,
            },
            Step::Restock | Step::TakeBack => self.keep(step, order, Verb::Restock).await,
            Step::Authorize => {
                let method = order.payment_method.as_deref().unwrap_or_default();
                authorized(self.charges.authorize(order, method).await)
            }
            Step::Capture => done(step, self.charges.capture(id.payment()).await),
            Step::Void => done(step, self.charges.void(id.payment(), order.user).await),
            Step::Refund | Step::PayBack => done(step, self.charges.refund(id.payment()).await),
            // Their time has come, which is all that they waited for.
            Step::Ship | Step::Deliver | Step::Confirm => Outcome::Done,
        }
    }

    /// Asks for the end of what is past its time. Holds of several products end at different
    /// times: the first that ends takes the others with it, because nobody can pay for them.
    async fn expire(&self, order: &Order) -> Outcome {
        let answers = self.hold_all(order, Verb::Release(ReleaseCause::Expire)).await;
        let outcomes: Vec<_> = answers.into_iter().map(|it| freed(Step::Expire, it)).collect();
        if outcomes.contains(&Outcome::NotYet) && outcomes.contains(&Outcome::Done) {
            return self.free(Step::Release, order, ReleaseCause::Undo).await;
        }
        worst(outcomes.into_iter())
    }

    /// Ends every hold of the order.
    async fn free(&self, step: Step, order: &Order, cause: ReleaseCause) -> Outcome {
        let answers = self.hold_all(order, Verb::Release(cause)).await;
        worst(answers.into_iter().map(|answer| freed(step, answer)))
    }

    /// Does something else to every hold of the order.
    async fn keep(&self, step: Step, order: &Order, verb: Verb) -> Outcome {
        let answers = self.hold_all(order, verb).await;
        worst(answers.into_iter().map(|answer| done(step, answer)))
    }

    async fn hold_all(&self, order: &Order, verb: Verb) -> Vec<Result<hold::State, Refusal>> {
        let (products, id) = order.holds();
        join_all(products.into_iter().map(|product| self.inventory.hold(verb, product, id))).await
    }
}

/// Of the outcomes of several holds, the one that decides.
fn worst(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Done => 0,
        Outcome::HadExpired => 1,
        Outcome::Refused | Outcome::Declined(_) => 2,
        Outcome::NotYet => 3,
        Outcome::Unknown | Outcome::StillUnknown => 4,
    };
    outcomes.max_by_key(rank).unwrap_or(Outcome::Done)
}

/// Refused, once the undoing is known to be done.
fn and_refused(undone: Outcome) -> Outcome {
    match undone {
        Outcome::Unknown => Outcome::Unknown,
        _ => Outcome::Refused,
    }
}

/// The outcome of freeing a hold.
fn freed(step: Step, answer: Result<hold::State, Refusal>) -> Outcome {
    match (step, answer) {
        (Step::Cancel, Ok(hold::State::Cancelled)) => Outcome::Done,
        (Step::Cancel, Ok(_)) => Outcome::HadExpired,
        (_, Ok(_)) => Outcome::Done,
        (_, Err(refusal)) => match refusal.reason() {
            // Held still, or pinned by a payment that has just begun.
            Reason::WrongState if step == Step::Expire => Outcome::NotYet,
            // No hold is nothing to free.
            Reason::NotFound => {
                tracing::error!(?step, "a pending order has no hold");
                Outcome::Done
            }
            _ => done::<()>(step, Err(refusal)),
        },
    }
}

/// The outcome of a step that is either done or refused.
fn done<T>(step: Step, answer: Result<T, Refusal>) -> Outcome {
    let Err(refusal) = answer else { return Outcome::Done };
    match refusal.reason() {
        Reason::WrongState | Reason::NotFound => {
            tracing::info!(?step, metadata = ?refusal.metadata, "a step was refused");
            Outcome::Refused
        }
        _ => unknown(step, &refusal),
    }
}

fn authorized(answer: Result<Payment, Refusal>) -> Outcome {
    let payment = match answer {
        Ok(payment) => payment,
        Err(refusal) => match refusal.reason() {
            Reason::KeyReused | Reason::InvalidArgument | Reason::WrongState => {
                tracing::warn!(reason = refusal.reason().name(), "an authorisation was refused");
                return Outcome::Refused;
            }
            _ => return unknown(Step::Authorize, &refusal),
        },
    };
    match payment.state {
        PaymentState::Authorized | PaymentState::Captured => Outcome::Done,
        PaymentState::Declined if payment.decline_code == "insufficient_funds" => {
            Outcome::Declined(Failure::InsufficientFunds)
        }
        PaymentState::Declined => Outcome::Declined(Failure::CardDeclined),
        // Given up by a driver that went before.
        PaymentState::Voided | PaymentState::Refunded => Outcome::Declined(Failure::NoAnswer),
        PaymentState::Authorizing | PaymentState::Unspecified => Outcome::Unknown,
    }
}

fn unknown(step: Step, refusal: &Refusal) -> Outcome {
    tracing::info!(?step, reason = refusal.reason().name(), "the outcome of a step is unknown");
    Outcome::Unknown
}
