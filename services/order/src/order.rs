//! An order as this service knows it: what was bought, where it stands, what happens next.
//!
//! No I/O. What may be asked of it is told by [`crate::life`], what it goes through by
//! [`crate::saga::table`].

use std::fmt;

use firstcome_proto::{
    Address, AddressId, Money, OrderId, ProductId, Reason, Refusal, ReservationId, SkuId, UserId,
};
use time::OffsetDateTime;

/// Declares an enum whose variants are words in the database.
macro_rules! words {
    (
        $(#[$doc:meta])* $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order in which they are declared.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word in the database.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// Reads the word in the database.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// Where an order stands, as its buyer sees it.
    State {
        /// The units are held; it may be under payment.
        PendingPayment = "pending_payment",
        /// Paid.
        Preparing = "preparing",
        /// Not paid in time; final.
        Expired = "expired",
        /// Its payment came to nothing; final.
        PaymentFailed = "payment_failed",
        /// Cancelled before it was shipped, and refunded if it was paid; final.
        Cancelled = "cancelled",
        /// With the carrier.
        Shipping = "shipping",
        /// With the buyer.
        Delivered = "delivered",
        /// Kept; final.
        Confirmed = "confirmed",
        /// On its way back.
        ReturnRequested = "return_requested",
        /// Back, and refunded; final.
        Returned = "returned",
    }
}

words! {
    /// Why a payment came to nothing. Whatever the reason, no money was kept and no unit is held.
    Failure {
        /// The card was refused.
        CardDeclined = "card_declined",
        /// The card lacks the funds.
        InsufficientFunds = "insufficient_funds",
        /// The card's answer never came, so the charge was given up.
        NoAnswer = "no_answer",
        /// The units were gone when the card had said yes.
        OutOfStock = "out_of_stock",
        /// The card said yes, and no when the money was to be taken.
        NotCaptured = "not_captured",
    }
}

words! {
    /// What is to be done next with an order that is not at its end.
    Step {
        /// At pay-by, ask inventory to expire the hold.
        Expire = "expire",
        /// Free the hold for the buyer.
        Cancel = "cancel",
        /// Keep the hold while it is paid.
        Pin = "pin",
        /// Reserve the money.
        Authorize = "authorize",
        /// Sell the units.
        Settle = "settle",
        /// Take the money.
        Capture = "capture",
        /// Take sold units back.
        Restock = "restock",
        /// Give up the reserved money.
        Void = "void",
        /// Give taken money back.
        Refund = "refund",
        /// Free the hold.
        Release = "release",
        /// A day after the payment, hand the goods to the carrier.
        Ship = "ship",
        /// A day later, hand them to the buyer.
        Deliver = "deliver",
        /// Three days later, call it a purchase.
        Confirm = "confirm",
        /// Put the sold units on sale again.
        TakeBack = "take_back",
        /// Give the money back.
        PayBack = "pay_back",
    }
}

/// What was asked for, in 16 bytes: two requests have the same one exactly when they want the
/// same units of the same SKUs, in whatever order they list them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:032x})", u128::from_be_bytes(self.0))
    }
}

/// One SKU of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The product.
    pub product: ProductId,
    /// The variant.
    pub sku: SkuId,
    /// Units.
    pub quantity: i32,
    /// Of one unit, when the order was placed.
    pub unit_price: Money,
    /// The place in the order of admissions of the product.
    pub sequence: i64,
}

/// An order that is about to be written for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Made from buyer and key.
    pub id: OrderId,
    /// The buyer.
    pub user: UserId,
    /// Over the whole of what was asked for.
    pub fingerprint: Fingerprint,
    /// The product of the first line.
    pub product: ProductId,
    /// Pending, or expired when the hold has ended already.
    pub state: State,
    /// What was bought.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: Money,
    /// The place of the first line in the order of admissions.
    pub sequence: i64,
    /// When the first hold ends.
    pub pay_by: OffsetDateTime,
}

/// An order as its row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Made from buyer and key.
    pub id: OrderId,
    /// The buyer.
    pub user: UserId,
    /// Over the whole of what was asked for.
    pub fingerprint: Fingerprint,
    /// The product of the first line.
    pub product: ProductId,
    /// Where it stands.
    pub state: State,
    /// What was bought.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: Money,
    /// The place of the first line in the order of admissions.
    pub sequence: i64,
    /// When the first hold ends.
    pub pay_by: OffsetDateTime,
    /// The attempt that took its units; `None` for an order of one product, whose hold has its id.
    pub attempt: Option<i64>,
    /// What happens next; `None` exactly when the state is final.
    pub step: Option<Step>,
    /// Why the payment failed, or is being undone.
    pub failure: Option<Failure>,
    /// The card it is paid with, once it is.
    pub payment_method: Option<String>,
    /// When it was placed.
    pub created_at: OffsetDateTime,
    /// When its state last changed.
    pub updated_at: OffsetDateTime,
}

impl State {
    /// The name in the contract, as in `PENDING_PAYMENT`.
    pub fn name(self) -> String {
        self.word().to_ascii_uppercase()
    }
}

impl Order {
    /// The reservations that hold its units: the products, and the id that they share.
    pub fn holds(&self) -> (Vec<ProductId>, ReservationId) {
        let id = match self.attempt {
            None => self.id.reservation(),
            Some(attempt) => self.id.reservation_of_attempt(attempt),
        };
        let mut products: Vec<ProductId> = self.lines.iter().map(|line| line.product).collect();
        products.sort_unstable();
        products.dedup();
        (products, id)
    }
}

impl State {
    /// True when somebody may have paid, and so there may be a place where the goods go.
    pub fn may_be_paid(self) -> bool {
        !matches!(self, Self::PendingPayment | Self::Expired | Self::PaymentFailed)
    }
}

impl Failure {
    /// What the buyer is told, each time again.
    pub fn refusal(self) -> Refusal {
        let (reason, message) = match self {
            Self::CardDeclined => (Reason::CardDeclined, "the card was declined"),
            Self::InsufficientFunds => (Reason::InsufficientFunds, "the card lacks the funds"),
            // A card that never answers is to its owner a card that does not work.
            Self::NoAnswer => (Reason::CardDeclined, "the card's bank gave no answer in time"),
            Self::OutOfStock => (Reason::OutOfStock, "the goods are gone, nothing was charged"),
            Self::NotCaptured => (Reason::CardDeclined, "the card refused the charge in the end"),
        };
        Refusal::because(reason, message)
    }
}

impl NewOrder {
    /// The order that this row becomes when it is written at this instant.
    pub fn written_at(self, instant: OffsetDateTime) -> Order {
        let step = (self.state == State::PendingPayment).then_some(Step::Expire);
        Order {
            id: self.id,
            user: self.user,
            fingerprint: self.fingerprint,
            product: self.product,
            state: self.state,
            lines: self.lines,
            total: self.total,
            sequence: self.sequence,
            pay_by: self.pay_by,
            attempt: None,
            step,
            failure: None,
            payment_method: None,
            created_at: instant,
            updated_at: instant,
        }
    }
}

/// What a buyer asks for: to pay an order with a card, and have it sent somewhere.
#[derive(Clone)]
pub struct PaymentWish {
    /// Who pays.
    pub user: UserId,
    /// Which order.
    pub order: OrderId,
    /// Where it goes.
    pub destination: Destination,
    /// The provider's token of the card.
    pub method: String,
}

/// Where an order goes, as its buyer says it.
#[derive(Clone)]
pub enum Destination {
    /// Written out.
    Written(Address),
    /// An address of the buyer's book.
    Book(AddressId),
}

/// What a buyer wants to pay, where it goes, and with what. Not to be printed: it is personal.
#[derive(Clone)]
pub struct PaymentIntent {
    /// Who pays.
    pub user: UserId,
    /// Which order.
    pub order: OrderId,
    /// A snapshot: the address book may change.
    pub address: Address,
    /// The provider's token of the card.
    pub method: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for &state in State::ALL {
            assert_eq!(State::from_word(state.word()), Some(state));
        }
        for &failure in Failure::ALL {
            assert_eq!(Failure::from_word(failure.word()), Some(failure));
        }
        for &step in Step::ALL {
            assert_eq!(Step::from_word(step.word()), Some(step));
        }
        assert_eq!(State::from_word("PENDING_PAYMENT"), None);
    }
}
