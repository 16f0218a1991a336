//! WatchRush: the figures are exactly those of the calls, and outside development there are none.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use firstcome_proto::{
    Reason, Refusal, SharedRefusals,
    edge_v1::{
        RushCounts, RushStock, WatchRushRequest, WatchRushResponse,
        rush_service_client::RushServiceClient,
    },
    inventory_v1::{ProductStock, SaleState, SkuStock, WatchStockResponse},
    order_v1::{
        BasketSelection, NewOrderLine, Order, PlaceOrderRequest, PlaceOrderResponse,
        PlaceOrdersRequest, PlaceOrdersResponse, PlacedOrder,
        order_service_client::OrderServiceClient,
    },
    timestamp,
};
use http::HeaderMap;
use prost::Message as _;
use tokio::sync::watch;
use tonic::{Status, Streaming, transport::Channel};
use uuid::Uuid;

use crate::mesh::{Asked, Mesh, by, raw, reason, refused, stream, unary, until};

const PLACE_ORDERS: &str = "order.v1.OrderIntakeService/PlaceOrders";
const PLACE_ORDER: &str = "order.v1.OrderService/PlaceOrder";
const WATCH_STOCK: &str = "inventory.v1.StockService/WatchStock";
const WATCH_RUSH: &str = "/firstcome.edge.v1.RushService/WatchRush";

fn product() -> String {
    Uuid::from_u128(5).to_string()
}

/// Keys are named after their fates.
fn wish(key: &str) -> PlaceOrderRequest {
    let sku_id = Uuid::from_u128(9).to_string();
    let line = NewOrderLine { product_id: product(), sku_id, quantity: 1 };
    PlaceOrderRequest { idempotency_key: key.to_owned(), lines: vec![line], selection: None }
}

/// A cart travels alone.
fn cart() -> PlaceOrderRequest {
    let selection = Some(BasketSelection { basket: 1, sku_ids: Vec::new() });
    PlaceOrderRequest { idempotency_key: "cart".into(), lines: Vec::new(), selection }
}

fn intake(asked: &Asked) -> PlaceOrdersResponse {
    let request: PlaceOrdersRequest = asked.decode();
    let (mut placed, mut refused) = (Vec::new(), SharedRefusals::default());
    for (index, item) in (0..).zip(request.items) {
        let wish = PlaceOrderRequest::decode(item.request).unwrap();
        let reason = match wish.idempotency_key.as_str() {
            "late" => Reason::SoldOut,
            "greedy" => Reason::LimitPerBuyer,
            _ => {
                let response = PlaceOrderResponse { order: Some(Order::default()) };
                placed.push(PlacedOrder { index, response: response.encode_to_vec().into() });
                continue;
            }
        };
        refused.add(index, Refusal::because(reason, "no").into());
    }
    PlaceOrdersResponse { placed, refused: refused.into_wire() }
}

/// Scripts order: whoever comes is answered once the doors are open.
fn order(mesh: &Mesh) -> watch::Sender<bool> {
    let (doors, opened) = watch::channel(true);
    mesh.scripts.on(PLACE_ORDERS, move |asked| {
        let mut opened = opened.clone();
        async move {
            opened.wait_for(|open| *open).await.unwrap();
            let (messages, answer) = stream();
            messages.send(intake(&asked)).unwrap();
            answer
        }
    });
    mesh.scripts.on(PLACE_ORDER, |_| async {
        refused(&Refusal::because(Reason::PlacementInProgress, "another attempt").into())
    });
    doors
}

async fn place(mesh: &Mesh, channel: &Channel, wish: PlaceOrderRequest) -> Result<(), Status> {
    let request = by(&mesh.token(), wish);
    OrderServiceClient::new(channel.clone()).place_order(request).await.map(|_| ())
}

async fn look_on(mesh: &Mesh, product_id: &str) -> Streaming<WatchRushResponse> {
    let request = WatchRushRequest { product_id: product_id.to_owned() };
    let mut client = RushServiceClient::new(mesh.channel());
    client.watch_rush(request).await.unwrap().into_inner()
}

async fn next(looks: &mut Streaming<WatchRushResponse>) -> Result<WatchRushResponse, Status> {
    let next = tokio::time::timeout(Duration::from_secs(10), looks.message()).await;
    next.expect("a look in time").map(|look| look.expect("the stream has no end"))
}

fn refusals(counts: &Option<RushCounts>) -> BTreeMap<Reason, i64> {
    let counts = counts.as_ref().expect("counts");
    counts.refused.iter().map(|told| (told.reason(), told.count)).collect()
}

fn admitted(counts: &Option<RushCounts>) -> i64 {
    counts.as_ref().expect("counts").admitted
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_on_sees_exactly_what_buyers_were_told() {
    let mesh = Mesh::start().await;
    let doors = order(&mesh);
    let channel = mesh.channel();
    place(&mesh, &channel, wish("before")).await.expect("an order");

    let mut looks = look_on(&mesh, "").await;
    let first = next(&mut looks).await.unwrap();
    assert_eq!((admitted(&first.since_start), admitted(&first.in_interval)), (1, 0));
    assert_eq!((first.latency, first.stock), (None, None), "nobody was timed");

    for key in ["win", "win", "late", "late", "late", "greedy"] {
        let answer = place(&mesh, &channel, wish(key)).await;
        assert_eq!(answer.is_ok(), key == "win");
    }
    let alone = place(&mesh, &channel, cart()).await.expect_err("under way");
    assert_eq!(reason(&alone), Reason::PlacementInProgress);
    let stranger = PlaceOrderRequest::default();
    let mut client = OrderServiceClient::new(channel.clone());
    client.place_order(stranger).await.expect_err("no token");

    // All that happened since the first look, over however many looks.
    let (mut won, mut lost, mut was_timed) = (0, BTreeMap::new(), false);
    let last = loop {
        let look = next(&mut looks).await.unwrap();
        assert!(look.interval.is_some_and(|span| span.nanos > 0 || span.seconds > 0));
        won += admitted(&look.in_interval);
        for (reason, count) in refusals(&look.in_interval) {
            *lost.entry(reason).or_insert(0) += count;
        }
        if let Some(latency) = &look.latency {
            let span = |of: &Option<_>| timestamp::duration_from_wire(&of.unwrap()).unwrap();
            assert!(span(&latency.p50) <= span(&latency.p99));
            assert!(span(&latency.p99) <= span(&latency.max));
            was_timed = true;
        }
        if won + lost.values().sum::<i64>() == 8 {
            break look;
        }
    };
    let want = BTreeMap::from([
        (Reason::SoldOut, 3),
        (Reason::LimitPerBuyer, 1),
        (Reason::PlacementInProgress, 1),
        (Reason::TokenInvalid, 1),
    ]);
    assert_eq!((won, &lost), (2, &want));
    assert_eq!((admitted(&last.since_start), refusals(&last.since_start)), (3, want));
    assert!(was_timed);

    // One who waits, and one who hangs up.
    doors.send(false).unwrap();
    let waits = {
        let (token, channel) = (mesh.token(), channel.clone());
        let mut orders = OrderServiceClient::new(channel);
        tokio::spawn(async move { orders.place_order(by(&token, wish("win"))).await.is_ok() })
    };
    until("a call waits", async || next(&mut looks).await.unwrap().in_flight == 1).await;
    waits.abort();
    let has_left = |look: &WatchRushResponse| look.since_start.as_ref().unwrap().left == 1;
    until("its caller is missed", async || has_left(&next(&mut looks).await.unwrap())).await;
    assert_eq!(next(&mut looks).await.unwrap().in_flight, 0);
    doors.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_buyer_is_counted_though_no_service_hears_of_it() {
    let mesh = Mesh::start_with(|config| config.user_limit = "1/h burst 1".parse().unwrap()).await;
    order(&mesh);
    let (channel, token) = (mesh.channel(), mesh.token());
    let mut orders = OrderServiceClient::new(channel);
    orders.place_order(by(&token, wish("win"))).await.expect("an order");
    orders.place_order(by(&token, wish("win"))).await.expect_err("limited");
    let look = next(&mut look_on(&mesh, "").await).await.unwrap();
    assert_eq!(admitted(&look.since_start), 1);
    assert_eq!(refusals(&look.since_start), BTreeMap::from([(Reason::RateLimited, 1)]));
}

fn stock(available: i32, holds_open: i32, read_ms: i64) -> WatchStockResponse {
    let at = |ms| timestamp::from_unix_ms(1_700_000_000_000 + ms).map(timestamp::to_wire);
    let sku = SkuStock { available, holds_open, total: 10, ..SkuStock::default() };
    let stock = ProductStock {
        product_id: product(),
        state: SaleState::Open as i32,
        skus: vec![sku],
        opens_at: at(0),
        read_time: at(read_ms),
        ..ProductStock::default()
    };
    WatchStockResponse { stock: Some(stock) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_comes_from_the_one_stream_that_its_watchers_share() {
    let mesh = Mesh::start().await;
    let (news, said) = watch::channel(stock(10, 0, -900));
    mesh.scripts.on(WATCH_STOCK, move |_| {
        let (messages, answer) = stream();
        let mut said = said.clone();
        tokio::spawn(async move {
            said.mark_changed();
            while said.changed().await.is_ok() {
                let stock = said.borrow_and_update().clone();
                if messages.send(stock).is_err() {
                    return;
                }
            }
        });
        async { answer }
    });
    let (mut first, mut second) =
        (look_on(&mesh, &product()).await, look_on(&mesh, &product()).await);
    let sells = async |looks: &mut Streaming<WatchRushResponse>, available: i64| {
        let mut found = RushStock::default();
        until("the stock is shown", async || {
            let look = next(looks).await.unwrap();
            found = look.stock.unwrap_or_default();
            found.product_id == product() && found.available == available
        })
        .await;
        found
    };
    for looks in [&mut first, &mut second] {
        let shown = sells(looks, 10).await;
        assert_eq!((shown.total, shown.held, shown.sold), (10, 0, 0));
        assert_eq!((shown.state(), shown.sold_out_after), (SaleState::Open, None));
    }
    news.send(stock(0, 7, 2300)).unwrap();
    for looks in [&mut first, &mut second] {
        let shown = sells(looks, 0).await;
        assert_eq!((shown.held, shown.sold), (7, 3));
        let after = timestamp::duration_from_wire(&shown.sold_out_after.unwrap());
        assert_eq!(after, Some(Duration::from_millis(2300)));
    }
    assert_eq!(mesh.scripts.asked(WATCH_STOCK).len(), 1, "one stream inward");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_product_that_is_not_there_ends_the_stream() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(WATCH_STOCK, |_| async { refused(&Refusal::not_found("product").into()) });
    let mut looks = look_on(&mesh, &product()).await;
    let status = loop {
        match next(&mut looks).await {
            Ok(look) => assert_eq!(look.stock, None),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status), Reason::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_development_the_method_is_not_there() {
    let mesh = Mesh::start_with(|config| config.development = false).await;
    mesh.scripts.on(PLACE_ORDERS, |_| async { unary(&PlaceOrdersResponse::default()) });
    let message = Bytes::from_static(&[0, 0, 0, 0, 0]);
    let ask = async |path| raw(mesh.channel(), path, HeaderMap::new(), message.clone()).await;
    let (rush, unknown) = (ask(WATCH_RUSH).await, ask("/firstcome.none.v1.None/No").await);
    assert_eq!(reason(&rush), Reason::NoSuchMethod);
    assert_eq!((rush.code(), rush.message()), (unknown.code(), unknown.message()));
    assert_eq!(rush.details(), unknown.details());
}
