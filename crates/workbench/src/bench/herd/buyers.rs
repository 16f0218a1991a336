//! Buyers, each on a connection of its own, who all press the button within a moment of the
//! opening.

use std::time::Duration;

use anyhow::{Context as _, Result};
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{GetProductRequest, catalog_service_client::CatalogServiceClient},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tonic::{Status, transport::Channel};

use super::cue::{Cue, Opened, connect, ensure_room, next_cue, say};
use crate::{
    bench::{
        heard::{Explained, Heard, Summary},
        schedule::Spread,
    },
    calls::{ANSWER_TIMEOUT, Person},
    rush::sale::Sale,
};

/// Connections that are being opened at once: below what a kernel keeps waiting for `accept`.
const OPENING_MAX: usize = 256;
/// Whoever was a hair too early asks again after this long, so many times.
const EARLY_PAUSE: Duration = Duration::from_millis(1);
const EARLY_TRIES_MAX: u32 = 200;
/// A call without an answer this long after its deadline has been forgotten.
const GRACE: Duration = Duration::from_secs(1);

/// Nobody breaks anything, so that only these explain themselves.
const EXPLAINED: Explained = Explained {
    plainly: &[Reason::SoldOut],
    with_retry: &[Reason::Overloaded, Reason::RateLimited, Reason::Fenced],
};

/// The job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Buy {
    /// Where the shop is.
    pub edge: String,
    /// The product and its SKU.
    pub product: String,
    pub sku: String,
    /// Everybody's idempotency key; keys belong to their buyers.
    pub key: String,
    /// One connection for each.
    pub buyers: Vec<Buyer>,
    /// How they come.
    pub spread: Spread,
    /// Within this long of the opening.
    pub within_ms: u64,
    /// How long each waits for its answer.
    pub deadline_ms: u64,
}

/// Somebody with a token, and the client address that a proxy would tell.
#[derive(Debug, Serialize, Deserialize)]
pub struct Buyer {
    user: String,
    authorization: String,
    address: String,
}

/// What became of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bought {
    /// What they heard in the end.
    pub heard: Summary,
    /// Answers that the drop has not opened; each of them asked again.
    pub early: u64,
}

impl Buyer {
    /// This person.
    pub fn of(person: &Person) -> Result<Self> {
        Ok(Self {
            user: person.user.to_string(),
            authorization: person.authorization.to_str()?.to_owned(),
            address: person.address.to_str()?.to_owned(),
        })
    }

    fn person(&self) -> Result<Person> {
        Ok(Person {
            user: self.user.parse()?,
            authorization: self.authorization.parse()?,
            address: self.address.parse()?,
        })
    }
}

/// Opens the connections, waits for the opening, buys, and says what was heard.
pub async fn run(buy: Buy) -> Result<()> {
    ensure_room(buy.buyers.len())?;
    let sale = Sale { product: buy.product.parse()?, sku: buy.sku.parse()? };
    let started = Instant::now();
    let callers = buy.buyers.iter().map(|buyer| open(&buy.edge, buyer, sale));
    let callers: Vec<_> = stream::iter(callers)
        .buffer_unordered(OPENING_MAX)
        .try_collect()
        .await
        .context("open the connections")?;
    let took_ms = u64::try_from(started.elapsed().as_millis())?;
    say(&Opened { connections: callers.len(), took_ms })?;

    let Cue { in_ms } = next_cue().await?;
    let opening = Instant::now() + Duration::from_millis(in_ms);
    let within = Duration::from_millis(buy.within_ms);
    let offsets = buy.spread.over(within, u32::try_from(callers.len())?);
    let deadline = Duration::from_millis(buy.deadline_ms);
    let mut calls = JoinSet::new();
    for (mut caller, offset) in callers.into_iter().zip(offsets) {
        let key = buy.key.clone();
        calls.spawn(async move {
            // By the plan: who could not call in time has waited since then.
            let asked = opening + offset;
            sleep_until(asked).await;
            let (answer, early) = caller.place(sale, &key, deadline).await;
            // With the caller its connection goes; nobody leaves before all were heard.
            (caller, EXPLAINED.judge(&answer), asked.elapsed(), early)
        });
    }
    let (mut heard, mut early, mut stay) = (Heard::default(), 0, Vec::new());
    while let Some(call) = calls.join_next().await {
        let (caller, answer, latency, early_tries) = call?;
        heard.add(answer, latency);
        early += u64::from(early_tries);
        stay.push(caller);
    }
    say(&Bought { heard: heard.summary(), early })?;
    // Until the memory of an edge that still has them has been looked at.
    let _: Cue = next_cue().await?;
    Ok(())
}

/// Somebody on a connection that the edge has answered on.
struct Caller {
    channel: Channel,
    person: Person,
}

async fn open(edge: &str, buyer: &Buyer, sale: Sale) -> Result<Caller> {
    let person = buyer.person()?;
    let channel = connect(edge).await?;
    // A connection may wait in the kernel; an answer shows that the edge has it.
    let message = GetProductRequest { product_id: sale.product.to_string() };
    let look = CatalogServiceClient::new(channel.clone())
        .get_product(person.request(message, ANSWER_TIMEOUT))
        .await;
    look.context("look at the product")?;
    Ok(Caller { channel, person })
}

impl Caller {
    /// Places one order; counts the answers that came too early for the shop's clock.
    async fn place(
        &mut self,
        sale: Sale,
        key: &str,
        deadline: Duration,
    ) -> (Result<(), Status>, u32) {
        let give_up = Instant::now() + deadline;
        let mut early = 0;
        loop {
            let patience = give_up.saturating_duration_since(Instant::now());
            let place = self.person.place(self.channel.clone(), sale, key, patience);
            let answer = timeout_at(give_up + GRACE, place).await;
            let answer = answer.unwrap_or_else(|_| Err(Status::cancelled("no answer")));
            match answer {
                Err(status) if is_not_open(&status) && early < EARLY_TRIES_MAX => {
                    early += 1;
                    sleep(EARLY_PAUSE).await;
                }
                answer => return (answer.map(drop), early),
            }
        }
    }
}

fn is_not_open(status: &Status) -> bool {
    Refusal::from_status(status).reason() == Reason::NotOpen
}
