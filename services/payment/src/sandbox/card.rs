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
    /// `pm_card_webhook_only`: no authorisation of it is ever answered. After a while the sandbox
    /// takes the money by itself, and only a webhook says so. A void in time prevents that.
    WebhookOnly,
    /// `pm_card_paid_late`: no authorisation of it is ever answered. Its void is, and a while after
    /// that the sandbox takes the money all the same, and says so by a webhook.
    PaidLate,
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
            "pm_card_webhook_only" => Self::WebhookOnly,
            "pm_card_paid_late" => Self::PaidLate,
            _ => Self::Unknown,
        }
    }

    /// Why an authorisation is declined; `None` when it is not.
    pub fn decline_code(self) -> Option<&'static str> {
        match self {
            Self::Approve
            | Self::Slow
            | Self::AnswerLost
            | Self::CaptureRefused
            | Self::WebhookOnly
            | Self::PaidLate => None,
            Self::Decline => Some("card_declined"),
            Self::InsufficientFunds => Some("insufficient_funds"),
            Self::Unknown => Some("invalid_card"),
        }
    }

    /// Whether no authorisation of it is ever answered; the charge is pending until the sandbox
    /// pays it by itself.
    pub fn never_answers(self) -> bool {
        matches!(self, Self::WebhookOnly | Self::PaidLate)
    }
}
