//! An outbox in memory, a handler that remembers, and streams of a test's own.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use firstcome_events::{
    Claim, Delivered, Handler, Lease, Outbox, Outcome, Parked, Streams, Unpublished,
    consumer::{self, Settings},
    relay,
    streams::shard_of,
};
use firstcome_mesh::Shutdown;
use firstcome_proto::event_v1::{Event, OrderChanged, event::Kind};
use firstcome_redis::{RedisPool, keys};
use firstcome_testkit::stores;
use fred::{interfaces::StreamsInterface as _, types::Value};
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

/// Long enough for anything on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// Short, so that a test need not wait for what is left behind.
pub const QUICK: Settings =
    Settings { idle: Duration::from_millis(200), take_over_every: Duration::from_millis(20) };

/// Streams that no other test has.
pub fn streams() -> Streams {
    Streams::named(format!("events-{}", Uuid::new_v4().simple()))
}

/// The shared cluster.
pub async fn redis() -> RedisPool {
    RedisPool::connect(stores().await.redis_url()).await.expect("the cluster is up")
}

/// An event about a subject, with a number to tell it by.
pub fn event(subject: Uuid, number: i32) -> Event {
    let changed = OrderChanged {
        order_id: subject.as_bytes().to_vec().into(),
        state: number,
        ..OrderChanged::default()
    };
    Event {
        event_id: Uuid::new_v4().as_bytes().to_vec().into(),
        occur_time: None,
        kind: Some(Kind::OrderChanged(changed)),
    }
}

pub fn id_of(event: &Event) -> Uuid {
    Uuid::from_slice(&event.event_id).expect("16 bytes")
}

/// The subject and the number.
pub fn told_by(event: &Event) -> (Uuid, i32) {
    let Some(Kind::OrderChanged(changed)) = &event.kind else { panic!("a known kind") };
    (Uuid::from_slice(&changed.order_id).expect("16 bytes"), changed.state)
}

/// What a service's table does, without the service.
#[derive(Clone, Default)]
pub struct MemoryOutbox(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    events: BTreeMap<i64, Row>,
    shards: HashMap<u8, ShardRow>,
    marks_to_lose: u32,
}

struct Row {
    shard: u8,
    event: Event,
    is_published: bool,
}

struct ShardRow {
    lease_id: Uuid,
    leased_until: Instant,
    tail: Option<String>,
}

impl Default for ShardRow {
    fn default() -> Self {
        Self { lease_id: Uuid::new_v4(), leased_until: Instant::now(), tail: None }
    }
}

impl MemoryOutbox {
    pub fn write(&self, event: Event) {
        let mut rows = self.0.lock();
        let id = i64::try_from(rows.events.len()).expect("few rows");
        let shard = shard_of(told_by(&event).0);
        rows.events.insert(id, Row { shard, event, is_published: false });
    }

    /// So many marks come to nothing, as if their process had died before it.
    pub fn lose_marks(&self, count: u32) {
        self.0.lock().marks_to_lose = count;
    }

    pub fn unpublished(&self) -> usize {
        self.0.lock().events.values().filter(|row| !row.is_published).count()
    }
}

impl Outbox for MemoryOutbox {
    type Fault = String;

    async fn claim(&self, events_max: i64, lease: Duration) -> Result<Vec<Claim>, String> {
        let mut rows = self.0.lock();
        let mut claims = Vec::new();
        for shard in 0..keys::EVENT_SHARDS {
            let of_shard = rows.events.iter().filter(|(_, row)| row.shard == shard);
            let unpublished = of_shard.filter(|(_, row)| !row.is_published);
            let events: Vec<Unpublished> = unpublished
                .take(usize::try_from(events_max).expect("a count"))
                .map(|(&outbox_id, row)| Unpublished { outbox_id, event: row.event.clone() })
                .collect();
            let row = rows.shards.entry(shard).or_default();
            if events.is_empty() || row.leased_until > Instant::now() {
                continue;
            }
            (row.lease_id, row.leased_until) = (Uuid::new_v4(), Instant::now() + lease);
            let lease = Lease { shard, id: row.lease_id, tail: row.tail.clone() };
            claims.push(Claim { lease, events });
        }
        Ok(claims)
    }

    async fn mark_published(&self, of: &Lease, ids: &[i64], tail: &str) -> Result<bool, String> {
        let mut rows = self.0.lock();
        if rows.marks_to_lose > 0 {
            rows.marks_to_lose -= 1;
            let row = rows.shards.get_mut(&of.shard).expect("leased");
            row.leased_until = Instant::now();
            return Err("killed".to_owned());
        }
        let row = rows.shards.get_mut(&of.shard).expect("leased");
        if row.lease_id != of.id {
            return Ok(false);
        }
        (row.tail, row.leased_until) = (Some(tail.to_owned()), Instant::now());
        for id in ids {
            rows.events.get_mut(id).expect("claimed").is_published = true;
        }
        Ok(true)
    }

    async fn release(&self, lease: &Lease, pause: Duration) -> Result<(), String> {
        let mut rows = self.0.lock();
        let row = rows.shards.get_mut(&lease.shard).expect("leased");
        if row.lease_id == lease.id {
            row.leased_until = Instant::now() + pause;
        }
        Ok(())
    }

    async fn tails(&self) -> Result<Vec<(u8, String)>, String> {
        let rows = self.0.lock();
        let tails = rows.shards.iter();
        Ok(tails.filter_map(|(&shard, row)| Some((shard, row.tail.clone()?))).collect())
    }

    async fn forget(&self, shard: u8, lost: &str, _lease: Duration) -> Result<u64, String> {
        let mut rows = self.0.lock();
        let row = rows.shards.get_mut(&shard).expect("it had a tail");
        if row.tail.as_deref() != Some(lost) {
            return Ok(0);
        }
        *row = ShardRow::default();
        let mut forgotten = 0;
        for row in rows.events.values_mut().filter(|row| row.shard == shard && row.is_published) {
            row.is_published = false;
            forgotten += 1;
        }
        Ok(forgotten)
    }

    async fn delete_old(&self, _keep: Duration, _count_max: i64) -> Result<u64, String> {
        Ok(0)
    }
}

/// Relays until the end is begun that this gives.
pub fn relay(outbox: &MemoryOutbox, url: &str, streams: &Streams) -> Shutdown {
    let shutdown = Shutdown::new();
    let (outbox, streams) = (outbox.clone(), streams.clone());
    shutdown.spawn(relay::run(outbox, url.to_owned().into(), streams, shutdown.clone()));
    shutdown
}

/// What a handler does with one event, by the number of its try, counted from one.
type Script = Box<dyn Fn(&Event, usize) -> Outcome + Send + Sync>;

/// Remembers what it was given, and has the effect of each event once.
pub struct Recorder {
    script: Script,
    pub seen: Mutex<Vec<Event>>,
    pub effects: Mutex<HashSet<Uuid>>,
    pub parked: Mutex<Vec<Parked>>,
}

impl Recorder {
    pub fn new(script: impl Fn(&Event, usize) -> Outcome + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            seen: Mutex::default(),
            effects: Mutex::default(),
            parked: Mutex::default(),
        })
    }

    /// Does whatever it is given.
    pub fn willing() -> Arc<Self> {
        Self::new(|_, _| Outcome::Done)
    }

    pub fn effects(&self) -> usize {
        self.effects.lock().len()
    }

    /// The numbers of a subject's events, as they came.
    pub fn numbers(&self, subject: Uuid) -> Vec<i32> {
        let seen = self.seen.lock();
        let told = seen.iter().map(told_by).filter(|(of, _)| *of == subject);
        told.map(|(_, number)| number).collect()
    }

    /// How often an event came.
    pub fn tries(&self, id: Uuid) -> usize {
        self.seen.lock().iter().filter(|event| id_of(event) == id).count()
    }
}

impl Handler for Recorder {
    async fn handle(&self, events: Vec<Delivered>) -> Vec<Outcome> {
        let handle = |delivered: Delivered| {
            let id = delivered.event_id;
            self.seen.lock().push(delivered.event.clone());
            let outcome = (self.script)(&delivered.event, self.tries(id));
            if outcome == Outcome::Done {
                self.effects.lock().insert(id);
            }
            outcome
        };
        events.into_iter().map(handle).collect()
    }

    async fn park(&self, parked: Parked) -> Result<(), String> {
        self.parked.lock().push(parked);
        Ok(())
    }
}

/// Consumes until the end is begun that this gives.
pub fn consume(redis: &RedisPool, streams: &Streams, handler: &Arc<Recorder>) -> Shutdown {
    let shutdown = Shutdown::new();
    consumer::start(redis, streams, "test", Arc::clone(handler), QUICK, &shutdown);
    shutdown
}

/// Appends bytes to the stream of a shard, as somebody else might.
pub async fn append(redis: &RedisPool, streams: &Streams, shard: u8, bytes: Bytes) {
    let key = streams.key(shard);
    let append = |client: fred::clients::Client| {
        let (key, bytes) = (key.clone(), bytes.clone());
        async move { client.xadd(key, false, None::<()>, "*", ("event", bytes)).await }
    };
    let _id: String = redis.on_shard_of(&key, append).await.expect("appends");
}

/// Entries that the group has been given and not acknowledged, over all shards.
pub async fn pending(redis: &RedisPool, streams: &Streams) -> usize {
    let mut pending = 0;
    for shard in 0..keys::EVENT_SHARDS {
        let key = streams.key(shard);
        let look = |client: fred::clients::Client| {
            let key = key.clone();
            async move { client.xpending(key, "test", ("-", "+", 1_000)).await }
        };
        match redis.on_shard_of::<Value, _>(&key, look).await {
            Ok(found) => pending += found.array_len().unwrap_or(0),
            // Nobody has been there yet.
            Err(error) => assert!(error.to_string().contains("NOGROUP"), "{error}"),
        }
    }
    pending
}
