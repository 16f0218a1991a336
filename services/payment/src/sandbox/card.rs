//! The test cards.

/// A card by the way it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    /// `pm_card_approve`: pays.
    Approve,
    /// `pm_card_decline`: declined, `card_declined`.
    Decline,
    /// `pm_card_insufficient_funds`: declined, `insufficient_funds`.
    InsufficientFunds,
    /// `pm_card_slow`: pays after a while, whether or not anybody still waits.
    Slow,
    /// `pm_card_answer_lost`: pays, but the first answer never arrives.
    AnswerLost,
    /// `pm_card_capture_refused`: can be authorised, never captured.
    CaptureRefused,
    /// Anything else: declined, `invalid_card`.
    Unknown,
}

impl Card {
    /// The card behind a payment method.
    pub fn of(payment_method: &str) -> Self {
        match payment_method {
            "pm_card_approve" => Self::Approve,
            "pm_card_decline" => Self::Decline,
            "pm_card_insufficient_funds" => Self::InsufficientFunds,
            "pm_card_slow" => Self::Slow,
            "pm_card_answer_lost" => Self::AnswerLost,
            "pm_card_capture_refused" => Self::CaptureRefused,
            _ => Self::Unknown,
        }
    }

    /// Why an authorisation is declined; `None` when it is not.
    pub fn decline_code(self) -> Option<&'static str> {
        match self {
            Self::Approve | Self::Slow | Self::AnswerLost | Self::CaptureRefused => None,
            Self::Decline => Some("card_declined"),
            Self::InsufficientFunds => Some("insufficient_funds"),
            Self::Unknown => Some("invalid_card"),
        }
    }
}
