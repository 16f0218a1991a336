//! Postgres drops every connection, again and again, while people buy and pay.

use std::time::Duration;

use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::HoldState,
    order_v1::{Order, OrderState},
    payment_v1::PaymentState,
};
use firstcome_testkit::eventually;
use futures::future::join_all;
use uuid::Uuid;

use super::app::{SOON, Shop};

/// Often enough to hit batches in every phase.
const CUT_EVERY: Duration = Duration::from_millis(40);
const BUYERS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_cost_time_and_neither_orders_nor_money() {
    let shop = Shop::open().await;
    let replica = shop.replica_with_lease(Duration::from_secs(1)).await;
    let (product, sku) = (Uuid::new_v4(), Uuid::new_v4());
    let pool = shop.database.pool.clone();
    let cutting = tokio::spawn(async move {
        for _ in 0..100 {
            let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                       where datname = current_database() and pid <> pg_backend_pid()";
            let _ = sqlx::query(cut).execute(&pool).await;
            tokio::time::sleep(CUT_EVERY).await;
        }
    });
    let bought = join_all((0..BUYERS).map(async |_| {
        let buyer = replica.buyer();
        let order = insist(async || buyer.place("k", &[(product, sku, 1)]).await).await;
        let id: Uuid = order.order_id.parse().unwrap();
        assert_eq!(id, buyer.order_id("k"));
        let paid = insist(async || buyer.pay(id).await).await;
        assert_eq!(paid.state(), OrderState::Preparing);
        id
    }))
    .await;
    cutting.abort();
    eventually(SOON, || async { shop.unfinished().await == 0 }).await;
    assert_eq!(shop.rows().await, i64::try_from(BUYERS).unwrap());
    for order in bought {
        assert_eq!(shop.peers.hold(product, order), Some(HoldState::Settled));
        assert_eq!(shop.peers.payment(order), Some(PaymentState::Captured));
    }
}

/// Calls until there is an answer, as a buyer would; the reasons to call again are documented.
async fn insist(call: impl AsyncFn() -> Result<Order, Refusal>) -> Order {
    for _ in 0..1000 {
        match call().await {
            Ok(order) => return order,
            Err(refusal) => {
                let again = [
                    Reason::UpstreamUnavailable,
                    Reason::PaymentInProgress,
                    Reason::DeadlineExceeded,
                ];
                assert!(again.contains(&refusal.reason()), "{refusal:?}");
                tokio::time::sleep(CUT_EVERY).await;
            }
        }
    }
    panic!("no answer after a thousand calls");
}
