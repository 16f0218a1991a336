//! The life of an order up to its payment, as buyers live it.

use std::time::Duration;

use firstcome_e2e::{Shop, shop::Terms};
use firstcome_proto::{
    Reason,
    order_v1::OrderState,
    payment_v1::{
        GetPaymentRequest, ListPaymentsRequest, PaymentState,
        payment_service_client::PaymentServiceClient,
    },
    user_v1::{
        LogInRequest, SignUpRequest, VerifyEmailRequest,
        account_service_client::AccountServiceClient,
    },
};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_signs_up_buys_and_pays() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(2)).await.unwrap();
    let mut accounts = AccountServiceClient::new(shop.channel.clone());
    let email = format!("minji-{}@example.com", Uuid::new_v4().simple());
    let password = "pairs-4-all!";
    let sign_up = SignUpRequest {
        name: "Kim Minji".into(),
        email: email.clone(),
        password: password.into(),
        phone: "+821012345678".into(),
    };
    let sign_up_token = accounts.sign_up(sign_up).await.unwrap().into_inner().sign_up_token;

    let log_in = LogInRequest {
        email: email.clone(),
        password: password.into(),
        idempotency_key: "first device".into(),
        device: "first device".into(),
    };
    let early = accounts.log_in(log_in.clone()).await.unwrap_err();
    let early = firstcome_proto::Refusal::from_status(&early);
    assert_eq!(early.reason(), Reason::EmailNotVerified);

    let code =
        firstcome_workbench::rush::mailed_code(&shop.mesh.address().mail, &email).await.unwrap();
    let verify = VerifyEmailRequest { email, code, sign_up_token };
    accounts.verify_email(verify).await.unwrap();
    let session = accounts.log_in(log_in).await.unwrap().into_inner();
    let buyer = firstcome_e2e::Buyer::new(
        shop.channel.clone(),
        session.user_id.parse().unwrap(),
        session.tokens.unwrap().access_token,
    )
    .unwrap();

    let order = buyer.buy(&sale, "my pair").await.unwrap();
    assert_eq!(order.state(), OrderState::PendingPayment);
    assert_eq!(order.total.as_ref().unwrap().amount_minor, 129_000);
    let paid = buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();
    assert_eq!(paid.state(), OrderState::Preparing);
    assert_eq!(buyer.pay(&order.order_id, "pm_card_approve").await.unwrap(), paid);
    assert_eq!(buyer.buy(&sale, "my pair").await.unwrap(), paid, "the key gives the order");
    assert_eq!(buyer.newest_orders().await.unwrap(), [paid]);

    let payments = PaymentServiceClient::new(shop.channel.clone())
        .list_payments(buyer.call(ListPaymentsRequest::default()))
        .await
        .unwrap()
        .into_inner()
        .payments;
    assert_eq!(payments.len(), 1);
    assert_eq!(payments[0].state(), PaymentState::Captured);
    assert_eq!(payments[0].payment_id, order.order_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_card_gives_the_unit_back_at_once() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let table = [
        ("pm_card_decline", Reason::CardDeclined),
        ("pm_card_insufficient_funds", Reason::InsufficientFunds),
    ];
    for (card, reason) in table {
        let order = buyer.buy(&sale, card).await.unwrap();
        let refusal = buyer.pay(&order.order_id, card).await.unwrap_err();
        assert_eq!(refusal.reason(), reason, "{card}");
        let order = buyer.order(&order.order_id).await.unwrap();
        assert_eq!(order.state(), OrderState::PaymentFailed);
        let back =
            || async { shop.stock(&sale).await.is_ok_and(|stock| stock.skus[0].available == 1) };
        firstcome_testkit::eventually(Duration::from_secs(5), back).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_the_provider_charges_once() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "k").await.unwrap();
    let paid = buyer.pay(&order.order_id, "pm_card_answer_lost").await.unwrap();
    assert_eq!(paid.state(), OrderState::Preparing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_is_on_sale_again_and_cannot_be_paid() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyers = shop.buyers(2).await.unwrap();
    let order = buyers[0].buy(&sale, "k").await.unwrap();
    let cancelled = buyers[0].cancel(&order.order_id).await.unwrap();
    assert_eq!(cancelled.state(), OrderState::Cancelled);
    assert_eq!(buyers[0].cancel(&order.order_id).await.unwrap(), cancelled);
    let pay = buyers[0].pay(&order.order_id, "pm_card_approve").await.unwrap_err();
    assert_eq!(pay.reason(), Reason::WrongState);
    let sold = || async { buyers[1].buy(&sale, "k").await.is_ok() };
    firstcome_testkit::eventually(Duration::from_secs(5), sold).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_its_buyers_alone() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyers = shop.buyers(2).await.unwrap();
    let order = buyers[0].buy(&sale, "k").await.unwrap();
    let id = &order.order_id;
    for refusal in [
        buyers[1].order(id).await.unwrap_err(),
        buyers[1].cancel(id).await.unwrap_err(),
        buyers[1].pay(id, "pm_card_approve").await.unwrap_err(),
    ] {
        assert_eq!(refusal.reason(), Reason::NotFound);
    }
    assert_eq!(buyers[0].order(id).await.unwrap().state(), OrderState::PendingPayment);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_slow_card_is_asked_the_buyers_other_payment_waits() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(2)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let [first, second] =
        [buyer.buy(&sale, "1").await.unwrap(), buyer.buy(&sale, "2").await.unwrap()];
    let paying = tokio::spawn({
        let (buyer, id) = (buyer.clone(), first.order_id.clone());
        async move { buyer.pay(&id, "pm_card_slow").await }
    });
    let payments = PaymentServiceClient::new(shop.channel.clone());
    let is_asked = || async {
        let request = GetPaymentRequest { payment_id: first.order_id.clone() };
        payments.clone().get_payment(buyer.call(request)).await.is_ok()
    };
    firstcome_testkit::eventually(Duration::from_secs(5), is_asked).await;
    let refused = buyer.pay(&second.order_id, "pm_card_approve").await.unwrap_err();
    assert_eq!(refused.reason(), Reason::PaymentInProgress);
    assert!(refused.retry_after.is_some());
    assert_eq!(paying.await.unwrap().unwrap().state(), OrderState::Preparing);
    let paid = buyer.pay(&second.order_id, "pm_card_approve").await.unwrap();
    assert_eq!(paid.state(), OrderState::Preparing);
}
