//! A process dies at every step, before and after its effect; another one goes on.

use std::time::Duration;

use firstcome_proto::{Reason, inventory_v1::HoldState, order_v1::OrderState};
use firstcome_testkit::eventually;
use futures::future::join_all;
use uuid::Uuid;

use super::{
    app::{SOON, Shop, is, refused},
    peers::{Call, Fault, Product},
    saga::Case,
};

/// The first process dies within this; then the second one may go on.
const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_on_from_whatever_step_its_process_died_at() {
    let shop = Shop::open().await;
    let first = shop.replica_with_lease(LEASE).await;
    let cases = Case::all(&[Fault::HangBefore, Fault::HangAfter]);
    let mut cases = join_all(cases.map(async |(story, fault)| {
        let case = Case::place(&shop, first.buyer(), story, Some(fault)).await;
        let (buyer, order) = (case.buyer.clone(), case.order);
        tokio::spawn(async move { buyer.pay(order).await });
        case
    }))
    .await;
    eventually(SOON, || async { shop.peers.hanging() == cases.len() }).await;
    assert_eq!(shop.unfinished().await, i64::try_from(cases.len()).unwrap());
    first.kill();

    let second = shop.replica_with_lease(LEASE).await;
    eventually(SOON, || async { shop.unfinished().await == 0 }).await;
    for case in &mut cases {
        case.buyer = second.buyer_of(case.buyer.id);
        case.assert_ended(&shop).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelling_goes_on_after_its_process_died() {
    let shop = Shop::open().await;
    let first = shop.replica_with_lease(LEASE).await;
    let product = [Uuid::new_v4(), Uuid::new_v4()];
    let buyers = [first.buyer(), first.buyer()];
    let mut orders = Vec::new();
    for (place, fault) in [Fault::HangBefore, Fault::HangAfter].into_iter().enumerate() {
        let buyer = buyers[place].clone();
        let order = buyer.placed(product[place]).await;
        shop.peers.plan(order, &[(Call::ReleaseCancel, fault)]);
        tokio::spawn(async move { buyer.cancel(order).await });
        orders.push(order);
    }
    eventually(SOON, || async { shop.peers.hanging() == 2 }).await;
    first.kill();

    let second = shop.replica_with_lease(LEASE).await;
    let buyers = buyers.map(|buyer| second.buyer_of(buyer.id));
    // Whoever asks again need not wait for the worker.
    is(&buyers[0].cancel(orders[0]).await, OrderState::Cancelled);
    refused(&buyers[0].pay(orders[0]).await, Reason::WrongState);
    eventually(SOON, || async { shop.unfinished().await == 0 }).await;
    for (place, buyer) in buyers.iter().enumerate() {
        is(&buyer.get(orders[place]).await, OrderState::Cancelled);
        assert_eq!(shop.peers.hold(product[place], orders[place]), Some(HoldState::Cancelled));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_goes_on_after_its_process_died() {
    let shop = Shop::open().await;
    let first = shop.replica_with_lease(LEASE).await;
    let buyer = first.buyer();
    let mut orders = Vec::new();
    for fault in [Fault::HangBefore, Fault::HangAfter, Fault::UnknownBefore] {
        let product = Uuid::new_v4();
        let hold_ttl = Duration::from_secs(1);
        shop.peers.product(product, Product { hold_ttl, ..Product::default() });
        let order = buyer.placed(product).await;
        shop.peers.plan(order, &[(Call::ReleaseExpire, fault)]);
        orders.push((product, order));
    }
    eventually(SOON, || async { shop.peers.hanging() == 2 }).await;
    first.kill();

    // A step that stalls belongs to its driver for a lease, and one may stall more than once.
    let second = shop.replica_with_lease(LEASE).await;
    eventually(SOON, || async { shop.unfinished().await == 0 }).await;
    let buyer = second.buyer_of(buyer.id);
    for (product, order) in orders {
        is(&buyer.get(order).await, OrderState::Expired);
        assert_eq!(shop.peers.hold(product, order), Some(HoldState::Expired));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_that_drive_one_payment_charge_once() {
    let shop = Shop::open().await;
    // Drivers believe in their lease, and pass from step to step; whoever looks finds all of it due.
    let replicas = [
        shop.replica_with_lease(LEASE).await,
        shop.replica_with_lease(LEASE).await,
        shop.replica_with_lease(LEASE).await,
    ];
    let due = "update orders set next_step_at = now() \
               where state = 'pending_payment' and step <> 'expire'";
    let pool = shop.database.pool.clone();
    let all_due = tokio::spawn(async move {
        loop {
            sqlx::query(due).execute(&pool).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let cases = Case::all(&[Fault::UnknownBefore, Fault::UnknownAfter]);
    let cases = join_all(cases.map(async |(story, fault)| {
        let case = Case::place(&shop, replicas[0].buyer(), story, Some(fault)).await;
        let _ = case.buyer.pay(case.order).await;
        case
    }))
    .await;
    eventually(SOON, || async { shop.unfinished().await == 0 }).await;
    all_due.abort();
    for case in &cases {
        let name = format!("{}, {:?}", case.story.name, case.fault);
        is(&case.buyer.get(case.order).await, case.story.state);
        assert_eq!(shop.peers.hold(case.product, case.order), Some(case.story.hold), "{name}");
        assert_eq!(shop.peers.payment(case.order), case.story.payment, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_order_that_cannot_be_read_keeps_no_other_from_being_driven() {
    let shop = Shop::open().await;
    // What a claim takes and does not drive is not seen again in this test.
    let replica = shop.replica_with_lease(SOON * 10).await;
    let (unreadable, buyer) = (replica.buyer().placed(Uuid::new_v4()).await, replica.buyer());
    let readable = buyer.placed(Uuid::new_v4()).await;
    sqlx::query("alter table orders drop constraint orders_step_known")
        .execute(&shop.database.pool)
        .await
        .unwrap();
    sqlx::query(
        "update orders set next_step_at = now(), \
         step = case when order_id = $1 then 'of a newer build' else 'cancel' end",
    )
    .bind(unreadable)
    .execute(&shop.database.pool)
    .await
    .unwrap();
    eventually(SOON, || async { shop.unfinished().await == 1 }).await;
    is(&buyer.get(readable).await, OrderState::Cancelled);
}
