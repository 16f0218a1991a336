//! How often a password may be guessed.

use std::time::Duration;

use firstcome_proto::{Reason, user_v1::ChangePasswordRequest};
use firstcome_redis::RedisPool;
use firstcome_testkit::{eventually, stores};
use firstcome_user::{account::Email, error::Error, throttle::Throttle};
use futures::future::join_all;

use super::harness::{PASSWORD, Shop, address, assert_refused, from, keys, wait_of};

const WRONG: &str = "wr0ng-one!";
const WINDOW: Duration = Duration::from_secs(15 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_passwords_shut_out_their_client_and_nobody_else() {
    let shop = Shop::open().await;
    let (known, unknown) = (address(), address());
    shop.member(&known).await;
    for email in [&known, &unknown] {
        // In parallel, so that the counting is seen to be atomic.
        let guesses = (0..14).map(|_| shop.log_in_from("192.0.2.1", email, WRONG));
        let answers = join_all(guesses).await;
        let (mut wrong, mut limited) = (0, 0);
        for answer in answers {
            let status = answer.as_ref().expect_err("a refusal");
            let reason = firstcome_proto::Refusal::from_status(status).reason();
            if reason == Reason::BadCredentials {
                wrong += 1;
            } else {
                let wait = wait_of(answer, Reason::RateLimited);
                assert!(wait <= WINDOW && wait > WINDOW / 2, "{wait:?}");
                limited += 1;
            }
        }
        assert_eq!((wrong, limited), (10, 4), "for known and unknown addresses alike");
    }
    let right = shop.log_in_from("192.0.2.1", &known, PASSWORD).await;
    assert_refused(right, Reason::RateLimited);
    shop.log_in_from("192.0.2.2", &known, PASSWORD).await.expect("the owner, from elsewhere");
    let other = address();
    shop.member(&other).await;
    shop.log_in_from("192.0.2.1", &other, PASSWORD).await.expect("another account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_makes_the_wrong_ones_forgotten() {
    let shop = Shop::open().await;
    let email = address();
    shop.member(&email).await;
    for _ in 0..3 {
        for _ in 0..9 {
            let answer = shop.log_in_from("2001:db8::1", &email, WRONG).await;
            assert_refused(answer, Reason::BadCredentials);
        }
        shop.log_in_from("2001:db8::2", &email, PASSWORD).await.expect("the tenth is right");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_from_everywhere_is_held_back_and_keeps_no_owner_out() {
    let shop = Shop::open().await;
    let email = address();
    shop.member(&email).await;
    shop.log_in_from("203.0.113.9", &email, PASSWORD).await.expect("the owner, at home");
    let mut guesses = 0;
    let wait = loop {
        let client = format!("198.51.100.{}", guesses / 8);
        let answer = shop.log_in_from(&client, &email, WRONG).await;
        let status = answer.as_ref().expect_err("a refusal");
        if firstcome_proto::Refusal::from_status(status).reason() == Reason::RateLimited {
            break wait_of(answer, Reason::RateLimited);
        }
        assert_refused(answer, Reason::BadCredentials);
        guesses += 1;
    };
    assert_eq!(guesses, 100);
    assert!(wait <= WINDOW, "{wait:?}");
    let abroad = shop.log_in_from("203.0.113.10", &email, PASSWORD).await;
    assert_refused(abroad, Reason::RateLimited);
    shop.log_in_from("203.0.113.9", &email, PASSWORD).await.expect("at home as ever");
    for _ in 0..10 {
        let at_home = shop.log_in_from("203.0.113.9", &email, WRONG).await;
        assert_refused(at_home, Reason::BadCredentials);
    }
    let too_often = shop.log_in_from("203.0.113.9", &email, PASSWORD).await;
    assert_refused(too_often, Reason::RateLimited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_no_way_around_the_count() {
    let shop = Shop::open().await;
    let email = address();
    let tokens = shop.member(&email).await;
    // Each call tries the old password and the new one, and counts once.
    for number in 0..11 {
        let request = ChangePasswordRequest {
            old_password: WRONG.into(),
            new_password: "an0ther one".into(),
        };
        let request = from("192.0.2.9", shop.by(&tokens, request).await);
        let answer = shop.accounts.clone().change_password(request).await;
        let reason = if number < 10 { Reason::BadCredentials } else { Reason::RateLimited };
        assert_refused(answer, reason);
    }
    assert_refused(shop.log_in_from("192.0.2.9", &email, PASSWORD).await, Reason::RateLimited);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_before_the_answer_has_not_guessed() {
    let redis = RedisPool::connect(stores().await.redis_url()).await.expect("connects");
    let throttle = Throttle::new(&redis, keys().index()).await.expect("loads");
    let email = Email::from_field("email", &address()).expect("an address");
    let from = "192.0.2.1".parse().ok();
    let mut tries = Vec::new();
    for _ in 0..10 {
        tries.push(throttle.take(&email, from).await.expect("there is room"));
    }
    assert!(matches!(throttle.take(&email, from).await, Err(Error::RateLimited(_))));
    drop(tries);
    eventually(Duration::from_secs(5), || async {
        throttle.take(&email, from).await.is_ok_and(|it| {
            it.was_wrong();
            true
        })
    })
    .await;
}
