//! The sandbox's webhooks as text: one body carries as many events as there are, so that a rush
//! costs its merchant a few requests a second and not one for every movement. No I/O.

use firstcome_proto::PaymentId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    payment::State,
    provider::{Event, Unreadable},
};

/// Every event's kind begins with it, as in `charge.captured`.
const KIND: &str = "charge.";

/// One event, as the sandbox has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Its number; never used twice.
    pub number: i64,
    /// Which charge, by the merchant's key.
    pub charge: PaymentId,
    /// The state that it came to.
    pub state: State,
}

#[derive(Serialize, Deserialize)]
struct Body {
    events: Vec<Told>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    charge: Uuid,
}

/// The body that tells these.
pub fn write(happened: &[Happened]) -> Vec<u8> {
    let told = happened.iter().map(|happened| Told {
        id: format!("evt_{}", happened.number),
        kind: format!("{KIND}{}", happened.state.name().to_lowercase()),
        charge: happened.charge.0,
    });
    serde_json::to_vec(&Body { events: told.collect() }).expect("text and lists are JSON")
}

/// The events of a body. Kinds that we do not know are events about nothing.
///
/// # Errors
/// When the body is not one of the sandbox's.
pub fn read(body: &[u8]) -> Result<Vec<Event>, Unreadable> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|fault| Unreadable(format!("want the sandbox's events in JSON: {fault}")))?;
    let event = |told: Told| {
        let state = told.kind.strip_prefix(KIND).map(str::to_uppercase);
        let state = state.and_then(|name| State::from_name(&name));
        Event {
            about: state.map(|state| (PaymentId(told.charge), state)),
            id: told.id,
            told: told.kind,
            reference: None,
        }
    };
    Ok(body.events.into_iter().map(event).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let states = [State::Authorized, State::Declined, State::Captured, State::Refunded];
        let happened: Vec<_> = (1_i64..)
            .zip(states)
            .map(|(number, state)| Happened { number, charge: PaymentId(Uuid::new_v4()), state })
            .collect();
        let read = read(&write(&happened)).expect("events");
        assert_eq!(read.len(), happened.len());
        for (event, happened) in read.iter().zip(&happened) {
            assert_eq!(event.about, Some((happened.charge, happened.state)));
            assert_eq!(event.id, format!("evt_{}", happened.number));
        }
        assert_eq!(read[0].told, "charge.authorized");
    }

    #[test]
    fn what_is_no_event_is_not_read_and_what_is_strange_is_about_nothing() {
        for body in ["", "[]", "{}", r#"{"events":[{"id":"evt_1"}]}"#, r#"{"events":7}"#] {
            assert!(read(body.as_bytes()).is_err(), "{body:?}");
        }
        let strange = format!(
            r#"{{"events":[{{"id":"evt_1","type":"charge.disputed","charge":"{}"}}]}}"#,
            Uuid::nil()
        );
        let read = read(strange.as_bytes()).expect("an event");
        assert_eq!((read[0].told.as_str(), read[0].about), ("charge.disputed", None));
    }
}
