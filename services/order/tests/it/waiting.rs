//! What is told of orders that wait: how long, by a clock that nobody who tries sets back.

use std::time::Duration;

use firstcome_order::{
    order::{Order, State, Step},
    store::{Move, Store},
};
use uuid::Uuid;

use super::app::{LEASE, Shop};

const HOUR: Duration = Duration::from_secs(3600);

/// How long the longest due order waits.
async fn age(store: &Store) -> f64 {
    store.waiting(LEASE).await.unwrap().due_seconds
}

/// Says of all orders that their step is due for an hour.
async fn make_due(shop: &Shop) {
    sqlx::query("update orders set next_step_at = now() - interval '1 hour'")
        .execute(&shop.database.pool)
        .await
        .unwrap();
}

async fn claim(store: &Store) -> Order {
    let mut claimed = store.claim_due(8, LEASE).await.unwrap();
    assert_eq!(claimed.len(), 1);
    claimed.pop().unwrap()
}

/// Saves that this step is next; a lease is left for it.
async fn go(store: &Store, order: &Order, step: Step) {
    let change = Move {
        order: order.id,
        from: (order.state, order.step.unwrap()),
        state: State::PendingPayment,
        to: Some(step),
        failure: None,
        wait: LEASE,
        within: None,
    };
    assert_eq!(store.make(&[change]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_tried_again_and_again_gets_older_until_a_step_is_done() {
    let shop = Shop::open().await;
    // Nobody drives it but the test.
    sqlx::query(
        "insert into orders (order_id, user_id, state, fingerprint, product_id, sku_ids, \
         quantities, unit_prices_minor, currency, total_minor, sequence, pay_by, step, \
         next_step_at) \
         select $1, $1, 'pending_payment', decode(repeat('00', 16), 'hex'), $1, array[$1], '{1}', \
         '{100}', 'KRW', 100, 1, pay_by, 'expire', pay_by \
         from (select now() + interval '5 minutes' as pay_by) as terms",
    )
    .bind(Uuid::new_v4())
    .execute(&shop.database.pool)
    .await
    .unwrap();
    let store = Store::connect(&shop.database.url.clone().into(), 2, shop.vault()).await.unwrap();
    assert_eq!(age(&store).await, 0.0, "its time has not come");

    make_due(&shop).await;
    assert!(age(&store).await >= HOUR.as_secs_f64());
    let order = claim(&store).await;
    assert!(age(&store).await >= HOUR.as_secs_f64(), "somebody tries it");
    go(&store, &order, Step::Expire).await;
    assert!(age(&store).await >= HOUR.as_secs_f64(), "and tries it once more");
    // The lease is over, and another one has it.
    sqlx::query("update orders set next_step_at = now()")
        .execute(&shop.database.pool)
        .await
        .unwrap();
    claim(&store).await;
    assert!(age(&store).await >= HOUR.as_secs_f64());

    go(&store, &order, Step::Cancel).await;
    assert_eq!(age(&store).await, 0.0, "another step is as old as its own time");
    make_due(&shop).await;
    let order = claim(&store).await;
    assert_eq!(order.step, Some(Step::Cancel));
    assert!(age(&store).await >= HOUR.as_secs_f64());
    store.close().await;
}
