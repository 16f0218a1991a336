//! Another password: by the old one, or by a mailed code.

use firstcome_proto::{
    Reason,
    user_v1::{
        ChangePasswordRequest, RequestPasswordResetRequest, ResetPasswordRequest, TokenPair,
    },
};
use futures::future::join_all;
use tonic::Status;

use super::harness::{PASSWORD, Shop, address, assert_refused, wrong};

const NEXT: &str = "an0ther one";
const EAGER: &[&str] = &["--code-cooldown=0s"];

async fn change(shop: &Shop, by: &TokenPair, old: &str, new: &str) -> Result<(), Status> {
    let request = ChangePasswordRequest { old_password: old.into(), new_password: new.into() };
    let request = shop.by(by, request).await;
    shop.accounts.clone().change_password(request).await.map(drop)
}

async fn ask(shop: &Shop, email: &str) -> Result<(), Status> {
    let request = RequestPasswordResetRequest { email: email.into() };
    shop.accounts.clone().request_password_reset(request).await.map(drop)
}

async fn reset(shop: &Shop, email: &str, code: &str, new: &str) -> Result<(), Status> {
    let request =
        ResetPasswordRequest { email: email.into(), code: code.into(), new_password: new.into() };
    shop.accounts.clone().reset_password(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_every_other_session() {
    let shop = Shop::open().await;
    let email = address();
    let phone = shop.member(&email).await;
    let laptop = shop.log_in(&email, PASSWORD, "laptop").await.expect("a log-in").tokens;
    assert_refused(change(&shop, &phone, "wr0ng-one!", NEXT).await, Reason::BadCredentials);
    assert_refused(change(&shop, &phone, PASSWORD, "weak").await, Reason::InvalidArgument);
    // The answer is lost, and the call comes again.
    for _ in 0..2 {
        change(&shop, &phone, PASSWORD, NEXT).await.expect("changed");
    }
    assert_refused(shop.refresh(&laptop.expect("tokens")).await, Reason::TokenRevoked);
    shop.refresh(&phone).await.expect("this one goes on");
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::BadCredentials);
    shop.log_in(&email, NEXT, "k").await.expect("the new password");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_changes_one_password_is_in_force_and_the_losers_are_told() {
    let shop = Shop::open().await;
    let email = address();
    let phone = shop.member(&email).await;
    let passwords: Vec<String> = (0..4).map(|number| format!("{NEXT} {number}")).collect();
    let changes = passwords.iter().map(|new| change(&shop, &phone, PASSWORD, new));
    let answers = join_all(changes).await;
    let mut in_force = Vec::new();
    for (password, answer) in passwords.iter().zip(answers) {
        let let_in = shop.log_in(&email, password, "k").await;
        assert_eq!(answer.is_ok(), let_in.is_ok(), "{answer:?}");
        in_force.extend(let_in.ok().map(|it| (password, it.tokens.expect("tokens"))));
    }
    assert_eq!(in_force.len(), 1);
    // And of retries of one change all are answered alike.
    let (old, tokens) = in_force.remove(0);
    for answer in join_all((0..5).map(|_| change(&shop, &tokens, old, PASSWORD))).await {
        answer.expect("changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_never_outlives_the_password_that_it_was_made_with() {
    let shop = Shop::open().await;
    let email = address();
    for round in 0..6 {
        let (old, new) = (format!("passw0rd!{round}"), format!("passw0rd!{}", round + 1));
        if round == 0 {
            shop.sign_up(&email, &old).await.expect("a sign-up");
            let code = shop.code(&email, 1).await;
            shop.verify(&email, &code).await.expect("the mailed code");
        }
        let key = format!("owner {round}");
        let owner = shop.log_in(&email, &old, &key).await.expect("a log-in");
        let owner = owner.tokens.expect("tokens");
        // Thieves who know the old password come in again and again while the owner changes it.
        let (shop, email, old) = (&shop, &email, &old);
        let thief = async |thief: u32| {
            let mut stolen = Vec::new();
            for number in 0.. {
                let key = format!("thief {thief} of round {round}, {number}");
                match shop.log_in(email, old, &key).await {
                    Ok(answer) => stolen.push(answer.tokens.expect("tokens")),
                    refused => {
                        assert_refused(refused, Reason::BadCredentials);
                        break;
                    }
                }
            }
            stolen
        };
        let (changed, first, second, third) =
            tokio::join!(change(shop, &owner, old, &new), thief(0), thief(1), thief(2));
        changed.expect("changed");
        for stolen in [first, second, third].iter().flatten() {
            assert_refused(shop.refresh(stolen).await, Reason::TokenRevoked);
        }
        shop.refresh(&owner).await.expect("the owner stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_code_sets_one_new_password_and_ends_all_sessions() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    let phone = shop.member(&email).await;
    ask(&shop, &email).await.expect("a mail");
    let code = shop.code(&email, 2).await;
    // Parallel calls and later retries with the same password are one reset.
    for answer in join_all((0..3).map(|_| reset(&shop, &email, &code, NEXT))).await {
        answer.expect("set");
    }
    reset(&shop, &email, &code, NEXT).await.expect("the answer was lost");
    assert_refused(shop.refresh(&phone).await, Reason::TokenRevoked);
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::BadCredentials);
    shop.log_in(&email, NEXT, "k").await.expect("the new password");

    assert_refused(reset(&shop, &email, &code, PASSWORD).await, Reason::CodeInvalid);
    // Nor is it a way to try passwords: it is burned.
    assert_refused(reset(&shop, &email, &code, NEXT).await, Reason::CodeInvalid);
    shop.log_in(&email, NEXT, "l").await.expect("the same password still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_dies_with_the_password_that_it_would_replace() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    let phone = shop.member(&email).await;
    ask(&shop, &email).await.expect("a mail");
    let code = shop.code(&email, 2).await;
    change(&shop, &phone, PASSWORD, NEXT).await.expect("changed");
    assert_refused(reset(&shop, &email, &code, "a th1rd one").await, Reason::CodeInvalid);
    shop.refresh(&phone).await.expect("still logged in");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_tries_burn_a_code_for_a_password() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    shop.member(&email).await;
    ask(&shop, &email).await.expect("a mail");
    let code = shop.code(&email, 2).await;
    let guesses: Vec<String> = (0..5).map(|number| wrong(&code, number)).collect();
    for answer in join_all(guesses.iter().map(|guess| reset(&shop, &email, guess, NEXT))).await {
        assert_refused(answer, Reason::CodeInvalid);
    }
    assert_refused(reset(&shop, &email, &code, NEXT).await, Reason::CodeInvalid);
    shop.log_in(&email, PASSWORD, "k").await.expect("the old password still");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_of_verified_addresses_are_mailed_and_nobody_can_tell() {
    let shop = Shop::open_with(EAGER).await;
    let (unverified, unknown, member) = (address(), address(), address());
    shop.sign_up(&unverified, PASSWORD).await.expect("a sign-up");
    shop.member(&member).await;
    for email in [&unverified, &unknown, &member] {
        ask(&shop, email).await.expect("an answer");
        assert_refused(reset(&shop, email, "000000", "weak").await, Reason::InvalidArgument);
    }
    assert_eq!(shop.mails(&member, 2).await.len(), 2);
    assert_eq!(shop.mails(&unverified, 1).await.len(), 1, "the code for the address alone");
    assert!(shop.mails(&unknown, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_code_lets_the_owner_in_whom_guesses_keep_out() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    shop.member(&email).await;
    for _ in 0..10 {
        assert_refused(shop.log_in(&email, "wr0ng-one!", "k").await, Reason::BadCredentials);
    }
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::RateLimited);
    ask(&shop, &email).await.expect("a mail");
    let code = shop.code(&email, 2).await;
    reset(&shop, &email, &code, NEXT).await.expect("set");
    shop.log_in(&email, NEXT, "k").await.expect("let in");
}
