//! Signing up and proving an address.

use std::time::Duration;

use firstcome_proto::Reason;
use firstcome_testkit::eventually;
use futures::future::join_all;

use super::harness::{PASSWORD, Shop, address, assert_refused, code_in, wrong};

#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_code_activates_the_account() {
    let shop = Shop::open().await;
    let email = address();
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::BadCredentials);
    let ttl = shop.sign_up(&email.to_uppercase(), PASSWORD).await.expect("a sign-up");
    assert_eq!(ttl, Duration::from_secs(180));
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::EmailNotVerified);
    assert_refused(shop.log_in(&email, "wr0ng-one!", "k").await, Reason::BadCredentials);

    let code = shop.code(&email, 1).await;
    shop.verify(&email, &code).await.expect("the mailed code");
    let member = shop.log_in(&email, PASSWORD, "k").await.expect("a log-in");
    let claims = shop.claims(&member.tokens.expect("tokens").access_token).await;
    assert_eq!((claims.sub, claims.role.as_str()), (member.user_id, "user"));
    assert_eq!(claims.exp - claims.iat, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_verifications_and_retries_all_succeed() {
    let shop = Shop::open().await;
    let email = address();
    shop.sign_up(&email, PASSWORD).await.expect("a sign-up");
    let code = shop.code(&email, 1).await;
    for answer in join_all((0..8).map(|_| shop.verify(&email, &code))).await {
        answer.expect("the mailed code");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_guess_fails_even_when_it_is_right() {
    let shop = Shop::open().await;
    let email = address();
    shop.sign_up(&email, PASSWORD).await.expect("a sign-up");
    let code = shop.code(&email, 1).await;
    // In parallel, so that the counting is seen to be atomic.
    let guesses: Vec<String> = (0..5).map(|number| wrong(&code, number)).collect();
    for answer in join_all(guesses.iter().map(|guess| shop.verify(&email, guess))).await {
        assert_refused(answer, Reason::CodeInvalid);
    }
    assert_refused(shop.verify(&email, &code).await, Reason::CodeInvalid);

    shop.sign_up(&email, PASSWORD).await.expect("a second sign-up");
    let code = shop.code(&email, 2).await;
    for number in 0..4 {
        assert_refused(shop.verify(&email, &wrong(&code, number)).await, Reason::CodeInvalid);
    }
    shop.verify(&email, &code).await.expect("the fifth guess is still good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sign_up_replaces_an_unverified_first() {
    let shop = Shop::open().await;
    let email = address();
    shop.sign_up(&email, PASSWORD).await.expect("a sign-up");
    let first = shop.code(&email, 1).await;
    shop.sign_up(&email, "an0ther one").await.expect("a second sign-up");
    let second = shop.code(&email, 2).await;
    if first != second {
        assert_refused(shop.verify(&email, &first).await, Reason::CodeInvalid);
    }
    shop.verify(&email, &second).await.expect("the newest code");
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::BadCredentials);
    shop.log_in(&email, "an0ther one", "k").await.expect("the newest password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_address_is_answered_like_a_new_one_and_its_owner_is_told() {
    let shop = Shop::open().await;
    let email = address();
    shop.member(&email).await;
    let known = shop.sign_up(&email, "att4cker's!").await.expect("an answer");
    let unknown = shop.sign_up(&address(), "att4cker's!").await.expect("an answer");
    assert_eq!(known, unknown);
    let mails = shop.mails(&email, 2).await;
    assert!(mails[1].contains("Subject: You already have"), "{}", mails[1]);
    assert_eq!(code_in(&mails[1]), None);
    shop.log_in(&email, PASSWORD, "k").await.expect("the owner's password still");
    // As if the address had been free.
    assert_refused(shop.log_in(&email, "att4cker's!", "k").await, Reason::EmailNotVerified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_dies_with_its_time() {
    let shop = Shop::open_with(&["--code-ttl=100ms"]).await;
    let email = address();
    shop.sign_up(&email, PASSWORD).await.expect("a sign-up");
    let code = shop.code(&email, 1).await;
    // A right code is never counted, so asking until it dies burns nothing.
    eventually(Duration::from_secs(5), || async { shop.verify(&email, &code).await.is_err() })
        .await;
    assert_refused(shop.verify(&email, &code).await, Reason::CodeInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_refused_by_name() {
    let shop = Shop::open().await;
    let email = address();
    assert_refused(shop.sign_up("nowhere", PASSWORD).await, Reason::InvalidArgument);
    assert_refused(shop.sign_up(&email, "weak").await, Reason::InvalidArgument);
    assert_refused(shop.sign_up(&email, &"x1! ".repeat(100)).await, Reason::InvalidArgument);
    assert_refused(shop.verify(&email, "12345").await, Reason::InvalidArgument);
    assert_refused(shop.verify(&email, "12345a").await, Reason::InvalidArgument);
    assert_refused(shop.verify(&email, "123456").await, Reason::CodeInvalid);
    let huge = "x".repeat(1 << 20);
    assert_refused(shop.log_in(&email, &huge, "k").await, Reason::InvalidArgument);
    assert_refused(shop.log_in(&email, PASSWORD, &huge).await, Reason::InvalidArgument);
    assert_refused(shop.log_in(&email, PASSWORD, "").await, Reason::InvalidArgument);
    assert_refused(shop.log_in("a\0b@example.com", PASSWORD, "k").await, Reason::InvalidArgument);
}
