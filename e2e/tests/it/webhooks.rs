//! Webhooks through the public port, as a provider sends them, and what they do to orders.

use std::time::Duration;

use firstcome_e2e::{Buyer, Shop, shop::Terms};
use firstcome_local::{Role, Service};
use firstcome_proto::{
    Refusal,
    order_v1::OrderState,
    payment_v1::{GetPaymentRequest, PaymentState, payment_service_client::PaymentServiceClient},
};
use firstcome_testkit::{eventually, rounds};
use futures::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use sha2::Sha256;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

/// A payment without an answer is given up after ten seconds, on a machine that has time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How late the sandbox pays what it pays by itself.
const SLOW: (Service, &str, &str) = (Service::Payment, "FIRSTCOME_SANDBOX_SLOW", "1s");

fn now_s() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// The secret that the shop's sandbox signs with.
fn secret(shop: &Shop) -> String {
    let env = shop.mesh.address().env_of(Service::Payment);
    let name = "FIRSTCOME_SANDBOX_WEBHOOK_SECRET";
    env.into_iter().find(|(variable, _)| variable == name).unwrap().1
}

/// Signed as the form is published, not by our own code.
fn sign(secret: &str, signed_at_s: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{signed_at_s}.{body}").as_bytes());
    let signature = mac.finalize().into_bytes();
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={signed_at_s},v1={hex}")
}

/// An event that says this of an order's charge, with an id of its own.
fn event(kind: &str, order_id: &str) -> (String, String) {
    let id = format!("evt_told_{}", Uuid::new_v4().simple());
    let body =
        format!(r#"{{"events":[{{"id":"{id}","type":"charge.{kind}","charge":"{order_id}"}}]}}"#);
    (id, body)
}

async fn post(shop: &Shop, path: &str, signature: &str, body: &str) -> StatusCode {
    let edge = shop.mesh.address().endpoint(Service::Edge);
    // A provider has many machines; from a single one, a long run of these stories is too much.
    let [high, low] = rand::random::<[u8; 2]>();
    let request = Request::post(format!("{edge}{path}"))
        .header("x-forwarded-for", format!("198.18.{high}.{low}"))
        .header("sandbox-signature", signature)
        .body(Full::new(bytes::Bytes::from(body.to_owned())))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    client.request(request).await.unwrap().status()
}

/// Sends an event as the sandbox would.
async fn tell(shop: &Shop, body: &str) -> StatusCode {
    post(shop, "/webhooks/sandbox", &sign(&secret(shop), now_s(), body), body).await
}

async fn payment_state(shop: &Shop, buyer: &Buyer, order_id: &str) -> Option<PaymentState> {
    let request = buyer.call(GetPaymentRequest { payment_id: order_id.to_owned() });
    let answer = PaymentServiceClient::new(shop.channel.clone()).get_payment(request).await;
    Some(answer.ok()?.into_inner().payment?.state())
}

/// What the provider's own ledger says happened to an order's money.
async fn moved(shop: &Shop, order_id: &str) -> String {
    let url = shop.mesh.address().database_url(Role::Sandbox);
    let pool = PgPool::connect(url).await.unwrap();
    let sql = "select coalesce(string_agg(kind, ' ' order by movement_id), '') from movements
        where charge_key = $1";
    let id: Uuid = order_id.parse().unwrap();
    sqlx::query_scalar(sql).bind(id).fetch_one(&pool).await.unwrap()
}

/// How often an event is on record.
async fn recorded(shop: &Shop, event_id: &str) -> i64 {
    let url = shop.mesh.address().database_url(Role::Payment);
    let pool = PgPool::connect(url).await.unwrap();
    let sql = "select count(*) from webhook_events where event_id = $1";
    sqlx::query_scalar(sql).bind(event_id).fetch_one(&pool).await.unwrap()
}

/// Waits until nothing is left to do about an event.
async fn followed_up(shop: &Shop, event_id: &str) {
    let url = shop.mesh.address().database_url(Role::Payment);
    let pool = PgPool::connect(url).await.unwrap();
    let sql = "select count(*) from webhook_events where event_id = $1 and due_at is null";
    eventually(PATIENCE, || async {
        let settled: i64 = sqlx::query_scalar(sql).bind(event_id).fetch_one(&pool).await.unwrap();
        settled == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_with_a_wrong_or_old_signature_is_refused_and_changes_nothing() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "k").await.unwrap();
    let paid = buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();

    let (id, body) = event("refunded", &order.order_id);
    let secret = secret(shop);
    let good = sign(&secret, now_s(), &body);
    let large = " ".repeat((64 << 10) + 1);
    let table = [
        ("no signature", "/webhooks/sandbox", String::new(), &body, 400),
        ("a stranger's", "/webhooks/sandbox", sign("a stranger's", now_s(), &body), &body, 400),
        ("an old one", "/webhooks/sandbox", sign(&secret, now_s() - 301, &body), &body, 400),
        ("another body's", "/webhooks/sandbox", sign(&secret, now_s(), "{}"), &body, 400),
        ("another provider's", "/webhooks/stripe", good.clone(), &body, 404),
        ("nobody's", "/webhooks/nobody", good, &body, 404),
        ("too large", "/webhooks/sandbox", sign(&secret, now_s(), &large), &large, 413),
    ];
    for (what, path, signature, body, want) in table {
        assert_eq!(post(shop, path, &signature, body).await.as_u16(), want, "{what}");
    }
    assert_eq!(recorded(shop, &id).await, 0);
    assert_eq!(buyer.order(&order.order_id).await.unwrap(), paid);
    let state = payment_state(shop, &buyer, &order.order_id).await;
    assert_eq!(state, Some(PaymentState::Captured));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_twice_is_on_record_once_and_believed_never() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "k").await.unwrap();
    let paid = buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();

    // Signed well, but the provider's ledger knows of no refund.
    let (id, body) = event("refunded", &order.order_id);
    for status in join_all((0..5).map(|_| tell(shop, &body))).await {
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(recorded(shop, &id).await, 1);
    let (unknown, body) = event("captured", &Uuid::new_v4().to_string());
    assert_eq!(tell(shop, &body).await, StatusCode::OK);
    assert_eq!(recorded(shop, &unknown).await, 1);
    // It was answered before it was followed up; only after that is it known what it changed.
    followed_up(shop, &id).await;
    followed_up(shop, &unknown).await;
    assert_eq!(buyer.order(&order.order_id).await.unwrap(), paid);
    let state = payment_state(shop, &buyer, &order.order_id).await;
    assert_eq!(state, Some(PaymentState::Captured));
    assert_eq!(moved(shop, &order.order_id).await, "AUTHORIZE CAPTURE");
}

/// Pitfalls 11 and 13: paid after the end, and an order that a late "paid" opens again.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_paid_is_refunded_and_its_order_stays_as_it_was() {
    let shop = Shop::own(&[SLOW]).await.unwrap();
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyers = shop.buyers(2).await.unwrap();
    let (late, next) = (&buyers[0], &buyers[1]);
    let order = late.buy(&sale, "k").await.unwrap();
    let failed = late.pay(&order.order_id, "pm_card_paid_late").await;
    assert!(failed.is_err(), "the bank never answers: {failed:?}");
    eventually(PATIENCE, || async {
        late.order(&order.order_id)
            .await
            .is_ok_and(|order| order.state() == OrderState::PaymentFailed)
    })
    .await;
    let given_up = late.order(&order.order_id).await.unwrap();

    // The unit goes to somebody else before the bank's "paid" comes.
    let sold = buy_at_last(next, &sale).await;
    let paid = next.pay(&sold, "pm_card_approve").await.unwrap();
    assert_eq!(paid.state(), OrderState::Preparing);
    eventually(PATIENCE, || async {
        let state = payment_state(&shop, late, &order.order_id).await;
        state == Some(PaymentState::Refunded)
    })
    .await;

    // Told again, by somebody who overheard it or by a provider that repeats itself.
    for kind in ["authorized", "captured", "captured"] {
        assert_eq!(tell(&shop, &event(kind, &order.order_id).1).await, StatusCode::OK);
    }
    shop.verify().await.unwrap();
    assert_eq!(late.order(&order.order_id).await.unwrap(), given_up);
    assert_eq!(next.order(&sold).await.unwrap(), paid);
    assert_eq!(moved(&shop, &order.order_id).await, "AUTHORIZE CAPTURE REFUND");
}

async fn buy_at_last(buyer: &Buyer, sale: &firstcome_e2e::Sale) -> String {
    eventually(PATIENCE, || async { buyer.buy(sale, "k").await.is_ok() }).await;
    buyer.buy(sale, "k").await.unwrap().order_id
}

/// Pitfall 12: the webhook races the client's confirm, or comes before the payment exists.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_before_during_and_after_the_confirm_change_nothing_of_how_it_ends() {
    let shop = Shop::own(&[SLOW]).await.unwrap();
    let sale = shop.sell(Terms::of(rounds() as i32)).await.unwrap();
    let buyers = shop.buyers(rounds()).await.unwrap();
    let (shop, sale) = (&shop, &sale);
    let lives = buyers.iter().enumerate().map(|(round, buyer)| async move {
        let order_id = buyer.buy(sale, "k").await.unwrap().order_id;
        // One card that answers, one that loses its first answer, one that only tells by webhook.
        let cards = ["pm_card_approve", "pm_card_answer_lost", "pm_card_webhook_only"];
        let card = cards[round % cards.len()];
        let kinds = ["captured", "authorized", "voided", "refunded"];
        let told = || async {
            for kind in kinds {
                let (_, body) = event(kind, &order_id);
                let (one, other) = tokio::join!(tell(shop, &body), tell(shop, &body));
                assert_eq!((one, other), (StatusCode::OK, StatusCode::OK), "{kind}");
            }
        };
        told().await;
        let paid = async {
            loop {
                match buyer.pay(&order_id, card).await {
                    Ok(order) => break order,
                    Err(refusal) => assert!(may_pass(&refusal), "{card}: {refusal:?}"),
                }
            }
        };
        let (paid, ()) = tokio::join!(paid, told());
        told().await;
        assert_eq!(paid.state(), OrderState::Preparing, "{card}");
        order_id
    });
    let orders = join_all(lives).await;
    shop.verify().await.unwrap();
    for (buyer, order_id) in buyers.iter().zip(&orders) {
        let order = buyer.order(order_id).await.unwrap();
        assert_eq!(order.state(), OrderState::Preparing);
        assert_eq!(payment_state(shop, buyer, order_id).await, Some(PaymentState::Captured));
        assert_eq!(moved(shop, order_id).await, "AUTHORIZE CAPTURE");
    }
}

/// A payment that is still under way when its caller's time is over is asked for again.
fn may_pass(refusal: &Refusal) -> bool {
    use firstcome_proto::Reason;
    matches!(refusal.reason(), Reason::PaymentInProgress | Reason::DeadlineExceeded)
}
