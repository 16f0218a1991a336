//! PlaceOrder: gathered, each answered for itself, and sent again when the service falls over.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use firstcome_proto::{
    Reason, Refusal, SharedRefusals,
    order_v1::{
        NewOrderLine, Order, PlaceOrderRequest, PlaceOrderResponse, PlaceOrdersItem,
        PlaceOrdersRequest, PlaceOrdersResponse, PlacedOrder,
        order_service_client::OrderServiceClient,
    },
};
use parking_lot::Mutex;
use prost::Message as _;
use tonic::Status;
use uuid::Uuid;

use crate::mesh::{Asked, Mesh, Services, by, reason, stream, until};

pub const PLACE_ORDERS: &str = "order.v1.OrderIntakeService/PlaceOrders";

pub fn wish(product: u128, key: &str) -> PlaceOrderRequest {
    let line = NewOrderLine {
        product_id: Uuid::from_u128(product).to_string(),
        sku_id: Uuid::from_u128(9).to_string(),
        quantity: 1,
    };
    PlaceOrderRequest { idempotency_key: key.to_owned(), lines: vec![line], selection: None }
}

/// Keys that start with `win` get an order named after buyer and key, others are sold out.
fn outcome(user: &[u8], request: &PlaceOrderRequest) -> Result<Order, Refusal> {
    let key = &request.idempotency_key;
    if key.starts_with("win") {
        let user = Uuid::from_slice(user).unwrap();
        Ok(Order { order_id: format!("{user}/{key}"), ..Order::default() })
    } else {
        Err(Refusal::because(Reason::SoldOut, "none left").with("holds_open", 4))
    }
}

fn undecodable(_: prost::DecodeError) -> Result<Order, Refusal> {
    Err(Refusal::invalid("message", "the message does not decode"))
}

/// An answer of its own.
type Answer = (u32, Result<Order, Refusal>);

/// Refusals first, then winners, in reverse: the place alone says whose answer it is.
fn answers(asked: &Asked) -> Vec<Answer> {
    let request: PlaceOrdersRequest = asked.decode();
    let outcome = |(index, item): (u32, &PlaceOrdersItem)| {
        let request = PlaceOrderRequest::decode(item.request.clone());
        (index, request.map_or_else(undecodable, |request| outcome(&item.user_id, &request)))
    };
    let mut answers: Vec<Answer> = (0..).zip(&request.items).map(outcome).collect();
    answers.reverse();
    answers.sort_by_key(|(_, outcome)| outcome.is_ok());
    answers
}

fn response(answers: &[Answer]) -> PlaceOrdersResponse {
    let (mut placed, mut refused) = (Vec::new(), SharedRefusals::default());
    for (index, outcome) in answers.iter().cloned() {
        match outcome {
            Ok(order) => {
                let response = PlaceOrderResponse { order: Some(order) };
                placed.push(PlacedOrder { index, response: response.encode_to_vec().into() });
            }
            Err(refusal) => refused.add(index, refusal.into()),
        }
    }
    PlaceOrdersResponse { placed, refused: refused.into_wire() }
}

fn items(asked: &[Asked]) -> usize {
    asked.iter().map(|asked| asked.decode::<PlaceOrdersRequest>().items.len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_calls_travel_together_and_each_gets_its_own_answer() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(PLACE_ORDERS, |asked| async move {
        let (messages, answer) = stream();
        tokio::spawn(async move {
            let answers = answers(&asked);
            for part in answers.chunks(7) {
                messages.send(response(part)).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await; // as a commit would take
        });
        answer
    });
    let channel = mesh.channel();
    let calls = (0..200_u32).map(|buyer| {
        let user = Uuid::new_v4();
        let token = mesh.signer.token(user);
        let key = if buyer % 2 == 0 { format!("win-{buyer}") } else { format!("lose-{buyer}") };
        let mut orders = OrderServiceClient::new(channel.clone());
        async move {
            let answer = orders.place_order(by(&token, wish(1, &key))).await;
            match answer {
                Ok(answer) => {
                    let order = answer.into_inner().order.expect("an order");
                    assert_eq!(order.order_id, format!("{user}/{key}"));
                }
                Err(status) => {
                    assert!(key.starts_with("lose"), "{key} {status:?}");
                    let refusal = Refusal::from_status(&status);
                    assert_eq!(refusal.reason(), Reason::SoldOut);
                    assert_eq!(refusal.metadata["holds_open"], "4");
                }
            }
        }
    });
    futures::future::join_all(calls).await;
    let asked = mesh.scripts.asked(PLACE_ORDERS);
    assert_eq!(items(&asked), 200, "each was sent once");
    assert!(asked.len() <= 20, "{} calls carried 200", asked.len());
    assert!(asked.iter().all(|asked| !asked.headers.contains_key("fc-identity-bin")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_is_who_the_token_says_and_nonsense_is_orders_to_refuse() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(PLACE_ORDERS, |asked| async move {
        let (messages, answer) = stream();
        messages.send(response(&answers(&asked))).unwrap();
        answer
    });
    let mut orders = OrderServiceClient::new(mesh.channel());
    let status = orders
        .place_order(by(&mesh.token(), PlaceOrderRequest::default()))
        .await
        .expect_err("no lines");
    assert_eq!(reason(&status), Reason::SoldOut, "the service's word, not the edge's");
    let status = orders.place_order(wish(1, "win")).await.expect_err("nobody");
    assert_eq!(reason(&status), Reason::TokenInvalid);

    // A wish that is too large travels with nobody, and gets no way of its own.
    for bytes in [5 << 10, 1 << 20] {
        let status = orders.place_order(by(&mesh.token(), wish(1, &"k".repeat(bytes)))).await;
        assert_eq!(reason(&status.expect_err("too large")), Reason::InvalidArgument, "{bytes}");
    }
    assert_eq!(mesh.scripts.asked(PLACE_ORDERS).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_unanswered_is_sent_again_and_nothing_else() {
    let mesh = Mesh::start().await;
    let sent: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let counts = Arc::clone(&sent);
    let calls = Arc::new(AtomicU32::new(0));
    mesh.scripts.on(PLACE_ORDERS, move |asked| {
        for item in asked.decode::<PlaceOrdersRequest>().items {
            let key = PlaceOrderRequest::decode(item.request).unwrap().idempotency_key;
            *counts.lock().entry(key).or_default() += 1;
        }
        let first = calls.fetch_add(1, Ordering::Relaxed) < 2;
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let (messages, answer) = stream();
            let mut answers = answers(&asked);
            if first {
                answers.truncate(answers.len() / 2); // and the stream ends well
            }
            messages.send(response(&answers)).unwrap();
            answer
        }
    });
    let channel = mesh.channel();
    let calls = (0..40).map(|buyer| {
        let (token, key) = (mesh.token(), format!("win-{buyer}"));
        let mut orders = OrderServiceClient::new(channel.clone());
        async move { orders.place_order(by(&token, wish(1, &key))).await }
    });
    for answer in futures::future::join_all(calls).await {
        answer.expect("each gets its order in the end");
    }
    let sent = sent.lock();
    assert_eq!(sent.len(), 40);
    assert!(sent.values().any(|&count| count == 1), "the answered are not sent again");
    assert!(sent.values().any(|&count| count > 1), "the others are");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_in_the_middle_is_asked_again_once_it_is_back() {
    let mut mesh = Mesh::start().await;
    let (release, held) = tokio::sync::watch::channel(false);
    mesh.scripts.on(PLACE_ORDERS, move |asked| {
        let mut held = held.clone();
        async move {
            held.wait_for(|released| *released).await.unwrap();
            let (messages, answer) = stream();
            messages.send(response(&answers(&asked))).unwrap();
            answer
        }
    });
    let token = mesh.token();
    let mut orders = OrderServiceClient::new(mesh.channel());
    let buying = tokio::spawn({
        let token = token.clone();
        async move { orders.place_order(by(&token, wish(1, "win"))).await }
    });
    until("the call is inside", async || mesh.scripts.asked(PLACE_ORDERS).len() == 1).await;
    mesh.services.kill();
    release.send(true).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await; // a restart takes its time
    let address = mesh.services.address.to_string();
    mesh.services = Services::start(&mesh.scripts, &address);
    let order = buying.await.unwrap().expect("it was sent again").into_inner().order.unwrap();
    assert!(order.order_id.ends_with("/win"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stays_away_is_unavailable_before_the_deadline() {
    let mut mesh =
        Mesh::start_with(|config| config.call_deadline = Duration::from_millis(1500)).await;
    mesh.services.kill();
    let mut orders = OrderServiceClient::new(mesh.channel());
    let status = orders.place_order(by(&mesh.token(), wish(1, "win"))).await.expect_err("gone");
    assert_eq!(reason(&status), Reason::UpstreamUnavailable);
    assert!(Refusal::from_status(&status).retry_after.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_whole_call_is_everybodys() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(PLACE_ORDERS, |_| async {
        crate::mesh::refused(&Status::from(Refusal::because(Reason::Internal, "broken")))
    });
    let mut orders = OrderServiceClient::new(mesh.channel());
    let status = orders.place_order(by(&mesh.token(), wish(1, "win"))).await.expect_err("broken");
    assert_eq!(reason(&status), Reason::Internal);
    assert_eq!(mesh.scripts.asked(PLACE_ORDERS).len(), 1, "only UNAVAILABLE is asked again");
}
