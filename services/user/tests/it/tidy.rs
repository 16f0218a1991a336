//! What nobody needs any more is deleted, and nothing else.

use std::{collections::HashSet, time::Duration};

use firstcome_proto::Reason;
use firstcome_testkit::eventually;
use sqlx::Executor as _;
use uuid::Uuid;

use super::harness::{PASSWORD, Shop, address, assert_refused, same, store};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn count(shop: &Shop, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(&shop.database.pool).await.expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_ended_long_ago_are_deleted_and_nobody_is_told() {
    let shop = Shop::open().await;
    let email = address();
    shop.member(&email).await;
    let insert = "insert into sessions (session_id, user_id, refresh_hash, expires_at, ended_at)
        select gen_random_uuid(), user_id, refresh_hash, clock_timestamp() + $1::interval,
               clock_timestamp() + $2::interval
        from sessions limit 1
        returning session_id";
    let add = async |expires: &'static str, ended: Option<&'static str>| -> Uuid {
        let insert = sqlx::query_scalar(insert).bind(expires).bind(ended);
        insert.fetch_one(&shop.database.pool).await.expect("a session")
    };
    let old = [add("-49 hours", None).await, add("10 days", Some("-49 hours")).await];
    let young = [add("-47 hours", None).await, add("10 days", Some("-47 hours")).await];
    sqlx::query(
        "update users set last_login_at = clock_timestamp() - interval '366 days',
                          created_at = clock_timestamp() - interval '366 days'",
    )
    .execute(&shop.database.pool)
    .await
    .expect("the log-in is long ago");

    let store = store(&shop.database).await;
    assert_eq!(store.delete_old_sessions(2 * DAY, 10).await.expect("swept"), 2);
    assert_eq!(store.delete_old_sessions(2 * DAY, 10).await.expect("swept"), 0);
    let left = sqlx::query_scalar::<_, Uuid>("select session_id from sessions");
    let left: HashSet<_> =
        left.fetch_all(&shop.database.pool).await.expect("rows").into_iter().collect();
    assert_eq!(left.len(), 3, "the member's own, and the young ones");
    assert!(young.iter().all(|it| left.contains(it)) && !old.iter().any(|it| left.contains(it)));
    assert_eq!(count(&shop, "select count(*) from revocations").await, 0);
    let used =
        "select count(*) from users where last_login_at > clock_timestamp() - interval '1 h'";
    assert_eq!(count(&shop, used).await, 1, "dormancy still knows when it was used last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_opens_a_deleted_session_again_brings_no_spent_token_back() {
    let shop = Shop::open().await;
    let email = address();
    let stolen = shop.member(&email).await;
    shop.database.pool.execute("delete from sessions").await.expect("swept");
    let tokens = shop.log_in(&email, PASSWORD, "first").await.expect("a log-in").tokens;
    assert_ne!(stolen.refresh_token, tokens.expect("tokens").refresh_token);
    assert_refused(shop.refresh(&stolen).await, Reason::TokenRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_starts_forgets_who_never_verified() {
    let shop = Shop::open().await;
    let (old, young) = (address(), address());
    shop.member(&address()).await;
    let (taken_then, taken_now) = (address(), address());
    for email in [&taken_then, &taken_now] {
        shop.member(email).await;
    }
    for email in [&old, &taken_then] {
        shop.sign_up(email, PASSWORD).await.expect("a sign-up");
    }
    for table in ["users", "decoy_sign_ups"] {
        let long_ago =
            format!("update {table} set created_at = clock_timestamp() - interval '8 days'");
        shop.database.pool.execute(sqlx::AssertSqlSafe(long_ago)).await.expect("long ago");
    }
    for email in [&young, &taken_now] {
        shop.sign_up(email, PASSWORD).await.expect("a sign-up");
    }
    let _other = Shop::open_on(same(&shop.database), &[]).await;
    let unverified = "select count(*) from users where state = 'INACTIVE'";
    eventually(Duration::from_secs(10), || async { count(&shop, unverified).await == 1 }).await;
    assert_eq!(count(&shop, "select count(*) from users").await, 4);
    // What is kept of a taken address goes as what is kept of a free one.
    let decoys = "select count(*) from decoy_sign_ups";
    eventually(Duration::from_secs(10), || async { count(&shop, decoys).await == 1 }).await;
}
