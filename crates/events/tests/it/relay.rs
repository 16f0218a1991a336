use firstcome_testkit::{eventually, stores};
use prost::Message as _;
use uuid::Uuid;

use super::harness::{
    MemoryOutbox, Recorder, SOON, append, consume, event, id_of, redis, relay, streams,
};

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_tell_each_event_once_and_each_subjects_in_order() {
    let (redis, streams, outbox) = (redis().await, streams(), MemoryOutbox::default());
    let url = stores().await.redis_url();
    let handler = Recorder::willing();
    let relays = [relay(&outbox, url, &streams), relay(&outbox, url, &streams)];
    let consumer = consume(&redis, &streams, &handler);

    let subjects: Vec<Uuid> = (0..8).map(|_| Uuid::new_v4()).collect();
    for number in 0..100 {
        for subject in &subjects {
            outbox.write(event(*subject, number));
        }
        // Some are written while others are on their way.
        tokio::task::yield_now().await;
    }
    eventually(SOON, || async { handler.effects() == 800 }).await;
    eventually(SOON, || async { outbox.unpublished() == 0 }).await;
    for subject in subjects {
        assert_eq!(handler.numbers(subject), (0..100).collect::<Vec<_>>());
    }
    relays.iter().chain([&consumer]).for_each(|shutdown| shutdown.begin());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_relay_dies_before_the_mark_is_told_twice_and_takes_effect_once() {
    let (redis, streams, outbox) = (redis().await, streams(), MemoryOutbox::default());
    let handler = Recorder::willing();
    let consumer = consume(&redis, &streams, &handler);
    outbox.lose_marks(1);
    let told = event(Uuid::new_v4(), 1);
    outbox.write(told.clone());
    let relay = relay(&outbox, stores().await.redis_url(), &streams);
    eventually(SOON, || async { handler.tries(id_of(&told)) == 2 }).await;
    eventually(SOON, || async { outbox.unpublished() == 0 }).await;
    assert_eq!(handler.effects(), 1);
    relay.begin();
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_finishes_what_it_began() {
    let (redis, streams, outbox) = (redis().await, streams(), MemoryOutbox::default());
    let handler = Recorder::willing();
    let consumer = consume(&redis, &streams, &handler);
    let relay = relay(&outbox, stores().await.redis_url(), &streams);
    let subject = Uuid::new_v4();
    for number in 0..2_000 {
        outbox.write(event(subject, number));
    }
    eventually(SOON, || async { outbox.unpublished() < 2_000 }).await;
    relay.begin();
    relay.finished().await;
    let told = 2_000 - outbox.unpublished();
    eventually(SOON, || async { handler.effects() == told }).await;
    assert_eq!(handler.seen.lock().len(), told, "what is told is marked");
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_somebody_else_harms_nobody() {
    let (redis, streams, outbox) = (redis().await, streams(), MemoryOutbox::default());
    let handler = Recorder::willing();
    let relay = relay(&outbox, stores().await.redis_url(), &streams);
    let subject = Uuid::from_u128(0);
    append(&redis, &streams, 0, event(subject, 1).encode_to_vec().into()).await;
    outbox.write(event(subject, 2));
    let consumer = consume(&redis, &streams, &handler);
    eventually(SOON, || async { handler.effects() == 2 }).await;
    assert_eq!(handler.numbers(subject), [1, 2]);
    relay.begin();
    consumer.begin();
}
