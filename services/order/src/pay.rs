//! The purchase saga: what happens to an order from its payment, its cancelling or its pay-by
//! time to the end, step after step.
//!
//! | step | does | then | if refused |
//! |---|---|---|---|
//! | `pin` | keeps the hold while the card is asked | `authorize` | the hold is gone: EXPIRED |
//! | `authorize` | reserves the money | `settle` | declined: `release`; no answer: `void` |
//! | `settle` | sells the units | `capture` | out of stock: `void` |
//! | `capture` | takes the money | PREPARING | `restock` |
//! | `restock` | undoes `settle` | `void` | |
//! | `void` | undoes `authorize`, also one that comes late | `release` | taken already: `refund` |
//! | `refund` | undoes `capture` | `release` | |
//! | `release` | undoes `pin` and the hold | PAYMENT_FAILED | |
//! | `cancel` | frees the hold for the buyer | CANCELLED | |
//! | `expire` | asks inventory to expire the hold | EXPIRED | not yet: again in a second |
//!
//! Every step may be done twice. What is to be done is saved on the row before it is done, and a
//! move is one conditional update that names the step it starts from. So a process may die anywhere, and two
//! may drive one order: whoever loses a move reads the row and goes on from there. An effect is
//! never undone while it is unknown, except an authorisation, which `void` kills even unseen.
//!
//! `authorize` and `capture` are not saved on their own: whoever finds `pin` or `settle` may do both
//! steps, again or for the first time, and nothing is undone that the first of the two has done.
//! `settle` is: between it and `void`, which another driver may want, only one can be saved.

mod marks;
mod moves;

use std::time::Duration;

use firstcome_mesh::{Batcher, Deadline, Rejected, Shutdown, batcher::Limits, failpoint};
use firstcome_proto::{Reason, Refusal, inventory_v1::ReleaseCause, payment_v1::PaymentState};
use tokio::time::Instant;

use crate::{
    error::Error,
    hold,
    order::{Failure, Order, PaymentIntent, State, Step},
    pay::{marks::Marks, moves::Moves},
    peers::{Charges, Inventory, Payment, Verb},
    store::{Move, Store},
};

/// How doing a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, perhaps by an earlier try.
    Done,
    /// The hold had expired before it could be cancelled.
    HadExpired,
    /// The card said no.
    Declined(Failure),
    /// The hold is not past its time, by the only clock that counts.
    NotYet,
    /// It cannot be done, now or later.
    Refused,
    /// Nobody knows whether it was done, and the driver may try again.
    Unknown,
    /// The same, and the driver has tried for as long as it may.
    StillUnknown,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This step.
    Go(Step),
    /// This step, in the same go: the row may say that the one before is still to be done.
    Pass(Step),
    /// This step, the first of the undoing, for this reason.
    Undo(Step, Failure),
    /// Nothing any more.
    End(State),
    /// The same step after a pause.
    Again,
    /// The same step, by a worker, after this long.
    Later(Duration),
    /// The same step, by a worker, when the lease is over.
    Leave,
}

/// Between our time of expiry and inventory's lie two clocks; they agree to within this.
const EXPIRE_AGAIN: Duration = Duration::from_secs(1);
/// How long a driver tries a step whose outcome it cannot learn. For an authorisation it is the
/// end of the payment's patience, for every other step the turn of the next worker.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause between tries; each further one is twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// Half a dozen tries fill the patience.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// A batch of moves is one statement; this is many times its slowest.
const MOVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The whole saga, as a table.
pub fn next(step: Step, outcome: Outcome) -> Next {
    use Next::{Again, End, Go, Later, Leave, Pass, Undo};
    use Outcome::{Declined, Done, HadExpired, NotYet, Refused, StillUnknown, Unknown};
    match (step, outcome) {
        (Step::Expire, Done | HadExpired | Refused) => End(State::Expired),
        (Step::Expire, NotYet) => Later(EXPIRE_AGAIN),
        // Thousands may be due at once; who cannot reach inventory now had better wait.
        (Step::Expire, Unknown) => Leave,

        (Step::Cancel, Done) => End(State::Cancelled),
        (Step::Cancel, HadExpired) => End(State::Expired),

        (Step::Pin, Done) => Pass(Step::Authorize),
        (Step::Pin, Refused) => End(State::Expired),

        (Step::Authorize, Done) => Go(Step::Settle),
        (Step::Authorize, Declined(failure)) => Undo(Step::Release, failure),
        // Refused as a request: no card of ours could have made it. Void costs nothing then.
        (Step::Authorize, Refused) => Undo(Step::Void, Failure::CardDeclined),
        (Step::Authorize, StillUnknown) => Undo(Step::Void, Failure::NoAnswer),

        (Step::Settle, Done) => Pass(Step::Capture),
        (Step::Settle, Refused) => Undo(Step::Void, Failure::OutOfStock),

        (Step::Capture, Done) => End(State::Preparing),
        (Step::Capture, Refused) => Undo(Step::Restock, Failure::NotCaptured),

        // What cannot be undone was never done.
        (Step::Restock, Done | Refused) => Go(Step::Void),
        (Step::Void, Done) => Go(Step::Release),
        (Step::Void, Refused) => Go(Step::Refund),
        (Step::Refund, Done | Refused) => Go(Step::Release),
        (Step::Release, Done | Refused) => End(State::PaymentFailed),

        (_, Unknown) => Again,
        // Includes what no peer of ours answers: left where it is, and logged by the driver.
        (_, StillUnknown | Refused | NotYet | HadExpired | Declined(_)) => Leave,
    }
}

/// What PayOrder answers about an order, or `None` while that is not settled.
pub fn verdict(order: &Order) -> Option<Result<(), Error>> {
    Some(match order.state {
        State::PendingPayment => return None,
        State::Preparing => Ok(()),
        State::Expired => Err(Error::OrderExpired),
        State::PaymentFailed => match order.failure {
            Some(failure) => Err(Error::PaymentFailed(failure)),
            None => Err(Error::WrongState(order.state)),
        },
        State::Cancelled => Err(Error::WrongState(order.state)),
    })
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
    inventory: Inventory,
    charges: Charges,
    shutdown: Shutdown,
    lease: Duration,
}

impl Saga {
    /// A saga over these parts. A step belongs to its driver for the lease.
    pub fn new(
        store: Store,
        inventory: Inventory,
        charges: Charges,
        shutdown: Shutdown,
        limits: Limits,
        lease: Duration,
    ) -> Self {
        let marks = Batcher::new(Marks::new(store.clone(), lease), limits);
        let moves = Batcher::new(Moves::new(store.clone()), limits);
        Self { store, marks, moves, inventory, charges, shutdown, lease }
    }

    /// Saves that an order is being paid, before anything is done about it, and gives it to be
    /// driven; `None` when it is not pending, or not this buyer's, or a payment is under way.
    pub async fn begin(
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

    /// Drives an order from where it is to its end. Run it as a tracked task: a caller may leave,
    /// a step that was begun may not.
    pub async fn drive(&self, mut order: Order) -> Result<Order, Stalled> {
        let (mut since, mut pause) = (Instant::now(), PAUSE_FIRST);
        // The step that was passed to, and is not on the row.
        let mut passed = None;
        let mut leased = Instant::now();
        while let Some(step) = passed.take().or(order.step) {
            let (before, after) = step.failpoints();
            failpoint::hit(before);
            let outcome = self.act(step, &order).await;
            failpoint::hit(after);

            let outcome = match outcome {
                // Whoever stops must not take that for a bank without an answer.
                Outcome::Unknown if self.shutdown.has_begun() => return Err(Stalled),
                Outcome::Unknown if since.elapsed() >= PATIENCE => Outcome::StillUnknown,
                outcome => outcome,
            };
            let next = next(step, outcome);
            if next == Next::Leave {
                tracing::warn!(order = %order.id, ?step, ?outcome, "leave a step to a worker");
                return Err(Stalled);
            }
            // While the lease is young nobody else is about to take the order over: three quarters
            // of it may be left at a move, and a call of a peer takes half of it at most.
            if let Next::Pass(to) = next
                && leased.elapsed() < self.lease / 4
            {
                passed = Some(to);
                (since, pause) = (Instant::now(), PAUSE_FIRST);
                continue;
            }
            match self.save(&mut order, step, next).await {
                Ok(true) => leased = Instant::now(),
                // Somebody else has moved it: a payment that began meanwhile has its own driver,
                // and of all else any driver may do any step.
                Ok(false) if step == Step::Expire => return Err(Stalled),
                Ok(false) => order = self.reload(&order).await?,
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

    /// Does a step. Every arm may run again after it ran, and beside itself.
    async fn act(&self, step: Step, order: &Order) -> Outcome {
        let (id, product) = (order.id, order.product);
        let hold = |verb| self.inventory.hold(verb, product, id);
        match step {
            Step::Expire => freed(step, hold(Verb::Release(ReleaseCause::Expire)).await),
            Step::Cancel => freed(step, hold(Verb::Release(ReleaseCause::Cancel)).await),
            Step::Release => freed(step, hold(Verb::Release(ReleaseCause::Saga)).await),
            Step::Pin => done(step, hold(Verb::Pin).await),
            Step::Settle => done(step, hold(Verb::Settle).await),
            Step::Restock => done(step, hold(Verb::Restock).await),
            Step::Authorize => {
                let method = order.payment_method.as_deref().unwrap_or_default();
                authorized(self.charges.authorize(order, method).await)
            }
            Step::Capture => done(step, self.charges.capture(id.payment()).await),
            Step::Void => done(step, self.charges.void(id.payment(), order.user).await),
            Step::Refund => done(step, self.charges.refund(id.payment()).await),
        }
    }

    /// Saves what follows `done`; false when the row is no longer where this driver left it.
    async fn save(&self, order: &mut Order, done: Step, next: Next) -> Result<bool, Rejected> {
        assert_eq!(order.state, State::PendingPayment, "only a pending order has a step");
        let from = order.step.expect("a pending order has a step");
        let (state, to, failure, lease) = match next {
            Next::Go(step) | Next::Pass(step) => {
                (State::PendingPayment, Some(step), None, self.lease)
            }
            Next::Undo(step, failure) => {
                (State::PendingPayment, Some(step), Some(failure), self.lease)
            }
            Next::End(state) => (state, None, None, Duration::ZERO),
            Next::Again | Next::Leave => (State::PendingPayment, Some(done), None, self.lease),
            Next::Later(pause) => (State::PendingPayment, Some(done), None, pause),
        };
        let step = Move { order: order.id, from, state, to, failure, lease };
        let deadline = Deadline::after(MOVE_TIMEOUT);
        let Some(changed_at) = self.moves.submit((), step, deadline).await? else {
            return Ok(false);
        };
        order.state = state;
        order.step = to;
        order.failure = failure.or(order.failure);
        order.updated_at = changed_at;
        assert_eq!(order.step.is_none(), order.state != State::PendingPayment, "{order:?}");
        Ok(true)
    }

    async fn reload(&self, order: &Order) -> Result<Order, Stalled> {
        match self.store.find(order.id).await {
            Ok(Some(order)) => Ok(order),
            Ok(None) | Err(_) => Err(Stalled),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the table moves, as far as the promises care.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct World {
        hold: Goods,
        money: Cash,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Goods {
        Held,
        Pinned,
        Sold,
        Free,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Cash {
        Kept,
        Reserved,
        Taken,
    }

    /// How each step may end in this world, and what the world is then.
    fn endings(step: Step, world: World) -> Vec<(Outcome, World)> {
        use Outcome::{Declined, Done, HadExpired, Refused, StillUnknown};
        let hold = |outcome, hold| (outcome, World { hold, ..world });
        let cash = |outcome, money| (outcome, World { money, ..world });
        let free = match world.hold {
            Goods::Held | Goods::Pinned | Goods::Free => hold(Done, Goods::Free),
            Goods::Sold => (Refused, world),
        };
        match step {
            Step::Expire => vec![free],
            Step::Cancel => vec![free, hold(HadExpired, Goods::Free)],
            Step::Pin => vec![hold(Done, Goods::Pinned), hold(Refused, Goods::Free)],
            Step::Authorize => vec![
                cash(Done, Cash::Reserved),
                cash(Declined(Failure::CardDeclined), Cash::Kept),
                cash(Refused, Cash::Kept),
                cash(StillUnknown, Cash::Kept),
                cash(StillUnknown, Cash::Reserved),
            ],
            Step::Settle => vec![hold(Done, Goods::Sold), hold(Refused, Goods::Free)],
            Step::Capture => vec![
                cash(Done, Cash::Taken),
                cash(Refused, Cash::Kept),
                cash(Refused, Cash::Reserved),
            ],
            Step::Restock => vec![hold(Done, Goods::Free)],
            Step::Void => vec![cash(Done, Cash::Kept), cash(Refused, Cash::Taken)],
            Step::Refund => vec![cash(Done, Cash::Kept)],
            Step::Release => vec![free],
        }
    }

    fn walk(step: Step, world: World, way: &mut Vec<(Step, Outcome)>, ends: &mut usize) {
        assert!(way.len() < Step::ALL.len(), "no way is longer: {way:?}");
        for (outcome, world) in endings(step, world) {
            way.push((step, outcome));
            match next(step, outcome) {
                Next::Go(step) | Next::Pass(step) | Next::Undo(step, _) => {
                    walk(step, world, way, ends);
                }
                Next::End(State::Preparing) => {
                    assert_eq!((world.hold, world.money), (Goods::Sold, Cash::Taken), "{way:?}");
                    *ends += 1;
                }
                Next::End(_) => {
                    assert_eq!((world.hold, world.money), (Goods::Free, Cash::Kept), "{way:?}");
                    *ends += 1;
                }
                stuck => panic!("{stuck:?} after {way:?}"),
            }
            way.pop();
        }
    }

    #[test]
    fn every_way_through_the_table_ends_with_goods_and_money_or_with_neither() {
        let world = World { hold: Goods::Held, money: Cash::Kept };
        for (start, ends_wanted) in [(Step::Expire, 1), (Step::Cancel, 2), (Step::Pin, 15)] {
            let mut ends = 0;
            walk(start, world, &mut Vec::new(), &mut ends);
            assert_eq!(ends, ends_wanted, "ways from {start:?}");
        }
    }

    #[test]
    fn nothing_is_passed_to_that_another_driver_may_undo() {
        let outcomes = [Outcome::Done, Outcome::Refused, Outcome::Declined(Failure::CardDeclined)];
        let passes: Vec<(Step, Next)> = Step::ALL
            .iter()
            .flat_map(|&step| outcomes.map(|outcome| (step, next(step, outcome))))
            .filter(|(_, next)| matches!(next, Next::Pass(_)))
            .collect();
        // From `pin` nothing is sold yet, and after `settle` nobody voids.
        let [authorize, capture] = [Step::Authorize, Step::Capture].map(Next::Pass);
        assert_eq!(passes, [(Step::Pin, authorize), (Step::Settle, capture)]);
    }

    #[test]
    fn what_is_unknown_is_tried_again_and_only_an_authorisation_is_ever_given_up() {
        for &step in Step::ALL {
            let (again, given_up) = match step {
                Step::Expire => (Next::Leave, Next::Leave),
                Step::Authorize => (Next::Again, Next::Undo(Step::Void, Failure::NoAnswer)),
                _ => (Next::Again, Next::Leave),
            };
            assert_eq!(next(step, Outcome::Unknown), again, "{step:?}");
            assert_eq!(next(step, Outcome::StillUnknown), given_up, "{step:?}");
        }
        assert_eq!(next(Step::Expire, Outcome::NotYet), Next::Later(EXPIRE_AGAIN));
    }
}
