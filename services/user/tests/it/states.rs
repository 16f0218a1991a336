//! Where an account stands: banned, let in again, dormant, awake.

use std::time::Duration;

use firstcome_proto::{
    Reason, Refusal,
    user_v1::{
        DeleteAccountRequest, RequestPasswordResetRequest, ResetPasswordRequest,
        SetUserStateRequest, SetUserStateResponse, UserState,
    },
};
use firstcome_testkit::eventually;
use futures::future::join_all;
use tonic::Status;
use uuid::Uuid;

use super::harness::{PASSWORD, Shop, address, assert_refused, same, store};

async fn set(shop: &Shop, user: &str, state: UserState) -> Result<SetUserStateResponse, Status> {
    let request = SetUserStateRequest { user_id: user.into(), state: state.into() };
    Ok(shop.accounts.clone().set_user_state(request).await?.into_inner())
}

/// `state` of the one account in the database.
async fn state(shop: &Shop) -> String {
    let state = sqlx::query_scalar("select state from users");
    state.fetch_one(&shop.database.pool).await.expect("an account")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_ends_all_sessions_and_can_be_lifted() {
    let shop = Shop::open().await;
    let email = address();
    let tokens = shop.member(&email).await;
    let user = shop.claims(&tokens.access_token).await.sub;
    for _ in 0..2 {
        let answer = set(&shop, &user, UserState::Banned).await.expect("banned");
        assert_eq!(answer.state(), UserState::Banned);
    }
    assert_refused(shop.refresh(&tokens).await, Reason::TokenRevoked);
    assert_refused(shop.log_in(&email, "wr0ng-one!", "k").await, Reason::BadCredentials);
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::AccountBanned);
    for _ in 0..2 {
        let answer = set(&shop, &user, UserState::Active).await.expect("let in");
        assert_eq!(answer.state(), UserState::Active);
    }
    shop.log_in(&email, PASSWORD, "k").await.expect("a log-in");
    assert_refused(shop.refresh(&tokens).await, Reason::TokenRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_opens_no_banned_account() {
    let shop = Shop::open().await;
    let email = address();
    let tokens = shop.member(&email).await;
    let user = shop.claims(&tokens.access_token).await.sub;
    set(&shop, &user, UserState::Banned).await.expect("banned");
    let request = RequestPasswordResetRequest { email: email.clone() };
    shop.accounts.clone().request_password_reset(request).await.expect("a mail");
    let code = shop.code(&email, 2).await;
    let request =
        ResetPasswordRequest { email: email.clone(), code, new_password: "an0ther one".into() };
    shop.accounts.clone().reset_password(request).await.expect("set");
    assert_refused(shop.log_in(&email, "an0ther one", "k").await, Reason::AccountBanned);
    assert_eq!(state(&shop).await, "BANNED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_races_a_ban_leaves_no_session() {
    let shop = Shop::open().await;
    let email = address();
    let user = shop.claims(&shop.member(&email).await.access_token).await.sub;
    for round in 0..8 {
        set(&shop, &user, UserState::Active).await.expect("let in");
        let key = format!("round {round}");
        let (tokens, banned) =
            tokio::join!(shop.log_in(&email, PASSWORD, &key), set(&shop, &user, UserState::Banned));
        banned.expect("banned");
        if let Ok(tokens) = tokens {
            let tokens = tokens.tokens.expect("tokens");
            assert_refused(shop.refresh(&tokens).await, Reason::TokenRevoked);
        }
        let living = "select count(*) from sessions where ended_at is null";
        let living = sqlx::query_scalar::<_, i64>(living).fetch_one(&shop.database.pool).await;
        assert_eq!(living.expect("a count"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_accounts_in_use_are_banned() {
    let shop = Shop::open().await;
    let email = address();
    shop.sign_up(&email, PASSWORD).await.expect("a sign-up");
    let user = sqlx::query_scalar::<_, Uuid>("select user_id from users");
    let user = user.fetch_one(&shop.database.pool).await.expect("a row").to_string();
    let standing = |answer: Result<SetUserStateResponse, Status>| {
        let refusal = Refusal::from_status(&answer.expect_err("a refusal"));
        assert_eq!(refusal.reason(), Reason::WrongState);
        refusal.metadata["state"].clone()
    };
    for wanted in [UserState::Active, UserState::Banned] {
        assert_eq!(standing(set(&shop, &user, wanted).await), "INACTIVE");
        let nobody = Uuid::new_v4().to_string();
        assert_refused(set(&shop, &nobody, wanted).await, Reason::NotFound);
        assert_refused(set(&shop, "nobody", wanted).await, Reason::InvalidArgument);
    }
    for wanted in [UserState::Unspecified, UserState::Dormant, UserState::Deleted] {
        assert_refused(set(&shop, &user, wanted).await, Reason::InvalidArgument);
    }
    let code = shop.code(&email, 1).await;
    shop.verify(&email, &code).await.expect("the mailed code");
    let tokens = shop.log_in(&email, PASSWORD, "k").await.expect("a log-in").tokens;
    let request = DeleteAccountRequest { password: PASSWORD.into() };
    let request = shop.by(&tokens.expect("tokens"), request).await;
    shop.profiles.clone().delete_account(request).await.expect("deleted");
    assert_eq!(standing(set(&shop, &user, UserState::Active).await), "DELETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_account_falls_asleep_and_a_log_in_wakes_it() {
    let shop = Shop::open().await;
    let email = address();
    let tokens = shop.member(&email).await;
    sqlx::query("update users set last_login_at = clock_timestamp() - interval '366 days'")
        .execute(&shop.database.pool)
        .await
        .expect("the log-in is long ago");
    let store = store(&shop.database).await;
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    // Its session was used just now: the account moves out of sight, and is looked at once.
    let looked_at = join_all((0..4).map(|_| store.put_to_sleep(year, 10))).await;
    assert_eq!(looked_at.into_iter().map(|it| it.expect("a look")).sum::<u64>(), 1);
    assert_eq!(state(&shop).await, "ACTIVE");

    sqlx::query("update users set last_login_at = clock_timestamp() - interval '366 days'")
        .execute(&shop.database.pool)
        .await
        .expect("the log-in is long ago");
    sqlx::query("update sessions set last_used_at = clock_timestamp() - interval '366 days'")
        .execute(&shop.database.pool)
        .await
        .expect("so is the last use");
    // Replicas look when they start.
    let (_one, _other) = tokio::join!(
        Shop::open_on(same(&shop.database), &[]),
        Shop::open_on(same(&shop.database), &[])
    );
    eventually(Duration::from_secs(10), || async { state(&shop).await == "DORMANT" }).await;

    assert_refused(shop.log_in(&email, "wr0ng-one!", "k").await, Reason::BadCredentials);
    assert_eq!(state(&shop).await, "DORMANT");
    shop.log_in(&email, PASSWORD, "k").await.expect("a log-in");
    assert_eq!(state(&shop).await, "ACTIVE");
    assert_eq!(store.put_to_sleep(year, 10).await.expect("a look"), 0);
    shop.refresh(&tokens).await.expect("nothing was lost");
}
