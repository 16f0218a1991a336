//! Mails about orders: consumes order's events and tells the buyer, at most once of each event,
//! however often it is delivered and whichever replicas get it.
//!
//! A mail is recorded before it is sent. Where nobody knows whether it left (the process died in
//! between, the mail server hung up), it is not sent again.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

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
use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    account::Email,
    error::Error,
    mail::{Fault, Letter, Mailer},
    news::News,
    store::Store,
};

/// The consumer group.
const GROUP: &str = "mail";
/// Mails about orders on their way at once: the mail server's connections are also needed by people
/// who wait for a code.
const MAILS_AT_ONCE: usize = 4;
/// Statements about them at once: most connections to Postgres belong to people who log in.
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

/// Mails what the events ask for.
pub struct OrderMails {
    store: Store,
    mailer: Mailer,
    sending: Semaphore,
    statements: Semaphore,
}

impl OrderMails {
    /// What was mailed, and the way out.
    pub fn new(store: Store, mailer: Mailer) -> Self {
        let [sending, statements] = [MAILS_AT_ONCE, STATEMENTS_AT_ONCE].map(Semaphore::new);
        Self { store, mailer, sending, statements }
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

    /// Records, sends, and saves what left. Gives the outcomes that are not `Done`.
    async fn mail(&self, notices: &[Notice]) -> HashMap<Uuid, Outcome> {
        let mut outcomes = HashMap::new();
        let recorded = match self.within(self.store.record_mails(notices)).await {
            Ok(recorded) => recorded,
            Err(fault) => {
                let outcome = match fault {
                    Error::StoreUnavailable => Outcome::Unavailable(fault.to_string()),
                    _ => Outcome::TryAgain(fault.to_string()),
                };
                return notices.iter().map(|it| (it.event_id, outcome.clone())).collect();
            }
        };
        failpoint::hit("user.after_mail_record");
        let notices: HashMap<Uuid, &Notice> = notices.iter().map(|it| (it.event_id, it)).collect();
        // Once nothing can leave, the rest of the batch is not tried.
        let is_reachable = AtomicBool::new(true);
        let sending =
            recorded.into_iter().map(|(event, to)| self.send(notices[&event], to, &is_reachable));
        let sent: Vec<(Uuid, Result<(), Fault>)> =
            stream::iter(sending).buffer_unordered(MAILS_AT_ONCE).collect().await;

        let (mut left, mut withdrawn) = (Vec::new(), Vec::new());
        for (event, sent) in sent {
            match sent {
                Ok(()) => left.push(event),
                Err(Fault::NotNow(error)) => {
                    withdrawn.push(event);
                    outcomes.insert(event, Outcome::TryAgain(error));
                }
                Err(Fault::Unreachable(error)) => {
                    withdrawn.push(event);
                    outcomes.insert(event, Outcome::Unavailable(error));
                }
                // The address does not exist, or nobody knows: it stays on record, unsent.
                Err(fault @ (Fault::Refused(_) | Fault::Unknown(_))) => {
                    tracing::warn!(%event, %fault, "a mail about an order is given up");
                }
            }
        }
        if !left.is_empty() && self.within(self.store.mark_mailed(&left)).await.is_err() {
            // Logged there. The record alone keeps them from being sent again.
            tracing::warn!(mails = left.len(), "mails left and are not marked so");
        }
        if !withdrawn.is_empty()
            && self.within(self.store.withdraw_mails(&withdrawn)).await.is_err()
        {
            tracing::warn!(mails = withdrawn.len(), "mails did not leave and never will");
        }
        outcomes
    }

    async fn send(
        &self,
        notice: &Notice,
        to: Email,
        is_reachable: &AtomicBool,
    ) -> (Uuid, Result<(), Fault>) {
        let Notice { event_id, order, total, news, .. } = *notice;
        let _permit = self.sending.acquire().await.expect("nobody closes it");
        if !is_reachable.load(Ordering::Relaxed) {
            return (event_id, Err(Fault::Unreachable("like the one before".to_owned())));
        }
        let sent = self.mailer.send(&Letter::Order { to, order, total, news }).await;
        if matches!(sent, Err(Fault::Unreachable(_))) {
            is_reachable.store(false, Ordering::Relaxed);
        }
        (event_id, sent)
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
        let mut outcomes =
            if notices.is_empty() { HashMap::new() } else { self.mail(&notices).await };
        let outcome = |notice: Result<Option<Notice>, Refusal>| match notice {
            Ok(None) => Outcome::Done,
            Ok(Some(notice)) => outcomes.remove(&notice.event_id).unwrap_or(Outcome::Done),
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
