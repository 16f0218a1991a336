//! Signing up: which code makes an account, and whose.

use std::time::Duration;

use firstcome_e2e::{
    Shop,
    member::{self, Member, PASSWORD, code_of_mail, join_in, reason_of, verify},
};
use firstcome_local::Service;
use firstcome_proto::{
    Reason, Refusal,
    user_v1::{ResendVerificationRequest, UserState, account_service_client::AccountServiceClient},
};
use firstcome_testkit::eventually;
use tokio::time::Instant;

use super::{PATIENCE, QUICK, profile};

async fn resend(shop: &Shop, email: &str) -> Result<(), Refusal> {
    let request = ResendVerificationRequest { email: email.to_owned() };
    // From anywhere: what is asked here is how often a mailbox is written to.
    let request = member::from_anywhere(request);
    let answer = AccountServiceClient::new(shop.channel.clone()).resend_verification(request).await;
    answer.map(drop).map_err(|status| Refusal::from_status(&status))
}

/// Asks again as long as it is told to come back.
async fn resend_in_time(shop: &Shop, email: &str) {
    eventually(PATIENCE, || async {
        match resend(shop, email).await {
            Ok(()) => true,
            Err(refusal) => {
                assert_eq!(refusal.reason(), Reason::RateLimited);
                assert!(refusal.retry_after.is_some());
                false
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_code_of_the_right_address_in_time_makes_an_account() {
    let shop = Shop::own(&QUICK).await.unwrap();
    let (email, other) = (member::new_email(), member::new_email());
    let token = join_in(&shop, member::sign_up(&email)).await.unwrap();
    let of_others = join_in(&shop, member::sign_up(&other)).await.unwrap();
    let first = code_of_mail(&shop, &email, 1).await;
    let of_other = code_of_mail(&shop, &other, 1).await;
    if first != of_other {
        let refusal = verify(&shop, &email, &of_other, &token).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::CodeInvalid, "a code of another account");
    }

    resend_in_time(&shop, &email).await;
    let second = code_of_mail(&shop, &email, 2).await;
    if first != second {
        let refusal = verify(&shop, &email, &first, &token).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::CodeInvalid, "an older code");
    }

    // Five wrong tries burn it: the sixth is right, and too late.
    resend_in_time(&shop, &email).await;
    let third = code_of_mail(&shop, &email, 3).await;
    for wrong in 1..=5 {
        let number: u32 = third.parse().unwrap();
        let code = format!("{:06}", (number + wrong) % 1_000_000);
        let refusal = verify(&shop, &email, &code, &token).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::CodeInvalid);
    }
    let refusal = verify(&shop, &email, &third, &token).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::CodeInvalid, "the sixth guess, though right");

    resend_in_time(&shop, &email).await;
    let fourth = code_of_mail(&shop, &email, 4).await;
    // With another's token it is wrong however often, and stays good for whoever has the right one.
    for _ in 0..6 {
        let refusal = verify(&shop, &email, &fourth, &of_others).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::CodeInvalid, "another sign-up's token");
    }
    // Twice at once, as by a double tap.
    let right = || verify(&shop, &email, &fourth, &token);
    let (one, two) = tokio::join!(right(), right());
    one.unwrap();
    two.unwrap();
    let member = Member::on_device(&shop, &email, PASSWORD, "").await.unwrap();
    assert_eq!(profile(&member).await.unwrap().state(), UserState::Active);

    // Nobody learns who has an account: an address without one is answered the same.
    let nobody = member::new_email();
    resend(&shop, &nobody).await.unwrap();
    let again = resend(&shop, &nobody).await.unwrap_err();
    assert_eq!(again.reason(), Reason::RateLimited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_none_after_its_time() {
    let ttl = Duration::from_secs(1);
    let shop = Shop::own(&[(Service::User, "FIRSTCOME_CODE_TTL", "1s")]).await.unwrap();
    let email = member::new_email();
    let token = join_in(&shop, member::sign_up(&email)).await.unwrap();
    let asked = Instant::now();
    let code = code_of_mail(&shop, &email, 1).await;
    tokio::time::sleep_until(asked + ttl * 2).await;
    let refusal = verify(&shop, &email, &code, &token).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::CodeInvalid);
    let early = Member::on_device(&shop, &email, PASSWORD, "").await;
    assert_eq!(reason_of(early.map(drop)), Reason::EmailNotVerified);
}
