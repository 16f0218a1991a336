//! Appends what stands in an outbox to the streams, in every replica of the service at once.
//!
//! One process has a shard at a time, by a lease in Postgres, so the events of a subject keep their
//! order. Its *tail*, the entry that was appended last, stands in Postgres too: while the stream
//! has that entry, it has lost nothing; when the entry is gone (FLUSHALL, a failover that lost the
//! end, a restart from an old file), all that is kept of the shard is appended again.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use firstcome_mesh::{Shutdown, failpoint};
use firstcome_proto::event_v1::Event;
use firstcome_redis::{Error, RedisPool};
use prost::Message as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use crate::{
    streams::{self, Streams},
    telling,
};

/// An event is told this soon after its commit. Several that gather meanwhile go together.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Events that one claim takes of each shard: a few milliseconds of work.
const EVENTS_MAX: i64 = 256;
/// Longer than an append may take; a shard whose relay died waits so long for the next.
const LEASE: Duration = Duration::from_secs(5);
/// Redis, or one shard of it, does not answer: events wait where they are.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the streams are looked at for losses, when there is nothing to append.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long an event can be told again; consumers remember what they did for longer.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often old events are deleted, and how many at once.
const DELETE_EVERY: Duration = Duration::from_secs(60);
const DELETE_MAX: i64 = 1_000;

/// The right to append to one shard, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub shard: u8,
    /// Of this lease; whoever has another one is no longer, or not yet, at it.
    pub id: Uuid,
    /// The entry that was appended last; `None` when nothing is known to stand in the stream.
    pub tail: Option<String>,
}

/// An event that is not known to stand in its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Unpublished {
    /// Its place in the outbox.
    pub outbox_id: i64,
    /// What to append.
    pub event: Event,
}

/// A leased shard with the oldest of its unpublished events.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Of the shard.
    pub lease: Lease,
    /// In the order of the outbox.
    pub events: Vec<Unpublished>,
}

/// A service's outbox. Any number of processes may work on it.
pub trait Outbox: Clone + Send + Sync + 'static {
    /// Why a statement failed.
    type Fault: std::fmt::Display + Send;

    /// Leases the shards that have unpublished events and that nobody is at.
    fn claim(
        &self,
        events_max: i64,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Claim>, Self::Fault>> + Send;

    /// Saves that these stand in the stream, whose tail is now this one, and ends the lease; false,
    /// and nothing is saved, when the lease was over and somebody else took the shard.
    fn mark_published(
        &self,
        lease: &Lease,
        outbox_ids: &[i64],
        tail: &str,
    ) -> impl Future<Output = Result<bool, Self::Fault>> + Send;

    /// Ends a lease with nothing done; the shard is left alone for a while.
    fn release(
        &self,
        lease: &Lease,
        pause: Duration,
    ) -> impl Future<Output = Result<(), Self::Fault>> + Send;

    /// The tail of each shard that has one.
    fn tails(&self) -> impl Future<Output = Result<Vec<(u8, String)>, Self::Fault>> + Send;

    /// Makes every kept event of a shard unpublished again, whoever is at it, if this is still its
    /// tail; gives how many. What dies on the way is done again by whoever next misses the tail.
    fn forget(
        &self,
        shard: u8,
        lost_tail: &str,
        lease: Duration,
    ) -> impl Future<Output = Result<u64, Self::Fault>> + Send;

    /// Deletes some of the published events that are older; gives how many.
    fn delete_old(
        &self,
        keep: Duration,
        count_max: i64,
    ) -> impl Future<Output = Result<u64, Self::Fault>> + Send;
}

/// Relays until the end begins. The service does not need Redis to start, nor to serve.
pub async fn run<O: Outbox>(outbox: O, url: SecretString, streams: Streams, shutdown: Shutdown) {
    telling::begin_relaying();
    let redis = loop {
        let connected = tokio::select! {
            connected = RedisPool::connect(url.expose_secret()) => connected,
            () = shutdown.begun() => return,
        };
        match connected {
            Ok(redis) => break redis,
            Err(error) => tracing::warn!(%error, "cannot tell events, they wait in the outbox"),
        }
        if !shutdown.sleep(PAUSE).await {
            return;
        }
    };
    let relay = Relay { outbox, redis: redis.clone(), streams };
    tokio::join!(
        relay.publish_all(&shutdown),
        relay.look_for_losses(&shutdown),
        relay.delete_old(&shutdown),
    );
    redis.close().await;
}

#[derive(Clone)]
struct Relay<O> {
    outbox: O,
    redis: RedisPool,
    streams: Streams,
}

/// What became of an append.
enum Appended {
    /// The stream has these, and all that came before; this is the last one.
    UpTo(String),
    /// The stream has lost the entry that was there, and perhaps others.
    TailLost,
}

impl<O: Outbox> Relay<O> {
    /// Claims, and appends what was claimed; a shard that does not answer delays no other.
    async fn publish_all(&self, shutdown: &Shutdown) {
        let mut under_way = JoinSet::new();
        while !shutdown.has_begun() {
            let next_look = Instant::now() + LOOK_EVERY;
            match self.outbox.claim(EVENTS_MAX, LEASE).await {
                Ok(claims) => {
                    for claim in claims {
                        let relay = self.clone();
                        under_way.spawn(async move { relay.publish(claim).await });
                    }
                }
                Err(fault) => tracing::warn!(%fault, "cannot look for events to tell"),
            }
            loop {
                tokio::select! {
                    () = shutdown.begun() => break,
                    () = sleep_until(next_look) => break,
                    Some(is_more) = under_way.join_next() => if is_more.unwrap_or(false) { break },
                }
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// True when it appended as much as a claim takes, so that there may be more.
    async fn publish(&self, claim: Claim) -> bool {
        let Claim { lease, events } = claim;
        if events.is_empty() {
            // None that this build can read.
            self.release(&lease, PAUSE).await;
            return false;
        }
        match self.append(&lease, &events).await {
            Ok(Appended::UpTo(tail)) => {
                failpoint::hit("relay.after_append");
                let ids: Vec<i64> = events.iter().map(|event| event.outbox_id).collect();
                match self.outbox.mark_published(&lease, &ids, &tail).await {
                    Ok(true) => {
                        telling::published(ids.len());
                        return i64::try_from(ids.len()).is_ok_and(|n| n >= EVENTS_MAX);
                    }
                    Ok(false) => tracing::warn!(shard = lease.shard, "lease was over, tell again"),
                    Err(fault) => tracing::warn!(%fault, "cannot save what was told, tell again"),
                }
            }
            Ok(Appended::TailLost) => match &lease.tail {
                Some(tail) => self.forget(lease.shard, tail).await,
                // Nothing was saved of what is gone.
                None => self.release(&lease, Duration::ZERO).await,
            },
            Err(error) => {
                tracing::warn!(%error, shard = lease.shard, "cannot tell events, they wait");
                self.release(&lease, PAUSE).await;
            }
        }
        false
    }

    async fn append(&self, lease: &Lease, events: &[Unpublished]) -> Result<Appended, Error> {
        let events: Vec<Bytes> =
            events.iter().map(|event| event.event.encode_to_vec().into()).collect();
        let key = self.streams.key(lease.shard);
        let append = |client| {
            let (key, events) = (key.as_str(), events.as_slice());
            async move { streams::append(&client, key, events).await }
        };
        let (first, last) = self.redis.on_shard_of(&key, append).await?;
        // Looked at only now: an entry that is still there was there all the time, and so was
        // everything after it.
        let witness = lease.tail.as_deref().unwrap_or(&first);
        let is_whole = self.has(lease.shard, witness).await?;
        Ok(if is_whole { Appended::UpTo(last) } else { Appended::TailLost })
    }

    async fn has(&self, shard: u8, id: &str) -> Result<bool, Error> {
        let key = self.streams.key(shard);
        let has = |client| {
            let key = key.as_str();
            async move { streams::has(&client, key, id).await }
        };
        self.redis.on_shard_of(&key, has).await
    }

    /// Finds what was lost while nothing happened.
    async fn look_for_losses(&self, shutdown: &Shutdown) {
        while shutdown.sleep(CHECK_EVERY).await {
            let tails = match self.outbox.tails().await {
                Ok(tails) => tails,
                Err(fault) => {
                    tracing::warn!(%fault, "cannot look for lost events");
                    continue;
                }
            };
            for (shard, tail) in tails {
                // A shard that does not answer now has lost nothing yet.
                if let Ok(false) = self.has(shard, &tail).await {
                    self.forget(shard, &tail).await;
                }
            }
        }
    }

    async fn forget(&self, shard: u8, tail: &str) {
        match self.outbox.forget(shard, tail, LEASE).await {
            Ok(events) => {
                telling::lost();
                tracing::warn!(shard, events, "a stream has lost events, tell all again");
            }
            Err(fault) => tracing::warn!(%fault, shard, "a stream has lost events, look again"),
        }
    }

    async fn release(&self, lease: &Lease, pause: Duration) {
        if let Err(fault) = self.outbox.release(lease, pause).await {
            tracing::warn!(%fault, shard = lease.shard, "a lease has to run out");
        }
    }

    async fn delete_old(&self, shutdown: &Shutdown) {
        while shutdown.sleep(DELETE_EVERY).await {
            loop {
                match self.outbox.delete_old(KEEP, DELETE_MAX).await {
                    Ok(0) => break,
                    Ok(events) => tracing::debug!(events, "delete old events"),
                    Err(fault) => {
                        tracing::warn!(%fault, "cannot delete old events");
                        break;
                    }
                }
                if shutdown.has_begun() {
                    break;
                }
            }
        }
    }
}
