//! What an order's life means to its buyer: which steps are worth a mail. No I/O.

use firstcome_proto::order_v1::OrderState;

/// What there is to tell of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is paid.
    Ordered,
    /// It is on its way.
    Shipped,
    /// It will not come.
    Cancelled {
        /// It had been paid, and the money went back.
        refunded: bool,
    },
    /// It came back, and so did the money.
    Refunded,
}

impl News {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Ordered,
        Self::Shipped,
        Self::Cancelled { refunded: false },
        Self::Cancelled { refunded: true },
        Self::Refunded,
    ];

    /// What a step of an order's life means to its buyer; `None` when nobody needs a mail.
    pub fn of(from: OrderState, to: OrderState) -> Option<Self> {
        match to {
            OrderState::Preparing => Some(Self::Ordered),
            OrderState::Shipping => Some(Self::Shipped),
            OrderState::Cancelled => {
                Some(Self::Cancelled { refunded: from == OrderState::Preparing })
            }
            OrderState::Returned => Some(Self::Refunded),
            _ => None,
        }
    }

    /// The word for it in the database and in the templates of letters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Shipped => "shipped",
            Self::Cancelled { refunded: false } => "cancelled",
            Self::Cancelled { refunded: true } => "cancelled_and_refunded",
            Self::Refunded => "refunded",
        }
    }

    /// Reads what [`Self::word`] wrote.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|news| news.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buyers_are_told_of_four_steps() {
        use OrderState as S;
        let check = |from, to, news| assert_eq!(News::of(from, to), news, "{from:?} to {to:?}");
        check(S::PendingPayment, S::Preparing, Some(News::Ordered));
        check(S::Preparing, S::Shipping, Some(News::Shipped));
        check(S::PendingPayment, S::Cancelled, Some(News::Cancelled { refunded: false }));
        check(S::Preparing, S::Cancelled, Some(News::Cancelled { refunded: true }));
        check(S::ReturnRequested, S::Returned, Some(News::Refunded));
        check(S::PendingPayment, S::Expired, None);
        check(S::PendingPayment, S::PaymentFailed, None);
        check(S::Shipping, S::Delivered, None);
        check(S::Delivered, S::Confirmed, None);
        check(S::Delivered, S::ReturnRequested, None);
        check(S::Unspecified, S::Unspecified, None);
    }
}
