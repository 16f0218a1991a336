//! People see their own payments and nobody else's.

use firstcome_proto::{
    Reason, Refusal, UserId,
    payment_v1::{GetPaymentRequest, ListPaymentsRequest},
};
use tonic::Request;

use super::harness::{Charge, Shop, from_user};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_there_for_its_owner_alone() {
    let shop = Shop::open().await;
    let charge = Charge::on("pm_card_approve");
    shop.authorize(&charge).await.expect("a payment");
    let get = |user: UserId, payment_id: String| {
        let mut own = shop.own.clone();
        async move { own.get_payment(from_user(user, GetPaymentRequest { payment_id })).await }
    };
    let reason = |status| Refusal::from_status(&status).reason();
    let found = get(charge.user, charge.id.to_string()).await.expect("one's own payment");
    let payment = found.into_inner().payment.expect("a payment");
    assert_eq!(payment.payment_id, charge.id.to_string());
    assert_eq!(payment.amount.expect("an amount").amount_minor, 5000);

    let stranger = Charge::on("").user;
    let foreign = get(stranger, charge.id.to_string()).await.expect_err("another's payment");
    assert_eq!(reason(foreign), Reason::NotFound);
    let broken = get(charge.user, "1 or 1=1".into()).await.expect_err("not an id");
    assert_eq!(reason(broken), Reason::InvalidArgument);
    let request = Request::new(GetPaymentRequest { payment_id: charge.id.to_string() });
    let nobody = shop.own.clone().get_payment(request).await.expect_err("no identity");
    assert_eq!(reason(nobody), Reason::TokenInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_every_payment_once_newest_first() {
    let shop = Shop::open().await;
    let user = Charge::on("").user;
    let mut made = Vec::new();
    for _ in 0..7 {
        let charge = Charge { user, ..Charge::on("pm_card_approve") };
        shop.authorize(&charge).await.expect("a payment");
        made.insert(0, charge.id.to_string());
    }
    shop.authorize(&Charge::on("pm_card_approve")).await.expect("somebody else's payment");

    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = from_user(user, ListPaymentsRequest { page_size: 3, page_token });
        let page = shop.own.clone().list_payments(request).await.expect("a page").into_inner();
        listed.extend(page.payments.into_iter().map(|payment| payment.payment_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, made);
}
