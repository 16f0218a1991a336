//! Placing orders: one key, one row, whatever comes twice, late or wrong.

use std::time::Duration;

use firstcome_proto::{
    Reason,
    inventory_v1::HoldState,
    order_v1::{OrderState, PlaceOrdersRequest},
};
use firstcome_testkit::eventually;
use futures::future::join_all;
use uuid::Uuid;

use super::{
    app::{SOON, Shop, is, refused},
    peers::{Call, Product, UNITS_WITHOUT_SEQUENCE},
};

#[tokio::test(flavor = "multi_thread")]
async fn one_key_fifty_times_also_inside_one_batch_is_one_row_and_fifty_answers() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let line = [(Uuid::new_v4(), Uuid::new_v4(), 2)];

    let batch = replica.place_many(vec![buyer.item("k", &line); 50]);
    let alone = join_all((0..50).map(|_| buyer.place("k", &line)));
    let (batch, alone) = tokio::join!(batch, alone);

    let orders: Vec<_> = batch.into_iter().chain(alone).map(Result::unwrap).collect();
    assert_eq!(orders.len(), 100);
    for order in &orders {
        assert_eq!(order, &orders[0]);
    }
    assert_eq!(orders[0].order_id, buyer.order_id("k").to_string());
    assert_eq!(orders[0].total.as_ref().unwrap().amount_minor, 25_800);
    assert_eq!(shop.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_other_contents_is_refused_and_gives_back_what_it_took() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let (shoe, hat, sku) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let order = buyer.order_id("k");
    buyer.place("k", &[(shoe, sku, 1)]).await.unwrap();

    refused(&buyer.place("k", &[(shoe, sku, 2)]).await, Reason::KeyReused);
    refused(&buyer.place("k", &[(shoe, Uuid::new_v4(), 1)]).await, Reason::KeyReused);
    refused(&buyer.place("k", &[(hat, sku, 1)]).await, Reason::KeyReused);
    eventually(SOON, || async { shop.peers.hold(hat, order) == Some(HoldState::Released) }).await;

    assert_eq!(shop.peers.hold(shoe, order), Some(HoldState::Held));
    is(&buyer.place("k", &[(shoe, sku, 1)]).await, OrderState::PendingPayment);
    assert_eq!(shop.rows().await, 1);
    let undone = shop.peers.calls(order).into_iter().filter(|call| *call == Call::ReleaseUndo);
    assert_eq!(undone.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_with_two_products_in_one_batch_leaves_one_order_and_one_hold() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let products = [Uuid::new_v4(), Uuid::new_v4()];
    let items = products.map(|product| buyer.item("k", &[(product, Uuid::new_v4(), 1)]));

    let placed = replica.place_many(items.to_vec()).await;
    assert_eq!(placed.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{placed:?}");
    refused(placed.iter().find(|outcome| outcome.is_err()).unwrap(), Reason::KeyReused);
    eventually(SOON, || async {
        let states = products.map(|product| shop.peers.hold(product, buyer.order_id("k")));
        states.contains(&Some(HoldState::Held)) && states.contains(&Some(HoldState::Released))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_ended_before_its_row_was_written_is_an_expired_order() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let line = [(Uuid::new_v4(), Uuid::new_v4(), 1)];
    let order = buyer.order_id("k");
    // As if the process had died between the hold and the row, and nobody had come back in time.
    buyer.place("k", &line).await.unwrap();
    sqlx::query("delete from orders").execute(&shop.database.pool).await.unwrap();
    shop.peers.set_hold(line[0].0, order, HoldState::Expired);

    refused(&buyer.place("k", &line).await, Reason::OrderExpired);
    is(&buyer.place("k", &line).await, OrderState::Expired);
    refused(&buyer.pay(order).await, Reason::OrderExpired);
}

#[tokio::test(flavor = "multi_thread")]
async fn losers_are_told_before_winners_are_written() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let (product, sku) = (Uuid::new_v4(), Uuid::new_v4());
    shop.peers.product(product, Product { available: 1, ..Product::default() });
    let closed = shop.peers.admissions.lock().await;
    let items = (0..2).map(|_| replica.buyer().item("k", &[(product, sku, 1)]));
    let request = PlaceOrdersRequest { items: items.collect() };
    let mut answers = replica.intake().place_orders(request).await.unwrap().into_inner();

    let first = answers.message().await.unwrap().unwrap();
    assert_eq!((first.placed.len(), first.refused.len()), (0, 1), "the loser's");
    drop(closed);
    let second = answers.message().await.unwrap().unwrap();
    assert_eq!((second.placed.len(), second.refused.len()), (1, 0), "the winner's");
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_order_is_written_although_its_caller_left() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let line = [(Uuid::new_v4(), Uuid::new_v4(), 1)];
    let buyer = replica.buyer();
    let closed = shop.peers.admissions.lock().await;
    let request = PlaceOrdersRequest { items: vec![buyer.item("many", &line)] };
    let mut intake = replica.intake();
    let many = tokio::spawn(async move { intake.place_orders(request).await });
    eventually(SOON, || async { shop.peers.reserve_batches() == 1 }).await;
    let alone = tokio::spawn({
        let buyer = buyer.clone();
        async move { buyer.place("alone", &line).await }
    });
    eventually(SOON, || async { shop.peers.reserve_batches() == 2 }).await;
    many.abort();
    alone.abort();
    drop(closed);
    eventually(SOON, || async { shop.rows().await == 2 }).await;
    is(&buyer.place("many", &line).await, OrderState::PendingPayment);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stalls_after_its_headers_is_unknown_and_found_again() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let line = [(Uuid::new_v4(), Uuid::new_v4(), 1)];
    let buyer = replica.buyer();
    let closed = shop.peers.admissions.lock().await;
    let placed = replica.place_many(vec![buyer.item("k", &line)]).await;
    refused(&placed[0], Reason::UpstreamUnavailable);
    drop(closed);
    is(&buyer.place("k", &line).await, OrderState::PendingPayment);
    assert_eq!(shop.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_postgres_refuses_harms_no_other_of_its_batch() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let product = Uuid::new_v4();
    let bad = 137;
    let items = (0..200).map(|place| {
        let quantity = if place == bad { UNITS_WITHOUT_SEQUENCE as i32 } else { 1 };
        replica.buyer().item("k", &[(product, Uuid::new_v4(), quantity)])
    });
    // While the first batches wait for the table, all others gather in one.
    let mut lock = shop.database.pool.begin().await.unwrap();
    sqlx::query("lock table orders in exclusive mode").execute(&mut *lock).await.unwrap();
    let unlock = async {
        eventually(SOON, || async { shop.waiting_for_locks().await == 2 }).await;
        lock.commit().await.unwrap();
    };
    let (placed, ()) = tokio::join!(replica.place_many(items.collect()), unlock);
    for (place, outcome) in placed.iter().enumerate() {
        if place == bad {
            refused(outcome, Reason::Internal);
        } else {
            is(outcome, OrderState::PendingPayment);
        }
    }
    assert_eq!(shop.rows().await, 199);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_no_number_holds_is_refused_and_nothing_stays_held() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let product = Uuid::new_v4();
    shop.peers.product(product, Product { price: i64::MAX, ..Product::default() });
    let buyer = replica.buyer();
    let placed = buyer.place("k", &[(product, Uuid::new_v4(), 2)]).await;
    refused(&placed, Reason::InvalidArgument);
    let order = buyer.order_id("k");
    eventually(SOON, || async { shop.peers.hold(product, order) == Some(HoldState::Released) })
        .await;
    assert_eq!(shop.rows().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_item_is_refused_alone() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let (product, sku) = (Uuid::new_v4(), Uuid::new_v4());
    let mut nobody = buyer.item("k", &[(product, sku, 1)]);
    nobody.user_id = vec![1, 2, 3].into();
    let items = vec![
        buyer.item("a", &[(product, sku, 1)]),
        buyer.item("b", &[(product, sku, -5)]),
        nobody,
        buyer.item("c", &[(product, sku, 1), (Uuid::new_v4(), sku, 1)]),
        buyer.item("d", &[(product, sku, 3)]),
    ];
    let placed = replica.place_many(items).await;
    for place in [0, 4] {
        is(&placed[place], OrderState::PendingPayment);
    }
    for place in [1, 2, 3] {
        refused(&placed[place], Reason::InvalidArgument);
    }
    let none = PlaceOrdersRequest { items: Vec::new() };
    assert!(replica.intake().place_orders(none).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_expires_once_however_many_replicas_look() {
    let shop = Shop::open().await;
    let replicas = [shop.replica().await, shop.replica().await, shop.replica().await];
    let product = Uuid::new_v4();
    let hold_ttl = Duration::from_millis(300);
    shop.peers.product(product, Product { hold_ttl, ..Product::default() });
    let buyer = replicas[0].buyer();
    let orders = join_all((0..50).map(|_| buyer.placed(product))).await;
    eventually(SOON, || async { shop.unfinished().await == 0 }).await;
    for order in orders {
        is(&buyer.get(order).await, OrderState::Expired);
        assert_eq!(shop.peers.hold(product, order), Some(HoldState::Expired));
        refused(&buyer.pay(order).await, Reason::OrderExpired);
        refused(&buyer.cancel(order).await, Reason::OrderExpired);
    }
}
