//! Redis loses streams, or their ends; the outbox tells everything again.

use std::collections::HashMap;

use firstcome_local::{Checkout, Stores, checkout};
use firstcome_redis::RedisPool;
use firstcome_testkit::{eventually, stores};
use fred::{
    clients::Client,
    interfaces::{KeysInterface as _, StreamsInterface as _},
};
use uuid::Uuid;

use super::harness::{MemoryOutbox, Recorder, SOON, consume, event, id_of, redis, relay, streams};

type Entries = Vec<(String, HashMap<String, bytes::Bytes>)>;

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_is_told_everything_again() {
    let folder = checkout::create_throwaway_folder().expect("a folder");
    let stores = Stores::start_throwaway(&Checkout::here(), &folder, false).await;
    let stores = stores.expect("starts");
    let redis = RedisPool::connect(stores.redis_url()).await.expect("connects");
    let (streams, outbox, handler) = (streams(), MemoryOutbox::default(), Recorder::willing());
    let relay = relay(&outbox, stores.redis_url(), &streams);
    let consumer = consume(&redis, &streams, &handler);
    let events: Vec<_> = (0..40).map(|number| event(Uuid::new_v4(), number)).collect();
    events.iter().for_each(|event| outbox.write(event.clone()));
    eventually(SOON, || async { handler.effects() == 40 && outbox.unpublished() == 0 }).await;

    stores.redis().expect("private").flush_all().await.expect("flushes");
    // Nothing new happens: the loss alone is seen.
    let twice = || async { events.iter().all(|event| handler.tries(id_of(event)) >= 2) };
    eventually(SOON, twice).await;
    eventually(SOON, || async { outbox.unpublished() == 0 }).await;
    assert_eq!(handler.effects(), 40);

    // And once more while events are on their way.
    for number in 0..200 {
        outbox.write(event(Uuid::new_v4(), number));
        if number == 100 {
            stores.redis().expect("private").flush_all().await.expect("flushes");
        }
        tokio::task::yield_now().await;
    }
    eventually(SOON, || async { handler.effects() == 240 && outbox.unpublished() == 0 }).await;
    relay.begin();
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_redis_is_away_is_told_when_it_is_back() {
    let folder = checkout::create_throwaway_folder().expect("a folder");
    let stores = Stores::start_throwaway(&Checkout::here(), &folder, false).await;
    let stores = stores.expect("starts");
    let cluster = stores.redis().expect("private");
    let redis = RedisPool::connect(stores.redis_url()).await.expect("connects");
    let (streams, outbox, handler) = (streams(), MemoryOutbox::default(), Recorder::willing());
    let relay = relay(&outbox, stores.redis_url(), &streams);
    let consumer = consume(&redis, &streams, &handler);
    outbox.write(event(Uuid::new_v4(), 0));
    eventually(SOON, || async { handler.effects() == 1 && outbox.unpublished() == 0 }).await;

    let nodes = cluster.ports().len();
    for place in 0..nodes {
        cluster.kill9(place).await;
    }
    (1..30).for_each(|number| outbox.write(event(Uuid::new_v4(), number)));
    for place in 0..nodes {
        cluster.start_again(place).await.expect("starts again");
    }
    eventually(SOON * 2, || async { handler.effects() == 30 && outbox.unpublished() == 0 }).await;
    relay.begin();
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_end_is_told_everything_again() {
    let (redis, streams, outbox) = (redis().await, streams(), MemoryOutbox::default());
    let handler = Recorder::willing();
    let relay = relay(&outbox, stores().await.redis_url(), &streams);
    let subject = Uuid::from_u128(0);
    let events: Vec<_> = (0..10).map(|number| event(subject, number)).collect();
    for event in &events {
        outbox.write(event.clone());
        eventually(SOON, || async { outbox.unpublished() == 0 }).await;
    }
    let key = streams.key(0);
    // As a replica has it that was promoted before the last three reached it. The next event comes
    // before anybody looks.
    let lose_end = |client: Client| {
        let key = key.clone();
        async move {
            let entries: Entries = client.xrange_values(&key, "-", "+", None).await?;
            let () = client.del(&key).await?;
            for (id, fields) in entries.iter().take(7) {
                let event = fields["event"].clone();
                let () = client.xadd(&key, false, None::<()>, id, ("event", event)).await?;
            }
            Ok(())
        }
    };
    redis.on_shard_of(&key, lose_end).await.expect("loses");
    outbox.write(event(subject, 10));
    let consumer = consume(&redis, &streams, &handler);
    eventually(SOON, || async { handler.effects() == 11 && outbox.unpublished() == 0 }).await;
    assert!(events[7..].iter().all(|event| handler.tries(id_of(event)) == 1), "what was lost");
    assert!(events[..7].iter().all(|event| handler.tries(id_of(event)) == 2), "what was not");
    relay.begin();
    consumer.begin();
}
