//! Staying in, and leaving.

use std::time::Duration;

use firstcome_proto::{
    Reason,
    user_v1::{LogOutRequest, TokenPair},
};
use firstcome_testkit::eventually;
use futures::future::join_all;

use super::harness::{PASSWORD, Shop, address, assert_refused, carrying};

#[tokio::test(flavor = "multi_thread")]
async fn each_refresh_gives_the_next_token() {
    let shop = Shop::open().await;
    let mut tokens = shop.member(&address()).await;
    let session = shop.claims(&tokens.access_token).await.sid;
    for _ in 0..3 {
        let next = shop.refresh(&tokens).await.expect("the next tokens");
        assert_ne!(next.refresh_token, tokens.refresh_token);
        assert_eq!(shop.claims(&next.access_token).await.sid, session);
        tokens = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_given_again() {
    let shop = Shop::open().await;
    let tokens = shop.member(&address()).await;
    let answers = join_all((0..10).map(|_| shop.refresh(&tokens))).await;
    let refresh_tokens: Vec<String> =
        answers.into_iter().map(|answer| answer.expect("tokens").refresh_token).collect();
    assert!(refresh_tokens.iter().all(|token| *token == refresh_tokens[0]));
    let newest = TokenPair { refresh_token: refresh_tokens[0].clone(), ..tokens };
    shop.refresh(&newest).await.expect("the session goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_token_that_comes_back_late_ends_the_session() {
    let shop = Shop::open_with(&["--refresh-replay=0s"]).await;
    let tokens = shop.member(&address()).await;
    let next = shop.refresh(&tokens).await.expect("the next tokens");
    assert_refused(shop.refresh(&tokens).await, Reason::TokenRevoked);
    assert_refused(shop.refresh(&next).await, Reason::TokenRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_two_rotations_old_ends_the_session_at_once() {
    let shop = Shop::open().await;
    let email = address();
    let tokens = shop.member(&email).await;
    let next = shop.refresh(&tokens).await.expect("the next tokens");
    let newest = shop.refresh(&next).await.expect("the newest tokens");
    assert_refused(shop.refresh(&tokens).await, Reason::TokenRevoked);
    assert_refused(shop.refresh(&newest).await, Reason::TokenRevoked);
    // The log-in of that session does not open it again; another one opens another.
    assert_refused(shop.log_in(&email, PASSWORD, "first").await, Reason::TokenRevoked);
    shop.log_in(&email, PASSWORD, "second").await.expect("a new session");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_session_is_over() {
    let shop = Shop::open_with(&["--refresh-token-ttl=300ms"]).await;
    let tokens = shop.member(&address()).await;
    eventually(Duration::from_secs(5), || async {
        let expires = "select bool_and(expires_at < clock_timestamp()) from sessions";
        sqlx::query_scalar(expires).fetch_one(&shop.database.pool).await.expect("a row")
    })
    .await;
    assert_refused(shop.refresh(&tokens).await, Reason::TokenExpired);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_key_opens_one_session_however_often() {
    let shop = Shop::open().await;
    let email = address();
    shop.member(&email).await;
    let answers = join_all((0..6).map(|_| shop.log_in(&email, PASSWORD, "same"))).await;
    let mut tokens: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("a log-in").tokens.expect("tokens"))
        .collect();
    let session = shop.claims(&tokens[0].access_token).await.sid;
    for pair in &tokens {
        assert_eq!(shop.claims(&pair.access_token).await.sid, session);
    }
    shop.refresh(&tokens.remove(0)).await.expect("a retried log-in's token is good");
    let other = shop.log_in(&email, PASSWORD, "other").await.expect("a log-in");
    let other = shop.claims(&other.tokens.expect("tokens").access_token).await.sid;
    assert_ne!(other, session);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_this_session_alone() {
    let shop = Shop::open().await;
    let email = address();
    let phone = shop.member(&email).await;
    let laptop = shop.log_in(&email, PASSWORD, "laptop").await.expect("a log-in").tokens;
    let claims = shop.claims(&phone.access_token).await;
    for _ in 0..2 {
        let request = carrying(&claims, LogOutRequest {});
        shop.accounts.clone().log_out(request).await.expect("logged out");
    }
    assert_refused(shop.refresh(&phone).await, Reason::TokenRevoked);
    shop.refresh(&laptop.expect("tokens")).await.expect("the other session goes on");
    let nobody = shop.accounts.clone().log_out(LogOutRequest {}).await;
    assert_refused(nobody, Reason::TokenInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_our_own_tokens_refreshes() {
    let shop = Shop::open().await;
    let member = shop.member(&address()).await;
    let stranger = Shop::open().await.member(&address()).await;
    for refresh_token in
        [String::new(), "x".into(), "x".repeat(1 << 20), "\0".into(), stranger.refresh_token]
    {
        let tokens = TokenPair { refresh_token, ..member.clone() };
        assert_refused(shop.refresh(&tokens).await, Reason::TokenInvalid);
    }
    shop.refresh(&member).await.expect("untouched by all that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_user_is_let_in_nowhere() {
    let shop = Shop::open().await;
    let email = address();
    let tokens = shop.member(&email).await;
    sqlx::query("update users set state = 'BANNED'").execute(&shop.database.pool).await.unwrap();
    assert_refused(shop.refresh(&tokens).await, Reason::TokenRevoked);
    assert_refused(shop.log_in(&email, "wr0ng-one!", "k").await, Reason::BadCredentials);
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::AccountBanned);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_share_keys_and_sessions() {
    let first = Shop::open().await;
    let database = || firstcome_testkit::TestDatabase {
        pool: first.database.pool.clone(),
        url: first.database.url.clone(),
    };
    sqlx::query("truncate signing_keys, secrets").execute(&first.database.pool).await.unwrap();
    let (second, third) =
        tokio::join!(Shop::open_on(database(), &[]), Shop::open_on(database(), &[]));
    let tokens = second.member(&address()).await;
    third.claims(&tokens.access_token).await;
    let next = third.refresh(&tokens).await.expect("another replica's token");
    second.claims(&next.access_token).await;
}
