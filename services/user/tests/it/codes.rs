//! Mailed codes: how often they are mailed, and what each is good for.

use std::time::Duration;

use firstcome_proto::{
    Reason,
    user_v1::{
        RequestPasswordResetRequest, ResendVerificationRequest, ResendVerificationResponse,
        ResetPasswordRequest,
    },
};
use firstcome_redis::RedisPool;
use firstcome_testkit::stores;
use firstcome_user::{
    account::{Email, SignUpId},
    code::{Code, Codes, Purpose, Subject},
};
use futures::future::join_all;
use tonic::{Request, Status};
use uuid::Uuid;

use super::harness::{
    PASSWORD, Shop, address, assert_refused, code_in, from, keys, sign_up_request, wait_of,
};

/// No pause between two mails: what is tested is something else.
const EAGER: &[&str] = &["--code-cooldown=0s"];

async fn resend(shop: &Shop, email: &str) -> Result<ResendVerificationResponse, Status> {
    let request = ResendVerificationRequest { email: email.into() };
    Ok(shop.accounts.clone().resend_verification(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_sent_again_and_the_old_one_works_no_more() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    shop.sign_up(&email, PASSWORD).await.expect("a sign-up");
    let first = shop.code(&email, 1).await;
    let answer = resend(&shop, &email).await.expect("another code");
    assert_eq!(answer.code_ttl.expect("a span").seconds, 180);
    let second = shop.code(&email, 2).await;
    if first != second {
        assert_refused(shop.verify(&email, &first).await, Reason::CodeInvalid);
    }
    shop.verify(&email, &second).await.expect("the newest code");
    resend(&shop, &email).await.expect("the same answer when nobody is mailed");
    shop.log_in(&email, PASSWORD, "k").await.expect("a log-in");
    assert_eq!(shop.mails(&email, 2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_is_left_alone_for_a_minute() {
    let shop = Shop::open().await;
    let (signed_up, unknown, member) = (address(), address(), address());
    shop.sign_up(&signed_up, PASSWORD).await.expect("a sign-up");
    shop.member(&member).await;
    resend(&shop, &unknown).await.expect("the first time");
    for email in [&signed_up, &unknown, &member] {
        let wait = wait_of(resend(&shop, email).await, Reason::RateLimited);
        assert!((Duration::from_secs(30)..=Duration::from_secs(60)).contains(&wait), "{wait:?}");
    }
    // A code for a password is another mail.
    for email in [&unknown, &member] {
        let ask = || {
            let request = RequestPasswordResetRequest { email: email.clone() };
            let mut accounts = shop.accounts.clone();
            async move { accounts.request_password_reset(request).await }
        };
        ask().await.expect("the first time");
        wait_of(ask().await, Reason::RateLimited);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ups_fill_nobodys_mailbox() {
    let shop = Shop::open().await;
    let (new, member) = (address(), address());
    shop.member(&member).await;
    // The member has signed up once.
    for (email, left) in [(&new, 3), (&member, 2)] {
        let answers = join_all((0..6).map(|_| shop.sign_up(email, PASSWORD))).await;
        let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(taken.len(), left);
        for answer in refused {
            let wait = wait_of(answer, Reason::RateLimited);
            assert!(wait <= Duration::from_secs(60), "{wait:?}");
        }
        assert_eq!(shop.mails(email, 3).await.len(), 3);
    }
    shop.log_in(&member, PASSWORD, "k").await.expect("nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_mailed_twenty_codes_a_day_for_one_network_and_a_hundred_for_all() {
    let shop = Shop::open_with(EAGER).await;
    let (unknown, member) = (address(), address());
    shop.member(&member).await;
    // The member has signed up once, from nowhere that is known.
    for (email, mut left) in [(&unknown, 100), (&member, 99)] {
        let ask = async |client: &str, number: u32| {
            let mut accounts = shop.accounts.clone();
            if number.is_multiple_of(2) {
                let request = ResendVerificationRequest { email: email.clone() };
                let request = from(client, Request::new(request));
                return accounts.resend_verification(request).await.map(drop);
            }
            let request = RequestPasswordResetRequest { email: email.clone() };
            let request = from(client, Request::new(request));
            accounts.request_password_reset(request).await.map(drop)
        };
        let refused = async |client: &str| {
            for number in 0..2 {
                let wait = wait_of(ask(client, number).await, Reason::RateLimited);
                let hours = wait.as_secs() / (60 * 60);
                assert!((23..=24).contains(&hours), "{wait:?}");
            }
        };
        // A stranger uses up what one network may ask for, and the owner still has theirs.
        for number in 0..20 {
            ask("192.0.2.1", number).await.expect("one of twenty");
        }
        refused("192.0.2.1").await;
        left -= 20;
        let mut network = 0;
        while left > 0 {
            network += 1;
            for number in 0..left.min(20) {
                let client = format!("2001:db8:0:{network}::{number}");
                ask(&client, number).await.expect("one of a hundred");
            }
            left -= left.min(20);
        }
        refused("198.51.100.1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_that_finds_no_room_counts_for_nothing() {
    let shop = Shop::open().await;
    let rush: Vec<String> = (0..160).map(|_| address()).collect();
    let answers = join_all(rush.iter().map(|email| shop.sign_up(email, PASSWORD))).await;
    let refused = rush.iter().zip(answers).find(|(_, answer)| answer.is_err());
    let (email, answer) = refused.expect("more than can wait");
    assert_refused(answer, Reason::Overloaded);
    for _ in 0..3 {
        shop.sign_up(email, PASSWORD).await.expect("one of three");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_sign_ups_the_one_that_stands_has_the_code() {
    let shop = Shop::open_with(EAGER).await;
    for _ in 0..5 {
        let email = address();
        let passwords: Vec<String> = (0..4).map(|number| format!("passw0rd!{number}")).collect();
        let signups = passwords.iter().map(|password| {
            let mut accounts = shop.accounts.clone();
            let request = sign_up_request(&email, password);
            async move { accounts.sign_up(request).await }
        });
        let mut tokens = Vec::new();
        for answer in join_all(signups).await {
            tokens.push(answer.expect("a sign-up").into_inner().sign_up_token);
        }
        let mails = shop.mails(&email, 4).await;
        let mut codes: Vec<String> = mails.iter().filter_map(|mail| code_in(mail)).collect();
        codes.dedup();
        let mut activated = 0;
        for token in &tokens {
            let mut fits = 0;
            for code in &codes {
                fits += usize::from(shop.verify_with(&email, code, token).await.is_ok());
            }
            activated += usize::from(fits > 0);
        }
        assert_eq!(activated, 1, "one sign-up's token and code activate the account");
        let mut let_in = 0;
        for password in &passwords {
            let_in += usize::from(shop.log_in(&email, password, "k").await.is_ok());
        }
        assert_eq!(let_in, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_an_older_sign_up_never_takes_the_place_of_a_newer_ones() {
    let redis = RedisPool::connect(stores().await.redis_url()).await.expect("connects");
    let (ttl, cooldown) = (Duration::from_secs(60), Duration::ZERO);
    let codes = Codes::new(&redis, keys().index(), ttl, cooldown).await.expect("loads");
    let email = Email::from_field("email", &address()).expect("an address");
    let code = |digits| Code::from_field(Purpose::Verify, "code", digits).expect("six digits");
    let put = async |digits, since| {
        let subject = Subject { id: Uuid::new_v4(), since };
        codes.put(Purpose::Verify, &email, &code(digits), subject).await.expect("an answer");
        subject.id
    };
    let check = async |digits, of| {
        let token = codes.sign_up_token(SignUpId(of));
        let checked = codes.check(Purpose::Verify, &email, &code(digits), Some(&token)).await;
        checked.expect("an answer")
    };
    // Microseconds since 1970, as Postgres tells them: what differs is the last digit.
    let newer = put("222222", 1_795_298_400_000_002).await;
    let older = put("111111", 1_795_298_400_000_001).await;
    assert_eq!(check("222222", newer).await, Some(newer));
    assert_eq!((check("111111", older).await, check("111111", newer).await), (None, None));
    assert_eq!(check("222222", older).await, None, "the newest code wants its own token");
    // The same sign-up's next code does.
    let again = put("333333", 1_795_298_400_000_003).await;
    assert_eq!(check("333333", again).await, Some(again));
    assert_eq!(check("222222", newer).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_for_its_account_and_purpose_alone() {
    let shop = Shop::open_with(EAGER).await;
    let (ann, bob) = (address(), address());
    shop.sign_up(&ann, PASSWORD).await.expect("a sign-up");
    shop.sign_up(&bob, PASSWORD).await.expect("a sign-up");
    let (of_ann, of_bob) = (shop.code(&ann, 1).await, shop.code(&bob, 1).await);
    if of_ann != of_bob {
        assert_refused(shop.verify(&bob, &of_ann).await, Reason::CodeInvalid);
        assert_refused(shop.verify(&ann, &of_bob).await, Reason::CodeInvalid);
    }
    let reset = |email: &str, code: &str| {
        let request = ResetPasswordRequest {
            email: email.into(),
            code: code.into(),
            new_password: "an0ther one".into(),
        };
        let mut accounts = shop.accounts.clone();
        async move { accounts.reset_password(request).await }
    };
    // A code that verifies does not even look like one for a password.
    assert_refused(reset(&ann, &of_ann).await, Reason::InvalidArgument);
    shop.verify(&ann, &of_ann).await.expect("the right one");
    shop.verify(&bob, &of_bob).await.expect("the right one");

    let request = RequestPasswordResetRequest { email: ann.clone() };
    shop.accounts.clone().request_password_reset(request).await.expect("a mail");
    let for_password = shop.code(&ann, 2).await;
    assert_refused(reset(&bob, &for_password).await, Reason::CodeInvalid);
    assert_refused(shop.verify(&ann, &for_password).await, Reason::InvalidArgument);
    reset(&ann, &for_password.to_lowercase()).await.expect("the right one, typed by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn spellings_of_one_address_are_one_account() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    let (name, domain) = email.split_once('@').expect("an address");
    let full_width = |text: &str| -> String {
        let wide = |letter: char| char::from_u32(letter as u32 + 0xfee0).expect("a wide letter");
        text.chars().map(wide).collect()
    };
    shop.sign_up(&full_width(&email), PASSWORD).await.expect("a sign-up");
    let code = shop.code(&email, 1).await;
    let token = shop.token_of(&full_width(&email));
    let upper_case = format!("{}@{domain}", name.to_uppercase());
    shop.verify_with(&upper_case, &code, &token).await.expect("the code");
    shop.sign_up(&email.to_uppercase(), "an0ther one").await.expect("an answer");
    let mails = shop.mails(&email, 2).await;
    assert!(mails[1].contains("You already have"), "{}", mails[1]);
    shop.log_in(&format!(" {name}＠{domain} "), PASSWORD, "k").await.expect("a log-in");
    let accounts = sqlx::query_scalar::<_, i64>("select count(*) from users");
    assert_eq!(accounts.fetch_one(&shop.database.pool).await.expect("a count"), 1);
}
