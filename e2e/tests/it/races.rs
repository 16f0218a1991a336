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

/// Whatever is under way ends long before.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

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
    let asking = async {
        loop {
            match ask().await {
                Err(refusal) if is_busy(&refusal) => tokio::time::sleep(PAUSE).await,
                outcome => return outcome,
            }
        }
    };
    tokio::time::timeout(GIVE_UP, asking).await.expect("what is under way comes to an end")
}

fn is_busy(refusal: &Refusal) -> bool {
    matches!(
        refusal.reason(),
        Reason::PaymentInProgress | Reason::PlacementInProgress | Reason::Overloaded
    )
}

/// The state an order has come to, once it no longer waits for its payment.
async fn settled(buyer: &Buyer, order: &Order) -> OrderState {
    let settling = async {
        loop {
            let state = buyer.order(&order.order_id).await.unwrap().state();
            if state != OrderState::PendingPayment {
                return state;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(GIVE_UP, settling).await.expect("an order comes to a state")
}

async fn units_in_cart(buyer: &Buyer) -> i32 {
    buyer.cart().await.unwrap().iter().map(|item| item.quantity).sum()
}

async fn cart_order_against_cart_change(buyer: Buyer, sales: [&Sale; 2]) {
    buyer.add_to_cart(sales[0], "a", 1).await.unwrap();
    buyer.add_to_cart(sales[1], "b", 1).await.unwrap();
    let changing = buyer.add_to_cart(sales[0], "c", 2);
    let (order, added) = join!(insist(|| buyer.order_cart("the cart")), changing);
    added.unwrap();
    let ordered: i32 = order.unwrap().lines.iter().map(|line| line.quantity).sum();
    assert_eq!(ordered + units_in_cart(&buyer).await, 4, "nothing is lost, nothing is made");
}

/// Everybody may have one of the first product, and there is one for each.
async fn two_attempts_of_one_cart_order(buyer: Buyer, sales: [&Sale; 2]) {
    for (key, sale) in [("a", sales[0]), ("b", sales[1])] {
        buyer.add_to_cart(sale, key, 1).await.unwrap();
    }
    let press = || insist(|| buyer.order_cart("the cart"));
    let (one, two, three) = join!(press(), press(), press());
    let [one, two, three] = [one, two, three].map(|order| order.unwrap().order_id);
    assert!(one == two && two == three, "one key is one order");
    assert_eq!(units_in_cart(&buyer).await, 0);
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
    let long = shop.sell(Terms::of(7 * stock)).await.unwrap();
    let plenty = shop.sell(Terms::of(2 * stock)).await.unwrap();
    let short = shop.sell(Terms { hold: HOLD, ..Terms::of(stock) }).await.unwrap();
    let scarce = shop.sell(Terms { limit_per_buyer: 1, ..Terms::of(stock) }).await.unwrap();
    let mut buyers = shop.buyers(7 * rounds).await.unwrap().into_iter();
    let mut next = || buyers.next().unwrap();
    let lives = (0..rounds).map(|round| {
        let [one, two, three, four, five, six, seven] = [(); 7].map(|()| next());
        let (long, short, scarce) = (&long, &short, &scarce);
        let plenty = &plenty;
        async move {
            join!(
                pay_against_expiry(one, short, round),
                pay_against_cancel(two, long, round),
                cancel_against_shipping(three, long, round),
                two_returns_at_once(four, long),
                return_at_the_last_millisecond(five, long, round),
                cart_order_against_cart_change(six, [long, plenty]),
                two_attempts_of_one_cart_order(seven, [scarce, plenty]),
            )
        }
    });
    join_all(lives).await;
    second.pid().await.expect("the second process works to the end");
    shop.verify().await.unwrap();
}
