//! The saga as a table: what follows each step by how it ended. No I/O.

use std::time::Duration;

use crate::{
    life,
    order::{Failure, State, Step},
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
    /// Rest in this state, for ever or until its time comes.
    Rest(State),
    /// The same step after a pause.
    Again,
    /// The same step, by a worker, after this long.
    Later(Duration),
    /// The same step, by a worker, when the lease is over.
    Leave,
}

/// Between our time of expiry and inventory's lie two clocks; they agree to within this.
const EXPIRE_AGAIN: Duration = Duration::from_secs(1);

/// What follows a step of an order in this state.
pub fn next(state: State, step: Step, outcome: Outcome) -> Next {
    use Next::{Again, Go, Later, Leave, Pass, Rest, Undo};
    use Outcome::{Declined, Done, HadExpired, NotYet, Refused, StillUnknown, Unknown};
    match (step, outcome) {
        (Step::Expire, Done | HadExpired | Refused) => Rest(State::Expired),
        (Step::Expire, NotYet) => Later(EXPIRE_AGAIN),
        // Thousands may be due at once; who cannot reach inventory now had better wait.
        (Step::Expire, Unknown) => Leave,

        (Step::Cancel, Done) => Rest(State::Cancelled),
        (Step::Cancel, HadExpired) => Rest(State::Expired),

        (Step::Pin, Done) => Pass(Step::Authorize),
        (Step::Pin, Refused) => Rest(State::Expired),

        (Step::Authorize, Done) => Go(Step::Settle),
        (Step::Authorize, Declined(failure)) => Undo(Step::Release, failure),
        // Refused as a request: no card of ours could have made it. Void costs nothing then.
        (Step::Authorize, Refused) => Undo(Step::Void, Failure::CardDeclined),
        (Step::Authorize, StillUnknown) => Undo(Step::Void, Failure::NoAnswer),

        (Step::Settle, Done) => Pass(Step::Capture),
        (Step::Settle, Refused) => Undo(Step::Void, Failure::OutOfStock),

        (Step::Capture, Done) => Rest(State::Preparing),
        (Step::Capture, Refused) => Undo(Step::Restock, Failure::NotCaptured),

        // What cannot be undone was never done.
        (Step::Restock, Done | Refused) => Go(Step::Void),
        (Step::Void, Done) => Go(Step::Release),
        (Step::Void, Refused) => Go(Step::Refund),
        (Step::Refund, Done) => Go(Step::Release),
        (Step::Release, Done | Refused) => Rest(State::PaymentFailed),

        (Step::Ship, Done) => Rest(State::Shipping),
        (Step::Deliver, Done) => Rest(State::Delivered),
        (Step::Confirm, Done) => Rest(State::Confirmed),

        (Step::TakeBack, Done | Refused) => Go(Step::PayBack),
        (Step::PayBack, Done) => Rest(life::given_back(state)),

        (_, Unknown) => Again,
        // Includes what no peer of ours answers, and a refund that payment refuses: left where it
        // is, and logged by the driver.
        (_, StillUnknown | Refused | NotYet | HadExpired | Declined(_)) => Leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PENDING: State = State::PendingPayment;

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
            Step::Ship | Step::Deliver | Step::Confirm => vec![(Done, world)],
            Step::TakeBack => vec![hold(Done, Goods::Free), hold(Refused, Goods::Free)],
            Step::PayBack => vec![cash(Done, Cash::Kept)],
        }
    }

    /// Walks every way from a step to where the order rests, and counts them.
    fn walk(
        state: State,
        step: Step,
        world: World,
        way: &mut Vec<(Step, Outcome)>,
        rests: &mut usize,
    ) {
        assert!(way.len() < Step::ALL.len(), "no way is longer: {way:?}");
        for (outcome, world) in endings(step, world) {
            way.push((step, outcome));
            match next(state, step, outcome) {
                Next::Go(step) | Next::Pass(step) | Next::Undo(step, _) => {
                    walk(state, step, world, way, rests);
                }
                Next::Rest(
                    State::Preparing | State::Shipping | State::Delivered | State::Confirmed,
                ) => {
                    assert_eq!((world.hold, world.money), (Goods::Sold, Cash::Taken), "{way:?}");
                    *rests += 1;
                }
                Next::Rest(_) => {
                    assert_eq!((world.hold, world.money), (Goods::Free, Cash::Kept), "{way:?}");
                    *rests += 1;
                }
                stuck => panic!("{stuck:?} after {way:?}"),
            }
            way.pop();
        }
    }

    #[test]
    fn every_way_through_the_table_ends_with_goods_and_money_or_with_neither() {
        let unpaid = World { hold: Goods::Held, money: Cash::Kept };
        let paid = World { hold: Goods::Sold, money: Cash::Taken };
        let table = [
            (State::PendingPayment, Step::Expire, unpaid, 1),
            (State::PendingPayment, Step::Cancel, unpaid, 2),
            (State::PendingPayment, Step::Pin, unpaid, 15),
            (State::Preparing, Step::Ship, paid, 1),
            (State::Shipping, Step::Deliver, paid, 1),
            (State::Delivered, Step::Confirm, paid, 1),
            (State::Preparing, Step::TakeBack, paid, 2),
            (State::ReturnRequested, Step::TakeBack, paid, 2),
        ];
        for (state, start, world, wanted) in table {
            let mut rests = 0;
            walk(state, start, world, &mut Vec::new(), &mut rests);
            assert_eq!(rests, wanted, "ways from {start:?}");
        }
    }

    #[test]
    fn what_is_given_back_is_cancelled_or_returned() {
        let ends = [State::Preparing, State::ReturnRequested]
            .map(|state| next(state, Step::PayBack, Outcome::Done));
        assert_eq!(ends, [Next::Rest(State::Cancelled), Next::Rest(State::Returned)]);
    }

    #[test]
    fn a_refund_that_is_refused_is_left_for_somebody_to_look_at() {
        assert_eq!(next(State::Preparing, Step::PayBack, Outcome::Refused), Next::Leave);
    }

    #[test]
    fn nothing_is_passed_to_that_another_driver_may_undo() {
        let outcomes = [Outcome::Done, Outcome::Refused, Outcome::Declined(Failure::CardDeclined)];
        let passes: Vec<(Step, Next)> = Step::ALL
            .iter()
            .flat_map(|&step| outcomes.map(|outcome| (step, next(PENDING, step, outcome))))
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
            assert_eq!(next(PENDING, step, Outcome::Unknown), again, "{step:?}");
            assert_eq!(next(PENDING, step, Outcome::StillUnknown), given_up, "{step:?}");
        }
        assert_eq!(next(PENDING, Step::Expire, Outcome::NotYet), Next::Later(EXPIRE_AGAIN));
    }
}
