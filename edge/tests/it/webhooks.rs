//! Webhooks over both HTTPs, passed on as they came, and answered so that a provider does the right
//! thing.

use bytes::Bytes;
use firstcome_proto::{
    Reason, Refusal,
    payment_v1::{ReceiveWebhookRequest, ReceiveWebhookResponse},
};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::mesh::{Mesh, refused, unary, until};

const RECEIVE: &str = "payment.v1.WebhookService/ReceiveWebhook";

/// An edge whose payment records everything.
async fn recording(change: impl FnOnce(&mut firstcome_edge::Config)) -> Mesh {
    let mesh = Mesh::start_with(change).await;
    mesh.scripts.on(RECEIVE, |_| async { unary(&ReceiveWebhookResponse {}) });
    mesh
}

fn client(is_http2: bool) -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(is_http2).build_http()
}

fn webhook(mesh: &Mesh, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("http://{}{path}", mesh.edge))
        .header("content-type", "application/json")
        .header("stripe-signature", "t=1,v1=00")
        .body(Full::new(body.into()))
        .unwrap()
}

async fn answer(request: Request<Full<Bytes>>) -> (StatusCode, String) {
    let answer = client(false).request(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_reaches_payment_byte_for_byte_over_both_https() {
    let mesh = recording(|_| {}).await;
    // Not even well-formed text: whatever was signed is what payment verifies.
    let body = Bytes::from_static(b"{\"a\" : 1}\r\n\0\xff");
    for is_http2 in [false, true] {
        let request = webhook(&mesh, "/webhooks/stripe", body.clone());
        let answer = client(is_http2).request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "HTTP/2: {is_http2}");
        assert!(!answer.headers().contains_key("grpc-status"));
    }
    let asked = mesh.scripts.asked(RECEIVE);
    assert_eq!(asked.len(), 2);
    for asked in asked {
        let passed: ReceiveWebhookRequest = asked.decode();
        assert_eq!((passed.provider.as_str(), passed.body), ("stripe", body.clone()));
        assert_eq!(passed.signature, "t=1,v1=00");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_payment_refuses_is_told_in_plain_http() {
    let mesh = recording(|_| {}).await;
    let table = [
        (Reason::SignatureInvalid, StatusCode::BAD_REQUEST),
        (Reason::InvalidArgument, StatusCode::BAD_REQUEST),
        (Reason::NotFound, StatusCode::NOT_FOUND),
        (Reason::UpstreamUnavailable, StatusCode::SERVICE_UNAVAILABLE),
        (Reason::Internal, StatusCode::INTERNAL_SERVER_ERROR),
    ];
    for (reason, want) in table {
        mesh.scripts
            .on(RECEIVE, move |_| async move { refused(&Refusal::because(reason, "why").into()) });
        let (status, told) = answer(webhook(&mesh, "/webhooks/stripe", "{}")).await;
        assert_eq!(status, want, "{reason:?}");
        assert_eq!(told, "why\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_webhook_never_reaches_payment() {
    let mesh = recording(|_| {}).await;
    let largest = vec![b'a'; 64 << 10];
    let larger = vec![b'a'; (64 << 10) + 1];
    let mut get = webhook(&mesh, "/webhooks/stripe", "");
    *get.method_mut() = Method::GET;
    let table = [
        (webhook(&mesh, "/webhooks/", "{}"), StatusCode::NOT_FOUND),
        (webhook(&mesh, "/webhooks/stripe/more", "{}"), StatusCode::NOT_FOUND),
        (webhook(&mesh, "/webhooks/..%2f", "{}"), StatusCode::NOT_FOUND),
        (get, StatusCode::METHOD_NOT_ALLOWED),
        (webhook(&mesh, "/webhooks/stripe", larger), StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (request, want) in table {
        let what = format!("{} {}", request.method(), request.uri());
        assert_eq!(answer(request).await.0, want, "{what}");
    }
    assert_eq!(mesh.scripts.asked(RECEIVE).len(), 0);
    assert_eq!(answer(webhook(&mesh, "/webhooks/stripe", largest)).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_sends_only_so_many() {
    // Enough for whoever asks, from 127.0.0.1, whether the edge is ready.
    let burst = 100;
    let mesh = recording(|config| {
        config.address_limit = format!("1/h burst {burst}").parse().unwrap();
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let from = |address: &str| {
        let mut request = webhook(&mesh, "/webhooks/stripe", "{}");
        request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        answer(request)
    };
    for _ in 0..burst {
        assert_eq!(from("192.0.2.1").await.0, StatusCode::OK);
    }
    assert_eq!(from("192.0.2.1").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from("192.0.2.2").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_edge_and_a_payment_that_is_gone_ask_for_it_again() {
    let full = recording(|config| config.calls_max = 1).await;
    let (may_answer, waits) = tokio::sync::watch::channel(false);
    full.scripts.on(RECEIVE, move |_| {
        let mut waits = waits.clone();
        async move {
            drop(waits.wait_for(|may| *may).await);
            unary(&ReceiveWebhookResponse {})
        }
    });
    let first = tokio::spawn(answer(webhook(&full, "/webhooks/stripe", "{}")));
    until("the only place is taken", async || !full.scripts.asked(RECEIVE).is_empty()).await;
    let (status, _) = answer(webhook(&full, "/webhooks/stripe", "{}")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    may_answer.send(true).unwrap();
    assert_eq!(first.await.unwrap().0, StatusCode::OK);

    let mut mesh = recording(|_| {}).await;
    assert_eq!(answer(webhook(&mesh, "/webhooks/stripe", "{}")).await.0, StatusCode::OK);
    mesh.services.kill();
    let request = client(false).request(webhook(&mesh, "/webhooks/stripe", "{}")).await.unwrap();
    assert_eq!(request.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(request.headers().contains_key("retry-after"));
    let address = mesh.services.address.to_string();
    mesh.services = crate::mesh::Services::start(&mesh.scripts, &address);
    until("payment is back", async || {
        answer(webhook(&mesh, "/webhooks/stripe", "{}")).await.0 == StatusCode::OK
    })
    .await;
}
