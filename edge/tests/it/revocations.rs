//! Sessions that end before their tokens do, and an edge that cannot hear of it.

use std::time::{Duration, Instant};

use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{
        GetProductRequest, GetProductResponse, catalog_service_client::CatalogServiceClient,
    },
    order_v1::{
        GetOrderRequest, GetOrderResponse, WatchOrderRequest, WatchOrderResponse,
        order_service_client::OrderServiceClient,
    },
    user_v1::ListRevocationsRequest,
};
use serde_json::json;
use tonic::Status;
use uuid::Uuid;

use crate::mesh::{Ended, Mesh, Signer, by, claims, reason, stream, unary, until};

const GET_ORDER: &str = "order.v1.OrderService/GetOrder";
const GET_PRODUCT: &str = "inventory.v1.CatalogService/GetProduct";
const LIST_REVOCATIONS: &str = "user.v1.RevocationService/ListRevocations";
const LIST_KEYS: &str = "user.v1.TokenKeyService/ListTokenKeys";

fn script(mesh: &Mesh) {
    mesh.scripts.on(GET_ORDER, |_| async { unary(&GetOrderResponse::default()) });
    mesh.scripts.on(GET_PRODUCT, |_| async { unary(&GetProductResponse::default()) });
}

/// Another token of a session; each is one that the edge has never seen.
fn token_of(signer: &Signer, session: Uuid) -> String {
    let mut claims = claims(Uuid::new_v4(), "user");
    claims["sid"] = json!(session);
    signer.sign(&claims)
}

async fn order_by(mesh: &Mesh, token: &str) -> Result<(), Status> {
    let mut orders = OrderServiceClient::new(mesh.channel());
    orders.get_order(by(token, GetOrderRequest::default())).await.map(drop)
}

async fn product_by(mesh: &Mesh, token: &str) -> Result<(), Status> {
    let mut catalog = CatalogServiceClient::new(mesh.channel());
    catalog.get_product(by(token, GetProductRequest::default())).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_refused_within_a_second_whatever_the_edge_remembers() {
    let mesh = Mesh::start().await;
    script(&mesh);
    for _ in 0..3 {
        let (ended, other) = (Uuid::new_v4(), Uuid::new_v4());
        let (seen, others) = (token_of(&mesh.signer, ended), token_of(&mesh.signer, other));
        order_by(&mesh, &seen).await.expect("it lives, and is remembered");
        order_by(&mesh, &others).await.expect("it lives");

        mesh.ended.lock().sessions.push(ended);
        let ended_at = Instant::now();
        until("the remembered token is refused", async || order_by(&mesh, &seen).await.is_err())
            .await;
        let took = ended_at.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        for token in [&seen, &token_of(&mesh.signer, ended)] {
            let status = order_by(&mesh, token).await.expect_err("the session has ended");
            assert_eq!(reason(&status), Reason::TokenRevoked);
            assert_eq!(status.code(), tonic::Code::Unauthenticated);
        }
        order_by(&mesh, &others).await.expect("another session goes on");
        product_by(&mesh, &seen).await.expect("whoever was logged out still sees the shop");
    }
    for asked in mesh.scripts.asked(GET_PRODUCT) {
        assert!(!asked.headers.contains_key("fc-identity-bin"), "as nobody");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_starts_lets_nobody_in_before_it_has_heard_everything() {
    let ended = Uuid::new_v4();
    let silent = Ended { sessions: vec![ended], is_silent: true, ..Ended::default() };
    let mesh = Mesh::launch(silent, |_| {}).await;
    script(&mesh);
    until("it has asked in vain", async || mesh.scripts.asked(LIST_REVOCATIONS).len() > 2).await;
    assert!(!mesh.is_ready().await);
    let status = order_by(&mesh, &mesh.token()).await.expect_err("who knows");
    assert_eq!(reason(&status), Reason::UpstreamUnavailable);
    assert!(Refusal::from_status(&status).retry_after.is_some());
    product_by(&mesh, &mesh.token()).await.expect("what asks no token goes on");

    mesh.ended.lock().is_silent = false;
    mesh.until_ready().await;
    let status = order_by(&mesh, &token_of(&mesh.signer, ended)).await.expect_err("it has ended");
    assert_eq!(reason(&status), Reason::TokenRevoked, "at the first call");
    order_by(&mesh, &mesh.token()).await.expect("a living session");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_hears_nothing_refuses_tokens_until_it_hears_again() {
    let stale_max = Duration::from_millis(1500);
    let mesh = Mesh::start_with(|config| config.revocations_stale_max = stale_max).await;
    script(&mesh);
    let (known, ended) = (mesh.token(), Uuid::new_v4());
    order_by(&mesh, &known).await.expect("it lives");

    mesh.ended.lock().is_silent = true;
    let silent_at = Instant::now();
    until("tokens are refused", async || {
        // Known before, or never seen.
        for token in [&known, &mesh.token()] {
            if let Err(status) = order_by(&mesh, token).await {
                assert_eq!(reason(&status), Reason::UpstreamUnavailable);
                assert!(Refusal::from_status(&status).retry_after.is_some());
                return true;
            }
        }
        false
    })
    .await;
    let held_out = silent_at.elapsed();
    assert!(held_out > Duration::from_secs(1), "a restart of user stops no sale: {held_out:?}");
    product_by(&mesh, &known).await.expect("what asks no token goes on");
    assert!(mesh.is_ready().await, "all edges would leave at once");

    {
        let mut heard = mesh.ended.lock();
        heard.sessions.push(ended);
        heard.is_silent = false;
    }
    until("it lives on", async || order_by(&mesh, &known).await.is_ok()).await;
    let status = order_by(&mesh, &token_of(&mesh.signer, ended)).await.expect_err("it has ended");
    assert_eq!(reason(&status), Reason::TokenRevoked, "what was missed is heard first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_is_followed_again_from_where_it_was_left() {
    let mut mesh = Mesh::start().await;
    script(&mesh);
    mesh.ended.lock().sessions.extend([Uuid::new_v4(), Uuid::new_v4()]);
    let cursors = |mesh: &Mesh| {
        let asked = mesh.scripts.asked(LIST_REVOCATIONS);
        asked.iter().map(|it| it.decode::<ListRevocationsRequest>().cursor).collect::<Vec<_>>()
    };
    until("the cursor moves", async || cursors(&mesh).last() == Some(&2)).await;
    assert_eq!(cursors(&mesh)[0], 0, "everything, at first");

    mesh.services.kill();
    let ended = Uuid::new_v4();
    mesh.ended.lock().sessions.push(ended);
    let (asked, address) = (cursors(&mesh).len(), mesh.services.address.to_string());
    mesh.services = crate::mesh::Services::start(&mesh.scripts, &address);
    until("what ended meanwhile is heard", async || cursors(&mesh).last() == Some(&3)).await;
    assert_eq!(cursors(&mesh)[asked], 2, "from where it was left");
    let status = order_by(&mesh, &token_of(&mesh.signer, ended)).await.expect_err("it has ended");
    assert_eq!(reason(&status), Reason::TokenRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_known_before_its_first_token() {
    let mesh = Mesh::start().await;
    script(&mesh);
    let before = mesh.scripts.asked(LIST_KEYS).len();
    let next = Signer::new("second");
    mesh.keys.lock().push(next.clone());
    mesh.ended.lock().newest_key_id = next.id.clone();
    until("the key is fetched", async || mesh.scripts.asked(LIST_KEYS).len() > before).await;
    let asked = mesh.scripts.asked(LIST_REVOCATIONS).len();
    until("it goes on", async || mesh.scripts.asked(LIST_REVOCATIONS).len() > asked + 1).await;
    order_by(&mesh, &next.token(Uuid::new_v4())).await.expect("the new key's token");
    order_by(&mesh, &mesh.token()).await.expect("the old key's token");
    assert_eq!(mesh.scripts.asked(LIST_KEYS).len(), before + 1, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_come_delay_no_end_of_a_session() {
    let mesh = Mesh::start().await;
    script(&mesh);
    let before = mesh.scripts.asked(LIST_KEYS).len();
    mesh.scripts.on(LIST_KEYS, |_| std::future::pending());
    mesh.ended.lock().newest_key_id = "second".into();
    until("the key is asked for", async || mesh.scripts.asked(LIST_KEYS).len() > before).await;

    // Longer than one question for keys lasts.
    for _ in 0..4 {
        let ended = Uuid::new_v4();
        let token = token_of(&mesh.signer, ended);
        order_by(&mesh, &token).await.expect("it lives");
        mesh.ended.lock().sessions.push(ended);
        let ended_at = Instant::now();
        until("it is refused", async || order_by(&mesh, &token).await.is_err()).await;
        let took = ended_at.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_session_that_opened_it() {
    let mesh = Mesh::start().await;
    let (opened, mut streams) = tokio::sync::mpsc::unbounded_channel();
    mesh.scripts.on("order.v1.OrderService/WatchOrder", move |_| {
        let (news, answer) = stream::<WatchOrderResponse>();
        news.send(WatchOrderResponse::default()).unwrap();
        opened.send(news).unwrap();
        async { answer }
    });
    let (ended, other) = (Uuid::new_v4(), Uuid::new_v4());
    let watch = async |session: Uuid| {
        let mut orders = OrderServiceClient::new(mesh.channel());
        let request = by(&token_of(&mesh.signer, session), WatchOrderRequest::default());
        let mut news = orders.watch_order(request).await.expect("a stream").into_inner();
        news.message().await.expect("no fault").expect("news");
        news
    };
    let mut stopped = watch(ended).await;
    let stopped_inside = streams.recv().await.expect("it was opened");
    let mut lasting = watch(other).await;
    let lasting_inside = streams.recv().await.expect("it was opened");

    mesh.ended.lock().sessions.push(ended);
    let ended_at = Instant::now();
    let status = stopped.message().await.expect_err("its session has ended");
    assert_eq!(reason(&status), Reason::TokenRevoked);
    let took = ended_at.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let gone = tokio::time::timeout(Duration::from_secs(5), stopped_inside.closed()).await;
    gone.expect("the service hears that nobody watches");
    lasting_inside.send(WatchOrderResponse::default()).expect("the other one is open");
    lasting.message().await.expect("no fault").expect("news");
}
