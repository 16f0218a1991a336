//! Hands events to whoever acts on them, in every replica at once: each event to one of the group.
//!
//! What a consumer does not acknowledge is delivered again, to it or to another; what failed too
//! often is parked with its last error and acknowledged, so that it stops nobody.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use firstcome_mesh::Shutdown;
use firstcome_proto::event_v1::Event;
use firstcome_redis::{Apart, Error, RedisPool, keys};
use fred::{clients::Client, error::Error as FredError};
use prost::Message as _;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::{
    streams::{self, Entry, Reading, Streams},
    telling,
};

/// A message that failed so often is parked.
pub const DELIVERIES_MAX: u64 = 5;
/// Entries that are read, and handled, together.
const READ_MAX: u64 = 64;
/// How long a read waits for entries: short, because a process that stops waits for its end.
const READ_BLOCK: Duration = Duration::from_millis(500);
const _: () = assert!(READ_BLOCK.as_millis() < Apart::BLOCK_MAX.as_millis());
/// Entries that are taken over at once; each is handled alone.
const TAKE_OVER_MAX: u64 = 16;
/// While Redis does not answer, or a handler lacks what it needs: from here, twice as long each
/// time, up to there.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long an entry is its consumer's.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whoever has neither acknowledged nor kept an entry for this long is dead, or has failed with
    /// it.
    pub idle: Duration,
    /// How often such entries are looked for.
    pub take_over_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        // Five deliveries of what fails take some minutes: as long as a mishap may last.
        Self { idle: Duration::from_secs(60), take_over_every: Duration::from_secs(5) }
    }
}

/// An event that was delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// The same however often it is delivered; to be recorded with the effect.
    pub event_id: Uuid,
    /// What happened. Its kind is known.
    pub event: Event,
}

/// What became of a delivered event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, now or earlier, or nothing was to be done.
    Done,
    /// It failed, and may succeed when it is delivered again.
    TryAgain(String),
    /// It will never succeed.
    Poison(String),
    /// Something is missing that all events need. They are kept, and tried again here, however
    /// long that takes: no event is to blame.
    Unavailable(String),
}

/// An event that nobody can act on, put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The stream that it came from.
    pub stream: String,
    /// Its place there.
    pub entry: String,
    /// `None` when the bytes do not decode.
    pub event_id: Option<Uuid>,
    /// As it came.
    pub event: Bytes,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Why it failed the last time. Without personal data.
    pub error: String,
}

/// Whoever acts on events.
pub trait Handler: Send + Sync + 'static {
    /// Acts on events, and gives an outcome for each in their order. Those that were delivered
    /// before come alone, so that they can only harm themselves.
    fn handle(&self, events: Vec<Delivered>) -> impl Future<Output = Vec<Outcome>> + Send;

    /// Records an event that is put aside, once or again.
    ///
    /// # Errors
    /// Why it could not be recorded; it is delivered again.
    fn park(&self, parked: Parked) -> impl Future<Output = Result<(), String>> + Send;
}

/// Consumes on behalf of a group until the end begins; the end waits for what is under way.
pub fn start<H: Handler>(
    redis: &RedisPool,
    streams: &Streams,
    group: &'static str,
    handler: Arc<H>,
    settings: Settings,
    shutdown: &Shutdown,
) {
    telling::begin_consuming();
    // Another one than any process ever had: entries of the dead are taken over, not inherited.
    let consumer = Uuid::new_v4().simple().to_string();
    for shard in 0..keys::EVENT_SHARDS {
        let reader = Reader {
            // A read that waits for one stream must not keep another from being read.
            redis: redis.apart(),
            reading: Arc::new(Reading {
                key: streams.key(shard),
                group,
                consumer: consumer.clone(),
            }),
            handler: Arc::clone(&handler),
            settings,
            shutdown: shutdown.clone(),
        };
        shutdown.spawn(reader.run());
    }
}

/// One consumer at one stream.
struct Reader<H> {
    redis: Apart,
    reading: Arc<Reading>,
    handler: Arc<H>,
    settings: Settings,
    shutdown: Shutdown,
}

/// An entry on its way to the handler.
struct Delivery {
    entry: Entry,
    deliveries: u64,
}

impl Delivery {
    fn id(&self) -> String {
        self.entry.id.clone()
    }
}

/// A look through entries that others have left.
struct TakeOver {
    due: Instant,
    from: Option<String>,
}

impl<H: Handler> Reader<H> {
    async fn run(self) {
        let mut take_over = TakeOver { due: Instant::now(), from: None };
        let mut pause = PAUSE_MIN;
        while !self.shutdown.has_begun() {
            let turned = match self.turn(&mut take_over).await {
                // First of all, or after all of Redis was lost.
                Err(error) if is_group_missing(&error) => self.ask(streams::create_group).await,
                turned => turned,
            };
            if let Err(error) = turned {
                let stream = &self.reading.key;
                tracing::warn!(%error, %stream, "cannot read events");
                self.shutdown.sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            } else {
                pause = PAUSE_MIN;
            }
        }
        // Whether it could say goodbye changes nothing.
        let _ = self.ask(streams::leave).await;
        self.redis.close().await;
    }

    /// Looks once after what others have left, when it is time, and once for what is new.
    async fn turn(&self, take_over: &mut TakeOver) -> Result<(), Error> {
        if take_over.due <= Instant::now() {
            let mut deliveries = VecDeque::from(self.take_over(take_over).await?);
            while let Some(delivery) = deliveries.pop_front() {
                let waiting: Vec<String> = deliveries.iter().map(Delivery::id).collect();
                self.settle(vec![delivery], &waiting).await?;
            }
        }
        let read = |client, reading| streams::read(client, reading, READ_MAX, READ_BLOCK);
        let entries = self.ask(read).await?;
        let fresh = entries.into_iter().map(|entry| Delivery { entry, deliveries: 1 });
        self.settle(fresh.collect(), &[]).await
    }

    async fn take_over(&self, look: &mut TakeOver) -> Result<Vec<Delivery>, Error> {
        let (idle, from) = (self.settings.idle, look.from.take());
        let take_over = |client, reading| {
            streams::take_over(client, reading, idle, from.clone(), TAKE_OVER_MAX)
        };
        let (entries, next) = self.ask(take_over).await?;
        // While there are more, one look follows each read of what is new.
        let pause = if next.is_some() { Duration::ZERO } else { self.settings.take_over_every };
        *look = TakeOver { due: Instant::now() + pause, from: next };
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(Vec::new());
        };
        let count = |client, reading| {
            let (first, last) = (first.id.clone(), last.id.clone());
            streams::deliveries(client, reading, first, last, TAKE_OVER_MAX)
        };
        let counts: HashMap<String, u64> = self.ask(count).await?;
        let delivery = |entry: Entry| {
            let deliveries = counts.get(&entry.id).copied().unwrap_or(1);
            Delivery { entry, deliveries }
        };
        Ok(entries.into_iter().map(delivery).collect())
    }

    /// Handles entries and acknowledges those that are done with, one way or the other; keeps them
    /// meanwhile, and those that wait for their turn.
    async fn settle(&self, batch: Vec<Delivery>, waiting: &[String]) -> Result<(), Error> {
        let mut done = Vec::new();
        let mut events = Vec::new();
        for delivery in batch {
            match decode(delivery.entry.event.as_ref()) {
                Ok(None) => done.push(delivery.entry.id),
                Ok(Some(event)) if delivery.deliveries <= DELIVERIES_MAX => {
                    events.push((delivery, event));
                }
                Ok(Some(event)) => {
                    let why = "its deliveries ended without an outcome".to_owned();
                    done.extend(self.park(&delivery, Some(event.event_id), why).await);
                }
                Err(why) => done.extend(self.park(&delivery, None, why).await),
            }
        }
        let mut pause = PAUSE_MIN;
        loop {
            let outcomes = self.handle(&events, waiting).await;
            let mut kept = Vec::new();
            for ((delivery, event), outcome) in events.into_iter().zip(outcomes) {
                telling::acted(&outcome);
                match outcome {
                    Outcome::Done => done.push(delivery.entry.id),
                    Outcome::Poison(why) => {
                        done.extend(self.park(&delivery, Some(event.event_id), why).await);
                    }
                    Outcome::TryAgain(why) if delivery.deliveries >= DELIVERIES_MAX => {
                        done.extend(self.park(&delivery, Some(event.event_id), why).await);
                    }
                    Outcome::TryAgain(why) => {
                        let Delivery { deliveries, .. } = delivery;
                        tracing::warn!(event = %event.event_id, deliveries, %why, "try again");
                    }
                    Outcome::Unavailable(why) => {
                        tracing::warn!(stream = %self.reading.key, %why, "events wait");
                        kept.push((delivery, event));
                    }
                }
            }
            self.acknowledge(std::mem::take(&mut done)).await?;
            events = kept;
            if events.is_empty() || !self.shutdown.sleep(pause).await {
                return Ok(());
            }
            pause = (pause * 2).min(PAUSE_MAX);
            self.keep(&events, waiting).await;
        }
    }

    /// Nobody else shall take these over; if somebody does, effects are recorded by event.
    async fn keep(&self, events: &[(Delivery, Delivered)], waiting: &[String]) {
        let ids = events.iter().map(|(delivery, _)| delivery.id());
        let ids: Vec<String> = ids.chain(waiting.iter().cloned()).collect();
        let _ = self.ask(|client, reading| streams::keep(client, reading, ids.clone())).await;
    }

    /// An outcome for each event, whatever becomes of the handler.
    async fn handle(&self, events: &[(Delivery, Delivered)], waiting: &[String]) -> Vec<Outcome> {
        if events.is_empty() {
            return Vec::new();
        }
        let delivered: Vec<Delivered> = events.iter().map(|(_, event)| event.clone()).collect();
        let handler = Arc::clone(&self.handler);
        let mut handling = tokio::spawn(async move { handler.handle(delivered).await });
        let handled = loop {
            // Well before anybody thinks that this process is dead.
            match timeout(self.settings.idle / 3, &mut handling).await {
                Ok(handled) => break handled,
                Err(_) => self.keep(events, waiting).await,
            }
        };
        let outcomes = handled.unwrap_or_else(|_| {
            vec![Outcome::TryAgain("the handler panicked".to_owned()); events.len()]
        });
        assert_eq!(outcomes.len(), events.len(), "a handler gives an outcome for each event");
        outcomes
    }

    /// Gives the entry to acknowledge, unless it could not be recorded.
    async fn park(&self, delivery: &Delivery, id: Option<Uuid>, error: String) -> Option<String> {
        let Delivery { entry, deliveries } = delivery;
        tracing::error!(stream = %self.reading.key, entry = %entry.id, %error, "park an event");
        let parked = Parked {
            stream: self.reading.key.clone(),
            entry: entry.id.clone(),
            event_id: id,
            event: entry.event.clone().unwrap_or_default(),
            deliveries: *deliveries,
            error,
        };
        match self.handler.park(parked).await {
            Ok(()) => {
                telling::parked();
                Some(entry.id.clone())
            }
            Err(error) => {
                tracing::error!(entry = %entry.id, %error, "cannot park an event, it comes again");
                None
            }
        }
    }

    async fn acknowledge(&self, ids: Vec<String>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        self.ask(|client, reading| streams::acknowledge(client, reading, ids.clone())).await
    }

    /// Asks the node that serves the stream.
    async fn ask<T, F>(&self, question: impl Fn(Client, Arc<Reading>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, FredError>>,
    {
        let question = |client| question(client, Arc::clone(&self.reading));
        self.redis.on_shard_of(&self.reading.key, question).await
    }
}

/// The event in an entry; `None` when it is of a kind that this build does not know.
fn decode(bytes: Option<&Bytes>) -> Result<Option<Delivered>, String> {
    let bytes = bytes.ok_or("the entry carries no event")?;
    let event = Event::decode(bytes.clone()).map_err(|error| error.to_string())?;
    let event_id = Uuid::from_slice(&event.event_id).map_err(|_| "its id is not 16 bytes")?;
    Ok(event.kind.is_some().then_some(Delivered { event_id, event }))
}

fn is_group_missing(error: &Error) -> bool {
    matches!(error, Error::Script(message) if message.starts_with("NOGROUP"))
}

#[cfg(test)]
mod tests {
    use firstcome_proto::event_v1::{OrderChanged, event::Kind};

    use super::*;

    #[test]
    fn an_event_is_told_from_what_is_none() {
        let id = Uuid::from_u128(7);
        let event = |event_id: &[u8], kind| Event {
            event_id: Bytes::copy_from_slice(event_id),
            occur_time: None,
            kind,
        };
        let read = |event: Event| decode(Some(&event.encode_to_vec().into()));
        let known = event(id.as_bytes(), Some(Kind::OrderChanged(OrderChanged::default())));
        assert_eq!(read(known.clone()), Ok(Some(Delivered { event_id: id, event: known })));
        assert_eq!(read(event(id.as_bytes(), None)), Ok(None), "a kind of tomorrow");
        assert!(read(event(b"short", None)).is_err());
        assert!(decode(Some(&Bytes::from_static(b"\xff\xff"))).is_err());
        assert!(decode(None).is_err());
    }
}
