//! One buyer as a state machine: what it heard goes in, what it does next comes out. No clock, no
//! network, no chance.

use std::time::Duration;

use firstcome_proto::{OrderId, Reason, order_v1::OrderState};

/// The first pause after a fault without a RetryInfo; each further one is twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// No pause is longer, whatever the shop asks for.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Whoever dropped a call comes back this soon, well before the hold ends.
const PAUSE_DROPPED: Duration = Duration::from_millis(50);
/// Answers other than an order after which a buyer gives up; faults and sell-outs together.
const TRIES_MAX: u32 = 60;

/// How a buyer presses the button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tap {
    /// Once.
    Once,
    /// Twice at the same time, with one key.
    Twice,
    /// Once, and then hangs up before the answer.
    AndHangUp,
}

/// What a buyer does with an order once it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Pays with a card that is approved.
    Pays,
    /// Never pays; the hold expires.
    WalksAway,
    /// Pays with a card that is declined.
    IsDeclined,
}

impl Fate {
    /// One winner in five walks away and one in five is declined, told by the place in the order
    /// of admissions so that the shares hold for any number of winners.
    pub fn of(sequence: i64) -> Self {
        match sequence.rem_euclid(5) {
            1 => Self::WalksAway,
            3 => Self::IsDeclined,
            _ => Self::Pays,
        }
    }
}

/// What happened to a buyer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// The sale opens.
    Opened,
    /// PlaceOrder answered with an order.
    Placed { order: OrderId, sequence: i64, state: OrderState },
    /// PayOrder answered with an order.
    Paid(OrderState),
    /// The last call was refused.
    Refused { reason: Reason, retry_after: Option<Duration> },
    /// The buyer hung up.
    HungUp,
    /// The pause is over.
    Rested,
    /// A unit is on sale again.
    Freed,
    /// Nothing is on sale, and nothing will come back.
    Gone,
}

/// What a buyer does next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Calls PlaceOrder with the key of this purchase.
    Place { purchase: u16, tap: Tap },
    /// Calls PayOrder; with a card that is declined when asked to.
    Pay { order: OrderId, declined: bool },
    /// Waits about this long.
    Rest(Duration),
    /// Waits until a unit is freed or none can be.
    Watch,
    /// Goes home.
    End(Ending),
}

/// How it ended for a buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Owns the goods.
    Paid,
    /// Walked away from an order.
    Abandoned,
    /// The card was declined.
    Declined,
    /// Got no order; the last answer's reason.
    Refused(Reason),
}

/// Where a buyer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Outside,
    Placing,
    Resting,
    Watching,
    Paying { order: OrderId, declined: bool },
    RestingToPay { order: OrderId, declined: bool },
    Home,
}

/// One buyer.
#[derive(Clone, Copy, Debug)]
pub struct Buyer {
    state: State,
    /// How the first press of the button goes; later ones are ordinary.
    tap: Tap,
    /// Counts the keys: a new one only after an order that ended.
    purchase: u16,
    tries: u32,
    faults: u32,
    refused_last: Reason,
}

impl Buyer {
    /// A buyer before the opening.
    pub fn new(tap: Tap) -> Self {
        Self {
            state: State::Outside,
            tap,
            purchase: 1,
            tries: 0,
            faults: 0,
            refused_last: Reason::DeadlineExceeded,
        }
    }

    /// How it ends when time is up.
    pub fn called_home(&self) -> Ending {
        Ending::Refused(self.refused_last)
    }

    /// What the buyer does after this event. Panics on an event that cannot follow its last
    /// action.
    pub fn after(&mut self, event: Event) -> Action {
        match (self.state, event) {
            (State::Outside, Event::Opened) => self.place(self.tap),
            (State::Placing, Event::Placed { order, sequence, state }) => {
                self.with_order(order, sequence, state)
            }
            (State::Placing, Event::HungUp) => {
                self.state = State::Resting;
                Action::Rest(PAUSE_DROPPED)
            }
            (State::Placing, Event::Refused { reason, retry_after }) => {
                self.refused_to_place(reason, retry_after)
            }
            (State::Resting, Event::Rested) | (State::Watching, Event::Freed) => {
                self.place(Tap::Once)
            }
            (State::Watching, Event::Gone) => self.end(Ending::Refused(self.refused_last)),
            (State::Paying { .. }, Event::Paid(state)) => match state {
                OrderState::Preparing => self.end(Ending::Paid),
                _ => self.buy_again(),
            },
            (State::Paying { order, declined }, Event::Refused { reason, retry_after }) => {
                self.refused_to_pay(order, declined, reason, retry_after)
            }
            (State::RestingToPay { order, declined }, Event::Rested) => self.pay(order, declined),
            (state, event) => unreachable!("{event:?} cannot come when {state:?}"),
        }
    }

    fn with_order(&mut self, order: OrderId, sequence: i64, state: OrderState) -> Action {
        self.faults = 0;
        match (state, Fate::of(sequence)) {
            (OrderState::PendingPayment, Fate::Pays) => self.pay(order, false),
            (OrderState::PendingPayment, Fate::IsDeclined) => self.pay(order, true),
            (OrderState::PendingPayment, Fate::WalksAway) => self.end(Ending::Abandoned),
            (OrderState::Preparing, _) => self.end(Ending::Paid),
            // A lost answer was found too late: that key has had its order.
            _ => self.buy_again(),
        }
    }

    fn refused_to_place(&mut self, reason: Reason, retry_after: Option<Duration>) -> Action {
        self.refused_last = reason;
        self.tries += 1;
        if self.tries >= TRIES_MAX {
            return self.end(Ending::Refused(reason));
        }
        match reason {
            Reason::SoldOut => {
                self.faults = 0;
                self.state = State::Watching;
                Action::Watch
            }
            Reason::OrderExpired => self.buy_again(),
            _ if passes(reason) => {
                self.state = State::Resting;
                self.rest(retry_after)
            }
            _ => self.end(Ending::Refused(reason)),
        }
    }

    fn refused_to_pay(
        &mut self,
        order: OrderId,
        declined: bool,
        reason: Reason,
        retry_after: Option<Duration>,
    ) -> Action {
        self.refused_last = reason;
        self.tries += 1;
        match reason {
            Reason::CardDeclined | Reason::InsufficientFunds => self.end(Ending::Declined),
            Reason::OrderExpired | Reason::OutOfStock | Reason::WrongState => self.buy_again(),
            _ if passes(reason) && self.tries < TRIES_MAX => {
                self.state = State::RestingToPay { order, declined };
                self.rest(retry_after)
            }
            _ => self.end(Ending::Refused(reason)),
        }
    }

    fn place(&mut self, tap: Tap) -> Action {
        self.state = State::Placing;
        Action::Place { purchase: self.purchase, tap }
    }

    fn pay(&mut self, order: OrderId, declined: bool) -> Action {
        self.state = State::Paying { order, declined };
        Action::Pay { order, declined }
    }

    /// A new purchase needs a new key, and a unit.
    fn buy_again(&mut self) -> Action {
        self.purchase += 1;
        self.state = State::Watching;
        Action::Watch
    }

    fn rest(&mut self, retry_after: Option<Duration>) -> Action {
        let grown = PAUSE_FIRST * 2_u32.pow(self.faults.min(6));
        self.faults += 1;
        Action::Rest(retry_after.unwrap_or(grown).min(PAUSE_MAX))
    }

    fn end(&mut self, ending: Ending) -> Action {
        self.state = State::Home;
        Action::End(ending)
    }
}

/// True when the same call may succeed a little later.
fn passes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotOpen
            | Reason::Fenced
            | Reason::Overloaded
            | Reason::RateLimited
            | Reason::UpstreamUnavailable
            | Reason::DeadlineExceeded
            | Reason::PlacementInProgress
            | Reason::PaymentInProgress
            | Reason::Internal
    )
}

/// What two answers to one key mean together: an order if either brought one, else the answer that
/// leaves more hope.
pub fn of_two(one: Event, other: Event) -> Event {
    let hope = |event: &Event| match event {
        Event::Placed { .. } => 3,
        Event::Refused { reason, .. } if passes(*reason) => 2,
        Event::Refused { reason: Reason::SoldOut, .. } => 1,
        _ => 0,
    };
    if hope(&other) > hope(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::UserId;
    use uuid::Uuid;

    use super::*;

    fn order() -> OrderId {
        OrderId::of(UserId(Uuid::from_u128(1)), "k")
    }

    fn placed(sequence: i64, state: OrderState) -> Event {
        Event::Placed { order: order(), sequence, state }
    }

    fn pending(sequence: i64) -> Event {
        placed(sequence, OrderState::PendingPayment)
    }

    fn refused(reason: Reason) -> Event {
        Event::Refused { reason, retry_after: None }
    }

    fn place(purchase: u16) -> Action {
        Action::Place { purchase, tap: Tap::Once }
    }

    fn rest(ms: u64) -> Action {
        Action::Rest(Duration::from_millis(ms))
    }

    fn pay(declined: bool) -> Action {
        Action::Pay { order: order(), declined }
    }

    #[track_caller]
    fn check(story: &[(Event, Action)]) {
        let mut buyer = Buyer::new(Tap::Once);
        assert_eq!(buyer.after(Event::Opened), place(1));
        for (step, (event, action)) in story.iter().enumerate() {
            assert_eq!(buyer.after(*event), *action, "step {step}: {event:?}");
        }
    }

    #[test]
    fn winners_pay_walk_away_or_are_declined_by_their_number() {
        let paid = Event::Paid(OrderState::Preparing);
        check(&[(pending(5), pay(false)), (paid, Action::End(Ending::Paid))]);
        check(&[(pending(6), Action::End(Ending::Abandoned))]);
        check(&[
            (pending(8), pay(true)),
            (refused(Reason::CardDeclined), Action::End(Ending::Declined)),
        ]);
        let share = |fate| (1..=500).filter(|&sequence| Fate::of(sequence) == fate).count();
        assert_eq!([Fate::WalksAway, Fate::IsDeclined, Fate::Pays].map(share), [100, 100, 300]);
    }

    #[test]
    fn losers_watch_and_try_the_same_key_while_units_may_come_back() {
        check(&[
            (refused(Reason::SoldOut), Action::Watch),
            (Event::Freed, place(1)),
            (refused(Reason::SoldOut), Action::Watch),
            (Event::Gone, Action::End(Ending::Refused(Reason::SoldOut))),
        ]);
        check(&[
            (refused(Reason::SoldOut), Action::Watch),
            (Event::Freed, place(1)),
            (pending(10), pay(false)),
        ]);
    }

    #[test]
    fn faults_are_waited_out_ever_longer_or_as_long_as_the_shop_says() {
        let fenced = Event::Refused {
            reason: Reason::Fenced,
            retry_after: Some(Duration::from_millis(250)),
        };
        check(&[
            (refused(Reason::UpstreamUnavailable), rest(100)),
            (Event::Rested, place(1)),
            (refused(Reason::DeadlineExceeded), rest(200)),
            (Event::Rested, place(1)),
            (fenced, rest(250)),
            (Event::Rested, place(1)),
            (refused(Reason::Overloaded), rest(800)),
        ]);
    }

    #[test]
    fn an_answer_that_no_retry_changes_ends_it() {
        for reason in [Reason::Closed, Reason::LimitPerBuyer, Reason::KeyReused, Reason::NotFound] {
            check(&[(refused(reason), Action::End(Ending::Refused(reason)))]);
        }
    }

    #[test]
    fn a_key_whose_order_ended_is_followed_by_another() {
        for ended in [
            refused(Reason::OrderExpired),
            placed(4, OrderState::Expired),
            placed(4, OrderState::PaymentFailed),
        ] {
            check(&[(ended, Action::Watch), (Event::Freed, place(2))]);
        }
        check(&[
            (pending(4), pay(false)),
            (refused(Reason::OrderExpired), Action::Watch),
            (Event::Freed, place(2)),
        ]);
    }

    #[test]
    fn a_payment_is_tried_again_until_its_outcome_is_known() {
        check(&[
            (pending(5), pay(false)),
            (refused(Reason::PaymentInProgress), rest(100)),
            (Event::Rested, pay(false)),
            (refused(Reason::UpstreamUnavailable), rest(200)),
            (Event::Rested, pay(false)),
            (Event::Paid(OrderState::Preparing), Action::End(Ending::Paid)),
        ]);
    }

    #[test]
    fn whoever_hangs_up_comes_back_with_the_same_key() {
        let mut buyer = Buyer::new(Tap::AndHangUp);
        let first = Action::Place { purchase: 1, tap: Tap::AndHangUp };
        assert_eq!(buyer.after(Event::Opened), first);
        assert_eq!(buyer.after(Event::HungUp), rest(50));
        assert_eq!(buyer.after(Event::Rested), place(1));
    }

    #[test]
    fn tries_are_bounded() {
        let mut buyer = Buyer::new(Tap::Once);
        buyer.after(Event::Opened);
        for _ in 1..TRIES_MAX {
            assert_eq!(buyer.after(refused(Reason::SoldOut)), Action::Watch);
            assert_eq!(buyer.after(Event::Freed), place(1));
        }
        let end = Action::End(Ending::Refused(Reason::SoldOut));
        assert_eq!(buyer.after(refused(Reason::SoldOut)), end);
    }

    #[test]
    fn of_two_answers_the_order_counts_and_then_hope() {
        let (won, sold_out) = (pending(1), refused(Reason::SoldOut));
        let (fenced, limit) = (refused(Reason::Fenced), refused(Reason::LimitPerBuyer));
        for (one, other, together) in [
            (won, sold_out, won),
            (sold_out, won, won),
            (sold_out, fenced, fenced),
            (limit, sold_out, sold_out),
            (limit, limit, limit),
        ] {
            assert_eq!(of_two(one, other), together, "{one:?} and {other:?}");
        }
    }
}
