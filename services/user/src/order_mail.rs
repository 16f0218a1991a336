//! Mails about orders: consumes order's events and writes to the buyer, at most once of each event,
//! however often it is delivered and whichever replicas get it.
//!
//! The record of a mail and its letter in the outbox are one transaction; the postman sends it.

use std::{future::Future, sync::Arc, time::Duration};

use firstcome_events::{
    Delivered, Handler, Outcome, Parked, Streams,
    consumer::{self, Settings},
};
use firstcome_mesh::{Shutdown, failpoint};
use firstcome_proto::{
    Money, OrderId, Refusal, UserId,
    event_v1::{OrderChanged, event::Kind},
};
use firstcome_redis::RedisPool;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    account::Email,
    error::Error,
    language::Language,
    letter::{Letter, Matter, Urgency},
    news::News,
    outbox::Outbox,
    store::Store,
};

/// The consumer group.
const GROUP: &str = "mail";
/// Statements at once: most connections to Postgres belong to people who log in.
const STATEMENTS_AT_ONCE: usize = 2;
/// Twice as long as an event can be told again.
const KEEP: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How often older records are deleted, and how many at once.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const FORGET_MAX: i64 = 1_000;

/// A mail to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The event that it is about.
    pub event_id: Uuid,
    /// Whom to tell.
    pub user: UserId,
    /// Of which order.
    pub order: OrderId,
    /// The order's sum.
    pub total: Money,
    /// What to tell.
    pub news: News,
}

impl Notice {
    /// What an event asks to be mailed, if anything.
    ///
    /// # Errors
    /// The field that cannot be.
    fn of(delivered: &Delivered) -> Result<Option<Self>, Refusal> {
        let Some(Kind::OrderChanged(changed)) = &delivered.event.kind else { return Ok(None) };
        let Some(news) = News::of(changed.from_state(), changed.state()) else { return Ok(None) };
        let OrderChanged { order_id, user_id, total, .. } = changed;
        Ok(Some(Self {
            event_id: delivered.event_id,
            user: UserId::from_wire("user_id", user_id)?,
            order: OrderId::from_wire("order_id", order_id)?,
            total: Money::from_field("total", total.clone())?,
            news,
        }))
    }
}

/// Posts what the events ask for.
pub struct OrderMails {
    store: Store,
    outbox: Outbox,
    statements: Semaphore,
}

impl OrderMails {
    /// What was mailed, and where letters go.
    pub fn new(store: Store, outbox: Outbox) -> Self {
        Self { store, outbox, statements: Semaphore::new(STATEMENTS_AT_ONCE) }
    }

    /// Consumes events until the end begins.
    pub fn start(
        self,
        redis: &RedisPool,
        streams: &Streams,
        settings: Settings,
        shutdown: &Shutdown,
    ) {
        shutdown.spawn(forget(self.store.clone(), shutdown.clone()));
        consumer::start(redis, streams, GROUP, Arc::new(self), settings, shutdown);
    }

    /// Records the mails and posts their letters, all or none. Gives what all came to.
    async fn post(&self, notices: &[Notice]) -> Outcome {
        let seal = |notice: &Notice, to: Email, language: Language| {
            let Notice { event_id, order, total, news, .. } = *notice;
            let matter = Matter::Order { order, total, news };
            self.outbox.seal(event_id, &Letter { to, language, matter })
        };
        match self.within(self.store.record_mails(notices, seal)).await {
            Ok(0) => Outcome::Done,
            Ok(_) => {
                failpoint::hit("user.after_mail_record");
                self.outbox.ring(Urgency::Unasked);
                Outcome::Done
            }
            Err(fault @ Error::StoreUnavailable) => Outcome::Unavailable(fault.to_string()),
            Err(fault) => Outcome::TryAgain(fault.to_string()),
        }
    }

    /// Runs a statement when it is its turn.
    async fn within<T>(&self, statement: impl Future<Output = T>) -> T {
        let _permit = self.statements.acquire().await.expect("nobody closes it");
        statement.await
    }
}

impl Handler for OrderMails {
    async fn handle(&self, events: Vec<Delivered>) -> Vec<Outcome> {
        let read: Vec<_> = events.iter().map(Notice::of).collect();
        let notices: Vec<Notice> =
            read.iter().filter_map(|notice| notice.as_ref().ok().copied().flatten()).collect();
        let posted = if notices.is_empty() { Outcome::Done } else { self.post(&notices).await };
        let outcome = |notice: Result<Option<Notice>, Refusal>| match notice {
            Ok(None) => Outcome::Done,
            Ok(Some(_)) => posted.clone(),
            Err(refusal) => Outcome::Poison(format!("{:?}", refusal.violations)),
        };
        read.into_iter().map(outcome).collect()
    }

    async fn park(&self, parked: Parked) -> Result<(), String> {
        self.store.park_event(&parked).await.map_err(|fault| fault.to_string())
    }
}

async fn forget(store: Store, shutdown: Shutdown) {
    while shutdown.sleep(FORGET_EVERY).await {
        // A fault is logged in the store; the next look is as good.
        while store.forget_mails(KEEP, FORGET_MAX).await.is_ok_and(|mails| mails > 0) {
            if shutdown.has_begun() {
                break;
            }
        }
    }
}
