//! What Stripe is asked, as text. No I/O.

use firstcome_proto::PaymentId;
use form_urlencoded::Serializer;

use crate::provider::{Charge, Standing};

/// Where our payment's id stands in everything that we make there.
pub const PAYMENT_ID: &str = "payment_id";

/// A form's fields, in their order.
pub type Form = Vec<(&'static str, String)>;

/// What is done to an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Made and confirmed.
    Authorize,
    /// Captured.
    Capture,
    /// Cancelled.
    Void,
    /// Refunded.
    Refund,
}

impl Step {
    /// How a charge stands once the step is done.
    pub fn standing(self) -> Standing {
        match self {
            Self::Authorize => Standing::Authorized,
            Self::Capture => Standing::Captured,
            Self::Void => Standing::Voided,
            Self::Refund => Standing::Refunded,
        }
    }
}

/// The idempotency key of a step: each is done once for a payment, however often it is asked for.
pub fn key(payment: PaymentId, step: Step) -> String {
    let step = match step {
        Step::Authorize => "authorize",
        Step::Capture => "capture",
        Step::Void => "void",
        Step::Refund => "refund",
    };
    format!("{payment}-{step}")
}

/// Makes an intent that reserves the money at once and waits to be captured. A card that wants its
/// owner to do something is declined: nobody is there to do it. Stripe's smallest unit of a
/// currency is our minor unit, also where there is none, as in KRW.
pub fn create(charge: &Charge) -> Form {
    vec![
        ("amount", charge.amount.amount_minor.to_string()),
        ("currency", charge.amount.currency.as_str().to_lowercase()),
        ("payment_method", charge.payment_method.clone()),
        ("payment_method_types[0]", "card".into()),
        ("capture_method", "manual".into()),
        ("confirm", "true".into()),
        ("error_on_requires_action", "true".into()),
        ("metadata[payment_id]", charge.key.to_string()),
    ]
}

/// Gives the whole of an intent back.
pub fn refund(payment: PaymentId, intent: &str) -> Form {
    vec![("payment_intent", intent.to_owned()), ("metadata[payment_id]", payment.to_string())]
}

/// Where a step of an intent is asked for.
pub fn path(step: Step, intent: &str) -> String {
    match step {
        Step::Authorize => "/v1/payment_intents".into(),
        Step::Capture => format!("/v1/payment_intents/{intent}/capture?{WITH_CHARGE}"),
        Step::Void => format!("/v1/payment_intents/{intent}/cancel?{WITH_CHARGE}"),
        Step::Refund => "/v1/refunds".into(),
    }
}

/// The newest charge tells whether an intent was refunded.
const WITH_CHARGE: &str = "expand%5B0%5D=latest_charge";

/// Where an intent is read.
pub fn retrieve(intent: &str) -> String {
    format!("/v1/payment_intents/{intent}?{WITH_CHARGE}")
}

/// Where the intents of a payment are looked for.
pub fn search(payment: PaymentId) -> String {
    let query = format!("metadata['{PAYMENT_ID}']:'{payment}'");
    let query = Serializer::new(String::new()).append_pair("query", &query).finish();
    format!("/v1/payment_intents/search?{query}")
}

/// The body of a form.
pub fn encode(form: &[(&'static str, String)]) -> String {
    Serializer::new(String::new()).extend_pairs(form).finish()
}

#[cfg(test)]
mod tests {
    use firstcome_proto::{Money, money::Currency};
    use uuid::Uuid;

    use super::*;

    fn charge() -> Charge {
        let currency = Currency::parse("KRW").expect("a code");
        Charge {
            key: PaymentId(Uuid::from_u128(7)),
            amount: Money { amount_minor: 129_000, currency },
            payment_method: "pm_card_visa".into(),
        }
    }

    #[test]
    fn an_intent_is_asked_for_as_stripe_reads_it() {
        assert_eq!(
            encode(&create(&charge())),
            "amount=129000&currency=krw&payment_method=pm_card_visa\
             &payment_method_types%5B0%5D=card&capture_method=manual&confirm=true\
             &error_on_requires_action=true\
             &metadata%5Bpayment_id%5D=00000000-0000-0000-0000-000000000007"
        );
    }

    #[test]
    fn what_a_caller_wrote_stays_inside_its_field() {
        let hostile = Charge { payment_method: "pm_1&amount=1 é".into(), ..charge() };
        let body = encode(&create(&hostile));
        assert!(body.contains("payment_method=pm_1%26amount%3D1+%C3%A9&"), "{body}");
    }

    #[test]
    fn each_step_of_a_payment_has_a_key_of_its_own() {
        let steps = [Step::Authorize, Step::Capture, Step::Void, Step::Refund];
        let keys = steps.map(|step| key(charge().key, step));
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(keys[0], "00000000-0000-0000-0000-000000000007-authorize");
    }

    #[test]
    fn a_payment_is_looked_for_by_our_id() {
        assert_eq!(
            search(charge().key),
            "/v1/payment_intents/search?query=metadata%5B%27payment_id%27%5D%3A%27\
             00000000-0000-0000-0000-000000000007%27"
        );
    }
}
