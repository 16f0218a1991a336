use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use firstcome_events::{Outcome, consumer::DELIVERIES_MAX};
use firstcome_proto::event_v1::Event;
use firstcome_testkit::eventually;
use fred::{
    clients::Client,
    interfaces::{KeysInterface as _, StreamsInterface as _},
    types::Value,
};
use prost::Message as _;
use uuid::Uuid;

use super::harness::{
    QUICK, Recorder, SOON, append, consume, event, id_of, pending, redis, streams, told_by,
};

/// A subject whose events go to the first shard.
const SUBJECT: Uuid = Uuid::from_u128(0);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_left_is_taken_over() {
    let (redis, streams) = (redis().await, streams());
    let key = streams.key(0);
    for number in 0..50 {
        append(&redis, &streams, 0, event(SUBJECT, number).encode_to_vec().into()).await;
    }
    let die_with_all = |client: Client| {
        let key = key.clone();
        async move {
            let () = client.xgroup_create(&key, "test", "0", true).await?;
            let taken: Value =
                client.xreadgroup("test", "the dead", None, None, false, &key, ">").await?;
            Ok(taken)
        }
    };
    let taken = redis.on_shard_of(&key, die_with_all).await.expect("reads");
    assert!(!taken.is_null());
    append(&redis, &streams, 0, event(SUBJECT, 50).encode_to_vec().into()).await;

    let handler = Recorder::willing();
    let consumer = consume(&redis, &streams, &handler);
    eventually(SOON, || async { handler.effects() == 51 }).await;
    eventually(SOON, || async { pending(&redis, &streams).await == 0 }).await;
    assert_eq!(handler.seen.lock().len(), 51, "each of them once");
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_events() {
    let (redis, streams) = (redis().await, streams());
    let handlers = [Recorder::willing(), Recorder::willing()];
    let consumers = handlers.each_ref().map(|handler| consume(&redis, &streams, handler));
    for number in 0..100 {
        let subject = Uuid::from_u128(number);
        append(
            &redis,
            &streams,
            (number % 4) as u8,
            event(subject, number as i32).encode_to_vec().into(),
        )
        .await;
    }
    let seen = || handlers.iter().map(|handler| handler.seen.lock().len()).sum::<usize>();
    eventually(SOON, || async { seen() >= 100 }).await;
    consumers.iter().for_each(|consumer| consumer.begin());
    for consumer in consumers {
        consumer.finished().await;
    }
    assert_eq!(seen(), 100, "each event went to one of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_parked_after_five_tries_while_others_go_on() {
    let (redis, streams) = (redis().await, streams());
    let handler = Recorder::new(|event, tries| match told_by(event).1 {
        1 => Outcome::TryAgain(format!("no luck at try {tries}")),
        2 => panic!("a handler that panics"),
        3 if tries < 3 => Outcome::TryAgain("not yet".to_owned()),
        4 => Outcome::Poison("it will never do".to_owned()),
        _ => Outcome::Done,
    });
    let events: Vec<Event> = (0..6).map(|number| event(SUBJECT, number)).collect();
    for event in &events {
        append(&redis, &streams, 0, event.encode_to_vec().into()).await;
    }
    let consumer = consume(&redis, &streams, &handler);
    eventually(SOON, || async { handler.parked.lock().len() == 3 }).await;
    eventually(SOON, || async { handler.effects() == 3 }).await;
    eventually(SOON, || async { pending(&redis, &streams).await == 0 }).await;

    let parked = handler.parked.lock().clone();
    let of = |number: usize| {
        let id = Some(id_of(&events[number]));
        parked.iter().find(|parked| parked.event_id == id).expect("parked")
    };
    assert_eq!((of(1).deliveries, of(1).error.as_str()), (5, "no luck at try 5"));
    assert_eq!(of(1).event, Bytes::from(events[1].encode_to_vec()), "as it came");
    assert_eq!((of(2).deliveries, of(2).error.as_str()), (5, "the handler panicked"));
    assert_eq!(
        (of(4).deliveries <= DELIVERIES_MAX, of(4).error.as_str()),
        (true, "it will never do")
    );
    for done in [0, 3, 5] {
        assert!(handler.effects.lock().contains(&id_of(&events[done])), "event {done}");
    }
    // Others come after it without a delay.
    append(&redis, &streams, 0, event(SUBJECT, 7).encode_to_vec().into()).await;
    eventually(SOON, || async { handler.effects() == 4 }).await;
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_decode_is_parked_at_once_and_a_new_kind_is_passed_over() {
    let (redis, streams) = (redis().await, streams());
    let handler = Recorder::willing();
    let consumer = consume(&redis, &streams, &handler);
    let of_tomorrow = Event { kind: None, ..event(SUBJECT, 1) };
    append(&redis, &streams, 0, Bytes::from_static(b"\xff\xff")).await;
    append(&redis, &streams, 0, of_tomorrow.encode_to_vec().into()).await;
    append(&redis, &streams, 0, event(SUBJECT, 2).encode_to_vec().into()).await;
    eventually(SOON, || async { handler.effects() == 1 }).await;
    eventually(SOON, || async { pending(&redis, &streams).await == 0 }).await;
    assert_eq!(handler.numbers(SUBJECT), [2]);
    let parked = handler.parked.lock().clone();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].event_id, parked[0].deliveries), (None, 1));
    assert_eq!(parked[0].event, Bytes::from_static(b"\xff\xff"));
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_something_is_missing_events_wait_and_none_is_blamed() {
    let (redis, streams) = (redis().await, streams());
    let is_back = Arc::new(AtomicBool::new(false));
    let handler = Recorder::new({
        let is_back = Arc::clone(&is_back);
        move |_, _| match is_back.load(Ordering::Relaxed) {
            true => Outcome::Done,
            false => Outcome::Unavailable("the mail server is down".to_owned()),
        }
    });
    let consumer = consume(&redis, &streams, &handler);
    let told = event(SUBJECT, 1);
    append(&redis, &streams, 0, told.encode_to_vec().into()).await;
    // Longer than five deliveries would take.
    let tries = || async { handler.tries(id_of(&told)) > 5 };
    eventually(QUICK.idle * 100, tries).await;
    assert!(handler.parked.lock().is_empty());
    is_back.store(true, Ordering::Relaxed);
    eventually(SOON, || async { handler.effects() == 1 }).await;
    eventually(SOON, || async { pending(&redis, &streams).await == 0 }).await;
    assert!(handler.parked.lock().is_empty());
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_lost_begins_anew() {
    let (redis, streams) = (redis().await, streams());
    let handler = Recorder::willing();
    let consumer = consume(&redis, &streams, &handler);
    let told = event(SUBJECT, 1);
    append(&redis, &streams, 0, told.encode_to_vec().into()).await;
    eventually(SOON, || async { handler.effects() == 1 }).await;
    let key = streams.key(0);
    let lose = |client: Client| {
        let key = key.clone();
        async move { client.del(&key).await }
    };
    let () = redis.on_shard_of(&key, lose).await.expect("deletes");
    append(&redis, &streams, 0, told.encode_to_vec().into()).await;
    append(&redis, &streams, 0, event(SUBJECT, 2).encode_to_vec().into()).await;
    eventually(SOON, || async { handler.effects() == 2 }).await;
    assert_eq!(handler.tries(id_of(&told)), 2);
    consumer.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stops_leaves_the_group_and_nothing_behind() {
    let (redis, streams) = (redis().await, streams());
    let handler = Recorder::new(|_, _| {
        std::thread::sleep(Duration::from_millis(5)); // a handler takes its time
        Outcome::Done
    });
    let consumer = consume(&redis, &streams, &handler);
    for number in 0..100 {
        append(&redis, &streams, 0, event(SUBJECT, number).encode_to_vec().into()).await;
    }
    eventually(SOON, || async { handler.effects() > 0 }).await;
    consumer.begin();
    consumer.finished().await;
    assert_eq!(pending(&redis, &streams).await, 0, "what it was given, it has done");
    let key = streams.key(0);
    let list = |client: Client| {
        let key = key.clone();
        async move { client.xinfo_consumers(&key, "test").await }
    };
    let consumers: Value = redis.on_shard_of(&key, list).await.expect("a group");
    assert_eq!(consumers.array_len(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_takes_long_keeps_its_events() {
    let (redis, streams) = (redis().await, streams());
    let slow = Recorder::new(|_, _| {
        std::thread::sleep(QUICK.idle * 4); // as a slow mail server does
        Outcome::Done
    });
    let consumer = consume(&redis, &streams, &slow);
    let told = event(SUBJECT, 1);
    append(&redis, &streams, 0, told.encode_to_vec().into()).await;
    eventually(SOON, || async { !slow.seen.lock().is_empty() }).await;
    let others = Recorder::willing();
    let other = consume(&redis, &streams, &others);
    eventually(SOON, || async { slow.effects() == 1 }).await;
    eventually(SOON, || async { pending(&redis, &streams).await == 0 }).await;
    assert!(others.seen.lock().is_empty(), "nobody took it for dead");
    consumer.begin();
    other.begin();
}
