//! Orders of several products, and of what stands in a cart: all or nothing.

use std::time::Duration;

use firstcome_proto::{OrderId, Reason, inventory_v1::HoldState, order_v1::OrderState};
use firstcome_testkit::{eventually, rounds};
use futures::future::join_all;
use uuid::Uuid;

use super::{
    app::{SOON, Shop, is, refused},
    peers::{Call, Fault, Product},
};

fn held(states: &[HoldState]) -> usize {
    states.iter().filter(|state| **state == HoldState::Held).count()
}

/// Products in the order in which they are asked for.
fn sorted<const N: usize>() -> [Uuid; N] {
    let mut products = [(); N].map(|()| Uuid::new_v4());
    products.sort_unstable();
    products
}

#[tokio::test(flavor = "multi_thread")]
async fn several_products_are_one_order_with_one_sum_and_one_life() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let [cheap, dear] = sorted();
    shop.peers.product(cheap, Product { price: 100, sequence: 6, ..Product::default() });
    shop.peers.product(dear, Product { price: 1000, sequence: 40, ..Product::default() });
    let lines = [(dear, Uuid::new_v4(), 1), (cheap, Uuid::new_v4(), 3)];
    let order = buyer.place("k", &lines).await.unwrap();
    assert_eq!(order.total.as_ref().unwrap().amount_minor, 1300);
    let told: Vec<_> =
        order.lines.iter().map(|line| (line.product_id.clone(), line.sequence)).collect();
    assert_eq!(told, [(cheap.to_string(), 7), (dear.to_string(), 41)]);
    assert_eq!(buyer.place("k", &lines).await.unwrap(), order, "the key gives the order");
    let other = [(dear, Uuid::new_v4(), 1), (cheap, Uuid::new_v4(), 4)];
    refused(&buyer.place("k", &other).await, Reason::KeyReused);
    refused(&buyer.place("k", &lines[..1]).await, Reason::KeyReused);
    // What a wrong use took is given back.
    eventually(SOON, || async { held(&shop.peers.holds_of(dear)) == 1 }).await;

    let id = order.order_id.parse().unwrap();
    is(&buyer.pay(id).await, OrderState::Preparing);
    for product in [cheap, dear] {
        assert!(shop.peers.holds_of(product).contains(&HoldState::Settled));
    }
    is(&buyer.cancel(id).await, OrderState::Cancelled);
    for product in [cheap, dear] {
        assert!(shop.peers.holds_of(product).contains(&HoldState::Returned));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_whole_leaves_no_trace() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let [first, second] = sorted();
    let lines = [(first, Uuid::new_v4(), 1), (second, Uuid::new_v4(), 1)];
    for scarce in [first, second] {
        shop.peers.product(first, Product::default());
        shop.peers.product(second, Product::default());
        shop.peers.product(scarce, Product { available: 0, ..Product::default() });
        let buyer = replica.buyer();
        refused(&buyer.place("k", &lines).await, Reason::SoldOut);
        for product in [first, second] {
            assert_eq!(held(&shop.peers.holds_of(product)), 0);
        }
        refused(&buyer.get(buyer.order_id("k")).await, Reason::NotFound);
        shop.peers.product(scarce, Product::default());
        is(&buyer.place("k", &lines).await, OrderState::PendingPayment);
        is(&buyer.cancel(buyer.order_id("k")).await, OrderState::Cancelled);
    }
    let placements: (i64,) = sqlx::query_as("select count(*) from placements")
        .fetch_one(&shop.database.pool)
        .await
        .unwrap();
    assert_eq!(placements.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_calls_with_one_key_make_one_order() {
    let shop = Shop::open().await;
    let replicas = [shop.replica().await, shop.replica().await];
    let [first, second] = sorted();
    let lines = [(first, Uuid::new_v4(), 1), (second, Uuid::new_v4(), 1)];
    for _ in 0..rounds() {
        let id = replicas[0].buyer().id;
        let calls = (0..8).map(|place| {
            let buyer = replicas[place % 2].buyer_of(id);
            async move { buyer.place("k", &lines).await }
        });
        for outcome in join_all(calls).await {
            match outcome {
                Ok(order) => assert_eq!(order.state(), OrderState::PendingPayment),
                Err(refusal) => {
                    assert_eq!(refusal.reason(), Reason::PlacementInProgress, "{refusal:?}");
                    assert!(refusal.retry_after.is_some());
                }
            }
        }
        let buyer = replicas[0].buyer_of(id);
        is(&buyer.place("k", &lines).await, OrderState::PendingPayment);
    }
    for product in [first, second] {
        assert_eq!(held(&shop.peers.holds_of(product)), rounds());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_want_the_same_two_last_units_one_gets_both() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    for _ in 0..rounds() {
        let [first, second] = sorted();
        for product in [first, second] {
            shop.peers.product(product, Product { available: 1, ..Product::default() });
        }
        let ways = [
            [(first, Uuid::new_v4(), 1), (second, Uuid::new_v4(), 1)],
            [(second, Uuid::new_v4(), 1), (first, Uuid::new_v4(), 1)],
        ];
        let [one, other] = [replica.buyer(), replica.buyer()];
        let (one, other) = tokio::join!(one.place("k", &ways[0]), other.place("k", &ways[1]));
        let won = [&one, &other].into_iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "{one:?} {other:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_attempt_is_taken_over_and_what_it_held_is_free() {
    let shop = Shop::open().await;
    // Longer than a replica takes to start on a busy machine.
    let lease = Duration::from_secs(8);
    let first_replica = shop.replica_with_lease(lease).await;
    let buyer = first_replica.buyer();
    let [first, second] = sorted();
    shop.peers.product(second, Product { available: 0, ..Product::default() });
    let lines = [(first, Uuid::new_v4(), 1), (second, Uuid::new_v4(), 1)];
    // It dies with its undoing unanswered, which asks for all its products at once.
    let attempt: (i64,) = sqlx::query_as("select last_value + 1 from placement_attempts")
        .fetch_one(&shop.database.pool)
        .await
        .unwrap();
    let order = OrderId::of(buyer.id, "k");
    for attempt in [attempt.0 - 1, attempt.0] {
        let reservation = order.reservation_of_attempt(attempt);
        let unanswered = [(Call::ReleaseUndo, Fault::HangBefore); 2];
        shop.peers.plan(reservation.0, &unanswered);
    }
    let placing = tokio::spawn({
        let buyer = buyer.clone();
        async move { buyer.place("k", &lines).await }
    });
    eventually(SOON, || async { shop.peers.hanging() == lines.len() }).await;
    first_replica.kill();
    assert!(placing.await.unwrap().is_err());
    assert_eq!(held(&shop.peers.holds_of(first)), 1);

    let replica = shop.replica_with_lease(lease).await;
    let buyer = replica.buyer_of(buyer.id);
    refused(&buyer.place("k", &lines).await, Reason::PlacementInProgress);
    let other = [(first, Uuid::new_v4(), 2), lines[1]];
    refused(&buyer.place("k", &other).await, Reason::KeyReused);
    shop.peers.product(second, Product::default());
    eventually(SOON, || async { buyer.place("k", &lines).await.is_ok() }).await;
    for product in [first, second] {
        assert_eq!(held(&shop.peers.holds_of(product)), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_expired_hold_ends_the_whole_order_and_charges_nothing() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let [first, second] = sorted();
    let lines = [(first, Uuid::new_v4(), 1), (second, Uuid::new_v4(), 1)];
    let order = buyer.place("k", &lines).await.unwrap().order_id.parse().unwrap();
    let attempt: (i64,) = sqlx::query_as("select attempt from orders where order_id = $1")
        .bind(order)
        .fetch_one(&shop.database.pool)
        .await
        .unwrap();
    let reservation = OrderId(order).reservation_of_attempt(attempt.0);
    shop.peers.set_hold(second, reservation.0, HoldState::Expired);
    refused(&buyer.pay(order).await, Reason::OrderExpired);
    assert_eq!(shop.peers.holds_of(first), [HoldState::Released]);
    assert_eq!(shop.peers.payment(order), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_hold_that_ends_takes_the_others_with_it() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let [brief, long] = sorted();
    let hold_ttl = Duration::from_millis(500);
    shop.peers.product(brief, Product { hold_ttl, ..Product::default() });
    shop.peers.product(long, Product::default());
    let lines = [(brief, Uuid::new_v4(), 1), (long, Uuid::new_v4(), 1)];
    let order = buyer.place("k", &lines).await.unwrap().order_id.parse().unwrap();
    let expired =
        || async { buyer.get(order).await.is_ok_and(|order| order.state() == OrderState::Expired) };
    eventually(SOON, expired).await;
    assert_eq!(shop.peers.holds_of(brief), [HoldState::Expired]);
    assert_eq!(shop.peers.holds_of(long), [HoldState::Released]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_tap_for_the_last_units_is_never_told_that_they_are_gone() {
    let shop = Shop::open().await;
    let replicas = [shop.replica().await, shop.replica().await];
    for round in 0..rounds() {
        let [first, second] = sorted();
        for product in [first, second] {
            shop.peers.product(product, Product { available: 1, ..Product::default() });
        }
        let id = replicas[0].buyer().id;
        let cart = replicas[0].buyer_of(id).cart();
        cart.add("a", first, Uuid::new_v4(), 1).await.unwrap();
        cart.add("b", second, Uuid::new_v4(), 1).await.unwrap();
        let taps = (0..6).map(|tap| {
            let buyer = replicas[tap % 2].buyer_of(id);
            async move {
                tokio::time::sleep(Duration::from_millis(tap as u64 * 3)).await;
                buyer.place_cart("k", &[]).await
            }
        });
        for outcome in join_all(taps).await {
            let told = outcome.map_err(|refusal| refusal.reason());
            let is_right = matches!(told, Ok(_) | Err(Reason::PlacementInProgress));
            assert!(is_right, "round {round}: {told:?}");
        }
        is(&replicas[1].buyer_of(id).place_cart("k", &[]).await, OrderState::PendingPayment);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_lines_leave_the_cart_and_the_others_stay() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let cart = buyer.cart();
    let [first, second] = sorted();
    let [red, blue, green] = [(); 3].map(|()| Uuid::new_v4());
    for product in [first, second] {
        shop.peers.product(product, Product::default());
    }
    cart.add("1", first, red, 2).await.unwrap();
    cart.add("2", first, blue, 1).await.unwrap();
    cart.add("3", second, green, 3).await.unwrap();
    refused(&buyer.place_cart("k", &[Uuid::new_v4()]).await, Reason::InvalidArgument);
    let order = buyer.place_cart("k", &[red, green]).await.unwrap();
    assert_eq!(order.lines.len(), 2);
    assert_eq!(cart.lines().await, [(blue, 1)]);
    assert_eq!(buyer.place_cart("k", &[green, red]).await.unwrap(), order, "the key gives it");
    refused(&buyer.place_cart("k", &[]).await, Reason::KeyReused);

    is(&buyer.place_cart("k2", &[]).await, OrderState::PendingPayment);
    assert_eq!(cart.lines().await, []);
    refused(&buyer.place_cart("k3", &[]).await, Reason::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_while_the_cart_is_ordered_stays_in_it() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let [product, sku] = [Uuid::new_v4(), Uuid::new_v4()];
    shop.peers.product(product, Product::default());
    for round in 0..rounds() {
        let buyer = replica.buyer();
        let cart = buyer.cart();
        cart.add("1", product, sku, 2).await.unwrap();
        let (order, added) =
            tokio::join!(buyer.place_cart("k", &[]), cart.add("2", product, sku, 3));
        added.unwrap();
        let ordered = order.unwrap().lines[0].quantity;
        let left: i32 = cart.lines().await.iter().map(|(_, units)| units).sum();
        assert_eq!(ordered + left, 5, "round {round}: nothing is lost and nothing is made");
    }
}
