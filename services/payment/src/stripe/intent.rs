//! What Stripe answers, and what it means for a payment. No I/O.

use serde::Deserialize;

use crate::provider::Standing;

/// What stands for a refusal that has no code.
const NO_CODE: &str = "card_declined";

/// A PaymentIntent, as far as we read it.
#[derive(Clone, Debug, Deserialize)]
pub struct Intent {
    /// As in `pi_3MtwBwLkdIwHu7ix28a3tqPa`.
    pub id: String,
    status: String,
    #[serde(default)]
    last_payment_error: Option<ErrorBody>,
    #[serde(default)]
    latest_charge: Option<LatestCharge>,
}

/// A charge that is only named, or read with its intent.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum LatestCharge {
    Whole { refunded: bool },
    Named(#[allow(dead_code, reason = "it only has to read")] String),
}

/// What a search finds.
#[derive(Debug, Deserialize)]
pub struct Found {
    /// Newest first.
    pub data: Vec<Intent>,
}

/// A refund.
#[derive(Debug, Deserialize)]
pub struct Refund {
    status: Option<String>,
}

/// Why Stripe refuses.
#[derive(Clone, Debug, Deserialize)]
pub struct ErrorBody {
    /// As in `card_error`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// As in `card_declined`.
    #[serde(default)]
    pub code: Option<String>,
    /// The bank's word, as in `insufficient_funds`.
    #[serde(default)]
    pub decline_code: Option<String>,
    /// For a developer to read.
    #[serde(default)]
    pub message: Option<String>,
    /// The intent as it is after the refusal.
    #[serde(default)]
    pub payment_intent: Option<Box<Intent>>,
}

impl ErrorBody {
    /// Why the card was refused: the bank's word, else Stripe's.
    pub fn decline_code(&self) -> String {
        let code = self.decline_code.as_ref().or(self.code.as_ref());
        code.map_or_else(|| NO_CODE.to_owned(), Clone::clone)
    }
}

impl Intent {
    /// How the charge stands; `None` while Stripe has not decided, which a caller treats like an
    /// answer that did not come.
    pub fn standing(&self) -> Option<Standing> {
        let is_refunded =
            matches!(self.latest_charge, Some(LatestCharge::Whole { refunded: true }));
        match self.status.as_str() {
            "requires_capture" => Some(Standing::Authorized),
            "succeeded" if is_refunded => Some(Standing::Refunded),
            "succeeded" => Some(Standing::Captured),
            "canceled" => Some(Standing::Voided),
            // The first card was refused, and no second one is ever tried.
            "requires_payment_method" => {
                let error = self.last_payment_error.as_ref();
                let code = error.map_or_else(|| NO_CODE.to_owned(), ErrorBody::decline_code);
                Some(Standing::Declined(code))
            }
            // `processing`, `requires_confirmation`, `requires_action`, and what is yet to be
            // invented.
            _ => None,
        }
    }
}

impl Refund {
    /// Whether the money is on its way back or there.
    pub fn is_under_way(&self) -> bool {
        matches!(self.status.as_deref(), Some("succeeded" | "pending"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(json: &str) -> Option<Standing> {
        let intent: Intent = serde_json::from_str(json).expect("an intent");
        intent.standing()
    }

    #[test]
    fn each_status_has_its_meaning() {
        let declined = |code: &str| Some(Standing::Declined(code.into()));
        let table = [
            (r#"{"id":"pi_1","status":"requires_capture"}"#, Some(Standing::Authorized)),
            (
                r#"{"id":"pi_1","status":"succeeded","latest_charge":"ch_1"}"#,
                Some(Standing::Captured),
            ),
            (
                r#"{"id":"pi_1","status":"succeeded","latest_charge":null}"#,
                Some(Standing::Captured),
            ),
            (
                r#"{"id":"pi_1","status":"succeeded",
                    "latest_charge":{"id":"ch_1","refunded":false}}"#,
                Some(Standing::Captured),
            ),
            (
                r#"{"id":"pi_1","status":"succeeded",
                    "latest_charge":{"id":"ch_1","refunded":true}}"#,
                Some(Standing::Refunded),
            ),
            (r#"{"id":"pi_1","status":"canceled"}"#, Some(Standing::Voided)),
            (
                r#"{"id":"pi_1","status":"requires_payment_method","last_payment_error":
                {"type":"card_error","code":"card_declined","decline_code":"insufficient_funds"}}"#,
                declined("insufficient_funds"),
            ),
            (
                r#"{"id":"pi_1","status":"requires_payment_method","last_payment_error":
                {"type":"card_error","code":"expired_card"}}"#,
                declined("expired_card"),
            ),
            (r#"{"id":"pi_1","status":"requires_payment_method"}"#, declined("card_declined")),
            (r#"{"id":"pi_1","status":"processing"}"#, None),
            (r#"{"id":"pi_1","status":"requires_action"}"#, None),
            (r#"{"id":"pi_1","status":"requires_confirmation"}"#, None),
            (r#"{"id":"pi_1","status":"requires_a_miracle"}"#, None),
        ];
        for (json, want) in table {
            assert_eq!(standing(json), want, "{json}");
        }
    }

    #[test]
    fn a_refund_that_failed_gives_nothing_back() {
        let table = [
            (r#"{"status":"succeeded"}"#, true),
            (r#"{"status":"pending"}"#, true),
            (r#"{"status":"failed"}"#, false),
            (r#"{"status":"canceled"}"#, false),
            (r#"{"status":"requires_action"}"#, false),
            (r#"{"status":null}"#, false),
        ];
        for (json, want) in table {
            let refund: Refund = serde_json::from_str(json).expect("a refund");
            assert_eq!(refund.is_under_way(), want, "{json}");
        }
    }
}
