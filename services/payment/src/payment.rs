//! The life of a payment, as one table: what each command does in each state, and which state may
//! follow which. No I/O.

use firstcome_proto::{Money, PaymentId, UserId};
use time::OffsetDateTime;

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The provider has been or is about to be asked.
    Authorizing,
    /// The money is reserved on the card.
    Authorized,
    /// The card was refused; final, unless it is paid all the same and has to be given back.
    Declined,
    /// The money was taken.
    Captured,
    /// Never to be taken; final, unless it is taken all the same and has to be given back.
    Voided,
    /// Taken and given back; final.
    Refunded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Authorizing,
        Self::Authorized,
        Self::Declined,
        Self::Captured,
        Self::Voided,
        Self::Refunded,
    ];

    /// The word for it in the database and in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorizing => "AUTHORIZING",
            Self::Authorized => "AUTHORIZED",
            Self::Declined => "DECLINED",
            Self::Captured => "CAPTURED",
            Self::Voided => "VOIDED",
            Self::Refunded => "REFUNDED",
        }
    }

    /// Reads the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// How far a charge has come. A charge only ever moves to a higher rank, so of two reports of
    /// one charge the higher is the later.
    pub fn rank(self) -> u8 {
        match self {
            Self::Authorizing => 0,
            Self::Authorized => 1,
            Self::Captured => 2,
            Self::Declined | Self::Voided => 3,
            Self::Refunded => 4,
        }
    }

    /// True when a payment in this state may be found in that one next, some steps at once
    /// included: the provider may be ahead of us by more than one.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Authorizing => next != Self::Authorizing,
            Self::Authorized => matches!(next, Self::Captured | Self::Voided | Self::Refunded),
            Self::Captured => next == Self::Refunded,
            // A late "paid" never opens it again; only that it was given back is worth knowing.
            Self::Declined | Self::Voided => next == Self::Refunded,
            Self::Refunded => false,
        }
    }

    /// True when a payment in this state has to be looked up because its provider says, now or
    /// belatedly, that it came to that one. What we know already costs no question.
    pub fn is_news(self, told: Self) -> bool {
        match self {
            Self::Declined | Self::Voided => told != self && told.rank() != self.rank(),
            _ => told.rank() > self.rank(),
        }
    }
}

/// What a caller wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reserve the money.
    Authorize,
    /// Take it.
    Capture,
    /// Never take it.
    Void,
    /// Give it back.
    Refund,
}

/// What a command does to a payment in some state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is done, or can never be undone: answer with the payment as it is.
    Answer,
    /// Ask the provider, who is idempotent by key.
    Ask,
    /// The state forbids it.
    Refuse,
}

/// The table. Rows are states, columns are commands.
pub fn decide(state: State, command: Command) -> Decision {
    use {Command as C, Decision::*, State as S};
    match (state, command) {
        (S::Authorizing, C::Authorize | C::Void) => Ask,
        (S::Authorizing, C::Capture | C::Refund) => Refuse,

        (S::Authorized, C::Authorize) => Answer,
        (S::Authorized, C::Capture | C::Void) => Ask,
        (S::Authorized, C::Refund) => Refuse,

        (S::Declined, C::Authorize | C::Void) => Answer,
        (S::Declined, C::Capture | C::Refund) => Refuse,

        (S::Captured, C::Authorize | C::Capture) => Answer,
        (S::Captured, C::Void) => Refuse,
        (S::Captured, C::Refund) => Ask,

        (S::Voided, C::Authorize | C::Void) => Answer,
        (S::Voided, C::Capture | C::Refund) => Refuse,

        (S::Refunded, C::Authorize | C::Void | C::Refund) => Answer,
        (S::Refunded, C::Capture) => Refuse,
    }
}

/// What there is to do about a charge that was looked up at its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: the two agree, or the payment is ahead of an answer that took its time.
    Nothing,
    /// The row follows.
    Follow,
    /// We gave it up, and the money is reserved: give up the reservation.
    Void,
    /// We gave it up, and the money is taken: give it back.
    Refund,
}

/// The table. Rows are our states, columns the provider's.
pub fn remedy(ours: State, theirs: State) -> Remedy {
    use {Remedy::*, State as S};
    match (ours, theirs) {
        (S::Declined | S::Voided, S::Authorized) => Void,
        (S::Declined | S::Voided, S::Captured) => Refund,
        (ours, theirs) if ours.may_become(theirs) => Follow,
        _ => Nothing,
    }
}

/// What is asked of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The idempotency key of everything that happens to this charge.
    pub payment: PaymentId,
    /// Who pays.
    pub user: UserId,
    /// How much.
    pub amount: Money,
    /// The provider's token of a card.
    pub payment_method: String,
}

/// A payment, as its row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Who pays.
    pub user: UserId,
    /// What was asked; `None` where it was voided before it was begun.
    pub asked: Option<(Money, String)>,
    /// Where it stands.
    pub state: State,
    /// Why the card was refused.
    pub decline_code: Option<String>,
    /// When it was begun.
    pub created_at: OffsetDateTime,
    /// When its state last changed.
    pub updated_at: OffsetDateTime,
}

impl Payment {
    /// True when this is the payment that the intent describes; a payment that was voided before
    /// it was begun is anything its user may have meant.
    pub fn is_of(&self, intent: &Intent) -> bool {
        self.id == intent.payment
            && self.user == intent.user
            && self.asked.as_ref().is_none_or(|(amount, payment_method)| {
                *amount == intent.amount && *payment_method == intent.payment_method
            })
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::money::Currency;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_command_in_every_state_does_what_the_table_says() {
        use Decision::{Answer as A, Ask as P, Refuse as R};
        let commands = [Command::Authorize, Command::Capture, Command::Void, Command::Refund];
        let table = [
            //                      authorize capture void refund
            (State::Authorizing, [P, R, P, R]),
            (State::Authorized, [A, P, P, R]),
            (State::Declined, [A, R, A, R]),
            (State::Captured, [A, A, R, P]),
            (State::Voided, [A, R, A, R]),
            (State::Refunded, [A, R, A, A]),
        ];
        assert_eq!(table.map(|(state, _)| state), State::ALL);
        for (state, row) in table {
            for (command, decision) in commands.into_iter().zip(row) {
                assert_eq!(decide(state, command), decision, "{command:?} of {state:?}");
            }
        }
    }

    #[test]
    fn a_payment_only_moves_to_a_higher_rank() {
        for from in State::ALL {
            for to in State::ALL {
                if from.may_become(to) {
                    assert!(from.rank() < to.rank(), "{from:?} to {to:?}");
                }
            }
            assert_eq!(State::from_name(from.name()), Some(from));
        }
    }

    #[test]
    fn what_is_given_up_is_never_opened_again_but_given_back() {
        use Remedy::{Follow as F, Nothing as N, Refund as R, Void as V};
        let table = [
            //                    AUTHORIZING AUTHORIZED DECLINED CAPTURED VOIDED REFUNDED
            (State::Authorizing, [N, F, F, F, F, F]),
            (State::Authorized, [N, N, N, F, F, F]),
            (State::Declined, [N, V, N, R, N, F]),
            (State::Captured, [N, N, N, N, N, F]),
            (State::Voided, [N, V, N, R, N, F]),
            (State::Refunded, [N, N, N, N, N, N]),
        ];
        assert_eq!(table.map(|(state, _)| state), State::ALL);
        for (ours, row) in table {
            for (theirs, want) in State::ALL.into_iter().zip(row) {
                assert_eq!(remedy(ours, theirs), want, "{ours:?}, and they say {theirs:?}");
            }
        }
    }

    #[test]
    fn an_event_is_news_where_it_could_change_anything() {
        let table = [
            //                    AUTHORIZING AUTHORIZED DECLINED CAPTURED VOIDED REFUNDED
            (State::Authorizing, [0, 1, 1, 1, 1, 1]),
            (State::Authorized, [0, 0, 1, 1, 1, 1]),
            (State::Declined, [0, 1, 0, 1, 0, 1]),
            (State::Captured, [0, 0, 1, 0, 1, 1]),
            (State::Voided, [0, 1, 0, 1, 0, 1]),
            (State::Refunded, [0, 0, 0, 0, 0, 0]),
        ];
        assert_eq!(table.map(|(state, _)| state), State::ALL);
        for (ours, row) in table {
            for (told, want) in State::ALL.into_iter().zip(row) {
                if told == State::Authorizing {
                    continue; // no provider tells that
                }
                assert_eq!(ours.is_news(told), want == 1, "{ours:?} told {told:?}");
                if remedy(ours, told) != Remedy::Nothing {
                    assert!(ours.is_news(told), "{ours:?} told {told:?} needs a remedy");
                }
            }
        }
    }

    #[test]
    fn an_id_belongs_to_one_user_one_amount_and_one_card() {
        let currency = Currency::parse("KRW").expect("a code");
        let intent = Intent {
            payment: PaymentId(Uuid::from_u128(1)),
            user: UserId(Uuid::from_u128(2)),
            amount: Money { amount_minor: 5, currency },
            payment_method: "pm_card_approve".into(),
        };
        let payment = Payment {
            id: intent.payment,
            user: intent.user,
            asked: Some((intent.amount, intent.payment_method.clone())),
            state: State::Authorizing,
            decline_code: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        };
        assert!(payment.is_of(&intent));
        let amount = Money { amount_minor: 6, currency };
        assert!(!payment.is_of(&Intent { amount, ..intent.clone() }));
        assert!(!payment.is_of(&Intent { user: UserId(Uuid::nil()), ..intent.clone() }));
        assert!(!payment.is_of(&Intent { payment_method: "x".into(), ..intent.clone() }));
        assert!(Payment { asked: None, ..payment }.is_of(&intent));
    }
}
