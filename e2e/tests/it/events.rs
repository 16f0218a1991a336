//! What happens to an order becomes a mail: one, whatever is lost on the way.

use std::time::Duration;

use firstcome_e2e::{Buyer, Sale, Shop, shop::Terms};
use firstcome_local::{Role, Service};
use firstcome_proto::{OrderId, order_v1::OrderState};
use firstcome_testkit::eventually;
use sqlx::PgPool;

/// Long enough for a relay and a mailer that have to begin anew.
const SOON: Duration = Duration::from_secs(30);

/// Buys and pays, and gives the order's id.
async fn paid(buyer: &Buyer, sale: &Sale, key: &str) -> OrderId {
    let order = buyer.buy(sale, key).await.unwrap();
    let order = buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();
    assert_eq!(order.state(), OrderState::Preparing);
    order.order_id.parse().unwrap()
}

/// Every mail that tells of this order.
fn mails(shop: &Shop, order: OrderId) -> Vec<String> {
    let files = std::fs::read_dir(&shop.mesh.address().mail).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let mails = paths.filter(|path| path.extension().is_some_and(|end| end == "txt"));
    // One may be removed while we look: a folder keeps the newest only.
    let mails = mails.filter_map(|path| std::fs::read_to_string(path).ok());
    mails.filter(|mail| mail.contains(&format!("Order: {order}\n"))).collect()
}

/// A key whose order shares its stream with another order, so that it is told after it.
fn key_after(buyer: &Buyer, other: OrderId) -> String {
    let shard = |order: OrderId| order.0.as_bytes()[15] % 4;
    let keys = (0..).map(|number| format!("after {other} {number}"));
    let mut keys = keys.map(|key| key[key.len() - 30..].to_owned());
    keys.find(|key| shard(OrderId::of(buyer.user, key)) == shard(other)).unwrap()
}

async fn order_schema(shop: &Shop) -> PgPool {
    PgPool::connect(shop.mesh.address().database_url(Role::Order)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_mailed_once() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(2)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = paid(&buyer, &sale, "a pair").await;
    // Asking again changes nothing, and tells nothing.
    buyer.pay(&order.to_string(), "pm_card_approve").await.unwrap();
    eventually(SOON, || async { !mails(shop, order).is_empty() }).await;
    // Whatever else there was to tell of it is told before the next order of its stream.
    let next = paid(&buyer, &sale, &key_after(&buyer, order)).await;
    eventually(SOON, || async { !mails(shop, next).is_empty() }).await;
    let mails = mails(shop, order);
    let [mail] = mails.as_slice() else { panic!("{mails:#?}") };
    assert!(mail.contains("Subject: Your firstcome order\n"), "{mail}");
    assert!(mail.contains("Total: 129,000 KRW\n"), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_redis_forgot_everything_no_order_is_mailed_twice() {
    let shop = Shop::own(&[]).await.unwrap();
    let sale = shop.sell(Terms::of(20)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let mut orders = Vec::new();
    for key in ["1", "2", "3", "4", "5"] {
        orders.push(paid(&buyer, &sale, key).await);
    }
    eventually(SOON, || async { orders.iter().all(|order| mails(&shop, *order).len() == 1) }).await;

    let pool = order_schema(&shop).await;
    // Of the same clock as the rows.
    let flushed: time::OffsetDateTime =
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&pool).await.unwrap();
    shop.mesh.stores().redis().unwrap().flush_all().await.unwrap();
    let told_again = || async {
        let rows: i64 = sqlx::query_scalar("select count(*) from outbox where published_at > $1")
            .bind(flushed)
            .fetch_one(&pool)
            .await
            .unwrap();
        rows >= 5
    };
    eventually(SOON, told_again).await;

    for order in &orders {
        let key = key_after(&buyer, *order);
        let again = || async { buyer.buy(&sale, &key).await.is_ok() };
        eventually(SOON, again).await; // the gate is rebuilt
        let next = paid(&buyer, &sale, &key).await;
        eventually(SOON, || async { mails(&shop, next).len() == 1 }).await;
        let mails = mails(&shop, *order);
        assert_eq!(mails.len(), 1, "{mails:#?}");
    }
    shop.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_paid_while_nobody_mails_are_mailed_later() {
    let shop = Shop::own(&[]).await.unwrap();
    let sale = shop.sell(Terms::of(4)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let first = paid(&buyer, &sale, "1").await;
    eventually(SOON, || async { mails(&shop, first).len() == 1 }).await;
    shop.mesh.kill9(Service::User).await;
    let mut orders = Vec::new();
    for key in ["2", "3", "4"] {
        orders.push(paid(&buyer, &sale, key).await);
    }
    shop.mesh.start_again(Service::User).await.unwrap();
    eventually(SOON, || async { orders.iter().all(|order| mails(&shop, *order).len() == 1) }).await;
    assert_eq!(mails(&shop, first).len(), 1);
}
