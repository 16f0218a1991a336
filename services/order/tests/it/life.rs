//! What becomes of an order after its payment: by time, by its buyer, by the shop.

use std::time::Duration;

use firstcome_proto::{
    Reason, inventory_v1::HoldState, order_v1::OrderState, payment_v1::PaymentState,
};
use firstcome_testkit::eventually;
use futures::future::join_all;
use uuid::Uuid;

use super::{
    app::{Buyer, SOON, Shop, is, refused},
    peers::{Call, Fault, Product},
};

/// Long enough for a call, short enough to wait for five of them.
const DAY: Duration = Duration::from_millis(1000);

async fn paid(buyer: &Buyer, product: Uuid) -> Uuid {
    let order = buyer.placed(product).await;
    is(&buyer.pay(order).await, OrderState::Preparing);
    order
}

async fn comes_to(buyer: &Buyer, order: Uuid, state: OrderState) {
    let there = || async { buyer.get(order).await.is_ok_and(|order| order.state() == state) };
    eventually(SOON, there).await;
}

/// How often something was called for an order.
fn count(shop: &Shop, order: Uuid, call: Call) -> usize {
    shop.peers.calls(order).into_iter().filter(|made| *made == call).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_take_each_automatic_step_once() {
    let shop = Shop::open_with_days_of(DAY).await;
    let replicas = [shop.replica().await, shop.replica().await, shop.replica().await];
    let orders = join_all((0..30).map(|place| {
        let buyer = replicas[place % 3].buyer();
        async move { (paid(&buyer, Uuid::new_v4()).await, buyer) }
    }))
    .await;
    for (order, buyer) in &orders {
        comes_to(buyer, *order, OrderState::Confirmed).await;
        let events = shop.events(*order).await;
        let events: Vec<_> = events.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        let wanted = [
            ("pending_payment", "preparing"),
            ("preparing", "shipping"),
            ("shipping", "delivered"),
            ("delivered", "confirmed"),
        ];
        assert_eq!(events, wanted);
        refused(&buyer.request_return(*order).await, Reason::ReturnWindowOver);
        refused(&buyer.cancel(*order).await, Reason::WrongState);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_cancelled_with_one_refund_and_one_stock_return() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let faults = [
        vec![],
        vec![(Call::Refund, Fault::UnknownAfter)],
        vec![(Call::Restock, Fault::UnknownAfter), (Call::Refund, Fault::UnknownBefore)],
    ];
    for plan in faults {
        let (buyer, product) = (replica.buyer(), Uuid::new_v4());
        let order = paid(&buyer, product).await;
        shop.peers.plan(order, &plan);
        // At once by two devices, and then once more.
        let (first, second) = tokio::join!(buyer.cancel(order), buyer.cancel(order));
        is(&first, OrderState::Cancelled);
        is(&second, OrderState::Cancelled);
        is(&buyer.cancel(order).await, OrderState::Cancelled);
        assert_eq!(shop.peers.plan_left(order), []);
        assert_eq!(shop.peers.hold(product, order), Some(HoldState::Returned));
        assert_eq!(shop.peers.payment(order), Some(PaymentState::Refunded));
        let ends = shop.events(order).await.into_iter().filter(|(_, to)| to == "cancelled");
        assert_eq!(ends.count(), 1);
        refused(&buyer.pay(order).await, Reason::WrongState);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_is_taken_within_a_day_and_refunded_a_day_later() {
    let shop = Shop::open_with_days_of(DAY).await;
    let replica = shop.replica().await;
    let (buyer, product) = (replica.buyer(), Uuid::new_v4());
    let order = paid(&buyer, product).await;
    refused(&buyer.request_return(order).await, Reason::WrongState);
    comes_to(&buyer, order, OrderState::Delivered).await;
    let delivered = buyer.get(order).await.unwrap();
    let (until, since) = (delivered.return_by.unwrap(), delivered.update_time.unwrap());
    let window = Duration::try_from(prost_types::Duration {
        seconds: until.seconds - since.seconds,
        nanos: until.nanos - since.nanos,
    });
    assert_eq!(window.unwrap(), DAY);

    refused(&replica.buyer().request_return(order).await, Reason::NotFound);
    is(&buyer.request_return(order).await, OrderState::ReturnRequested);
    is(&buyer.request_return(order).await, OrderState::ReturnRequested);
    assert_eq!(count(&shop, order, Call::Restock), 0, "the goods are on their way");
    comes_to(&buyer, order, OrderState::Returned).await;
    assert_eq!(shop.peers.hold(product, order), Some(HoldState::Returned));
    assert_eq!(shop.peers.payment(order), Some(PaymentState::Refunded));
    is(&buyer.request_return(order).await, OrderState::Returned);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_comes_too_late_is_refused_before_and_after_the_confirmation() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let order = paid(&buyer, Uuid::new_v4()).await;
    let delivered_ago = |ago: &'static str| {
        let pool = shop.database.pool.clone();
        async move {
            let sql = "update orders set state = 'delivered', step = 'confirm', \
                       updated_at = now() - $2::interval where order_id = $1";
            sqlx::query(sql).bind(order).bind(ago).execute(&pool).await.unwrap();
        }
    };
    delivered_ago("24 hours 1 second").await;
    refused(&buyer.request_return(order).await, Reason::ReturnWindowOver);
    is(&buyer.get(order).await, OrderState::Delivered);
    delivered_ago("23 hours 59 minutes").await;
    is(&buyer.request_return(order).await, OrderState::ReturnRequested);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_refunds_at_once_and_only_what_it_may() {
    let shop = Shop::open_with_days_of(DAY * 2).await;
    let replica = shop.replica().await;
    let (buyer, operator) = (replica.buyer(), replica.buyer());

    let unpaid = buyer.placed(Uuid::new_v4()).await;
    refused(&operator.refund(unpaid).await, Reason::WrongState);
    refused(&operator.refund(Uuid::new_v4()).await, Reason::NotFound);
    is(&buyer.cancel(unpaid).await, OrderState::Cancelled);

    let preparing = paid(&buyer, Uuid::new_v4()).await;
    is(&operator.refund(preparing).await, OrderState::Cancelled);
    is(&operator.refund(preparing).await, OrderState::Cancelled);

    let [delivered, requested] =
        [paid(&buyer, Uuid::new_v4()).await, { paid(&buyer, Uuid::new_v4()).await }];
    comes_to(&buyer, delivered, OrderState::Delivered).await;
    is(&operator.refund(delivered).await, OrderState::Returned);
    comes_to(&buyer, requested, OrderState::Delivered).await;
    is(&buyer.request_return(requested).await, OrderState::ReturnRequested);
    is(&operator.refund(requested).await, OrderState::Returned);
    for order in [preparing, delivered, requested] {
        assert_eq!(shop.peers.payment(order), Some(PaymentState::Refunded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_each_change_soon_and_the_last_one_last() {
    let shop = Shop::open_with_days_of(DAY).await;
    let (here, elsewhere) = (shop.replica().await, shop.replica().await);
    let buyer = here.buyer();
    let order = buyer.placed(Uuid::new_v4()).await;
    refused(&here.buyer().watch(order).await.map(drop), Reason::NotFound);
    let mut changes = buyer.watch(order).await.unwrap();
    // Whoever never reads harms nobody.
    let _asleep = buyer.watch(order).await.unwrap();
    let next = async |changes: &mut tonic::Streaming<_>| {
        let change: Option<firstcome_proto::order_v1::WatchOrderResponse> =
            tokio::time::timeout(SOON, changes.message()).await.unwrap().unwrap();
        change.map(|change| change.order.unwrap())
    };
    let first = next(&mut changes).await.unwrap();
    assert_eq!(first.state(), OrderState::PendingPayment);

    is(&elsewhere.buyer_of(buyer.id).pay(order).await, OrderState::Preparing);
    let told = std::time::Instant::now();
    assert_eq!(next(&mut changes).await.unwrap().state(), OrderState::Preparing);
    assert!(told.elapsed() < Duration::from_millis(200), "told after {:?}", told.elapsed());
    for state in [OrderState::Shipping, OrderState::Delivered, OrderState::Confirmed] {
        assert_eq!(next(&mut changes).await.unwrap().state(), state);
    }
    assert!(next(&mut changes).await.is_none(), "nothing follows a final state");
    let mut again = buyer.watch(order).await.unwrap();
    assert_eq!(next(&mut again).await.unwrap().state(), OrderState::Confirmed);
    assert!(next(&mut again).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_buyer_cannot_take_all_the_places_of_watchers() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let order = buyer.placed(Uuid::new_v4()).await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(buyer.watch(order).await.unwrap());
    }
    refused(&buyer.watch(order).await.map(drop), Reason::Overloaded);
    let other = replica.buyer();
    let theirs = other.placed(Uuid::new_v4()).await;
    other.watch(theirs).await.unwrap();
    drop(streams);
    eventually(SOON, || async { buyer.watch(order).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_of_a_free_order_is_nothing_and_its_life_the_same() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let (buyer, product) = (replica.buyer(), Uuid::new_v4());
    shop.peers.product(product, Product { price: 0, ..Product::default() });
    let order = paid(&buyer, product).await;
    is(&buyer.cancel(order).await, OrderState::Cancelled);
}
