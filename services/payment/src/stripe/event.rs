//! Stripe's webhooks as text. No I/O.

use firstcome_proto::PaymentId;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    payment::State,
    provider::{Event, Unreadable},
};

#[derive(Deserialize)]
struct Body {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Object,
}

/// An intent; or a charge, which has its intent's metadata; or a refund, which has its own.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    payment_intent: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    payment_id: Option<String>,
}

/// What a body tells.
#[derive(Debug)]
pub struct Told {
    /// Its event.
    pub event: Event,
    /// The payment whose money was on its way back and will not arrive. That is no state of a
    /// payment, so the event is about nothing.
    pub not_refunded: Option<PaymentId>,
}

/// The event of a body. An event about something that we did not make is about nothing.
///
/// # Errors
/// When the body is not one of Stripe's.
pub fn read(body: &[u8]) -> Result<Told, Unreadable> {
    let Body { id, kind, data: Data { object } } = serde_json::from_slice(body)
        .map_err(|fault| Unreadable(format!("want an event of stripe in JSON: {fault}")))?;
    let has_failed =
        is_of_refund(&kind) && matches!(object.status.as_deref(), Some("failed" | "canceled"));
    let ours = object.metadata.and_then(|metadata| metadata.payment_id);
    let payment = ours.and_then(|text| Uuid::try_parse(&text).ok()).map(PaymentId);
    let state = state_of(&kind);
    let reference = if kind.starts_with("charge.") { object.payment_intent } else { object.id };
    let about = payment.zip(state);
    let event = Event { reference: about.and(reference), about, id, told: kind };
    Ok(Told { event, not_refunded: payment.filter(|_| has_failed) })
}

/// Whether an event of this kind carries a refund. Which of them come, the account decides.
fn is_of_refund(kind: &str) -> bool {
    matches!(kind, "refund.failed" | "refund.updated" | "charge.refund.updated")
}

/// The state that a payment comes to by an event of this kind.
fn state_of(kind: &str) -> Option<State> {
    match kind {
        "payment_intent.amount_capturable_updated" => Some(State::Authorized),
        "payment_intent.payment_failed" => Some(State::Declined),
        "payment_intent.succeeded" => Some(State::Captured),
        "payment_intent.canceled" => Some(State::Voided),
        "charge.refunded" => Some(State::Refunded),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_says_where_which_payment_came_to() {
        let payment = PaymentId(Uuid::from_u128(7));
        let intent = |kind: &str| {
            format!(
                r#"{{"id":"evt_1","type":"{kind}","data":{{"object":{{"id":"pi_1",
                    "object":"payment_intent","metadata":{{"payment_id":"{payment}"}}}}}}}}"#
            )
        };
        let refund = format!(
            r#"{{"id":"evt_1","type":"charge.refunded","data":{{"object":{{"id":"ch_1",
                "object":"charge","payment_intent":"pi_1",
                "metadata":{{"payment_id":"{payment}"}}}}}}}}"#
        );
        let table = [
            (intent("payment_intent.amount_capturable_updated"), Some(State::Authorized)),
            (intent("payment_intent.payment_failed"), Some(State::Declined)),
            (intent("payment_intent.succeeded"), Some(State::Captured)),
            (intent("payment_intent.canceled"), Some(State::Voided)),
            (refund, Some(State::Refunded)),
            (intent("payment_intent.created"), None),
        ];
        for (body, state) in table {
            let Told { event, not_refunded } = read(body.as_bytes()).expect("an event");
            assert_eq!(event.about, state.map(|state| (payment, state)), "{body}");
            assert_eq!(event.reference.as_deref(), state.map(|_| "pi_1"), "{body}");
            assert_eq!(not_refunded, None, "{body}");
        }
    }

    #[test]
    fn a_refund_that_failed_names_its_payment() {
        let payment = PaymentId(Uuid::from_u128(7));
        let (ours, others) = (format!(r#"{{"payment_id":"{payment}"}}"#), "{}".to_owned());
        let table = [
            ("refund.failed", "failed", &ours, Some(payment)),
            ("charge.refund.updated", "failed", &ours, Some(payment)),
            ("charge.refund.updated", "canceled", &ours, Some(payment)),
            ("refund.updated", "failed", &ours, Some(payment)),
            ("charge.refund.updated", "succeeded", &ours, None),
            ("refund.updated", "pending", &ours, None),
            ("refund.failed", "failed", &others, None),
            ("payment_intent.canceled", "canceled", &ours, None),
        ];
        for (kind, status, metadata, want) in table {
            let body = format!(
                r#"{{"id":"evt_1","type":"{kind}","data":{{"object":{{"id":"re_1",
                    "payment_intent":"pi_1","status":"{status}","metadata":{metadata}}}}}}}"#
            );
            let told = read(body.as_bytes()).expect("an event");
            assert_eq!(told.not_refunded, want, "{body}");
            assert!(want.is_none() || told.event.about.is_none(), "{body}");
        }
    }

    #[test]
    fn what_somebody_else_made_is_about_nothing() {
        for metadata in ["{}", r#"{"payment_id":"not an id"}"#, "null"] {
            let body = format!(
                r#"{{"id":"evt_1","type":"payment_intent.succeeded",
                    "data":{{"object":{{"id":"pi_1","metadata":{metadata}}}}}}}"#
            );
            let Told { event, .. } = read(body.as_bytes()).expect("an event");
            assert_eq!((event.about, event.reference), (None, None), "{body}");
        }
        assert!(read(b"{}").is_err());
    }
}
