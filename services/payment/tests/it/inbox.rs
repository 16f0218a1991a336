//! What is told of events that wait.

use std::time::Duration;

use firstcome_payment::store::{Store, inbox::COUNTED_MAX};

use super::harness::Databases;

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_are_counted_up_to_a_limit_and_the_oldest_of_them_is_told() {
    let databases = Databases::make().await;
    let store = Store::connect(&databases.payments.url.clone().into(), 2).await.expect("connects");
    let look = async || store.unfollowed().await.expect("a look");
    let unfollowed = look().await;
    assert_eq!((unfollowed.events, unfollowed.oldest_seconds), (0, 0.0));

    // Turned away for an hour, and tried again only now; what is followed up counts for nothing.
    sqlx::query(
        "insert into webhook_events (provider, event_id, told, received_at, due_at) values
         ('sandbox', 'followed', 'captured', now() - interval '2 hours', null),
         ('sandbox', 'tried', 'captured', now() - interval '1 hour', now())",
    )
    .execute(&databases.payments.pool)
    .await
    .expect("writes");
    let unfollowed = look().await;
    assert_eq!(unfollowed.events, 1);
    assert!((3600.0..7200.0).contains(&unfollowed.oldest_seconds), "{unfollowed:?}");

    sqlx::query(
        "insert into webhook_events (provider, event_id, told, due_at)
         select 'sandbox', number::text, 'captured', now() from generate_series(1, $1) as number",
    )
    .bind(COUNTED_MAX)
    .execute(&databases.payments.pool)
    .await
    .expect("writes");
    assert_eq!(look().await.events, COUNTED_MAX);
    store.close(Duration::from_secs(1)).await;
}
