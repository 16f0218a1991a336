//! Orders belong to their buyers.

use firstcome_proto::{Reason, order_v1::OrderState};
use futures::future::join_all;
use uuid::Uuid;

use super::app::{Shop, is, pay_request, refused};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_moves_the_order_of_another() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let (ann, bob) = (replica.buyer(), replica.buyer());
    let order = ann.placed(Uuid::new_v4()).await;

    refused(&bob.get(order).await, Reason::NotFound);
    refused(&bob.pay(order).await, Reason::NotFound);
    refused(&bob.cancel(order).await, Reason::NotFound);
    assert!(bob.list(0, "").await.unwrap().orders.is_empty());
    is(&ann.get(order).await, OrderState::PendingPayment);
    refused(&ann.get(Uuid::new_v4()).await, Reason::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_pays_in_the_same_moment_neither_sees_nor_stops_a_payment() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let product = Uuid::new_v4();
    let owners: Vec<_> = (0..10).map(|_| replica.buyer()).collect();
    let orders = join_all(owners.iter().map(|owner| owner.placed(product))).await;
    let strangers: Vec<_> = (0..50).map(|_| replica.buyer()).collect();

    // Strangers stand before and behind each owner in the batches that form.
    let nosy = |number: usize| strangers[number].pay(orders[number % orders.len()]);
    let before = join_all((0..25).map(nosy));
    let own = join_all(owners.iter().zip(&orders).map(|(owner, &order)| owner.pay(order)));
    let behind = join_all((25..50).map(nosy));
    let (before, own, behind) = tokio::join!(before, own, behind);

    for answer in before.iter().chain(&behind) {
        refused(answer, Reason::NotFound);
    }
    for (answer, order) in own.iter().zip(&orders) {
        is(answer, OrderState::Preparing);
        assert_eq!(answer.as_ref().unwrap().order_id, order.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_pages_through_all_orders_newest_first() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let product = Uuid::new_v4();
    // One batch, and so one instant for many of them; then some more.
    let items = (0..20).map(|n| buyer.item(&format!("k{n}"), &[(product, Uuid::new_v4(), 1)]));
    replica.place_many(items.collect()).await;
    for _ in 0..3 {
        buyer.placed(product).await;
    }
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = buyer.list(4, &token).await.unwrap();
        assert!(page.orders.len() <= 4);
        listed.extend(page.orders);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed.len(), 23);
    let instant = |order: &firstcome_proto::order_v1::Order| {
        let time = order.create_time.unwrap();
        (time.seconds, time.nanos)
    };
    assert!(listed.is_sorted_by(|newer, older| instant(newer) >= instant(older)));
    let mut ids: Vec<_> = listed.iter().map(|order| &order.order_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 23, "none twice");
    refused(&buyer.list(101, "").await, Reason::InvalidArgument);
    refused(&buyer.list(0, "rubbish").await, Reason::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_payment_request_changes_nothing() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let order = buyer.placed(Uuid::new_v4()).await;

    let mut nowhere = pay_request(order);
    nowhere.destination = None;
    nowhere.payment_method = "x".repeat(101);
    let refusal = buyer.pay_with(nowhere).await.unwrap_err();
    let fields: Vec<_> = refusal.violations.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["payment_method", "address"]);

    let mut unnamed = pay_request(order);
    unnamed.order_id = "rubbish".into();
    refused(&buyer.pay_with(unnamed).await, Reason::InvalidArgument);
    is(&buyer.get(order).await, OrderState::PendingPayment);
    is(&buyer.pay(order).await, OrderState::Preparing);
}
