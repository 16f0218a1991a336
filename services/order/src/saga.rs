//! The saga: what happens to an order from its payment, its cancelling, its return or its pay-by
//! time to where it rests again, step after step.
//!
//! | step | does | then | if refused |
//! |---|---|---|---|
//! | `pin` | keeps the holds while the card is asked | `authorize` | a hold is gone: EXPIRED |
//! | `authorize` | reserves the money | `settle` | declined: `release`; no answer: `void` |
//! | `settle` | sells the units | `capture` | out of stock: `void` |
//! | `capture` | takes the money | PREPARING | `restock` |
//! | `restock` | undoes `settle` | `void` | |
//! | `void` | undoes `authorize`, also one that comes late | `release` | taken already: `refund` |
//! | `refund` | undoes `capture` | `release` | |
//! | `release` | undoes `pin` and the holds | PAYMENT_FAILED | |
//! | `cancel` | frees the holds for the buyer | CANCELLED | |
//! | `expire` | asks inventory to expire the holds | EXPIRED | not yet: again in a second |
//! | `ship`, `deliver`, `confirm` | nothing: it is time | SHIPPING, DELIVERED, CONFIRMED | |
//! | `take_back` | puts sold units on sale again | `pay_back` | never sold: `pay_back` |
//! | `pay_back` | gives the money back | CANCELLED or RETURNED | left, and logged |
//!
//! Every step may be done twice. What is to be done is saved on the row before it is done, and a
//! move is one conditional update that names the step it starts from. So a process may die
//! anywhere, and two may drive one order: whoever loses a move reads the row and goes on from
//! there. An effect is never undone while it is unknown, except an authorisation, which `void`
//! kills even unseen.
//!
//! `authorize` and `capture` are not saved on their own: whoever finds `pin` or `settle` may do
//! both steps, again or for the first time, and nothing is undone that the first of the two has done.
//! `settle` is: between it and `void`, which another driver may want, only one can be saved.

mod acts;
mod marks;
mod moves;
pub mod table;

use std::time::Duration;

use firstcome_mesh::{
    Batcher, Deadline, Rejected, Shutdown,
    batcher::Limits,
    failpoint,
    telemetry::traces::{Span, SpanKind},
};
use tokio::time::Instant;

use self::{
    acts::Acts,
    marks::Marks,
    moves::Moves,
    table::{Next, Outcome, next},
};
use crate::{
    error::Error,
    life::{self, Beginning},
    metrics::METRICS,
    order::{Failure, Order, PaymentIntent, State, Step},
    peers::{Charges, Inventory},
    store::{Move, Store},
};

/// How long a driver tries a step whose outcome it cannot learn. For an authorisation it is the
/// end of the payment's patience, for every other step the turn of the next worker.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause between tries; each further one is twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// Half a dozen tries fill the patience.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// A batch of moves is one statement; this is many times its slowest.
const MOVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// A step belongs to its driver for so long.
    pub lease: Duration,
    /// A day of the shop: what the automatic steps and the return window are counted in.
    pub day: Duration,
}

impl Step {
    /// Where a test may stop the process: with the step not done, and with the step done and the
    /// next one not saved.
    pub const fn failpoints(self) -> (&'static str, &'static str) {
        match self {
            Self::Expire => ("expire.before_release", "expire.after_release"),
            Self::Cancel => ("cancel.after_mark", "cancel.after_release"),
            Self::Pin => ("pay.after_mark", "pay.after_pin"),
            Self::Authorize => ("pay.before_authorize", "pay.after_authorize"),
            Self::Settle => ("pay.before_settle", "pay.after_settle"),
            Self::Capture => ("pay.before_capture", "pay.after_capture"),
            Self::Restock => ("pay.before_restock", "pay.after_restock"),
            Self::Void => ("pay.before_void", "pay.after_void"),
            Self::Refund => ("pay.before_refund", "pay.after_refund"),
            Self::Release => ("pay.before_release", "pay.after_release"),
            Self::Ship => ("ship.due", "ship.before_save"),
            Self::Deliver => ("deliver.due", "deliver.before_save"),
            Self::Confirm => ("confirm.due", "confirm.before_save"),
            Self::TakeBack => ("give_back.before_restock", "give_back.after_restock"),
            Self::PayBack => ("give_back.before_refund", "give_back.after_refund"),
        }
    }
}

/// Why a driver stopped before the end. The row says where; a worker goes on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled;

/// Drives orders through their steps.
#[derive(Clone)]
pub struct Saga {
    store: Store,
    marks: Batcher<Marks>,
    moves: Batcher<Moves>,
    acts: Acts,
    shutdown: Shutdown,
    clock: Clock,
}

impl Saga {
    /// A saga over these parts.
    pub fn new(
        store: Store,
        inventory: Inventory,
        charges: Charges,
        shutdown: Shutdown,
        limits: Limits,
        clock: Clock,
    ) -> Self {
        let marks = Batcher::new(Marks::new(store.clone(), clock.lease), limits);
        let moves = Batcher::new(Moves::new(store.clone()), limits);
        Self { store, marks, moves, acts: Acts { inventory, charges }, shutdown, clock }
    }

    /// Saves that an order is being paid, before anything is done about it, and gives it to be
    /// driven; `None` when it is not pending, or not this buyer's, or a payment is under way.
    pub async fn begin_payment(
        &self,
        payment: PaymentIntent,
        deadline: Deadline,
    ) -> Result<Option<Order>, Error> {
        let marked = self.marks.submit((), payment, deadline).await;
        match marked {
            Ok(marked) => Ok(marked?),
            Err(rejected) => Err(Error::Rejected(rejected)),
        }
    }

    /// Saves what somebody asked for; `None` when the order is no longer where it was read, or too
    /// long in its state. With no days to wait it is the caller's to be driven.
    pub async fn begin(&self, order: &Order, begun: Beginning) -> Result<Option<Order>, Error> {
        let wait = match begun.after_days {
            0 => self.clock.lease,
            days => self.clock.day * days,
        };
        let Beginning { state, step, .. } = begun;
        let mut order = order.clone();
        let change = Change { state, to: Some(step), failure: None, wait };
        let within = begun.within_days.map(|days| self.clock.day * days);
        let moved = self.make(&mut order, change, within).await?;
        Ok(moved.then_some(order))
    }

    /// Drives an order from a step that is due to where it rests. Run it as a tracked task: a
    /// caller may leave, a step that was begun may not.
    pub async fn drive(&self, mut order: Order) -> Result<Order, Stalled> {
        let (mut since, mut pause) = (Instant::now(), PAUSE_FIRST);
        // The step that was passed to, and is not on the row.
        let mut passed = None;
        let mut leased = Instant::now();
        let (began, is_payment) = (leased, order.step == Some(Step::Pin));
        while let Some(step) = passed.take().or(order.step) {
            let (before, after) = step.failpoints();
            failpoint::hit(before);
            let span = Span::start(SpanKind::Internal, || format!("saga {}", step.word()));
            span.tell("firstcome.order", || order.id.to_string());
            let asked = Instant::now();
            let outcome = span.run(self.acts.act(step, &order)).await;
            let took = asked.elapsed();
            span.tell("firstcome.outcome", || format!("{outcome:?}"));
            drop(span);
            failpoint::hit(after);

            let outcome = match outcome {
                // Whoever stops must not take that for a bank without an answer.
                Outcome::Unknown if self.shutdown.has_begun() => return Err(Stalled),
                Outcome::Unknown if since.elapsed() >= PATIENCE => Outcome::StillUnknown,
                outcome => outcome,
            };
            METRICS.stepped(step, outcome, took);
            let next = next(order.state, step, outcome);
            if next == Next::Leave {
                tracing::warn!(order = %order.id, ?step, ?outcome, "leave a step to a worker");
                return Err(Stalled);
            }
            // While the lease is young nobody else is about to take the order over: three quarters
            // of it may be left at a move, and a call of a peer takes half of it at most.
            if let Next::Pass(to) = next
                && leased.elapsed() < self.clock.lease / 4
            {
                passed = Some(to);
                (since, pause) = (Instant::now(), PAUSE_FIRST);
                continue;
            }
            match self.save(&mut order, step, next).await {
                Ok(true) if matches!(next, Next::Rest(_)) => {
                    METRICS.rests(order.state, is_payment.then(|| began.elapsed()));
                    return Ok(order);
                }
                Ok(true) => leased = Instant::now(),
                // Somebody else has moved it: a payment that began meanwhile has its own driver,
                // and of all else any driver may do any step.
                Ok(false) if step == Step::Expire => return Err(Stalled),
                Ok(false) => {
                    order = self.reload(&order).await?;
                    if order.is_at_rest() {
                        return Ok(order);
                    }
                }
                Err(fault) if since.elapsed() >= PATIENCE => {
                    tracing::warn!(order = %order.id, ?step, %fault, "leave a step to a worker");
                    return Err(Stalled);
                }
                // The row is where it was, or where this move put it, which the next one finds out:
                // this step is done again.
                Err(_) => passed = Some(step),
            }
            match next {
                Next::Later(_) => return Err(Stalled),
                _ if passed.or(order.step) != Some(step) => {
                    (since, pause) = (Instant::now(), PAUSE_FIRST)
                }
                _ => {
                    if !self.shutdown.sleep(pause).await {
                        return Err(Stalled);
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        Ok(order)
    }

    /// Waits until the moves under way are made.
    pub async fn close(&self, within: Duration) {
        self.marks.close(within).await;
        self.moves.close(within).await;
    }

    /// Saves what follows `done`; false when the row is no longer where this driver left it.
    async fn save(&self, order: &mut Order, done: Step, next: Next) -> Result<bool, Rejected> {
        let lease = self.clock.lease;
        let stay = |to, failure, wait| Change { state: order.state, to, failure, wait };
        let change = match next {
            Next::Go(step) | Next::Pass(step) => stay(Some(step), None, lease),
            Next::Undo(step, failure) => stay(Some(step), Some(failure), lease),
            Next::Again | Next::Leave => stay(Some(done), None, lease),
            Next::Later(pause) => stay(Some(done), None, pause),
            Next::Rest(state) => {
                let rest = life::rest(state);
                let wait = rest.map_or(Duration::ZERO, |(_, days)| self.clock.day * days);
                Change { state, to: rest.map(|(step, _)| step), failure: None, wait }
            }
        };
        self.make(order, change, None).await
    }

    /// Makes a change of the row as it was read; false when it is no longer so, or when it has been
    /// in its state for longer than `within`.
    async fn make(
        &self,
        order: &mut Order,
        change: Change,
        within: Option<Duration>,
    ) -> Result<bool, Rejected> {
        let from = order.step.expect("only an order that has a next step is moved");
        let Change { state, to, failure, wait } = change;
        let change =
            Move { order: order.id, from: (order.state, from), state, to, failure, wait, within };
        let deadline = Deadline::after(MOVE_TIMEOUT);
        let Some(changed_at) = self.moves.submit((), change, deadline).await? else {
            return Ok(false);
        };
        order.state = state;
        order.step = to;
        order.failure = failure.or(order.failure);
        order.updated_at = changed_at;
        assert_eq!(order.step.is_none(), order.state.is_final(), "{order:?}");
        Ok(true)
    }

    async fn reload(&self, order: &Order) -> Result<Order, Stalled> {
        match self.store.find(order.id).await {
            Ok(Some(order)) => Ok(order),
            Ok(None) | Err(_) => Err(Stalled),
        }
    }
}

/// What a move writes.
struct Change {
    state: State,
    to: Option<Step>,
    failure: Option<Failure>,
    wait: Duration,
}
