//! Webhooks: what a provider tells us unasked. Each event is on record before the provider hears
//! that we have it; whoever takes it up looks the charge up at the provider and lets the payment
//! follow. So an event may come twice, late, in any order, or never: it carries no truth.

pub mod worker;

use std::sync::Arc;

use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::{
    error::Error,
    provider::{Reader, Unreadable},
    signature,
    store::Store,
};

/// The largest body, also at the edge.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest id and longest kind of an event; Stripe's ids are 28 characters.
const WORD_BYTES_MAX: usize = 255;

/// Who sends webhooks, how it is known, and how its bodies read.
#[derive(Clone)]
pub struct Sender {
    /// As in the path of its webhooks.
    pub name: &'static str,
    /// What it signs with.
    pub secret: SecretString,
    /// The events of a body.
    pub read: Reader,
}

/// Takes webhooks in.
#[derive(Clone)]
pub struct Webhooks {
    sender: Option<Sender>,
    store: Store,
    recorded: Arc<Notify>,
}

impl Webhooks {
    /// From this sender; without one every provider is unknown. `recorded` is told when there is
    /// something to follow up.
    pub fn new(sender: Option<Sender>, store: Store, recorded: Arc<Notify>) -> Self {
        Self { sender, store, recorded }
    }

    /// Records the events of a body; when it returns they are not lost any more.
    ///
    /// # Errors
    /// An unknown provider, a signature that does not fit, a body that does not read, or a
    /// database that does not answer.
    pub async fn receive(&self, provider: &str, signature: &str, body: &[u8]) -> Result<(), Error> {
        let known = self.sender.as_ref().filter(|sender| sender.name == provider);
        let sender = known.ok_or(Error::NoSuchProvider)?;
        if body.len() > BODY_BYTES_MAX {
            return Err(Unreadable(format!("want at most {BODY_BYTES_MAX} bytes")).into());
        }
        let now_s = OffsetDateTime::now_utc().unix_timestamp();
        signature::verify(&sender.secret, signature, body, now_s)?;
        let events = (sender.read)(body)?;
        for event in &events {
            check_word("id", &event.id)?;
            check_word("type", &event.told)?;
        }
        if self.store.record_events(sender.name, events).await? {
            self.recorded.notify_one();
        }
        Ok(())
    }
}

/// What stands in our rows and logs is short, visible and ASCII, whoever signed it.
fn check_word(field: &str, word: &str) -> Result<(), Unreadable> {
    let is_visible = word.bytes().all(|byte| byte.is_ascii_graphic());
    if word.is_empty() || word.len() > WORD_BYTES_MAX || !is_visible {
        return Err(Unreadable(format!(
            "want an event's {field} of 1 to {WORD_BYTES_MAX} letters"
        )));
    }
    Ok(())
}
