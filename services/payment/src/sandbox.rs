//! A payment provider for everybody who has none: it plays a remote system, with a ledger of its
//! own that payment cannot see, and cards that misbehave.
//!
//! Like a remote system it works on after its caller has left, and like every decent one it is
//! idempotent by key: the first authorisation of a key decides, and a void of an unknown key leaves
//! a tombstone that kills an authorisation that comes late. Like many it tells its merchant what
//! happened by webhooks, at least once and in no order ([`teller`]).

pub mod card;
pub mod event;
mod ledger;
pub mod teller;

use std::time::Duration;

use firstcome_mesh::{Batcher, Deadline, Shutdown, batcher};
use firstcome_proto::PaymentId;

use crate::provider::{Charge, Provider, Standing, Unknown};
use card::Card;
use ledger::Step;
pub use ledger::{Habits, Ledger};
use teller::{Merchant, Teller};

/// The provider's name, in configuration and in the path of its webhooks.
pub const NAME: &str = "sandbox";
/// How often charges are looked for that the sandbox pays by itself, and events to be told. What
/// happens meanwhile gathers, and is one request and three statements for hundreds of charges.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
}

impl Sandbox {
    /// Over its own ledger.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger: Batcher::carrying_abandoned(ledger, LIMITS) }
    }

    /// Starts what it does unasked, in every replica at once: it pays what it pays by itself, and
    /// tells the merchant, if there is one, what happened.
    pub fn start(&self, merchant: Option<Merchant>, shutdown: &Shutdown) {
        let (sandbox, end) = (self.clone(), shutdown.clone());
        shutdown.spawn(async move {
            while end.sleep(LOOK_EVERY).await {
                if let Err(error) = sandbox.ledger.call().pay_due().await {
                    tracing::warn!(%error, "pay later what is due");
                }
            }
        });
        let Some(merchant) = merchant else { return };
        let teller = Teller::new(self.ledger.call().pool(), merchant);
        let end = shutdown.clone();
        shutdown.spawn(async move {
            while end.sleep(LOOK_EVERY).await {
                teller.tell_all(&end).await;
            }
        });
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
            tokio::time::sleep(late.ledger.call().habits().slow).await;
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

    async fn look(&self, key: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.step(key, Step::Look).await
    }

    async fn refund(&self, key: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.step(key, Step::Refund).await
    }
}
