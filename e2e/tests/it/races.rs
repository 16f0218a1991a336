//! What happens when two things happen to one order in the same moment: one of them wins, whoever
//! asked is told which, and the books agree.
//!
//! The lives of all orders overlap, and another process of `order` works beside the first.

use std::time::Duration;

use firstcome_e2e::{Buyer, Sale, Shop, shop::Terms};
use firstcome_local::{Replica, Service};
use firstcome_proto::{
    Reason, Refusal,
    order_v1::{Order, OrderState},
    timestamp,
};
use firstcome_testkit::rounds;
use futures::{future::join_all, join};
use prost_types::Timestamp;
use time::OffsetDateTime;

/// A day of this shop, long enough to aim at its end.
const DAY: Duration = Duration::from_secs(3);
/// The shortest hold there is.
const HOLD: Duration = Duration::from_secs(1);

/// Waits for an instant of the shop, and so many milliseconds more.
async fn at(instant: &Option<Timestamp>, offset_ms: i64) {
    let instant = instant.as_ref().and_then(timestamp::from_wire).expect("an instant");
    let left = instant + time::Duration::milliseconds(offset_ms) - OffsetDateTime::now_utc();
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
}

/// Spreads the rounds over so many milliseconds before and after.
fn spread(round: usize, from_ms: i64, to_ms: i64) -> i64 {
    let (round, rounds) = (i64::try_from(round).unwrap(), i64::try_from(rounds()).unwrap());
    from_ms + (to_ms - from_ms) * round / rounds.max(1)
}

async fn paid(buyer: &Buyer, sale: &Sale) -> Order {
    let order = buyer.buy(sale, "the pair").await.unwrap();
    buyer.pay(&order.order_id, "pm_card_approve").await.unwrap()
}

/// Asks again while something else is under way.
async fn insist<F>(mut ask: impl FnMut() -> F) -> Result<Order, Refusal>
where
    F: Future<Output = Result<Order, Refusal>>,
{
    loop {
        match ask().await {
            Err(refusal) if refusal.reason() == Reason::PaymentInProgress => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => return outcome,
        }
    }
}

/// The state an order has come to, once it no longer waits for its payment.
async fn settled(buyer: &Buyer, order: &Order) -> OrderState {
    loop {
        let state = buyer.order(&order.order_id).await.unwrap().state();
        if state != OrderState::PendingPayment {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn pay_against_expiry(buyer: Buyer, sale: &Sale, round: usize) {
    let order = buyer.buy(sale, "the pair").await.unwrap();
    at(&order.pay_by, spread(round, -150, 350)).await;
    let told = insist(|| buyer.pay(&order.order_id, "pm_card_approve")).await;
    match (told, settled(&buyer, &order).await) {
        (Ok(_), OrderState::Preparing | OrderState::Shipping) => {}
        (Err(refusal), OrderState::Expired) => {
            assert_eq!(refusal.reason(), Reason::OrderExpired);
        }
        other => panic!("pay against expiry: {other:?}"),
    }
}

async fn pay_against_cancel(buyer: Buyer, sale: &Sale, round: usize) {
    let order = buyer.buy(sale, "the pair").await.unwrap();
    let id = &order.order_id;
    let paying = insist(|| buyer.pay(id, "pm_card_approve"));
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(round as u64 % 20)).await;
        insist(|| buyer.cancel(id)).await
    };
    // A payment that has begun is finished first, and then cancelled.
    let (paid, cancelled) = join!(paying, cancelling);
    assert_eq!(cancelled.unwrap().state(), OrderState::Cancelled);
    if let Err(refusal) = paid {
        assert_eq!(refusal.reason(), Reason::WrongState, "{refusal:?}");
    }
    assert_eq!(settled(&buyer, &order).await, OrderState::Cancelled);
}

async fn cancel_against_shipping(buyer: Buyer, sale: &Sale, round: usize) {
    let order = paid(&buyer, sale).await;
    let shipped_ms = i64::try_from(DAY.as_millis()).unwrap();
    at(&order.update_time, shipped_ms + spread(round, -50, 250)).await;
    let told = buyer.cancel(&order.order_id).await;
    let state = settled(&buyer, &order).await;
    match told {
        Ok(cancelled) => {
            assert_eq!((cancelled.state(), state), (OrderState::Cancelled, OrderState::Cancelled));
        }
        Err(refusal) => {
            assert_eq!(refusal.reason(), Reason::WrongState, "{refusal:?}");
            assert_ne!(state, OrderState::Cancelled);
        }
    }
}

async fn two_returns_at_once(buyer: Buyer, sale: &Sale) {
    let id = paid(&buyer, sale).await.order_id;
    buyer.order_in(&id, OrderState::Delivered).await.unwrap();
    let (one, other) = join!(buyer.request_return(&id), buyer.request_return(&id));
    for returned in [one, other] {
        assert_eq!(returned.unwrap().state(), OrderState::ReturnRequested);
    }
    buyer.order_in(&id, OrderState::Returned).await.unwrap();
}

async fn return_at_the_last_millisecond(buyer: Buyer, sale: &Sale, round: usize) {
    let id = paid(&buyer, sale).await.order_id;
    let delivered = buyer.order_in(&id, OrderState::Delivered).await.unwrap();
    at(&delivered.return_by, spread(round, -60, 20)).await;
    match buyer.request_return(&id).await {
        Ok(order) => {
            assert_eq!(order.state(), OrderState::ReturnRequested);
            buyer.order_in(&id, OrderState::Returned).await.unwrap();
        }
        Err(refusal) => {
            assert_eq!(refusal.reason(), Reason::ReturnWindowOver, "{refusal:?}");
            let window = delivered.return_by.as_ref().and_then(timestamp::from_wire).unwrap();
            assert!(OffsetDateTime::now_utc() > window, "nobody is refused in time");
            buyer.order_in(&id, OrderState::Confirmed).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_things_in_one_moment_one_wins_and_the_books_agree() {
    let day = format!("{}ms", DAY.as_millis());
    let shop = Shop::own(&[(Service::Order, "FIRSTCOME_DAY", &day)]).await.unwrap();
    let second = Replica::start(shop.mesh.address(), Service::Order, 2).await.unwrap();
    let rounds = rounds();
    let stock = i32::try_from(rounds).unwrap();
    let long = shop.sell(Terms::of(4 * stock)).await.unwrap();
    let short = shop.sell(Terms { hold: HOLD, ..Terms::of(stock) }).await.unwrap();
    let mut buyers = shop.buyers(5 * rounds).await.unwrap().into_iter();
    let mut next = || buyers.next().unwrap();
    let lives = (0..rounds).map(|round| {
        let [one, two, three, four, five] = [(); 5].map(|()| next());
        let (long, short) = (&long, &short);
        async move {
            join!(
                pay_against_expiry(one, short, round),
                pay_against_cancel(two, long, round),
                cancel_against_shipping(three, long, round),
                two_returns_at_once(four, long),
                return_at_the_last_millisecond(five, long, round),
            )
        }
    });
    join_all(lives).await;
    second.pid().await.expect("the second process works to the end");
    shop.verify().await.unwrap();
}
