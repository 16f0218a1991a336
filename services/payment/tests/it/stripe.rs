//! The same promises with Stripe as the provider: each step exactly once, whatever gets lost.

use std::time::Duration;

use firstcome_payment::signature;
use firstcome_proto::{Reason, payment_v1::PaymentState as State};
use firstcome_testkit::{eventually, rounds};
use time::OffsetDateTime;

use super::{
    harness::{Charge, Databases, SECRET, Shop, assert_refused, state},
    stripe_peer::{POOR_CARD, Peer},
};

/// Nothing here takes longer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);
const CARD: &str = "pm_card_visa";

/// Requests, as the peer counts them.
const CREATE: &str = "POST /v1/payment_intents";
const CAPTURE: &str = "POST …/capture";
const CANCEL: &str = "POST …/cancel";
const REFUND: &str = "POST /v1/refunds";
const LOOK: &str = "GET …";
const SEARCH: &str = "GET /v1/payment_intents/search";

async fn open() -> (Shop, Peer) {
    let peer = Peer::listen().await;
    let flags = [
        "--provider=stripe".to_owned(),
        format!("--stripe-base-url={}", peer.url),
        "--stripe-secret-key=sk_test_of_these_tests".to_owned(),
        format!("--stripe-webhook-secret={SECRET}"),
    ];
    (Shop::open_on(Databases::make().await, &flags).await, peer)
}

async fn tell(shop: &Shop, body: &[u8]) {
    let now_s = OffsetDateTime::now_utc().unix_timestamp();
    let signature = signature::sign(&SECRET.to_owned().into(), now_s, body);
    shop.hear_from("stripe", &signature, body).await.expect("recorded");
}

async fn becomes(shop: &Shop, charge: &Charge, state: State) {
    eventually(PATIENCE, || async { shop.own_state(charge).await == Some(state) }).await;
}

/// Nobody remembers the intent's name, and perhaps it was long ago.
async fn forget_name(shop: &Shop, charge: &Charge, age_hours: i32) {
    sqlx::query(
        "update payments set provider_reference = null,
            created_at = created_at - make_interval(hours => $2) where payment_id = $1",
    )
    .bind(charge.id.0)
    .bind(age_hours)
    .execute(&shop.payments.pool)
    .await
    .expect("the row is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_reserved_taken_and_given_back_once() {
    let (shop, peer) = open().await;
    let charge = Charge::on(CARD);
    for _ in 0..2 {
        assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    }
    for _ in 0..2 {
        assert_eq!(state(shop.capture(&charge).await), State::Captured);
    }
    assert_refused(shop.void(&charge).await, Reason::WrongState);
    for _ in 0..2 {
        assert_eq!(state(shop.refund(&charge).await), State::Refunded);
    }
    assert_eq!(peer.moved(charge.id), ["AUTHORIZE CAPTURE REFUND"]);
    assert_eq!((peer.asked(CREATE), peer.asked(CAPTURE), peer.asked(REFUND)), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_says_why() {
    let (shop, peer) = open().await;
    let charge = Charge::on(POOR_CARD);
    for _ in 0..2 {
        let payment = shop.authorize(&charge).await.expect("a payment");
        assert_eq!(payment.state(), State::Declined);
        assert_eq!(payment.decline_code, "insufficient_funds");
    }
    assert_refused(shop.capture(&charge).await, Reason::WrongState);
    assert_eq!(peer.moved(charge.id), [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_whose_answers_are_lost_is_done_once() {
    let (shop, peer) = open().await;
    for round in 0..rounds() {
        let charge = Charge::on(CARD);
        // In every other round nobody can be asked either whether it was done.
        let lost = 1 + round % 2;
        for step in [CREATE, CAPTURE, REFUND] {
            peer.lose(step, lost);
        }
        peer.lose(LOOK, if round % 4 < 2 { 0 } else { 2 * lost });
        let mut refusals = 0;
        loop {
            let done = async {
                shop.authorize(&charge).await?;
                shop.capture(&charge).await?;
                shop.refund(&charge).await
            };
            match done.await {
                Ok(payment) => break assert_eq!(payment.state(), State::Refunded),
                // A caller of a payment that is refunded already is through with its capture.
                Err(status) => {
                    assert_refused(Err(status), Reason::UpstreamUnavailable);
                    refusals += 1;
                }
            }
        }
        let steps = if round % 4 < 2 { 1 } else { 3 };
        assert_eq!(refusals, steps * lost, "round {round}: what is unknown is said to be");
        assert_eq!(peer.moved(charge.id), ["AUTHORIZE CAPTURE REFUND"], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_authorisation_is_voided_by_asking_for_it_again() {
    let (shop, peer) = open().await;
    let charge = Charge::on(CARD);
    peer.lose(CREATE, 1);
    assert_refused(shop.authorize(&charge).await, Reason::UpstreamUnavailable);
    assert_eq!(state(shop.void(&charge).await), State::Voided);
    assert_eq!(peer.moved(charge.id), ["AUTHORIZE VOID"]);
    // The key now answers as it did first, "reserved"; our row does not listen.
    assert_eq!(state(shop.authorize(&charge).await), State::Voided);
    assert_refused(shop.capture(&charge).await, Reason::WrongState);
    assert_eq!(peer.moved(charge.id), ["AUTHORIZE VOID"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_payment_is_found_by_its_metadata_and_makes_no_second_intent() {
    let (shop, peer) = open().await;
    let charge = Charge::on(CARD);
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    forget_name(&shop, &charge, 24).await;
    assert_eq!(state(shop.void(&charge).await), State::Voided);
    assert_eq!((peer.asked(CREATE), peer.asked(SEARCH), peer.asked(CANCEL)), (1, 1, 1));
    assert_eq!(peer.moved(charge.id), ["AUTHORIZE VOID"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_begun_is_voided_without_asking_and_never_begins() {
    let (shop, peer) = open().await;
    let charge = Charge::on(CARD);
    assert_eq!(state(shop.void(&charge).await), State::Voided);
    assert_eq!(state(shop.authorize(&charge).await), State::Voided);
    assert_eq!(peer.asked(CREATE), 0);
    assert!(peer.moved(charge.id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_tells_of_an_authorisation_whose_answer_was_lost() {
    let (shop, peer) = open().await;
    let charge = Charge::on(CARD);
    peer.lose(CREATE, 1);
    assert_refused(shop.authorize(&charge).await, Reason::UpstreamUnavailable);
    let body = peer.event("payment_intent.amount_capturable_updated", charge.id);
    for _ in 0..3 {
        tell(&shop, &body).await;
    }
    becomes(&shop, &charge, State::Authorized).await;
    assert_eq!(state(shop.capture(&charge).await), State::Captured);
    assert_eq!((peer.asked(CREATE), peer.asked(SEARCH)), (1, 0), "the event names the intent");
    assert_eq!(peer.moved(charge.id), ["AUTHORIZE CAPTURE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_paid_is_given_back_once() {
    let (shop, peer) = open().await;
    for round in 0..rounds() {
        let charge = Charge::on(CARD);
        assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
        assert_eq!(state(shop.void(&charge).await), State::Voided);
        let body = peer.capture_by_itself(charge.id);
        peer.lose(REFUND, round % 2);
        for _ in 0..2 {
            tell(&shop, &body).await;
        }
        becomes(&shop, &charge, State::Refunded).await;
        tell(&shop, &peer.event("charge.refunded", charge.id)).await;
        assert_refused(shop.capture(&charge).await, Reason::WrongState);
        assert_eq!(peer.moved(charge.id), ["AUTHORIZE VOID CAPTURE REFUND"], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_is_away_leaves_everything_unknown() {
    let flags = [
        "--provider=stripe".to_owned(),
        "--stripe-base-url=http://127.0.0.1:1".to_owned(),
        "--stripe-secret-key=sk_test_of_these_tests".to_owned(),
    ];
    let shop = Shop::open_on(Databases::make().await, &flags).await;
    let charge = Charge::on(CARD);
    assert_refused(shop.authorize(&charge).await, Reason::UpstreamUnavailable);
    assert_refused(shop.void(&charge).await, Reason::UpstreamUnavailable);
    assert_eq!(shop.own_state(&charge).await, Some(State::Authorizing));
}
