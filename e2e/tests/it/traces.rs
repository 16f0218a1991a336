//! One trace from a client to the Redis script and to the statements, through batches that it
//! shares with others.

use std::{collections::HashSet, time::Duration};

use firstcome_e2e::{Buyer, Collector, Sale, Shop, collector::Span, shop::Terms};
use firstcome_local::{
    Service,
    process::{self, Signal},
};
use firstcome_proto::order_v1::{
    GetOrderRequest, NewOrderLine, Order, OrderState, PayOrderRequest, PlaceOrderRequest,
    pay_order_request::Destination,
};
use firstcome_testkit::eventually;
use serde_json::Value;
use tonic::{Code, Request, Status};

/// Spans travel in batches, several times a second here.
const ARRIVAL: Duration = Duration::from_secs(30);
/// What a client says that it is doing itself.
const CLIENTS_SPAN: u64 = 0xc11e_0000_0000_0001;

/// A shop whose spans go to this collector, and of whose calls this share is traced.
async fn shop(collector: &Collector, share: &str) -> Shop {
    let mut env = Vec::new();
    for service in Service::ALL {
        env.push((service, "OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()));
        env.push((service, "OTEL_BSP_SCHEDULE_DELAY", "200"));
        env.push((service, "FIRSTCOME_LOG_FORMAT", "json"));
    }
    env.push((Service::Edge, "OTEL_TRACES_SAMPLER_ARG", share));
    Shop::own(&env).await.unwrap()
}

/// A call that its client traces.
fn traced<T>(mut request: Request<T>, trace: u128) -> Request<T> {
    let header = format!("00-{trace:032x}-{CLIENTS_SPAN:016x}-01");
    request.metadata_mut().insert("traceparent", header.parse().unwrap());
    request.metadata_mut().insert("tracestate", "stranger=1".parse().unwrap());
    request
}

fn wish(sale: &Sale, key: &str) -> PlaceOrderRequest {
    let line = NewOrderLine {
        product_id: sale.product.clone(),
        sku_id: sale.skus[0].clone(),
        quantity: 1,
    };
    PlaceOrderRequest { idempotency_key: key.to_owned(), lines: vec![line], selection: None }
}

async fn place(buyer: &Buyer, sale: &Sale, trace: Option<u128>) -> Order {
    let request = buyer.call(wish(sale, &uuid::Uuid::new_v4().to_string()));
    let request = match trace {
        Some(trace) => traced(request, trace),
        None => request,
    };
    buyer.orders().place_order(request).await.unwrap().into_inner().order.unwrap()
}

async fn pay(buyer: &Buyer, order: &Order, card: &str, trace: u128) -> Result<Order, Status> {
    let request = PayOrderRequest {
        order_id: order.order_id.clone(),
        destination: Some(Destination::Address(firstcome_e2e::buyer::address())),
        payment_method: card.to_owned(),
    };
    let paid = buyer.orders().pay_order(traced(buyer.call(request), trace)).await?;
    Ok(paid.into_inner().order.expect("an answer carries the order"))
}

/// What a service has logged of a trace.
fn logged(shop: &Shop, service: Service, trace: u128) -> Vec<Value> {
    let file = shop.mesh.address().logs.join(format!("{service}.log"));
    let log = std::fs::read_to_string(file).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["trace_id"] == format!("{trace:032x}")).collect()
}

/// The one span of this service and name that is a part of this one.
fn part<'a>(spans: &'a [Span], of: &Span, service: &str, name: &str) -> &'a Span {
    let parts = || spans.iter().filter(|span| span.is_part_of(of));
    let mut found = parts().filter(|span| span.service == service && span.name() == name);
    match (found.next(), found.next()) {
        (Some(span), None) => span,
        (found, _) => {
            let parts: Vec<_> = parts().map(|span| (&span.service, span.name())).collect();
            panic!("{} {name} in {}: {found:?} among {parts:?}", service, of.name())
        }
    }
}

/// Whether a part of this one goes by this name, in its own process.
fn has_part(spans: &[Span], of: &Span, name: &str) -> bool {
    let is_it = |span: &&Span| span.is_part_of(of) && span.service == of.service;
    spans.iter().filter(is_it).any(|span| span.name() == name)
}

/// What the edge began when a client called.
fn entry(spans: &[Span], trace: u128) -> Option<Span> {
    let clients = CLIENTS_SPAN.to_be_bytes();
    let mut found = spans.iter().filter(|span| {
        span.sent.trace_id == trace.to_be_bytes() && span.sent.parent_span_id == clients
    });
    found.next().cloned()
}

/// A call of one service by another: the caller's side, then the other one.
fn call<'a>(spans: &'a [Span], of: &Span, callee: &str, method: &str) -> &'a Span {
    let called = part(spans, of, &of.service, method);
    let served = part(spans, called, callee, method);
    assert!(served.is_served() && !called.is_served(), "{method}");
    for side in [called, served] {
        let (service, name) = method.split_once('/').unwrap();
        assert_eq!(side.attribute("rpc.system").as_deref(), Some("grpc"));
        assert_eq!(side.attribute("rpc.service").as_deref(), Some(service));
        assert_eq!(side.attribute("rpc.method").as_deref(), Some(name));
        assert_eq!(side.attribute("rpc.grpc.status_code").as_deref(), Some("0"), "{side:?}");
    }
    served
}

/// Two buyers whose calls wait for the same batch: inventory holds one up that went before.
async fn together(shop: &Shop, buyers: &[Buyer], sale: &Sale, traces: [u128; 2]) {
    let pids = shop.mesh.pids().await;
    let (_, inventory) = pids.into_iter().find(|(of, _)| *of == Service::Inventory).unwrap();
    process::signal(inventory, Signal::STOP);
    let first = place(&buyers[0], sale, None);
    let others =
        [place(&buyers[1], sale, Some(traces[0])), place(&buyers[2], sale, Some(traces[1]))];
    let go_on = async {
        // Asked after them on their connection, and answered without inventory.
        let unknown = buyers[0].order(&uuid::Uuid::new_v4().to_string()).await;
        process::signal(inventory, Signal::CONT);
        unknown.unwrap_err();
    };
    let [one, other] = others;
    // In this order.
    let (..) = tokio::join!(biased; first, one, other, go_on);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_client_to_the_script_and_the_statements() {
    let collector = Collector::start().await.unwrap();
    let shop = shop(&collector, "0").await;
    let sale = shop.sell(Terms::of(100)).await.unwrap();
    let buyers = shop.buyers(3).await.unwrap();

    let mut shared = None;
    let mut begun: HashSet<u128> = HashSet::new();
    for round in 1..=5_u128 {
        let traces = [round * 0x1_0000 + 1, round * 0x1_0000 + 2];
        begun.extend(traces);
        together(&shop, &buyers, &sale, traces).await;
        let is_whole = || async {
            let spans = collector.spans();
            let named = |name: &str| {
                let mine =
                    |span: &&Span| traces.iter().any(|id| span.sent.trace_id == id.to_be_bytes());
                spans.iter().filter(mine).filter(|span| span.name() == name).count()
            };
            named("firstcome.order.v1.OrderService/PlaceOrder") == 2
                && named("insert orders") == named("batch edge_to_order")
                && named("batch edge_to_order") > 0
                && named("firstcome.inventory.v1.ReservationService/Reserve")
                    == 2 * named("batch edge_to_order")
                && named("batch gate") == named("batch edge_to_order")
        };
        eventually(ARRIVAL, is_whole).await;
        let spans = collector.spans();
        let [one, other] = traces.map(|trace| entry(&spans, trace).expect("the edge began it"));
        let batch = spans.iter().find(|span| {
            span.name() == "batch edge_to_order"
                && (span.is_part_of(&one) && span.links(&other)
                    || span.is_part_of(&other) && span.links(&one))
        });
        if let Some(batch) = batch {
            shared = Some((batch.clone(), one, other));
            break;
        }
    }
    let (batch, one, other) = shared.expect("in one of five rounds two share a batch");
    let spans = collector.spans();
    for entry in [&one, &other] {
        assert!(entry.is_served() && entry.service == "firstcome-edge");
        assert_eq!(entry.name(), "firstcome.order.v1.OrderService/PlaceOrder");
        assert_eq!(entry.attribute("rpc.grpc.status_code").as_deref(), Some("0"));
        assert_eq!(entry.sent.trace_state, "", "what strangers say beside it stays outside");
    }
    let items: u32 = batch.attribute("firstcome.batch.items").unwrap().parse().unwrap();
    assert!((2..=3).contains(&items), "{items}");

    let (order, inventory) = ("firstcome-order", "firstcome-inventory");
    let placed = call(&spans, &batch, order, "firstcome.order.v1.OrderIntakeService/PlaceOrders");
    let reserving = part(&spans, placed, order, "batch order_to_inventory");
    let reserved =
        call(&spans, reserving, inventory, "firstcome.inventory.v1.ReservationService/Reserve");
    let gate = part(&spans, reserved, inventory, "batch gate");
    assert_eq!(gate.attribute("firstcome.product").as_ref(), Some(&sale.product));
    assert_eq!(gate.attribute("firstcome.admitted"), Some(items.to_string()));
    assert_eq!(gate.attribute("firstcome.refused").as_deref(), Some("0"));
    let script = part(&spans, gate, inventory, "fcall reserve_1");
    assert_eq!(script.attribute("db.system").as_deref(), Some("redis"));
    let ledger = part(&spans, gate, inventory, "batch ledger");
    let held = part(&spans, ledger, inventory, "insert holds");
    assert_eq!(held.attribute("db.system").as_deref(), Some("postgresql"));
    let inserting = part(&spans, reserving, order, "batch order_rows");
    part(&spans, inserting, order, "insert orders");

    // Nobody asked for the others, of which there were many.
    let known: HashSet<Vec<u8>> = begun.iter().map(|id| id.to_be_bytes().to_vec()).collect();
    let strangers: Vec<_> =
        spans.iter().filter(|span| !known.contains(&span.sent.trace_id)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_traced_step_by_step_and_the_logs_name_its_trace() {
    let collector = Collector::start().await.unwrap();
    let shop = shop(&collector, "0").await;
    // Payment sends its spans when it ends, or never.
    shop.mesh.set_env(Service::Payment, "OTEL_BSP_SCHEDULE_DELAY", Some("3600000"));
    shop.mesh.restart(Service::Payment).await.unwrap();
    let sale = shop.sell(Terms::of(10)).await.unwrap();
    let buyer = shop.buyers(1).await.unwrap().remove(0);
    let placed = place(&buyer, &sale, None).await;

    let (paying, failing, reading) = (0xa1, 0xa2, 0xb1);
    let paid = pay(&buyer, &placed, "pm_card_answer_lost", paying).await.unwrap();
    assert_eq!(paid.state(), OrderState::Preparing);
    let other = place(&buyer, &sale, None).await;
    pay(&buyer, &other, "pm_card_capture_refused", failing).await.unwrap_err();
    let request = GetOrderRequest { order_id: placed.order_id.clone() };
    buyer.orders().get_order(traced(buyer.call(request), reading)).await.unwrap();
    shop.mesh.restart(Service::Payment).await.unwrap();

    let order = "firstcome-order";
    let has = |trace: u128, service: &'static str, name: &'static str| {
        let spans = collector.trace(trace);
        spans.iter().any(|span| span.service == service && span.name() == name)
    };
    let is_whole = || async {
        has(paying, "firstcome-edge", "firstcome.order.v1.OrderService/PayOrder")
            && has(paying, "firstcome-payment", "firstcome.payment.v1.ChargeService/Capture")
            && has(failing, "firstcome-edge", "firstcome.order.v1.OrderService/PayOrder")
            && has(failing, order, "saga release")
            && has(reading, "firstcome-edge", "firstcome.order.v1.OrderService/GetOrder")
            && has(reading, order, "select orders")
    };
    eventually(ARRIVAL, is_whole).await;

    let spans = collector.trace(reading);
    let asked = entry(&spans, reading).unwrap();
    let read = call(&spans, &asked, order, "firstcome.order.v1.OrderService/GetOrder");
    assert!(has_part(&spans, read, "select orders"), "the order, and where it goes");

    let spans = collector.trace(paying);
    let asked = entry(&spans, paying).unwrap();
    let pay = call(&spans, &asked, order, "firstcome.order.v1.OrderService/PayOrder");
    let mark = part(&spans, pay, order, "batch saga_marks");
    part(&spans, mark, order, "update orders");
    for (step, inside) in
        [("saga pin", "batch order_to_holds"), ("saga settle", "batch order_to_holds")]
    {
        let step = part(&spans, pay, order, step);
        assert_eq!(step.attribute("firstcome.order").as_ref(), Some(&placed.order_id));
        part(&spans, step, order, inside);
    }
    let capture = part(&spans, pay, order, "saga capture");
    let captured =
        call(&spans, capture, "firstcome-payment", "firstcome.payment.v1.ChargeService/Capture");
    assert!(has_part(&spans, captured, "batch payment_rows"), "it was read, and it followed");
    // The first answer was lost, so payment was asked twice.
    let authorize = part(&spans, pay, order, "saga authorize");
    let tries = spans
        .iter()
        .filter(|span| span.is_part_of(authorize))
        .map(|span| (span.name(), span.attribute("rpc.grpc.status_code").expect("a status")));
    let method = "firstcome.payment.v1.ChargeService/Authorize";
    let unavailable = (Code::Unavailable as i32).to_string();
    let mut tries: Vec<_> = tries.collect();
    tries.sort_unstable();
    assert_eq!(tries, [(method, "0".to_owned()), (method, unavailable)]);

    // What went wrong is logged with the trace that shows it, each step with what undoes it.
    let spans = collector.trace(failing);
    for step in ["capture", "restock", "void", "release"] {
        let name = format!("saga {step}");
        assert!(spans.iter().any(|span| span.name() == name), "{name}");
    }
    let lines = logged(&shop, Service::Order, failing);
    assert!(lines.iter().any(|line| line["message"] == "a step was refused"), "{lines:?}");
    assert_eq!(logged(&shop, Service::Order, reading), Vec::<Value>::new());

    // Nothing in any of it is about a person.
    let told = format!("{:?}", collector.spans());
    let address = firstcome_e2e::buyer::address();
    let (user, token) = (buyer.user.0.to_string(), buyer.token.as_str());
    for personal in [&user, token, &address.recipient, &address.phone, &address.line1, "pm_card"] {
        assert!(!told.contains(personal), "{personal}");
    }
}
