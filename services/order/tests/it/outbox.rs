//! What is written into the outbox is told in the shop's streams.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use firstcome_events::{Claim, Outbox as _, Streams, streams::shard_of};
use firstcome_order::store::Store;
use firstcome_proto::{
    event_v1::{Event, OrderChanged, event::Kind},
    order_v1::OrderState,
};
use firstcome_redis::{RedisPool, keys};
use firstcome_testkit::{eventually, stores};
use fred::interfaces::StreamsInterface as _;
use prost::Message as _;
use uuid::Uuid;

use super::{
    app::{SOON, Shop},
    failpoints::Program,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

impl Shop {
    async fn store(&self) -> Store {
        Store::connect(&self.database.url.clone().into(), 4, self.vault()).await.unwrap()
    }

    /// Writes an event as a transition does, and gives its id.
    async fn happens(&self, order: Uuid, from: &str, to: &str) -> Uuid {
        sqlx::query_scalar(
            "insert into outbox (order_id, user_id, from_state, state, total_minor, currency)
             values ($1, $2, $3, $4, 129000, 'KRW') returning event_id",
        )
        .bind(order)
        .bind(order)
        .bind(from)
        .bind(to)
        .fetch_one(&self.database.pool)
        .await
        .unwrap()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.unwrap()
    }

    async fn unpublished(&self) -> i64 {
        self.count("select count(*) from outbox where published_at is null").await
    }
}

/// What the streams tell of an order, in their order.
async fn told(order: Uuid) -> Vec<(Uuid, OrderChanged)> {
    type Entries = Vec<(String, HashMap<String, Bytes>)>;
    let redis = RedisPool::connect(stores().await.redis_url()).await.unwrap();
    let key = Streams::of_the_shop().key(shard_of(order));
    let read = |client: fred::clients::Client| {
        let key = key.clone();
        async move { client.xrange_values(key, "-", "+", None).await }
    };
    let entries: Entries = redis.on_shard_of(&key, read).await.unwrap();
    let events = entries.iter().map(|(_, fields)| Event::decode(fields["event"].clone()).unwrap());
    let changes = events.filter_map(|event| {
        let Some(Kind::OrderChanged(changed)) = event.kind else { return None };
        let id = Uuid::from_slice(&event.event_id).unwrap();
        (changed.order_id == order.as_bytes()[..]).then_some((id, changed))
    });
    changes.collect()
}

/// An order of the first shard.
fn order_of_the_first_shard() -> Uuid {
    let id = Uuid::new_v4();
    Uuid::from_u128(id.as_u128() & !0b11)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_an_order_is_told_once_in_order_by_two_replicas() {
    let shop = Shop::open().await;
    let _replicas = (shop.replica().await, shop.replica().await);
    let orders: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    let steps =
        [("pending_payment", "preparing"), ("preparing", "shipping"), ("shipping", "delivered")];
    let mut written: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for (from, to) in steps {
        for &order in &orders {
            let event = shop.happens(order, from, to).await;
            written.entry(order).or_default().push(event);
        }
    }
    eventually(SOON, || async { shop.unpublished().await == 0 }).await;
    for order in orders {
        let told = told(order).await;
        let ids: Vec<Uuid> = told.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, written[&order]);
        let states: Vec<_> = told.iter().map(|(_, it)| (it.from_state(), it.state())).collect();
        assert_eq!(
            states,
            [
                (OrderState::PendingPayment, OrderState::Preparing),
                (OrderState::Preparing, OrderState::Shipping),
                (OrderState::Shipping, OrderState::Delivered),
            ]
        );
        let total = told[0].1.total.clone().unwrap();
        assert_eq!((total.amount_minor, total.currency_code.as_str()), (129_000, "KRW"));
        assert_eq!(told[0].1.user_id, order.as_bytes()[..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_and_the_relay_agree_on_shards() {
    let shop = Shop::open().await;
    for _ in 0..20 {
        shop.happens(Uuid::new_v4(), "pending_payment", "expired").await;
    }
    let rows: Vec<(Uuid, i16)> = sqlx::query_as("select order_id, shard from outbox")
        .fetch_all(&shop.database.pool)
        .await
        .unwrap();
    assert!(rows.iter().all(|(order, shard)| i16::from(shard_of(*order)) == *shard), "{rows:?}");
    let shards = shop.count("select count(*) from outbox_shards").await;
    assert_eq!(shards, i64::from(keys::EVENT_SHARDS));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_replica_was_telling_another_one_tells() {
    let shop = Shop::open().await;
    let order = order_of_the_first_shard();
    let event = shop.happens(order, "pending_payment", "preparing").await;
    // Somebody leased the shard, and died.
    let dead = shop.store().await.claim(256, Duration::from_secs(1)).await.unwrap();
    assert_eq!(dead.len(), 1);
    let _replica = shop.replica().await;
    eventually(SOON, || async { shop.unpublished().await == 0 }).await;
    let told = told(order).await;
    assert_eq!(told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [event]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_dies_between_telling_and_saving_tells_again() {
    let shop = Shop::open().await;
    let (mut program, _port) = Program::start(&shop, Some("relay.after_append")).await;
    let order = Uuid::new_v4();
    let event = shop.happens(order, "pending_payment", "preparing").await;
    program.died().await;
    assert_eq!(shop.unpublished().await, 1);
    let (_program, _port) = Program::start(&shop, None).await;
    eventually(SOON, || async { shop.unpublished().await == 0 }).await;
    let ids: Vec<Uuid> = told(order).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [event, event], "consumers know it by its id");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_a_lease_can_save_nothing() {
    let shop = Shop::open().await;
    let store = shop.store().await;
    shop.happens(order_of_the_first_shard(), "pending_payment", "preparing").await;
    let claim = |lease| {
        let store = store.clone();
        async move { store.claim(256, lease).await.unwrap() }
    };
    let [late] = <[Claim; 1]>::try_from(claim(Duration::ZERO).await).unwrap();
    let [owner] = <[Claim; 1]>::try_from(claim(LONG).await).unwrap();
    assert!(claim(LONG).await.is_empty(), "one at a time");
    assert_eq!(late.events, owner.events);
    let ids: Vec<i64> = owner.events.iter().map(|event| event.outbox_id).collect();

    assert!(!store.mark_published(&late.lease, &ids, "1-0").await.unwrap());
    store.release(&late.lease, Duration::ZERO).await.unwrap();
    assert!(claim(LONG).await.is_empty(), "the owner still has it");
    assert_eq!(shop.unpublished().await, 1);
    assert!(store.mark_published(&owner.lease, &ids, "2-0").await.unwrap());
    assert_eq!(store.tails().await.unwrap(), [(0, "2-0".to_owned())]);
    assert_eq!(shop.unpublished().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_stream_makes_all_its_rows_unpublished_and_no_others() {
    let shop = Shop::open().await;
    let store = shop.store().await;
    sqlx::query(
        "insert into outbox (order_id, user_id, from_state, state, total_minor, currency)
         select case when n % 5 = 0 then '00000000-0000-0000-0000-000000000001'::uuid
                     else '00000000-0000-0000-0000-000000000000'::uuid end,
             gen_random_uuid(), 'pending_payment', 'preparing', n, 'KRW'
         from generate_series(1, 3000) as n",
    )
    .execute(&shop.database.pool)
    .await
    .unwrap();
    let claims = store.claim(5_000, LONG).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.events.len()).sum::<usize>(), 3_000);
    for Claim { lease, events } in claims {
        let ids: Vec<i64> = events.iter().map(|event| event.outbox_id).collect();
        assert!(ids.is_sorted());
        assert!(store.mark_published(&lease, &ids, "7-0").await.unwrap());
    }
    assert_eq!(store.forget(0, "6-0", LONG).await.unwrap(), 0, "that tail was lost before");
    assert_eq!(shop.unpublished().await, 0);

    assert_eq!(store.forget(0, "7-0", LONG).await.unwrap(), 2_400);
    assert_eq!(shop.unpublished().await, 2_400);
    assert_eq!(store.tails().await.unwrap(), [(1, "7-0".to_owned())]);
    assert_eq!(store.forget(0, "7-0", LONG).await.unwrap(), 0, "once");
    let [again] = <[Claim; 1]>::try_from(store.claim(1, LONG).await.unwrap()).unwrap();
    assert_eq!((again.lease.shard, again.lease.tail), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_takes_the_shard_from_whoever_is_at_it() {
    let shop = Shop::open().await;
    let store = shop.store().await;
    let order = order_of_the_first_shard();
    for (tail, to) in [("1-0", "preparing"), ("2-0", "shipping")] {
        shop.happens(order, "pending_payment", to).await;
        let [claim] = <[Claim; 1]>::try_from(store.claim(256, LONG).await.unwrap()).unwrap();
        if tail == "2-0" {
            assert_eq!(store.forget(0, "1-0", LONG).await.unwrap(), 1);
        }
        let ids: Vec<i64> = claim.events.iter().map(|event| event.outbox_id).collect();
        let saved = store.mark_published(&claim.lease, &ids, tail).await.unwrap();
        assert_eq!(saved, tail == "1-0", "what was appended behind a gap is told again");
    }
    assert_eq!(shop.unpublished().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn published_rows_are_deleted_when_they_are_old_and_others_stay() {
    let shop = Shop::open().await;
    let store = shop.store().await;
    let order = Uuid::new_v4();
    for to in ["preparing", "shipping", "delivered"] {
        shop.happens(order, "pending_payment", to).await;
    }
    sqlx::query(
        "update outbox set created_at = now() - interval '8 days'
         where state in ('preparing', 'shipping')",
    )
    .execute(&shop.database.pool)
    .await
    .unwrap();
    sqlx::query("update outbox set published_at = now() where state <> 'shipping'")
        .execute(&shop.database.pool)
        .await
        .unwrap();
    let week = firstcome_events::relay::KEEP;
    assert_eq!(store.delete_old(week, 100).await.unwrap(), 1);
    assert_eq!(store.delete_old(week, 100).await.unwrap(), 0);
    let left: Vec<String> = sqlx::query_scalar("select state from outbox order by outbox_id")
        .fetch_all(&shop.database.pool)
        .await
        .unwrap();
    assert_eq!(left, ["shipping", "delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_taken_without_redis() {
    let mut shop = Shop::open().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    shop.redis_url = format!("redis-cluster://{nobody}");
    let replica = shop.replica().await;
    replica.buyer().placed(Uuid::new_v4()).await;
    shop.happens(Uuid::new_v4(), "pending_payment", "preparing").await;
    assert_eq!(shop.unpublished().await, 1, "it waits");
}
