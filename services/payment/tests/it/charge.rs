//! Each step exactly once by key, whatever the provider's answers do.

use std::time::Duration;

use firstcome_proto::{Reason, payment_v1::PaymentState as State};
use firstcome_testkit::eventually;
use futures::future::join_all;
use tonic::Request;

use super::harness::{Charge, SLOW, Shop, assert_refused, state};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_authorizations_reserve_once() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    let answers = join_all((0..50).map(|_| shop.authorize(&charge))).await;
    for answer in answers {
        assert_eq!(state(answer), State::Authorized);
    }
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_captures_and_refunds_move_money_once() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    for answer in join_all((0..50).map(|_| shop.capture(&charge))).await {
        assert_eq!(state(answer), State::Captured);
    }
    assert_eq!(state(shop.authorize(&charge).await), State::Captured);
    for answer in join_all((0..50).map(|_| shop.refund(&charge))).await {
        assert_eq!(state(answer), State::Refunded);
    }
    assert_refused(shop.capture(&charge).await, Reason::WrongState);
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000 CAPTURE 5000 REFUND 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_again_and_charges_once() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_answer_lost");
    assert_refused(shop.authorize(&charge).await, Reason::UpstreamUnavailable);
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_can_be_voided_without_ever_being_known() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_answer_lost");
    assert_refused(shop.authorize(&charge).await, Reason::UpstreamUnavailable);
    assert_eq!(state(shop.void(&charge).await), State::Voided);
    assert_eq!(state(shop.authorize(&charge).await), State::Voided);
    assert_refused(shop.capture(&charge).await, Reason::WrongState);
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000 VOID 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_before_the_authorization_kills_it() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    let payment = shop.void(&charge).await.expect("a payment");
    assert_eq!((payment.state(), payment.amount), (State::Voided, None));
    assert_eq!(state(shop.authorize(&charge).await), State::Voided);
    assert_eq!(state(shop.void(&charge).await), State::Voided);
    assert_eq!(shop.moved(&charge).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_during_a_slow_authorization_leaves_no_charge() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_slow");
    let (authorized, voided) = tokio::join!(shop.authorize(&charge), async {
        eventually(SLOW, || async { shop.own_state(&charge).await == Some(State::Authorizing) })
            .await;
        shop.void(&charge).await
    });
    assert_eq!((state(authorized), state(voided)), (State::Voided, State::Voided));
    assert_eq!(shop.moved(&charge).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_provider_is_waited_for_only_as_long_as_the_caller_waits() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_slow");
    let mut request = Request::new(charge.request());
    request.set_timeout(SLOW / 3);
    let started = std::time::Instant::now();
    let answer = shop.charges.clone().authorize(request).await;
    assert!(started.elapsed() < SLOW, "the caller waited for the provider");
    let answer = answer.map(|answer| answer.into_inner().payment.expect("a payment"));
    assert_refused(answer, Reason::UpstreamUnavailable);
    // The provider goes on alone; asked again, it says what it did.
    eventually(Duration::from_secs(5), || async { !shop.moved(&charge).await.is_empty() }).await;
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_cards_say_why_and_stay_declined() {
    let shop = Shop::open().await;
    for (card, code) in [
        ("pm_card_decline", "card_declined"),
        ("pm_card_insufficient_funds", "insufficient_funds"),
        ("pm_card_nobody_knows", "invalid_card"),
    ] {
        let charge = Charge::on(card);
        for _ in 0..2 {
            let payment = shop.authorize(&charge).await.expect("a payment");
            assert_eq!((payment.state(), payment.decline_code.as_str()), (State::Declined, code));
        }
        let refusal = assert_refused(shop.capture(&charge).await, Reason::WrongState);
        assert_eq!(refusal.metadata["state"], "DECLINED");
        assert_eq!(state(shop.void(&charge).await), State::Declined);
        assert_eq!(shop.moved(&charge).await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_refused_for_good_can_still_be_voided() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_capture_refused");
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    let refusal = assert_refused(shop.capture(&charge).await, Reason::WrongState);
    assert_eq!(refusal.metadata["state"], "AUTHORIZED");
    assert_eq!(state(shop.void(&charge).await), State::Voided);
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000 VOID 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn captures_and_voids_in_parallel_end_as_one_or_the_other() {
    let shop = Shop::open().await;
    let charges: Vec<_> = (0..40).map(|_| Charge::on("pm_card_approve")).collect();
    join_all(charges.iter().map(|charge| shop.authorize(charge))).await;
    let shop = &shop;
    let race = |charge| async move { tokio::join!(shop.capture(charge), shop.void(charge)) };
    for (charge, (captured, voided)) in charges.iter().zip(join_all(charges.iter().map(race)).await)
    {
        let moved = shop.moved(charge).await;
        if captured.is_ok() {
            assert_refused(voided, Reason::WrongState);
            assert_eq!(moved, "AUTHORIZE 5000 CAPTURE 5000");
        } else {
            assert_eq!(state(voided), State::Voided);
            assert_eq!(moved, "AUTHORIZE 5000 VOID 5000");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_used_for_another_charge_is_refused_and_charges_nothing() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    let dearer = Charge { amount_minor: 9, ..charge.clone() };
    let foreign = Charge { user: Charge::on("").user, ..charge.clone() };
    let other_card = Charge { card: "pm_card_slow", ..charge.clone() };
    for other in [dearer, foreign, other_card] {
        assert_refused(shop.authorize(&other).await, Reason::KeyReused);
    }
    assert_eq!(shop.moved(&charge).await, "AUTHORIZE 5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_begun_cannot_be_captured_or_refunded() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    assert_refused(shop.capture(&charge).await, Reason::NotFound);
    assert_refused(shop.refund(&charge).await, Reason::NotFound);
    assert_eq!(state(shop.authorize(&charge).await), State::Authorized);
    assert_refused(shop.refund(&charge).await, Reason::WrongState);
}
