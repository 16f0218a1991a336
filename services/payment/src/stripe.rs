//! Stripe's PaymentIntents over its public HTTP API: one intent for each payment, made and
//! confirmed at once, captured by hand, refunded whole.
//!
//! Every POST carries an idempotency key made of our payment's id and the step, which Stripe
//! honours for 24 hours. So an intent whose answer was lost is found by asking for it again, and
//! older ones by our id in their metadata. Stripe has no tombstones and needs none of ours: a
//! payment that was never begun was never asked for, and one whose fate is unknown is voided by
//! asking for it again, which gives the intent there is (or, at worst, reserves the money for a
//! moment), and cancelling it. An authorisation that is repeated after that hears the first answer
//! again, and our row, which says VOIDED, does not listen.

pub mod api;
pub mod event;
pub mod intent;
pub mod request;

use firstcome_mesh::Deadline;
use firstcome_proto::PaymentId;
use secrecy::SecretString;
use time::{Duration, OffsetDateTime};

use crate::{
    provider::{Charge, Event, Provider, Standing, Unknown, Unreadable},
    store::Store,
};
use api::{Answer, Api};
use event::Told;
use intent::{Found, Intent, Refund};
use request::Step;

/// The provider's name, in configuration and in the path of its webhooks.
pub const NAME: &str = "stripe";
/// Where Stripe is.
pub const BASE_URL_DEFAULT: &str = "https://api.stripe.com";
/// Stripe forgets an idempotency key after 24 h; the key would make a second intent then. An hour
/// is for clocks and for requests on their way.
const KEY_LIFETIME: Duration = Duration::hours(23);

/// The events of a webhook's body.
///
/// # Errors
/// When the body is not one of Stripe's.
pub fn read(body: &[u8]) -> Result<Vec<Event>, Unreadable> {
    let Told { event, not_refunded } = event::read(body)?;
    if let Some(payment) = not_refunded {
        // A refund under way counts as done, and its payment may say REFUNDED for good: the rest is
        // for people. Each delivery says so again, which is better than never.
        tracing::error!(%payment, "a refund failed, the money did not go back");
    }
    Ok(vec![event])
}

/// Stripe. Clones share connections.
#[derive(Clone)]
pub struct Stripe {
    api: Api,
    store: Store,
}

impl Stripe {
    /// At this address, with this secret key. The store keeps the intents' names.
    pub fn new(base_url: &str, secret_key: SecretString, store: Store) -> Self {
        Self { api: Api::new(base_url, secret_key), store }
    }

    /// Makes an intent, or hears again of the one that this key has made.
    async fn create(&self, charge: &Charge, deadline: Deadline) -> Result<Answer<Intent>, Unknown> {
        let (key, form) = (request::key(charge.key, Step::Authorize), request::create(charge));
        let answer: Answer<Intent> =
            self.api.post("/v1/payment_intents", &key, &form, deadline).await?;
        let made = match &answer {
            Answer::Done(intent) => Some(intent),
            Answer::Refused(refused) => refused.intent.as_deref(),
        };
        if let Some(intent) = made {
            self.name(charge.key, &intent.id).await?;
        }
        Ok(answer)
    }

    /// Saves an intent's name; without it the next step would have to ask for it again.
    async fn name(&self, key: PaymentId, id: &str) -> Result<(), Unknown> {
        self.store.name_charge(key, id).await.map_err(|_| Unknown)
    }

    /// The intent of a payment, by whatever way there is; `None` when there is none and none can
    /// come any more.
    async fn find(&self, key: PaymentId, deadline: Deadline) -> Result<Option<String>, Unknown> {
        let found = self.store.find_named(key).await.map_err(|_| Unknown)?;
        let Some((payment, name)) = found else { return Ok(None) };
        if name.is_some() {
            return Ok(name);
        }
        let Some((amount, payment_method)) = payment.asked else { return Ok(None) };
        if OffsetDateTime::now_utc() - payment.created_at > KEY_LIFETIME {
            return self.search(key, deadline).await;
        }
        let charge = Charge { key, amount, payment_method };
        Ok(match self.create(&charge, deadline).await? {
            Answer::Done(intent) => Some(intent.id),
            Answer::Refused(refused) => refused.intent.map(|intent| intent.id),
        })
    }

    /// Stripe's search lags behind by up to a minute: what it finds is there, what it does not
    /// find is only absent when it is old.
    async fn search(&self, key: PaymentId, deadline: Deadline) -> Result<Option<String>, Unknown> {
        let path = request::search(key);
        let Answer::Done(found) = self.api.get::<Found>(&path, deadline).await? else {
            return Err(Unknown);
        };
        let Some(intent) = found.data.into_iter().next() else { return Ok(None) };
        self.name(key, &intent.id).await?;
        Ok(Some(intent.id))
    }

    /// How an intent stands now.
    async fn look_at(&self, id: &str, deadline: Deadline) -> Result<Standing, Unknown> {
        match self.api.get::<Intent>(&request::retrieve(id), deadline).await? {
            Answer::Done(intent) => intent.standing().ok_or(Unknown),
            Answer::Refused(refused) => {
                tracing::error!(intent = id, ?refused, "an intent that was there cannot be read");
                Err(Unknown)
            }
        }
    }

    /// Does a step of an intent. A step that is refused leaves the intent as it was: how that is,
    /// is the answer.
    async fn step(
        &self,
        key: PaymentId,
        step: Step,
        id: &str,
        deadline: Deadline,
    ) -> Result<Standing, Unknown> {
        let (path, key) = (request::path(step, id), request::key(key, step));
        match self.api.post::<Intent>(&path, &key, &[], deadline).await {
            Ok(Answer::Done(intent)) => intent.standing().ok_or(Unknown),
            Ok(Answer::Refused(_)) => self.look_at(id, deadline).await,
            Err(Unknown) => self.look_whether(id, &step.standing(), deadline).await,
        }
    }

    /// Whether a step was done whose answer says nothing. A key whose first answer was a fault of
    /// Stripe's hears that fault for a day, though the step was done. One that was not done may be
    /// on its way still: nobody knows.
    async fn look_whether(
        &self,
        id: &str,
        wanted: &Standing,
        deadline: Deadline,
    ) -> Result<Standing, Unknown> {
        let standing = self.look_at(id, deadline).await?;
        if standing == *wanted { Ok(standing) } else { Err(Unknown) }
    }
}

#[async_trait::async_trait]
impl Provider for Stripe {
    async fn authorize(&self, charge: Charge, deadline: Deadline) -> Result<Standing, Unknown> {
        match self.create(&charge, deadline).await? {
            Answer::Done(intent) => intent.standing().ok_or(Unknown),
            Answer::Refused(refused) => Ok(Standing::Declined(refused.decline_code())),
        }
    }

    async fn capture(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown> {
        match self.find(key, deadline).await? {
            Some(id) => self.step(key, Step::Capture, &id, deadline).await,
            None => Ok(Standing::Unseen),
        }
    }

    async fn void(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown> {
        match self.find(key, deadline).await? {
            Some(id) => self.step(key, Step::Void, &id, deadline).await,
            None => Ok(Standing::Voided),
        }
    }

    async fn look(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown> {
        let found = self.store.find_named(key).await.map_err(|_| Unknown)?;
        let id = match found.and_then(|(_, name)| name) {
            Some(name) => Some(name),
            None => self.search(key, deadline).await?,
        };
        match id {
            Some(id) => self.look_at(&id, deadline).await,
            None => Ok(Standing::Unseen),
        }
    }

    async fn refund(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown> {
        let Some(id) = self.find(key, deadline).await? else { return Ok(Standing::Unseen) };
        let (form, step_key) = (request::refund(key, &id), request::key(key, Step::Refund));
        match self.api.post::<Refund>("/v1/refunds", &step_key, &form, deadline).await {
            Ok(Answer::Done(refund)) if refund.is_under_way() => Ok(Standing::Refunded),
            // Refused, as one that was done already is, or failed: the charge says which.
            Ok(Answer::Done(_) | Answer::Refused(_)) => self.look_at(&id, deadline).await,
            Err(Unknown) => self.look_whether(&id, &Step::Refund.standing(), deadline).await,
        }
    }
}
