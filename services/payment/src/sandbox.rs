//! A payment provider for everybody who has none: it plays a remote system, with a ledger of its
//! own that payment cannot see, and cards that misbehave.
//!
//! Like a remote system it works on after its caller has left, and like every decent one it is
//! idempotent by key: the first authorisation of a key decides, and a void of an unknown key leaves
//! a tombstone that kills an authorisation that comes late.

pub mod card;
mod ledger;

use std::time::Duration;

use firstcome_mesh::{Batcher, Deadline, batcher};
use firstcome_proto::PaymentId;

use crate::provider::{Charge, Provider, Standing, Unknown};
use card::Card;
pub use ledger::Ledger;
use ledger::Step;

/// The sandbox's own patience with its own ledger, whoever waits.
const STEP_LONGEST: Duration = Duration::from_secs(10);
/// Steps gather while the last batch is out, as everywhere.
const LIMITS: batcher::Limits = batcher::Limits {
    batch_items_max: 256,
    in_flight_max: 1,
    key_queue_items_max: 4096,
    queue_items_max: 4096,
};

/// The sandbox provider. Clones share one ledger.
#[derive(Clone)]
pub struct Sandbox {
    ledger: Batcher<Ledger>,
    slow: Duration,
}

impl Sandbox {
    /// Over its own ledger; `slow` is how late its slow card answers.
    pub fn new(ledger: Ledger, slow: Duration) -> Self {
        Self { ledger: Batcher::carrying_abandoned(ledger, LIMITS), slow }
    }

    /// Ends what is queued, then closes the connections.
    pub async fn close(&self, within: Duration) {
        self.ledger.close(within).await;
        self.ledger.call().close().await;
    }

    async fn step(&self, key: PaymentId, step: Step) -> Result<Standing, Unknown> {
        let deadline = Deadline::after(STEP_LONGEST);
        self.ledger.submit((), (key, step), deadline).await.map_err(|_| Unknown)?
    }

    /// Authorises late, in a task of its own: who hangs up does not stop it.
    async fn authorize_late(&self, charge: Charge) -> Result<Standing, Unknown> {
        // What is known is answered at once; only the first answer is slow.
        match self.step(charge.key, Step::Look).await? {
            Standing::Unseen => {}
            known => return Ok(known),
        }
        let late = self.clone();
        let charging = tokio::spawn(async move {
            tokio::time::sleep(late.slow).await;
            late.step(charge.key, Step::Authorize(charge)).await
        });
        charging.await.map_err(|_| Unknown)?
    }
}

#[async_trait::async_trait]
impl Provider for Sandbox {
    async fn authorize(&self, charge: Charge, _: Deadline) -> Result<Standing, Unknown> {
        match Card::of(&charge.payment_method) {
            Card::Slow => self.authorize_late(charge).await,
            _ => self.step(charge.key, Step::Authorize(charge)).await,
        }
    }

    async fn capture(&self, key: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.step(key, Step::Capture).await
    }

    async fn void(&self, key: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.step(key, Step::Void).await
    }

    async fn refund(&self, key: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.step(key, Step::Refund).await
    }
}
