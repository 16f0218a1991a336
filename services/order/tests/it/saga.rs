//! Paying and cancelling: each way it may go, and each step of it once not knowing its outcome.

use std::{collections::HashSet, time::Duration};

use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::HoldState,
    order_v1::{Order, OrderState},
    payment_v1::PaymentState,
};
use firstcome_testkit::eventually;
use futures::future::join_all;
use uuid::Uuid;

use super::{
    app::{Buyer, SOON, Shop, is, refused},
    peers::{
        Call::{
            self, Authorize, Capture, Pin, Refund, ReleaseCancel, ReleaseSaga, Restock, Settle,
            Void,
        },
        Fault,
    },
};

/// One way a payment may go.
pub struct Story {
    pub name: &'static str,
    /// What the peers refuse.
    pub refusals: &'static [(Call, Fault)],
    /// What is called, each step perhaps more than once.
    pub calls: &'static [Call],
    /// How it ends, for order, hold and money.
    pub state: OrderState,
    pub hold: HoldState,
    pub payment: Option<PaymentState>,
    /// What PayOrder answers, however often it is asked; `None` is the order.
    pub reason: Option<Reason>,
}

pub const STORIES: &[Story] = &[
    Story {
        name: "paid",
        refusals: &[],
        calls: &[Pin, Authorize, Settle, Capture],
        state: OrderState::Preparing,
        hold: HoldState::Settled,
        payment: Some(PaymentState::Captured),
        reason: None,
    },
    Story {
        name: "expired before it was pinned",
        refusals: &[(Pin, Fault::Refused)],
        calls: &[Pin],
        state: OrderState::Expired,
        hold: HoldState::Expired,
        payment: None,
        reason: Some(Reason::OrderExpired),
    },
    Story {
        name: "declined",
        refusals: &[(Authorize, Fault::Refused)],
        calls: &[Pin, Authorize, ReleaseSaga],
        state: OrderState::PaymentFailed,
        hold: HoldState::Released,
        payment: Some(PaymentState::Declined),
        reason: Some(Reason::CardDeclined),
    },
    Story {
        name: "too poor",
        refusals: &[(Authorize, Fault::Poor)],
        calls: &[Pin, Authorize, ReleaseSaga],
        state: OrderState::PaymentFailed,
        hold: HoldState::Released,
        payment: Some(PaymentState::Declined),
        reason: Some(Reason::InsufficientFunds),
    },
    Story {
        name: "out of stock when the card had said yes",
        refusals: &[(Settle, Fault::Refused)],
        calls: &[Pin, Authorize, Settle, Void, ReleaseSaga],
        state: OrderState::PaymentFailed,
        hold: HoldState::Expired,
        payment: Some(PaymentState::Voided),
        reason: Some(Reason::OutOfStock),
    },
    Story {
        name: "not captured when the units were sold",
        refusals: &[(Capture, Fault::Refused)],
        calls: &[Pin, Authorize, Settle, Capture, Restock, Void, ReleaseSaga],
        state: OrderState::PaymentFailed,
        hold: HoldState::Returned,
        payment: Some(PaymentState::Voided),
        reason: Some(Reason::CardDeclined),
    },
    Story {
        name: "taken by somebody else's hand when it was to be given up",
        refusals: &[(Settle, Fault::Refused), (Void, Fault::Refused)],
        calls: &[Pin, Authorize, Settle, Void, Refund, ReleaseSaga],
        state: OrderState::PaymentFailed,
        hold: HoldState::Expired,
        payment: Some(PaymentState::Refunded),
        reason: Some(Reason::OutOfStock),
    },
];

/// An order that lives through a story, with one fault more.
pub struct Case {
    pub story: &'static Story,
    pub fault: Option<(Call, Fault)>,
    pub buyer: Buyer,
    pub product: Uuid,
    pub order: Uuid,
}

impl Case {
    /// Places an order of its own product: calls for one product share batches, and here each
    /// order is to fail alone.
    pub async fn place(
        shop: &Shop,
        buyer: Buyer,
        story: &'static Story,
        fault: Option<(Call, Fault)>,
    ) -> Self {
        let product = Uuid::new_v4();
        let order = buyer.placed(product).await;
        let plan: Vec<_> = fault.iter().chain(story.refusals).copied().collect();
        shop.peers.plan(order, &plan);
        Self { story, fault, buyer, product, order }
    }

    /// Every story with each of these faults at each of its steps.
    pub fn all(faults: &[Fault]) -> impl Iterator<Item = (&'static Story, (Call, Fault))> {
        STORIES.iter().flat_map(move |story| {
            let steps = story.calls.iter();
            steps.flat_map(move |&call| faults.iter().map(move |&fault| (story, (call, fault))))
        })
    }

    /// Asserts that everything is as the story ends.
    pub async fn assert_ended(&self, shop: &Shop) {
        let Self { story, order, .. } = self;
        let name = format!("{}, {:?}", story.name, self.fault);
        assert_eq!(shop.peers.plan_left(*order), [], "{name}");
        let mut calls = shop.peers.calls(*order);
        assert_eq!(calls.remove(0), Call::Reserve);
        calls.dedup();
        // Whoever goes on begins with the step that is on the row, which may be the one before.
        let place = |call| story.calls.iter().position(|told| told == call);
        for pair in calls.windows(2).filter(|pair| place(&pair[1]) < place(&pair[0])) {
            let again = [[Authorize, Pin], [Capture, Settle]];
            assert!(again.contains(&[pair[0], pair[1]]), "{name}: {calls:?}");
        }
        let mut told = HashSet::new();
        calls.retain(|call| told.insert(*call));
        assert_eq!(calls, story.calls, "{name}");
        assert_eq!(shop.peers.hold(self.product, *order), Some(story.hold), "{name}");
        assert_eq!(shop.peers.payment(*order), story.payment, "{name}");
        assert_eq!(self.buyer.get(*order).await.unwrap().state(), story.state, "{name}");
        self.assert_answer(&self.buyer.pay(*order).await);
    }

    pub fn assert_answer(&self, answer: &Result<Order, Refusal>) {
        match self.story.reason {
            None => is(answer, OrderState::Preparing),
            Some(reason) => refused(answer, reason),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_story_ends_as_told_and_is_told_again() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    join_all(STORIES.iter().map(async |story| {
        let case = Case::place(&shop, replica.buyer(), story, None).await;
        case.assert_answer(&case.buyer.pay(case.order).await);
        case.assert_ended(&shop).await;
    }))
    .await;
    assert_eq!(shop.unfinished().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_outcome_is_unknown_is_tried_again() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let cases = Case::all(&[Fault::UnknownBefore, Fault::UnknownAfter]);
    join_all(cases.map(async |(story, fault)| {
        let case = Case::place(&shop, replica.buyer(), story, Some(fault)).await;
        case.assert_answer(&case.buyer.pay(case.order).await);
        case.assert_ended(&shop).await;
    }))
    .await;
    assert_eq!(shop.unfinished().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_never_answers_is_given_up_and_its_late_answer_killed() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let product = Uuid::new_v4();
    let order = buyer.placed(product).await;
    shop.peers.plan(order, &[(Authorize, Fault::AlwaysUnknown)]);

    refused(&buyer.pay_within(order, SOON * 2).await, Reason::CardDeclined);
    is(&buyer.get(order).await, OrderState::PaymentFailed);
    assert_eq!(shop.peers.payment(order), Some(PaymentState::Voided));
    assert_eq!(shop.peers.hold(product, order), Some(HoldState::Released));
    let tries = shop.peers.calls(order).iter().filter(|call| **call == Authorize).count();
    assert!((3..=8).contains(&tries), "{tries} tries in ten seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_payment_is_under_way_its_buyer_begins_no_other() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let (first, second) = (buyer.placed(Uuid::new_v4()).await, buyer.placed(Uuid::new_v4()).await);
    shop.peers.plan(first, &[(Authorize, Fault::HangBefore)]);
    let paying = tokio::spawn({
        let buyer = buyer.clone();
        async move { buyer.pay(first).await }
    });
    eventually(SOON, || async { shop.peers.hanging() == 1 }).await;

    refused(&buyer.pay(first).await, Reason::PaymentInProgress);
    refused(&buyer.pay(second).await, Reason::PaymentInProgress);
    refused(&buyer.cancel(first).await, Reason::PaymentInProgress);
    is(&buyer.get(first).await, OrderState::PendingPayment);
    let other = replica.buyer();
    let elsewhere = other.placed(Uuid::new_v4()).await;
    is(&other.pay(elsewhere).await, OrderState::Preparing);

    is(&paying.await.unwrap(), OrderState::Preparing);
    is(&buyer.pay(second).await, OrderState::Preparing);
    is(&buyer.cancel(second).await, OrderState::Cancelled);
    assert_eq!(shop.peers.payment(second), Some(PaymentState::Refunded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_on_when_its_caller_has_given_up() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let order = buyer.placed(Uuid::new_v4()).await;
    shop.peers.plan(order, &[(Authorize, Fault::HangBefore)]);
    let given_up = buyer.pay_within(order, Duration::from_millis(300)).await;
    refused(&given_up, Reason::DeadlineExceeded);
    eventually(SOON, || async { shop.unfinished().await == 0 }).await;
    is(&buyer.pay(order).await, OrderState::Preparing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_stays_cancelled_and_its_units_are_free() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    for fault in [None, Some(Fault::UnknownBefore), Some(Fault::UnknownAfter)] {
        let buyer = replica.buyer();
        let product = Uuid::new_v4();
        let order = buyer.placed(product).await;
        let plan: Vec<_> = fault.into_iter().map(|fault| (ReleaseCancel, fault)).collect();
        shop.peers.plan(order, &plan);
        let (one, other) = tokio::join!(buyer.cancel(order), buyer.cancel(order));
        is(&one, OrderState::Cancelled);
        is(&other, OrderState::Cancelled);
        is(&buyer.cancel(order).await, OrderState::Cancelled);
        refused(&buyer.pay(order).await, Reason::WrongState);
        assert_eq!(shop.peers.hold(product, order), Some(HoldState::Cancelled));
        assert_eq!(shop.peers.payment(order), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_what_has_expired_says_so() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let product = Uuid::new_v4();
    let order = buyer.placed(product).await;
    shop.peers.set_hold(product, order, HoldState::Expired);
    refused(&buyer.cancel(order).await, Reason::OrderExpired);
    is(&buyer.get(order).await, OrderState::Expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn paying_and_cancelling_at_once_comes_to_one_of_them() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    join_all((0..40).map(async |_| {
        let buyer = replica.buyer();
        let product = Uuid::new_v4();
        let order = buyer.placed(product).await;
        let (paid, cancelled) = tokio::join!(buyer.pay(order), buyer.cancel(order));
        match (&paid, &cancelled) {
            (Ok(_), Err(_)) => {
                assert_eq!(shop.peers.hold(product, order), Some(HoldState::Settled));
                assert_eq!(shop.peers.payment(order), Some(PaymentState::Captured));
            }
            (Err(_), Ok(_)) => {
                assert_eq!(shop.peers.hold(product, order), Some(HoldState::Cancelled));
                assert_eq!(shop.peers.payment(order), None);
            }
            other => panic!("one of them: {other:?}"),
        }
    }))
    .await;
    assert_eq!(shop.unfinished().await, 0);
}
