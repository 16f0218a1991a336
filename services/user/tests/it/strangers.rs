//! What a stranger learns of an address: nothing, whatever is asked in whatever order; and what a
//! stranger brings about in somebody's name: nothing that its owner would make good.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use firstcome_proto::{
    Reason, Refusal,
    user_v1::{
        DeleteAccountRequest, RequestPasswordResetRequest, ResendVerificationRequest,
        ResetPasswordRequest,
    },
};
use firstcome_redis::RedisPool;
use firstcome_testkit::stores;
use firstcome_user::{
    account::{Email, Password},
    error::Error,
    guard::Guard,
    password::Hasher,
    throttle::Throttle,
};
use tonic::{Request, Status};
use tracing::{Dispatch, Event, Metadata, instrument::WithSubscriber as _, span};

use super::harness::{
    PASSWORD, Shop, address, assert_refused, keys, nobodys_token, sign_up_request, store,
};

/// No pause between two mails: what is tested is something else.
const EAGER: &[&str] = &["--code-cooldown=0s"];
const FIRST: &str = "str4nger's one";
const SECOND: &str = "str4nger's two";
const WRONG: &str = "wr0ng-one!";

/// What a stranger may ask of an address.
#[derive(Clone, Copy, Debug)]
enum Ask {
    SignUp(&'static str),
    Resend,
    Verify,
    VerifyWithoutToken,
    LogIn(&'static str),
    Reset,
    SetPassword,
}

/// Asks, and writes down all that is heard; of tokens, only that they look alike.
async fn heard(shop: &Shop, email: &str, ask: Ask) -> String {
    // The codes are not the stranger's to read, so all that are sent are wrong.
    let (code, reset) = ("000000", "CDFGHJKM");
    let mut accounts = shop.accounts.clone();
    let answer: Result<String, Status> = match ask {
        Ask::SignUp(password) => shop.sign_up(email, password).await.map(|ttl| format!("{ttl:?}")),
        Ask::Resend => {
            let request = ResendVerificationRequest { email: email.into() };
            accounts
                .resend_verification(request)
                .await
                .map(|answer| format!("{:?}", answer.into_inner()))
        }
        Ask::Verify => shop.verify(email, code).await.map(|()| String::new()),
        Ask::VerifyWithoutToken => {
            shop.verify_with(email, code, &nobodys_token()).await.map(|()| String::new())
        }
        Ask::LogIn(password) => shop.log_in(email, password, "k").await.map(|_| "in".into()),
        Ask::Reset => {
            let request = RequestPasswordResetRequest { email: email.into() };
            accounts
                .request_password_reset(request)
                .await
                .map(|answer| format!("{:?}", answer.into_inner()))
        }
        Ask::SetPassword => {
            let request = ResetPasswordRequest {
                email: email.into(),
                code: reset.into(),
                new_password: SECOND.into(),
            };
            accounts.reset_password(request).await.map(|_| String::new())
        }
    };
    match answer {
        Ok(said) => format!("Ok {said}"),
        Err(status) => {
            // When there is room again differs by the milliseconds between two calls.
            let refusal = Refusal::from_status(&status);
            let waits = refusal.retry_after.is_some();
            let refusal = Refusal { retry_after: None, ..refusal };
            format!("{:?} {refusal:?} {waits}", refusal.reason())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_and_a_taken_address_give_the_same_answers() {
    use Ask::{LogIn, Resend, Reset, SetPassword, SignUp, Verify, VerifyWithoutToken};
    use Reason::{BadCredentials, CodeInvalid, EmailNotVerified, RateLimited};
    let shop = Shop::open_with(EAGER).await;
    let (free, taken) = (address(), address());
    shop.member(&taken).await;
    let table = [
        (LogIn(FIRST), Some(BadCredentials)),
        (Resend, None),
        (Verify, Some(CodeInvalid)),
        (SignUp(FIRST), None),
        (LogIn(FIRST), Some(EmailNotVerified)),
        (LogIn(WRONG), Some(BadCredentials)),
        (SignUp(SECOND), None),
        (LogIn(FIRST), Some(BadCredentials)),
        (LogIn(SECOND), Some(EmailNotVerified)),
        (Resend, None),
        (LogIn(SECOND), Some(EmailNotVerified)),
        (VerifyWithoutToken, Some(CodeInvalid)),
        (Verify, Some(CodeInvalid)),
        (Verify, Some(CodeInvalid)),
        (Verify, Some(CodeInvalid)),
        (Verify, Some(CodeInvalid)),
        (Verify, Some(CodeInvalid)),
        (Verify, Some(CodeInvalid)),
        (Reset, None),
        (SetPassword, Some(CodeInvalid)),
        (LogIn(SECOND), Some(EmailNotVerified)),
        // Three were wrong so far.
        (LogIn(WRONG), Some(BadCredentials)),
        (LogIn(WRONG), Some(BadCredentials)),
        (LogIn(WRONG), Some(BadCredentials)),
        (LogIn(WRONG), Some(BadCredentials)),
        (LogIn(WRONG), Some(BadCredentials)),
        (LogIn(WRONG), Some(BadCredentials)),
        (LogIn(SECOND), Some(EmailNotVerified)),
        (LogIn(WRONG), Some(BadCredentials)),
        (LogIn(WRONG), Some(RateLimited)),
        (LogIn(SECOND), Some(RateLimited)),
    ];
    for (place, (ask, reason)) in table.into_iter().enumerate() {
        let of_free = heard(&shop, &free, ask).await;
        let of_taken = heard(&shop, &taken, ask).await;
        assert_eq!(of_free, of_taken, "{place}: {ask:?}");
        let want = reason.map_or_else(|| "Ok".to_owned(), |reason| format!("{reason:?}"));
        assert!(of_free.starts_with(&want), "{place}: {ask:?} gets {of_free}, not {want}");
    }
    let owner = shop.log_in_from("192.0.2.1", &taken, PASSWORD).await;
    owner.expect("the owner notices nothing of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_in_somebodys_name_buys_no_guesses_and_ends_with_the_account() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    let tokens = shop.member(&email).await;
    shop.sign_up(&email, FIRST).await.expect("an answer");
    let guess = async |password: &str| shop.log_in_from("192.0.2.7", &email, password).await;
    for _ in 0..10 {
        assert_refused(guess(WRONG).await, Reason::BadCredentials);
        if guess(FIRST).await.is_err_and(|it| reason(&it) == Reason::RateLimited) {
            break;
        }
    }
    assert_refused(guess(WRONG).await, Reason::RateLimited);
    assert_refused(guess(PASSWORD).await, Reason::RateLimited);

    let request = shop.by(&tokens, DeleteAccountRequest { password: PASSWORD.into() }).await;
    shop.profiles.clone().delete_account(request).await.expect("deleted");
    let stranger = shop.log_in_from("192.0.2.8", &email, FIRST).await;
    assert_refused(stranger, Reason::BadCredentials);
    let decoys = sqlx::query_scalar::<_, i64>("select count(*) from decoy_sign_ups");
    assert_eq!(decoys.fetch_one(&shop.database.pool).await.expect("a count"), 0);
}

fn reason(status: &Status) -> Reason {
    Refusal::from_status(status).reason()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_never_makes_good_what_a_stranger_signed_up() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    shop.sign_up(&email, PASSWORD).await.expect("the owner's");
    shop.code(&email, 1).await;
    let stranger = shop.accounts.clone().sign_up(sign_up_request(&email, FIRST)).await;
    let of_stranger = stranger.expect("the stranger's").into_inner().sign_up_token;
    // The owner reads the newest code, and comes with the token of their own sign-up.
    let code = shop.code(&email, 2).await;
    for _ in 0..6 {
        assert_refused(shop.verify(&email, &code).await, Reason::CodeInvalid);
    }
    assert_refused(shop.log_in(&email, FIRST, "k").await, Reason::EmailNotVerified);
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::BadCredentials);

    shop.sign_up(&email, PASSWORD).await.expect("the owner's, once more");
    let request = ResendVerificationRequest { email: email.clone() };
    shop.accounts.clone().resend_verification(request).await.expect("a mail");
    let code = shop.code(&email, 4).await;
    // The stranger does not burn it.
    for _ in 0..6 {
        let guess = shop.verify_with(&email, &code, &of_stranger).await;
        assert_refused(guess, Reason::CodeInvalid);
    }
    shop.verify(&email, &code).await.expect("a code that was sent again goes with the same token");
    shop.log_in(&email, PASSWORD, "k").await.expect("the owner");
    assert_refused(shop.log_in(&email, FIRST, "k").await, Reason::BadCredentials);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_told_of_a_strangers_sign_up_in_their_own_language() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    let speaking = |language: &str, password: &str| {
        let mut request = Request::new(sign_up_request(&email, password));
        let language = language.parse().expect("ASCII");
        request.metadata_mut().insert("accept-language", language);
        request
    };
    let answer = shop.accounts.clone().sign_up(speaking("ko", PASSWORD)).await;
    let token = answer.expect("a sign-up").into_inner().sign_up_token;
    let code = shop.code(&email, 1).await;
    shop.verify_with(&email, &code, &token).await.expect("the mailed code");
    shop.accounts.clone().sign_up(speaking("en", FIRST)).await.expect("an answer");
    let mails = shop.mails(&email, 2).await;
    assert!(mails[1].contains("이미"), "{}", mails[1]);
}

/// Counts the statements of whatever runs under it: sqlx tells of each.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicU64>);

impl tracing::Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// By counting, not by the clock: what is the same work takes the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_costs_the_same_whether_or_not_there_is_an_account() {
    let shop = Shop::open_with(EAGER).await;
    let (member, unknown, free, taken) = (address(), address(), address(), address());
    shop.member(&member).await;
    shop.member(&taken).await;
    for email in [&free, &taken] {
        shop.sign_up(email, FIRST).await.expect("a sign-up");
    }
    let redis = RedisPool::connect(stores().await.redis_url()).await.expect("connects");
    let guard = Guard {
        store: store(&shop.database).await,
        hasher: Hasher::start(),
        throttle: Throttle::new(&redis, keys().index()).await.expect("loads"),
    };
    let statements = Statements::default();
    // Of one subscriber alone, tracing asks whichever thread comes by first, another test's perhaps,
    // whether anybody listens; of two, it asks both.
    let listener = Dispatch::new(statements.clone());
    let _second = Dispatch::new(Statements::default());
    let from: Option<IpAddr> = "192.0.2.77".parse().ok();
    let cost = async |email: &str, password: &str| {
        let email = Email::from_field("email", email).expect("an address");
        let password = Password::attempt("password", password.into()).expect("a password");
        let counts = || (guard.hasher.hashed(), statements.0.load(Ordering::Relaxed));
        let before = counts();
        let call = guard.let_in(&email, password, from).with_subscriber(listener.clone());
        let answer = call.await.map(|account| account.id);
        let is_verified = !matches!(answer, Err(Error::EmailNotVerified));
        assert!(matches!(answer, Err(Error::BadCredentials | Error::EmailNotVerified)));
        let after = counts();
        (after.0 - before.0, after.1 - before.1, is_verified)
    };
    for email in [&member, &unknown] {
        assert_eq!(cost(email, WRONG).await, (1, 1, true), "nobody waits for a code");
    }
    for email in [&free, &taken] {
        assert_eq!(cost(email, WRONG).await, (2, 1, true), "a sign-up waits for its code");
        assert_eq!(cost(email, FIRST).await, (2, 1, false), "and this is its password");
    }
}
