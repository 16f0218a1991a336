//! A service goes, or answers that it cannot: how often the edge asks it then, how soon all is well
//! once it is, and how the edge itself takes its leave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use firstcome_proto::{
    Reason, Refusal,
    order_v1::{
        Order, PlaceOrderResponse, PlaceOrdersRequest, PlaceOrdersResponse, PlacedOrder,
        WatchOrderRequest, WatchOrderResponse, order_service_client::OrderServiceClient,
    },
};
use prost::Message as _;
use tonic::Status;
use uuid::Uuid;

use crate::{
    mesh::{Asked, Mesh, by, reason, refused, stream, until},
    orders::{PLACE_ORDERS, wish},
};

const WATCH_ORDER: &str = "order.v1.OrderService/WatchOrder";
/// Modest traffic, at which a floor of retries weighs most.
const REQUESTS: u32 = 150;
const PACE: Duration = Duration::from_millis(40);

/// Places everybody's order.
fn placed(asked: &Asked) -> crate::mesh::Answer {
    let count = asked.decode::<PlaceOrdersRequest>().items.len();
    let response = PlaceOrderResponse { order: Some(Order::default()) }.encode_to_vec();
    let place = |index| PlacedOrder { index, response: response.clone().into() };
    let placed = (0..u32::try_from(count).unwrap()).map(place).collect();
    let (messages, answer) = stream();
    messages.send(PlaceOrdersResponse { placed, refused: Vec::new() }).unwrap();
    answer
}

/// Buys at a modest pace while `order` answers every call like this; gives how many calls it got
/// for each request, and how long after it was well the first buyer had an order, and all had.
async fn outage(answer: impl Fn() -> Status + Send + Sync + 'static) -> (f64, Duration, Duration) {
    let mesh = Mesh::start_with(|config| config.call_deadline = Duration::from_secs(3)).await;
    let is_well = Arc::<AtomicBool>::default();
    let well = Arc::clone(&is_well);
    mesh.scripts.on(PLACE_ORDERS, move |asked| {
        let answer = match well.load(Ordering::Relaxed) {
            true => placed(&asked),
            false => refused(&answer()),
        };
        async { answer }
    });
    let channel = mesh.channel();
    let buy = |number: u32| {
        let (token, mut orders) = (mesh.token(), OrderServiceClient::new(channel.clone()));
        // Each product has a queue of its own: nobody's retry carries another's.
        let order = by(&token, wish(number.into(), "key"));
        tokio::spawn(async move { orders.place_order(order).await })
    };
    let mut buyers = Vec::new();
    for number in 0..REQUESTS {
        buyers.push(buy(number));
        tokio::time::sleep(PACE).await;
    }
    for buyer in buyers {
        let status = buyer.await.unwrap().expect_err("nobody could be served");
        assert_eq!(reason(&status), Reason::UpstreamUnavailable);
    }
    let asked = mesh.scripts.asked(PLACE_ORDERS).len();
    let factor = asked as f64 / f64::from(REQUESTS);

    is_well.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let mut number = REQUESTS;
    while buy(number).await.unwrap().is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "it does not recover");
        number += 1;
    }
    let first = began.elapsed();
    let all = futures::future::join_all((1000..1100).map(buy)).await;
    assert!(all.into_iter().all(|bought| bought.unwrap().is_ok()), "at once at full rate");
    (factor, first, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_gets_few_more_calls_than_there_are_requests() {
    type Story = (&'static str, fn() -> Status);
    let stories: [Story; 2] = [
        ("broken", || Status::unavailable("a proxy's word")),
        ("ailing", || Refusal::because(Reason::UpstreamUnavailable, "my store is away").into()),
    ];
    for (name, answer) in stories {
        let (factor, first, all) = outage(answer).await;
        println!("{name}: {factor:.2} calls a request; well after {first:?}, all after {all:?}");
        assert!(factor <= 1.2, "{name}: {factor} calls for each request");
        assert!(first < Duration::from_secs(1), "{name}: {first:?} until the first success");
        assert!(all < Duration::from_secs(5), "{name}: {all:?} until full rate");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_stops_ends_the_streams_it_passes_on_and_says_when_to_come_back() {
    let mut mesh = Mesh::start().await;
    let held = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let streams = Arc::clone(&held);
    mesh.scripts.on(WATCH_ORDER, move |_| {
        let (messages, answer) = stream();
        messages.send(WatchOrderResponse { order: Some(Order::default()) }).unwrap();
        streams.lock().push(messages);
        async { answer }
    });
    let mut orders = OrderServiceClient::new(mesh.channel());
    let request = WatchOrderRequest { order_id: Uuid::new_v4().to_string() };
    let mut watched = orders.watch_order(by(&mesh.token(), request)).await.unwrap().into_inner();
    watched.message().await.unwrap().expect("the order as it is");

    mesh.shutdown.leave();
    until("the edge says that it leaves", async || !mesh.is_ready().await).await;
    assert_eq!(held.lock().len(), 1, "and serves on");
    mesh.shutdown.begin();
    let status = watched.message().await.expect_err("it ends");
    assert_eq!(reason(&status), Reason::Overloaded);
    assert!(Refusal::from_status(&status).retry_after.is_some());
    let served = mesh.served.take().unwrap();
    tokio::time::timeout(Duration::from_secs(2), served).await.expect("it ends").unwrap().unwrap();
}
