//! Webhooks: signed or not believed, told once or often, late or early; the money ends where the
//! payment says.

use std::{sync::Arc, time::Duration};

use firstcome_mesh::{Deadline, Shutdown};
use firstcome_payment::{
    charge::Charges,
    payment::State as Ours,
    sandbox::event::{self, Happened},
    signature,
    store::Store,
    webhook::worker::{AT_ONCE_MAX, Worker},
};
use firstcome_proto::{Reason, Refusal, payment_v1::PaymentState as State};
use firstcome_testkit::{eventually, rounds};
use futures::future::join_all;
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{
    harness::{Charge, Databases, SECRET, Shop, assert_refused, moved, state},
    merchant::{Delivery, Fate, Merchant},
    provider::{Lossy, Silent, sandbox},
};

/// Nothing here takes longer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

fn now_s() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn told(number: i64, charge: &Charge, state: Ours) -> Vec<u8> {
    event::write(&[Happened { number, charge: charge.id, state }])
}

fn signed(body: &[u8]) -> String {
    signature::sign(&SECRET.to_owned().into(), now_s(), body)
}

/// A shop that hears of what its sandbox does, by a line like this.
async fn hearing(fate: impl Fn(usize) -> Delivery + Send + Sync + 'static) -> Arc<Shop> {
    hearing_on(Databases::make().await, Arc::new(fate)).await.0
}

async fn hearing_on(databases: Databases, fate: Fate) -> (Arc<Shop>, Merchant) {
    let merchant = Merchant::listen(fate).await;
    let flags = [format!("--sandbox-webhook-url={}", merchant.url)];
    let shop = Arc::new(Shop::open_on(databases, &flags).await);
    merchant.serve(&shop);
    (shop, merchant)
}

/// Everything was told and followed up.
async fn all_quiet(shop: &Shop) {
    eventually(PATIENCE, || async {
        let untold: i64 = sqlx::query_scalar("select count(*) from events")
            .fetch_one(&shop.sandbox.pool)
            .await
            .expect("the outbox reads");
        untold == 0 && shop.events().await.1 == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_signed_about_now_is_refused_and_changes_nothing() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    let body = told(1, &charge, Ours::Captured);
    let secret = SECRET.to_owned().into();
    let refusals = [
        ("no signature", String::new()),
        ("somebody else's", signature::sign(&"somebody else's".to_owned().into(), now_s(), &body)),
        ("another body's", signed(b"{}")),
        ("an old one", signature::sign(&secret, now_s() - 301, &body)),
        ("one of the future", signature::sign(&secret, now_s() + 301, &body)),
    ];
    for (what, signature) in refusals {
        let refused = shop.hear(&signature, &body).await.expect_err(what);
        assert_eq!(Refusal::from_status(&refused).reason(), Reason::SignatureInvalid, "{what}");
    }
    let unknown = shop.hear_from("stripe", &signed(&body), &body).await.expect_err("unknown");
    assert_eq!(Refusal::from_status(&unknown).reason(), Reason::NotFound);
    let nonsense = b"{\"events\":[{\"id\":\"evt 1\",\"type\":\"x\",\
        \"charge\":\"00000000-0000-0000-0000-000000000000\"}]}";
    for body in [&b"not json"[..], nonsense] {
        let refused = shop.hear(&signed(body), body).await.expect_err("signed nonsense");
        let refusal = Refusal::from_status(&refused);
        assert_eq!(refusal.reason(), Reason::InvalidArgument);
        assert_eq!(refusal.violations[0].field, "body");
    }
    assert_eq!(shop.events().await, (0, 0));
    assert_eq!(shop.own_state(&charge).await, Some(State::Authorized));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_carries_no_truth() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    // Signed well, and wrong: the sandbox's ledger knows nothing of it.
    for (number, state) in [(1, Ours::Captured), (2, Ours::Voided), (3, Ours::Refunded)] {
        let body = told(number, &charge, state);
        shop.hear(&signed(&body), &body).await.expect("recorded");
    }
    all_quiet(&shop).await;
    assert_eq!(shop.own_state(&charge).await, Some(State::Authorized));
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_told_twenty_times_at_once_is_on_record_once() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    let body = told(1, &charge, Ours::Authorized);
    let signature = signed(&body);
    for heard in join_all((0..rounds()).map(|_| shop.hear(&signature, &body))).await {
        heard.expect("each delivery hears what the first did");
    }
    assert_eq!(shop.events().await, (1, 0));
    let unknown = told(2, &Charge::on(""), Ours::Captured);
    shop.hear(&signed(&unknown), &unknown).await.expect("recorded, whoever's it is");
    assert_eq!(shop.events().await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_only_a_webhook_tells_of_is_known() {
    let shop = hearing(|_| Delivery::Heard).await;
    let charge = Charge::on("pm_card_webhook_only");
    for _ in 0..2 {
        assert_refused(shop.authorize(&charge).await, Reason::UpstreamUnavailable);
    }
    eventually(PATIENCE, || async { shop.own_state(&charge).await == Some(State::Captured) }).await;
    assert_eq!(state(shop.authorize(&charge).await), State::Captured);
    assert_eq!(state(shop.capture(&charge).await), State::Captured);
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000 CAPTURE 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_in_time_prevents_what_only_a_webhook_would_tell() {
    let shop = hearing(|_| Delivery::Heard).await;
    let charge = Charge::on("pm_card_webhook_only");
    assert_refused(shop.authorize(&charge).await, Reason::UpstreamUnavailable);
    assert_eq!(state(shop.void(&charge).await), State::Voided);
    all_quiet(&shop).await;
    let to_pay: i64 = sqlx::query_scalar("select count(pays_at) from charges")
        .fetch_one(&shop.sandbox.pool)
        .await
        .unwrap();
    assert_eq!((to_pay, shop.moved(&charge).await.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_paid_is_given_back_once_and_opens_nothing() {
    // Each webhook arrives three times, and every other one again because its answer was lost.
    let shop =
        hearing(
            |number| {
                if number % 2 == 0 { Delivery::HeardThrice } else { Delivery::HeardInSecret }
            },
        )
        .await;
    let charges: Vec<_> = (0..rounds()).map(|_| Charge::on("pm_card_paid_late")).collect();
    join_all(charges.iter().map(async |charge| {
        assert_refused(shop.authorize(charge).await, Reason::UpstreamUnavailable);
        assert_eq!(state(shop.void(charge).await), State::Voided);
        assert_refused(shop.capture(charge).await, Reason::WrongState);
    }))
    .await;
    for charge in &charges {
        eventually(PATIENCE, || async { shop.own_state(charge).await == Some(State::Refunded) })
            .await;
        assert_eq!(state(shop.authorize(charge).await), State::Refunded);
        assert_eq!(state(shop.void(charge).await), State::Refunded);
        assert_refused(shop.capture(charge).await, Reason::WrongState);
    }
    all_quiet(&shop).await;
    for charge in &charges {
        let moved = shop.moved(charge).await;
        assert_eq!(moved, "AUTHORIZE 5000 CAPTURE 5000 REFUND 5000");
        assert_eq!(shop.own_state(charge).await, Some(State::Refunded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_beside_the_commands_change_nothing_of_how_they_end() {
    let shop =
        hearing(|number| [Delivery::Heard, Delivery::Refused, Delivery::HeardThrice][number % 3])
            .await;
    let lives = (0..rounds()).map(|round| {
        let shop = Arc::clone(&shop);
        async move {
            let charge = Charge::on("pm_card_approve");
            // What somebody overheard, or what comes before its turn: told all the time.
            let early = told(1_000_000 + round as i64, &charge, Ours::Captured);
            let signature = signed(&early);
            shop.hear(&signature, &early).await.expect("recorded");
            let (authorized, heard) =
                tokio::join!(shop.authorize(&charge), shop.hear(&signature, &early));
            heard.expect("recorded");
            assert_eq!(state(authorized), State::Authorized, "round {round}");
            match round % 3 {
                0 => assert_eq!(state(shop.void(&charge).await), State::Voided),
                1 => assert_eq!(state(shop.capture(&charge).await), State::Captured),
                _ => {
                    assert_eq!(state(shop.capture(&charge).await), State::Captured);
                    assert_eq!(state(shop.refund(&charge).await), State::Refunded);
                }
            }
            (round, charge)
        }
    });
    let charges = join_all(lives).await;
    all_quiet(&shop).await;
    for (round, charge) in charges {
        let (want, moved) = match round % 3 {
            0 => (State::Voided, "AUTHORIZE 5000 VOID 5000"),
            1 => (State::Captured, "AUTHORIZE 5000 CAPTURE 5000"),
            _ => (State::Refunded, "AUTHORIZE 5000 CAPTURE 5000 REFUND 5000"),
        };
        assert_eq!(shop.own_state(&charge).await, Some(want), "round {round}");
        assert_eq!(shop.moved(&charge).await, moved, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_tell_everything_and_again_what_was_not_heard() {
    let databases = Databases::make().await;
    let fate: Fate =
        Arc::new(|number| if number < 3 { Delivery::HeardInSecret } else { Delivery::Heard });
    let (shop, merchant) = hearing_on(databases.clone(), fate).await;
    let flags = [format!("--sandbox-webhook-url={}", merchant.url)];
    let _replica = Shop::open_on(databases, &flags).await;
    let charges: Vec<_> = (0..300).map(|_| Charge::on("pm_card_approve")).collect();
    join_all(charges.iter().map(|charge| shop.authorize(charge))).await;
    let declined = Charge::on("pm_card_decline");
    assert_eq!(state(shop.authorize(&declined).await), State::Declined);
    all_quiet(&shop).await;
    let told = merchant.told();
    assert_eq!(told.len(), charges.len() + 1, "every event was delivered");
    assert!(told.values().any(|times| *times > 1), "some more than once");
    assert_eq!(shop.events().await, (told.len() as i64, 0), "and is on record once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_fails_is_made_up_for() {
    let databases = Databases::make().await;
    let store = Store::connect(&databases.payments.url.clone().into(), 4).await.unwrap();
    let provider = sandbox(&databases).await;
    let lossy = Lossy::new(provider.clone());
    let shutdown = Shutdown::new();
    // No app: the sandbox pays by itself, and this worker alone follows up.
    provider.start(None, &shutdown);
    let charges = Charges::new(store.clone(), Arc::new(lossy.clone()));
    let recorded = Arc::new(Notify::new());
    let worker =
        Worker { provider: "sandbox", store: store.clone(), charges: charges.clone(), recorded };

    let charge = Charge::on("pm_card_paid_late");
    let deadline = Deadline::after(PATIENCE);
    let moved = async || moved(&databases.sandbox.pool, charge.id).await;
    charges.authorize(charge.intent(), deadline).await.expect_err("no answer ever");
    let voided = charges.void(charge.id, charge.user, deadline).await.unwrap();
    assert_eq!(voided.state, Ours::Voided);
    eventually(PATIENCE, || async { moved().await.ends_with("CAPTURE 5000") }).await;

    let events = event::read(&told(1, &charge, Ours::Captured)).unwrap();
    assert!(store.record_events("another", events.clone()).await.unwrap());
    assert!(store.claim_events("sandbox", 10).await.unwrap().is_empty(), "not this worker's");
    assert!(store.record_events("sandbox", events).await.unwrap());
    // The answer to the first look gets lost; a second later the event is due again.
    lossy.lose(1);
    worker.start(&shutdown);
    eventually(PATIENCE, || async { lossy.has_lost() }).await;
    let state = async || store.find(charge.id, deadline).await.unwrap().map(|found| found.state);
    eventually(PATIENCE, || async { state().await == Some(Ours::Refunded) }).await;
    let settled = "select tries from webhook_events where provider = 'sandbox' and due_at is null";
    eventually(PATIENCE, || async {
        let tries: Option<i32> =
            sqlx::query_scalar(settled).fetch_optional(&databases.payments.pool).await.unwrap();
        tries == Some(2)
    })
    .await;
    assert_eq!(moved().await, "AUTHORIZE 5000 CAPTURE 5000 REFUND 5000");
    shutdown.begin();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_claimed_than_is_followed_up_at_once_and_nothing_after_the_end() {
    let databases = Databases::make().await;
    let store = Store::connect(&databases.payments.url.clone().into(), 4).await.unwrap();
    let mut happened = Vec::new();
    for number in 0..3 * AT_ONCE_MAX {
        let charge = Charge::on("pm_card_approve");
        store.begin(charge.intent(), Deadline::after(PATIENCE)).await.unwrap();
        happened.push(Happened { number, charge: charge.id, state: Ours::Authorized });
    }
    let events = event::read(&event::write(&happened)).unwrap();
    assert!(store.record_events("silent", events).await.unwrap());

    let (provider, shutdown) = (Silent::new(), Shutdown::new());
    let charges = Charges::new(store.clone(), Arc::new(provider.clone()));
    let recorded = Arc::new(Notify::new());
    Worker { provider: "silent", store, charges, recorded }.start(&shutdown);
    let claimed = async || -> i64 {
        sqlx::query_scalar("select count(*) from webhook_events where tries > 0")
            .fetch_one(&databases.payments.pool)
            .await
            .unwrap()
    };
    eventually(PATIENCE, || async { claimed().await > 0 }).await;
    assert_eq!(claimed().await, AT_ONCE_MAX);
    shutdown.begin();
    provider.hang_up();
    shutdown.finished().await;
    assert_eq!(claimed().await, AT_ONCE_MAX, "the rest is for other replicas");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_are_forgotten_beside_what_another_replica_forgets() {
    let databases = Databases::make().await;
    let pool = &databases.payments.pool;
    // One for each day, the oldest still due.
    sqlx::query(
        "insert into webhook_events (provider, event_id, told, received_at, due_at)
         select 'sandbox', n, 'x', now() - n * interval '1 day', case when n = 40 then now() end
         from generate_series(1, 40) as n",
    )
    .execute(pool)
    .await
    .unwrap();
    let mut other = pool.begin().await.unwrap();
    sqlx::query("select from webhook_events where event_id in ('38', '39') for update")
        .execute(&mut *other)
        .await
        .unwrap();
    let store = Store::connect(&databases.payments.url.clone().into(), 1).await.unwrap();
    let forget = async || store.forget_events(5).await.unwrap();
    assert_eq!((forget().await, forget().await), (5, 3), "days 30 to 37");
    other.rollback().await.unwrap();
    assert_eq!((forget().await, forget().await), (2, 0), "what the other left");
    let left: i64 =
        sqlx::query_scalar("select count(*) from webhook_events").fetch_one(pool).await.unwrap();
    assert_eq!(left, 30);
}
