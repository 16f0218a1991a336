//! The life of an order as one table: what may be asked of it in each state, and what time does.
//!
//! No I/O. A ruling is advice about a row that was read; the statement that follows names the state
//! and the step that it starts from, and does nothing if they are no longer so.
//!
//! ```text
//! PENDING_PAYMENT ──▶ PREPARING ──▶ SHIPPING ──▶ DELIVERED ──▶ CONFIRMED
//!        │                │                          │
//!        ▼                ▼                          ▼
//! EXPIRED, PAYMENT_   CANCELLED              RETURN_REQUESTED ──▶ RETURNED
//! FAILED, CANCELLED
//! ```

use crate::order::{Order, State, Step};

/// Days from one automatic step to the next, each in units of the configured day.
const TO_SHIPPING: u32 = 1;
const TO_DELIVERY: u32 = 1;
const TO_CONFIRMATION: u32 = 3;
const TO_TAKE_BACK: u32 = 1;
/// Days after the delivery in which a return may be requested.
pub const RETURN_WINDOW_DAYS: u32 = 1;

/// What somebody may ask of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The buyer pays.
    Pay,
    /// The buyer does not want it any more.
    Cancel,
    /// The buyer sends it back.
    RequestReturn,
    /// The shop takes it back.
    Refund,
}

/// How the order answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// This begins it.
    Begin(Beginning),
    /// It is under way, and may be driven by whoever asks.
    Join,
    /// It is so already.
    Answer,
    /// Something else is under way that decides first.
    Wait,
    /// The order's time to be paid is over.
    Expired,
    /// Its payment came to nothing.
    Failed,
    /// The goods may no longer be returned.
    WindowOver,
    /// The state does not allow it.
    WrongState,
}

/// The change that begins what was asked: from the state and step that the order rests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The state afterwards.
    pub state: State,
    /// The step afterwards.
    pub step: Step,
    /// How many days until that step; 0: it is done at once, by whoever asked.
    pub after_days: u32,
    /// So many days at most may have passed since the order came to its state.
    pub within_days: Option<u32>,
}

/// Where an order in this state rests until time or somebody moves it: the step that waits, and
/// after how many days. `None` when the state is final. A pending order waits for its pay-by time.
pub fn rest(state: State) -> Option<(Step, u32)> {
    match state {
        State::PendingPayment => Some((Step::Expire, 0)),
        State::Preparing => Some((Step::Ship, TO_SHIPPING)),
        State::Shipping => Some((Step::Deliver, TO_DELIVERY)),
        State::Delivered => Some((Step::Confirm, TO_CONFIRMATION)),
        State::ReturnRequested => Some((Step::TakeBack, TO_TAKE_BACK)),
        State::Expired
        | State::PaymentFailed
        | State::Cancelled
        | State::Confirmed
        | State::Returned => None,
    }
}

impl State {
    /// True when nothing happens to the order any more.
    pub fn is_final(self) -> bool {
        rest(self).is_none()
    }
}

impl Order {
    /// True when it waits for its time or for somebody, and nothing is under way.
    pub fn is_at_rest(&self) -> bool {
        self.step == rest(self.state).map(|(step, _)| step)
    }
}

/// What a command comes to; the step is that of the row.
pub fn rule(state: State, step: Option<Step>, command: Command) -> Ruling {
    let is_at_rest = step == rest(state).map(|(step, _)| step);
    match command {
        Command::Pay => pay(state, is_at_rest),
        Command::Cancel => cancel(state, step, is_at_rest),
        Command::RequestReturn => request_return(state),
        Command::Refund => refund(state, is_at_rest),
    }
}

fn pay(state: State, is_at_rest: bool) -> Ruling {
    match state {
        State::PendingPayment if is_at_rest => {
            Ruling::Begin(at_once(State::PendingPayment, Step::Pin))
        }
        State::PendingPayment => Ruling::Wait,
        // Paid is paid, whatever has come of it since.
        State::Preparing
        | State::Shipping
        | State::Delivered
        | State::Confirmed
        | State::ReturnRequested => Ruling::Answer,
        State::Expired => Ruling::Expired,
        State::PaymentFailed => Ruling::Failed,
        State::Cancelled | State::Returned => Ruling::WrongState,
    }
}

fn cancel(state: State, step: Option<Step>, is_at_rest: bool) -> Ruling {
    match state {
        State::PendingPayment if is_at_rest => {
            Ruling::Begin(at_once(State::PendingPayment, Step::Cancel))
        }
        // Of a call that did not finish; two drivers do no harm.
        State::PendingPayment if step == Some(Step::Cancel) => Ruling::Join,
        State::PendingPayment => Ruling::Wait,
        State::Preparing if is_at_rest => Ruling::Begin(at_once(State::Preparing, Step::TakeBack)),
        State::Preparing => Ruling::Join,
        State::Cancelled => Ruling::Answer,
        State::Expired => Ruling::Expired,
        State::PaymentFailed
        | State::Shipping
        | State::Delivered
        | State::Confirmed
        | State::ReturnRequested
        | State::Returned => Ruling::WrongState,
    }
}

fn request_return(state: State) -> Ruling {
    match state {
        State::Delivered => Ruling::Begin(Beginning {
            state: State::ReturnRequested,
            step: Step::TakeBack,
            after_days: TO_TAKE_BACK,
            within_days: Some(RETURN_WINDOW_DAYS),
        }),
        State::ReturnRequested | State::Returned => Ruling::Answer,
        State::Confirmed => Ruling::WindowOver,
        State::PendingPayment
        | State::Preparing
        | State::Expired
        | State::PaymentFailed
        | State::Cancelled
        | State::Shipping => Ruling::WrongState,
    }
}

fn refund(state: State, is_at_rest: bool) -> Ruling {
    match state {
        State::Preparing if is_at_rest => Ruling::Begin(at_once(State::Preparing, Step::TakeBack)),
        State::Delivered => Ruling::Begin(at_once(State::ReturnRequested, Step::TakeBack)),
        // It waits for the goods, which the shop need not.
        State::ReturnRequested if is_at_rest => {
            Ruling::Begin(at_once(State::ReturnRequested, Step::TakeBack))
        }
        State::Preparing | State::ReturnRequested => Ruling::Join,
        State::Cancelled | State::Returned => Ruling::Answer,
        State::PendingPayment
        | State::Expired
        | State::PaymentFailed
        | State::Shipping
        | State::Confirmed => Ruling::WrongState,
    }
}

fn at_once(state: State, step: Step) -> Beginning {
    Beginning { state, step, after_days: 0, within_days: None }
}

/// The state that an order comes to when its units and its money have been given back.
pub fn given_back(state: State) -> State {
    match state {
        State::ReturnRequested => State::Returned,
        _ => State::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 10] = [
        State::PendingPayment,
        State::Preparing,
        State::Shipping,
        State::Delivered,
        State::Confirmed,
        State::ReturnRequested,
        State::Returned,
        State::Cancelled,
        State::Expired,
        State::PaymentFailed,
    ];

    /// A ruling in a word; what begins says at which step, in which state, and when.
    fn word(ruling: Ruling) -> String {
        match ruling {
            Ruling::Begin(Beginning { state, step, after_days, within_days }) => {
                let within = within_days.map_or(String::new(), |days| format!(" within {days}"));
                format!("{}:{}+{after_days}{within}", state.word(), step.word())
            }
            Ruling::Join => "join".into(),
            Ruling::Answer => "answer".into(),
            Ruling::Wait => "wait".into(),
            Ruling::Expired => "expired".into(),
            Ruling::Failed => "failed".into(),
            Ruling::WindowOver => "over".into(),
            Ruling::WrongState => "-".into(),
        }
    }

    #[test]
    fn every_command_on_every_state_at_rest() {
        const BACK: &str = "return_requested:take_back+0";
        const LATER: &str = "return_requested:take_back+1 within 1";
        const UNDO: &str = "preparing:take_back+0";
        let table: [(Command, [&str; 10]); 4] = [
            // pending, preparing, shipping, delivered, confirmed, requested, returned, cancelled,
            // expired, failed
            (
                Command::Pay,
                [
                    "pending_payment:pin+0",
                    "answer",
                    "answer",
                    "answer",
                    "answer",
                    "answer",
                    "-",
                    "-",
                    "expired",
                    "failed",
                ],
            ),
            (
                Command::Cancel,
                [
                    "pending_payment:cancel+0",
                    UNDO,
                    "-",
                    "-",
                    "-",
                    "-",
                    "-",
                    "answer",
                    "expired",
                    "-",
                ],
            ),
            (
                Command::RequestReturn,
                ["-", "-", "-", LATER, "over", "answer", "answer", "-", "-", "-"],
            ),
            (Command::Refund, ["-", UNDO, "-", BACK, "-", BACK, "answer", "answer", "-", "-"]),
        ];
        for (command, row) in table {
            for (state, want) in STATES.into_iter().zip(row) {
                let step = rest(state).map(|(step, _)| step);
                assert_eq!(word(rule(state, step, command)), want, "{command:?} on {state:?}");
            }
        }
        assert_eq!(STATES.len(), State::ALL.len(), "no state is left out");
    }

    #[test]
    fn every_command_on_everything_that_is_under_way() {
        use Command::{Cancel, Pay, Refund, RequestReturn};
        let paying = [
            Step::Pin,
            Step::Authorize,
            Step::Settle,
            Step::Capture,
            Step::Restock,
            Step::Void,
            Step::Refund,
            Step::Release,
        ];
        for step in paying {
            let rulings = [Pay, Cancel, RequestReturn, Refund]
                .map(|command| word(rule(State::PendingPayment, Some(step), command)));
            assert_eq!(rulings, ["wait", "wait", "-", "-"], "{step:?}");
        }
        let table = [
            (State::PendingPayment, Step::Cancel, ["wait", "join", "-", "-"]),
            (State::Preparing, Step::TakeBack, ["answer", "join", "-", "join"]),
            (State::Preparing, Step::PayBack, ["answer", "join", "-", "join"]),
            (State::ReturnRequested, Step::PayBack, ["answer", "-", "answer", "join"]),
        ];
        for (state, step, want) in table {
            let rulings = [Pay, Cancel, RequestReturn, Refund]
                .map(|command| word(rule(state, Some(step), command)));
            assert_eq!(rulings, want, "{state:?} at {step:?}");
        }
    }

    #[test]
    fn time_leads_from_payment_to_confirmation_in_five_days() {
        let days = |state| rest(state).map(|(_, days)| days);
        let way = [State::Preparing, State::Shipping, State::Delivered];
        assert_eq!(way.map(days), [Some(1), Some(1), Some(3)]);
        assert_eq!(days(State::ReturnRequested), Some(1));
    }

    #[test]
    fn nothing_begins_from_a_final_state() {
        for state in STATES.into_iter().filter(|state| state.is_final()) {
            for command in [Command::Pay, Command::Cancel, Command::RequestReturn, Command::Refund]
            {
                let ruling = rule(state, None, command);
                assert!(
                    !matches!(ruling, Ruling::Begin(_) | Ruling::Join),
                    "{command:?} {state:?}"
                );
            }
        }
    }
}
