//! Stores and services are lost in mid-rush; the sale goes on and the books balance.

use std::{future::Future, time::Duration};

use firstcome_e2e::{Sale, Shop, load, shop::Terms};
use firstcome_local::{Role, Service};
use firstcome_proto::{Reason, order_v1::OrderState};
use firstcome_workbench::rush::{RushArgs, rush};
use sqlx::PgPool;

/// Many batches of [`BATCH`], so that a fault meets a sale that still admits.
const STOCK: u32 = if load::IS_ON { 2_000 } else { 240 };
/// As many as the main job has, or few enough for a debug build.
const BUYERS: u32 = if load::IS_ON { 20_000 } else { 3 * STOCK };
/// Items that order sends, and writes, at once.
const BATCH: &str = "8";

/// A shop that admits in many small steps.
async fn slow_shop() -> Shop {
    let env = ["FIRSTCOME_PLACEMENT_BATCH_ITEMS_MAX", "FIRSTCOME_ROW_BATCH_ITEMS_MAX"];
    Shop::own(&env.map(|name| (Service::Order, name, BATCH))).await.unwrap()
}

/// A rush that is long enough to be hit.
fn args() -> RushArgs {
    RushArgs {
        buyers: BUYERS,
        stock: STOCK,
        hold: Duration::from_secs(2),
        limit: 1,
        sign_ups: 0,
        connections: 8,
        in_flight: 256,
        deadline: Duration::from_secs(90),
        settle: Duration::from_secs(30),
        json: true,
        receipts_folder: None,
        served: false,
    }
}

/// Runs a rush and does something to it when some of the stock has been admitted.
async fn in_mid_rush<F, Fut>(shop: &Shop, fault: F)
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = ()>,
{
    let pool = PgPool::connect(shop.mesh.address().database_url(Role::Inventory)).await.unwrap();
    let count = || async { holds(&pool).await.unwrap_or(0) };
    let before = count().await;
    let hit = async {
        let admitted = || async { count().await >= before + 20 };
        firstcome_testkit::eventually(Duration::from_secs(60), admitted).await;
        assert!(count().await < before + i64::from(STOCK), "the fault comes before the sell-out");
        fault().await;
    };
    let args = args();
    let (report, ()) = futures::join!(rush(shop.mesh.address(), &args), hit);
    let report = report.unwrap();
    assert_eq!(report.sold, i64::from(STOCK), "{:?} {:?}", report.refused, report.refusals);
    assert_eq!(report.oversold, 0);
    assert!(report.verified.is_clean(), "{:#?}", report.verified.violations);
}

async fn holds(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from holds").fetch_one(pool).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_goes_on_when_services_and_postgres_die() {
    let shop = slow_shop().await;
    for service in [Service::Inventory, Service::Order] {
        in_mid_rush(&shop, || async {
            shop.mesh.kill9(service).await;
            shop.mesh.start_again(service).await.unwrap();
        })
        .await;
    }
    in_mid_rush(&shop, || async {
        shop.mesh.stores().postgres().unwrap().restart().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_goes_on_when_redis_forgets_everything() {
    let shop = slow_shop().await;
    in_mid_rush(&shop, || async {
        shop.mesh.stores().redis().unwrap().flush_all().await.unwrap();
    })
    .await;

    let sale = shop.sell(Terms { limit_per_buyer: 1, ..Terms::of(5) }).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "k").await.unwrap();
    shop.mesh.stores().redis().unwrap().flush_all().await.unwrap();
    assert_eq!(answered(&sale, "k", &buyer).await.unwrap().order_id, order.order_id);
    let again = answered(&sale, "another key", &buyer).await.unwrap_err();
    assert_eq!(again.reason(), Reason::LimitPerBuyer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_goes_on_when_a_redis_primary_dies() {
    let shop = slow_shop().await;
    in_mid_rush(&shop, || async {
        let redis = shop.mesh.stores().redis().unwrap();
        let url = shop.mesh.address().database_url(Role::Inventory);
        let pool = PgPool::connect(url).await.unwrap();
        let newest: uuid::Uuid =
            sqlx::query_scalar("select product_id from products order by created_at desc limit 1")
                .fetch_one(&pool)
                .await
                .unwrap();
        let place = redis.node_serving(&format!("fc:{{{newest}}}:stock")).await.unwrap();
        redis.kill9(place).await;
    })
    .await;
}

/// One of twenty calls to payment fails, and one of two is late.
#[tokio::test(flavor = "multi_thread")]
async fn every_order_comes_to_an_end_while_calls_to_payment_fail() {
    const PAYING: usize = 40;
    let shop = Shop::own(&[
        (Service::Payment, "FIRSTCOME_INJECT_FAULTS", "errors:5%,latency:100ms:50%"),
        (Service::Payment, "FIRSTCOME_INJECT_FAULTS_ALLOWED", "true"),
    ])
    .await
    .unwrap();
    let sale = shop.sell(Terms::of(i32::try_from(PAYING).unwrap())).await.unwrap();
    let buyers = shop.buyers(PAYING).await.unwrap();
    let bought = buyers.iter().enumerate().map(async |(number, buyer)| {
        let order = buyer.buy(&sale, "k").await.unwrap();
        let declined = number % 4 == 0;
        let card = if declined { "pm_card_decline" } else { "pm_card_approve" };
        let end = loop {
            match buyer.pay(&order.order_id, card).await {
                Ok(order) => break order.state(),
                Err(refusal) if refusal.reason() == Reason::CardDeclined => {
                    break OrderState::PaymentFailed;
                }
                Err(refusal) => {
                    let reason = refusal.reason();
                    let passing = [Reason::UpstreamUnavailable, Reason::PaymentInProgress];
                    let ended = declined && reason == Reason::WrongState;
                    assert!(passing.contains(&reason) || ended, "{refusal:?}");
                    if ended {
                        break OrderState::PaymentFailed;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        assert_eq!(end == OrderState::PaymentFailed, declined, "{end:?}");
    });
    let all = futures::future::join_all(bought);
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("each comes to an end");
    shop.verify().await.unwrap();
}

/// A call's answer once the gate is there again.
async fn answered(
    sale: &Sale,
    key: &str,
    buyer: &firstcome_e2e::Buyer,
) -> Result<firstcome_proto::order_v1::Order, firstcome_proto::Refusal> {
    for _ in 0..200 {
        match buyer.buy(sale, key).await {
            Err(refusal) if refusal.reason() == Reason::Fenced => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => return answer,
        }
    }
    panic!("fenced for ten seconds");
}
