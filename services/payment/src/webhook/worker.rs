//! Follows events up, in every replica at once: looks the charge up at the provider, lets the
//! payment follow, and gives back what was paid although we had given it up. What fails comes again
//! after a pause, however often: nothing that was recorded is lost.

use std::{sync::Arc, time::Duration};

use firstcome_mesh::{Deadline, Shutdown, failpoint};
use firstcome_proto::PaymentId;
use futures::future::join_all;
use tokio::sync::Notify;

use crate::{
    charge::Charges,
    error::Error,
    metrics::METRICS,
    store::{Store, inbox::DueEvent},
};

/// Without a wake-up: for what failed, and for what another replica recorded and left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events that one look takes, all followed up at once: one that waited for its turn here would use
/// up its claim. Each is a few calls of the provider; payments come first.
pub const AT_ONCE_MAX: i64 = 8;
/// For one event, with all its calls; the claim of an event lasts longer.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often events are looked through for what may be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Events that one statement forgets: as many as it surely can within its time.
const FORGOTTEN_AT_ONCE: i64 = 10_000;

/// The worker and what it needs.
#[derive(Clone)]
pub struct Worker {
    /// Whose events.
    pub provider: &'static str,
    /// The inbox.
    pub store: Store,
    /// The way to follow up.
    pub charges: Charges,
    /// Told when an event was recorded here.
    pub recorded: Arc<Notify>,
}

impl Worker {
    /// Starts it; it ends when the process does.
    pub fn start(self, shutdown: &Shutdown) {
        let (worker, end) = (self.clone(), shutdown.clone());
        shutdown.spawn(async move {
            while !end.has_begun() {
                tokio::select! {
                    () = worker.recorded.notified() => {}
                    _ = end.sleep(LOOK_EVERY) => {}
                }
                worker.follow_up_all(&end).await;
            }
        });
        let end = shutdown.clone();
        shutdown.spawn(async move {
            while end.sleep(FORGET_EVERY).await {
                self.forget_all(&end).await;
            }
        });
    }

    async fn follow_up_all(&self, end: &Shutdown) {
        while !end.has_begun() {
            let Ok(due) = self.store.claim_events(self.provider, AT_ONCE_MAX).await else { return };
            if due.is_empty() {
                return;
            }
            join_all(due.into_iter().map(|event| self.follow_up(event))).await;
        }
    }

    /// Forgets all there is to forget: since the last look more may have grown old than one
    /// statement takes.
    async fn forget_all(&self, end: &Shutdown) {
        while !end.has_begun() {
            match self.store.forget_events(FORGOTTEN_AT_ONCE).await {
                Ok(forgotten) if forgotten == FORGOTTEN_AT_ONCE.unsigned_abs() => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "forget old events later");
                    return;
                }
            }
        }
    }

    async fn follow_up(&self, event: DueEvent) {
        failpoint::hit("webhook.before_effect");
        let followed = self.catch_up(event.payment).await;
        failpoint::hit("webhook.after_effect");
        let settled = match followed {
            Ok(()) => {
                METRICS.events_followed.inc();
                self.store.settle_event(self.provider, &event.id).await
            }
            Err(error) => {
                METRICS.events_postponed.inc();
                let (id, tries) = (&event.id, event.tries);
                tracing::warn!(event = id, tries, %error, "follow an event up later");
                self.store.postpone_event(self.provider, &event.id).await
            }
        };
        if let Err(error) = settled {
            // The claim ends by itself, and then it is somebody's turn again.
            tracing::warn!(event = event.id, %error, "an event is followed up again");
        }
    }

    async fn catch_up(&self, payment: PaymentId) -> Result<(), Error> {
        self.charges.catch_up(payment, Deadline::after(EVENT_TIMEOUT)).await
    }
}
