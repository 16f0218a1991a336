//! The streams in Redis: what is asked of them, and how their answers are read.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use firstcome_redis::keys;
use fred::{
    clients::Client,
    error::{Error as FredError, ErrorKind},
    interfaces::StreamsInterface as _,
    types::{Value, streams::XID},
};
use uuid::Uuid;

/// The field of an entry that carries the event.
const FIELD: &str = "event";
/// Entries that a stream keeps, give or take a hundred: together a million, in about 150 MiB of
/// Redis. A group that is further behind misses what was cut off.
const ENTRIES_MAX: i64 = 250_000;
/// Where a group begins, and a look through what is pending.
const BEGINNING: &str = "0-0";

/// A set of streams, one for each shard.
#[derive(Clone, Debug)]
pub struct Streams(Cow<'static, str>);

/// An entry as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place in the stream.
    pub id: String,
    /// What it carries; `None` when it is not one of ours.
    pub event: Option<Bytes>,
}

/// Who reads which stream.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// The stream.
    pub key: String,
    /// On whose behalf.
    pub group: &'static str,
    /// Which process.
    pub consumer: String,
}

impl Streams {
    /// Those of the shop.
    pub fn of_the_shop() -> Self {
        Self(Cow::Borrowed(keys::EVENTS))
    }

    /// Others, for a test that shares its Redis.
    pub fn named(name: String) -> Self {
        Self(Cow::Owned(name))
    }

    /// The stream of a shard.
    pub fn key(&self, shard: u8) -> String {
        keys::events(&self.0, shard)
    }
}

/// The shard of a subject: its events stay in their order. Ids are random, or digests, in their
/// last byte; a service's schema computes the same.
pub fn shard_of(subject: Uuid) -> u8 {
    subject.as_bytes()[15] % keys::EVENT_SHARDS
}

/// Appends events in this order, and gives the places of the first and the last.
pub(crate) async fn append(
    client: &Client,
    key: &str,
    events: &[Bytes],
) -> Result<(String, String), FredError> {
    let pipeline = client.pipeline();
    let (last, others) = events.split_last().expect("there is something to append");
    for event in others {
        let () = pipeline.xadd(key, false, None::<()>, XID::Auto, (FIELD, event.clone())).await?;
    }
    // Cut off once for all of them.
    let cap = ("MAXLEN", "~", ENTRIES_MAX);
    let () = pipeline.xadd(key, false, cap, XID::Auto, (FIELD, last.clone())).await?;
    let mut ids: Vec<String> = pipeline.all().await?;
    let last = ids.pop().ok_or_else(|| unreadable("XADD"))?;
    Ok((ids.into_iter().next().unwrap_or_else(|| last.clone()), last))
}

/// True while the stream has this entry.
pub(crate) async fn has(client: &Client, key: &str, id: &str) -> Result<bool, FredError> {
    let found: Value = client.xrange(key, id, id, Some(1)).await?;
    Ok(found.array_len().is_some_and(|count| count > 0))
}

/// Makes the group, and the stream if need be; one that is there is left as it is.
pub(crate) async fn create_group(client: Client, reading: Arc<Reading>) -> Result<(), FredError> {
    let Reading { key, group, .. } = &*reading;
    match client.xgroup_create::<(), _, _, _>(key.as_str(), *group, BEGINNING, true).await {
        Err(error) if error.details().starts_with("BUSYGROUP") => Ok(()),
        answer => answer,
    }
}

/// Entries that nobody of the group has read, the oldest first; waits for them so long.
pub(crate) async fn read(
    client: Client,
    reading: Arc<Reading>,
    count: u64,
    block: Duration,
) -> Result<Vec<Entry>, FredError> {
    let Reading { key, group, consumer } = &*reading;
    let block_ms = u64::try_from(block.as_millis()).unwrap_or(u64::MAX);
    let (count, block) = (Some(count), Some(block_ms));
    let unread = XID::NewInGroup;
    let answer: Value = client
        .xreadgroup(*group, consumer.as_str(), count, block, false, key.as_str(), unread)
        .await?;
    match answer {
        Value::Null => Ok(Vec::new()),
        // As in [[key, [entry, ...]]].
        Value::Array(streams) => match streams.into_iter().next() {
            None => Ok(Vec::new()),
            Some(Value::Array(mut stream)) => {
                entries(stream.pop().ok_or_else(|| unreadable("XREADGROUP"))?)
            }
            Some(_) => Err(unreadable("XREADGROUP")),
        },
        _ => Err(unreadable("XREADGROUP")),
    }
}

/// Takes over entries that were given to somebody of the group so long ago and not acknowledged;
/// gives them, and where to go on looking, if there are more.
pub(crate) async fn take_over(
    client: Client,
    reading: Arc<Reading>,
    idle: Duration,
    from: Option<String>,
    count: u64,
) -> Result<(Vec<Entry>, Option<String>), FredError> {
    let Reading { key, group, consumer } = &*reading;
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    let from = from.unwrap_or_else(|| BEGINNING.to_owned());
    let answer: Value = client
        .xautoclaim(key.as_str(), *group, consumer.as_str(), idle_ms, from, Some(count), false)
        .await?;
    // As in [where to go on, [entry, ...], [those that were cut off, ...]].
    let Value::Array(answer) = answer else { return Err(unreadable("XAUTOCLAIM")) };
    let mut answer = answer.into_iter();
    let (Some(next), Some(taken)) = (answer.next(), answer.next()) else {
        return Err(unreadable("XAUTOCLAIM"));
    };
    let next = next.into_string().ok_or_else(|| unreadable("XAUTOCLAIM"))?;
    Ok((entries(taken)?, (next != BEGINNING).then_some(next)))
}

/// How often each of this consumer's entries between two places was delivered.
pub(crate) async fn deliveries(
    client: Client,
    reading: Arc<Reading>,
    first: String,
    last: String,
    count: u64,
) -> Result<HashMap<String, u64>, FredError> {
    let Reading { key, group, consumer } = &*reading;
    let pending: Vec<(String, String, u64, u64)> = client
        .xpending(key.as_str(), *group, (first.as_str(), last.as_str(), count, consumer.as_str()))
        .await?;
    Ok(pending.into_iter().map(|(id, _, _, count)| (id, count)).collect())
}

/// Keeps entries for this consumer for longer, without a delivery.
pub(crate) async fn keep(
    client: Client,
    reading: Arc<Reading>,
    ids: Vec<String>,
) -> Result<(), FredError> {
    let Reading { key, group, consumer } = &*reading;
    let (key, consumer) = (key.as_str(), consumer.as_str());
    client.xclaim(key, *group, consumer, 0, ids, None, None, None, false, true).await
}

/// Says that nobody has to see these again.
pub(crate) async fn acknowledge(
    client: Client,
    reading: Arc<Reading>,
    ids: Vec<String>,
) -> Result<(), FredError> {
    client.xack(reading.key.as_str(), reading.group, ids).await
}

/// Takes this consumer off the group's list, unless entries are left that only the list knows.
pub(crate) async fn leave(client: Client, reading: Arc<Reading>) -> Result<(), FredError> {
    let Reading { key, group, consumer } = &*reading;
    let pending: Value =
        client.xpending(key.as_str(), *group, ("-", "+", 1, consumer.as_str())).await?;
    if pending.array_len() == Some(0) {
        let () = client.xgroup_delconsumer(key.as_str(), *group, consumer.as_str()).await?;
    }
    Ok(())
}

fn entries(answer: Value) -> Result<Vec<Entry>, FredError> {
    let Value::Array(entries) = answer else { return Err(unreadable("a stream")) };
    entries.into_iter().map(entry).collect()
}

/// Reads `[id, [field, value, ...]]`.
fn entry(answer: Value) -> Result<Entry, FredError> {
    let Value::Array(mut parts) = answer else { return Err(unreadable("an entry")) };
    let fields = parts.pop().ok_or_else(|| unreadable("an entry"))?;
    let id = parts.pop().and_then(Value::into_string).ok_or_else(|| unreadable("an entry"))?;
    let fields = match fields {
        Value::Array(fields) => fields,
        _ => Vec::new(),
    };
    let field = fields.chunks_exact(2).find(|pair| pair[0].as_bytes() == Some(FIELD.as_bytes()));
    let event = field.and_then(|pair| pair[1].as_bytes()).map(Bytes::copy_from_slice);
    Ok(Entry { id, event })
}

fn unreadable(what: &str) -> FredError {
    FredError::new(ErrorKind::Parse, format!("the answer of {what} has another shape"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_others_are_read_as_such() {
        let check = |fields: Vec<Value>, event: Option<&'static [u8]>| {
            let answer = Value::Array(vec!["1-0".into(), Value::Array(fields)]);
            let event = event.map(Bytes::from_static);
            assert_eq!(entry(answer).unwrap(), Entry { id: "1-0".to_owned(), event });
        };
        check(vec!["event".into(), "bytes".into()], Some(b"bytes"));
        check(vec!["other".into(), "x".into(), "event".into(), "y".into()], Some(b"y"));
        check(vec!["other".into(), "bytes".into()], None);
        check(vec![], None);
        assert!(entry(Value::Null).is_err());
    }

    #[test]
    fn a_subject_has_one_shard() {
        let shards = (0..=255_u128).map(|last| shard_of(Uuid::from_u128(7 << 64 | last)));
        let mut of_each = [0; keys::EVENT_SHARDS as usize];
        shards.for_each(|shard| of_each[usize::from(shard)] += 1);
        assert_eq!(of_each, [64; keys::EVENT_SHARDS as usize]);
    }
}
