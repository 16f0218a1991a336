//! Browsers: grpc-web by a client and by hand, CORS, and plain pages.

use bytes::Buf as _;
use firstcome_edge::wire;
use firstcome_mesh::Identity;
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{
        GetProductRequest, GetProductResponse, Product, ProductStock, WatchStockRequest,
        WatchStockResponse, catalog_service_client::CatalogServiceClient,
        stock_service_client::StockServiceClient,
    },
    order_v1::{
        GetOrderRequest, GetOrderResponse, Order, PlaceOrderRequest, PlaceOrderResponse,
        PlaceOrdersResponse, PlacedOrder, order_service_client::OrderServiceClient,
    },
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::metadata::MetadataMap;
use tonic_web::GrpcWebClientLayer;
use tower::Layer as _;

use crate::mesh::{Mesh, by, reason, stream, unary};

const GET_PRODUCT: &str = "inventory.v1.CatalogService/GetProduct";
const GET_ORDER: &str = "order.v1.OrderService/GetOrder";

/// A scripted shop.
async fn shop(change: impl FnOnce(&mut firstcome_edge::Config)) -> Mesh {
    let mesh = Mesh::start_with(change).await;
    mesh.scripts.on(GET_PRODUCT, |_| async {
        let product = Product { name: "a shoe".into(), ..Product::default() };
        unary(&GetProductResponse { product: Some(product) })
    });
    mesh.scripts.on(GET_ORDER, |_| async { unary(&GetOrderResponse::default()) });
    mesh.scripts.on("inventory.v1.StockService/WatchStock", |_| async {
        let (news, answer) = stream();
        let stock = Some(ProductStock { product_id: "p".into(), ..ProductStock::default() });
        news.send(WatchStockResponse { stock }).unwrap();
        std::mem::forget(news); // a stream without end
        answer
    });
    mesh.scripts.on("order.v1.OrderIntakeService/PlaceOrders", |_| async {
        let (messages, answer) = stream();
        let order = Order { order_id: "o".into(), ..Order::default() };
        let response = PlaceOrderResponse { order: Some(order) }.encode_to_vec().into();
        let placed = vec![PlacedOrder { index: 0, response }];
        messages.send(PlaceOrdersResponse { placed, refused: Vec::new() }).unwrap();
        answer
    });
    mesh
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_web_client_reads_buys_watches_and_is_refused() {
    let mesh = shop(|_| {}).await;
    let origin: http::Uri = format!("http://{}", mesh.edge).parse().unwrap();
    let http1 = Client::builder(TokioExecutor::new()).build_http();
    let channel = GrpcWebClientLayer::new().layer(http1);

    let mut catalog = CatalogServiceClient::with_origin(channel.clone(), origin.clone());
    let answer = catalog.get_product(GetProductRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.product.unwrap().name, "a shoe");

    let mut orders = OrderServiceClient::with_origin(channel.clone(), origin.clone());
    let answer = orders.place_order(by(&mesh.token(), PlaceOrderRequest::default())).await.unwrap();
    assert_eq!(answer.into_inner().order.unwrap().order_id, "o");
    let status = orders.get_order(GetOrderRequest::default()).await.expect_err("nobody");
    assert_eq!(reason(&status), Reason::TokenInvalid);

    let mut stocks = StockServiceClient::with_origin(channel, origin);
    let mut watcher = stocks.watch_stock(WatchStockRequest::default()).await.unwrap().into_inner();
    assert_eq!(watcher.message().await.unwrap().unwrap().stock.unwrap().product_id, "p");
}

/// One exchange over a socket; `connection: close` ends it.
async fn exchange(mesh: &Mesh, head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(mesh.edge).await.unwrap();
    let head = format!("{head}\r\nhost: shop\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let body = answer.split_off(end);
    let body = if head.contains("transfer-encoding: chunked") { unchunked(&body) } else { body };
    (head, body)
}

fn unchunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = chunks.windows(2).position(|bytes| bytes == b"\r\n").expect("a size");
        let size = std::str::from_utf8(&chunks[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        chunks.advance(line + 2);
        body.extend_from_slice(&chunks[..size]);
        chunks.advance(size + 2);
    }
}

/// The frames of a grpc-web body: flag and contents.
fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while body.has_remaining() {
        let flag = body.get_u8();
        let length = body.get_u32() as usize;
        frames.push((flag, body[..length].to_vec()));
        body.advance(length);
    }
    frames
}

fn post(path: &str, body: &[u8], more: &str) -> String {
    format!(
        "POST /firstcome.{path} HTTP/1.1\r\ncontent-type: application/grpc-web+proto\r\n\
         x-grpc-web: 1\r\ncontent-length: {}{more}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_http1_exchange_works_and_its_identity_header_does_not() {
    let mesh = shop(|_| {}).await;
    let body = wire::frame(&GetProductRequest::default());
    let forged = "\r\nFC-Identity-Bin: CgQBAgME\r\nfc-identity-bin: CgQBAgME\r\norigin: https://shop.example";
    let (head, answer) = exchange(&mesh, &post(GET_PRODUCT, &body, forged), &body).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/grpc-web+proto"), "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert!(head.contains("grpc-status-details-bin"), "exposed: {head}");
    let frames_found = frames(&answer);
    assert_eq!(frames_found[0].0, 0);
    let product = GetProductResponse::decode(&*frames_found[0].1).unwrap().product.unwrap();
    assert_eq!(product.name, "a shoe");
    let (flag, trailers) = &frames_found[1];
    assert_eq!(*flag, 0x80);
    assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"), "{trailers:?}");
    let asked = mesh.scripts.asked(GET_PRODUCT).remove(0);
    assert!(!asked.headers.contains_key("fc-identity-bin"));

    // With a token: exactly one identity, the token's.
    let body = wire::frame(&GetOrderRequest::default());
    let more = format!("{forged}\r\nAuthorization: bearer {}", mesh.token());
    let (head, answer) = exchange(&mesh, &post(GET_ORDER, &body, &more), &body).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(frames(&answer).len(), 2);
    let asked = mesh.scripts.asked(GET_ORDER).remove(0);
    assert_eq!(asked.headers.get_all("fc-identity-bin").iter().count(), 1);
    Identity::from_metadata(&MetadataMap::from_headers(asked.headers)).expect("ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_edge_comes_as_trailers_in_the_body() {
    let mesh = shop(|_| {}).await;
    let body = wire::frame(&GetOrderRequest::default());
    let reserve = "inventory.v1.ReservationService/Reserve";
    for (path, want) in [(GET_ORDER, Reason::TokenInvalid), (reserve, Reason::NoSuchMethod)] {
        let (head, answer) = exchange(&mesh, &post(path, &body, ""), &body).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let frames = frames(&answer);
        assert_eq!((frames.len(), frames[0].0), (1, 0x80));
        let mut trailers = http::HeaderMap::new();
        for line in String::from_utf8(frames[0].1.clone()).unwrap().split("\r\n") {
            if let Some((name, value)) = line.split_once(':') {
                let name: http::HeaderName = name.parse().unwrap();
                trailers.insert(name, value.trim().parse().unwrap());
            }
        }
        let status = tonic::Status::from_header_map(&trailers).expect("a status");
        assert_eq!(Refusal::from_status(&status).reason(), want, "{path}");
    }
    assert_eq!(mesh.scripts.asked_in_all(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_sends_too_much_hears_why() {
    let mesh = shop(|_| {}).await;
    let request = GetProductRequest { product_id: "p".repeat(1 << 20) };
    let body = wire::frame(&request);
    let (head, answer) = exchange(&mesh, &post(GET_PRODUCT, &body, ""), &body).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let frames = frames(&answer);
    assert_eq!((frames.len(), frames[0].0), (1, 0x80));
    let trailers = String::from_utf8(frames[0].1.clone()).unwrap();
    assert!(trailers.contains("grpc-status:3"), "INVALID_ARGUMENT: {trailers}");
    assert_eq!(mesh.scripts.asked_in_all(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_exchange_is_base64_both_ways() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mesh = shop(|_| {}).await;
    let body = STANDARD.encode(wire::frame(&GetProductRequest { product_id: "abc".into() }));
    let head = format!(
        "POST /firstcome.{GET_PRODUCT} HTTP/1.1\r\ncontent-type: application/grpc-web-text\r\n\
         accept: application/grpc-web-text\r\ncontent-length: {}",
        body.len()
    );
    let (_, answer) = exchange(&mesh, &head, body.as_bytes()).await;
    // Each frame is encoded by itself; the message's padding may stand in the middle.
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("AAAAA"), "{text}");
    assert_eq!(mesh.scripts.asked(GET_PRODUCT)[0].decode::<GetProductRequest>().product_id, "abc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_says_who_may_call() {
    let ask = |origin: &str| {
        format!(
            "OPTIONS /firstcome.{GET_PRODUCT} HTTP/1.1\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\n\
             access-control-request-headers: authorization,content-type,x-grpc-web"
        )
    };
    let mesh = shop(|_| {}).await;
    let (head, _) = exchange(&mesh, &ask("https://any.example"), b"").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    for name in ["authorization", "content-type", "x-grpc-web", "grpc-timeout"] {
        let line = head.lines().find(|line| line.starts_with("access-control-allow-headers"));
        assert!(line.expect("a line").contains(name), "{name} in {head}");
    }

    let mesh = shop(|config| {
        config.development = false;
        config.web_origins = vec!["https://shop.example".parse().unwrap()];
    })
    .await;
    let (head, _) = exchange(&mesh, &ask("https://shop.example"), b"").await;
    assert!(head.contains("access-control-allow-origin: https://shop.example"), "{head}");
    let (head, _) = exchange(&mesh, &ask("https://evil.example"), b"").await;
    assert!(!head.contains("access-control-allow-origin"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_a_page() {
    let mesh = shop(|_| {}).await;
    let (head, body) = exchange(&mesh, "GET / HTTP/1.1", b"").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("grpcurl"));
    let (head, _) = exchange(&mesh, "GET /nothing HTTP/1.1", b"").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    // gRPC needs trailers, and so HTTP/2.
    let head = format!(
        "POST /firstcome.{GET_PRODUCT} HTTP/1.1\r\ncontent-type: application/grpc\r\ncontent-length: 0"
    );
    let (head, _) = exchange(&mesh, &head, b"").await;
    assert!(head.starts_with("http/1.1 415"), "{head}");
}

/// One header of a head that `exchange` gave.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_storefront_and_may_keep_what_never_changes() {
    let mesh = shop(|_| {}).await;
    let html = "accept: text/html,application/xhtml+xml,*/*;q=0.8";
    let (head, body) = exchange(&mesh, &format!("GET / HTTP/1.1\r\n{html}"), b"").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(header(&head, "content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(header(&head, "cache-control"), Some("no-cache"));
    let index = String::from_utf8(body).unwrap();
    let script = index.split_once("src=\"").expect("a script").1;
    let script = script.split_once('"').expect("its end").0;

    let (head, plain) = exchange(&mesh, &format!("GET {script} HTTP/1.1"), b"").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(header(&head, "content-type"), Some("text/javascript; charset=utf-8"));
    assert!(header(&head, "cache-control").expect("one").contains("immutable"), "{head}");
    let ask = format!("GET {script} HTTP/1.1\r\naccept-encoding: gzip, deflate");
    let (head, packed) = exchange(&mesh, &ask, b"").await;
    assert_eq!(header(&head, "content-encoding"), Some("gzip"));
    assert!(packed.len() * 2 < plain.len() && packed.len() < 120_000, "{}", packed.len());

    // What an older page names is gone, and nothing else stands in for it.
    let (head, _) = exchange(&mesh, &format!("GET /assets/old.js HTTP/1.1\r\n{html}"), b"").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    // Addresses within the page, and one that it does not know either.
    for (path, status) in [("/orders/1", "200"), ("/log-in?next=%2F", "200"), ("/nothing", "404")] {
        let (head, body) = exchange(&mesh, &format!("GET {path} HTTP/1.1\r\n{html}"), b"").await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{path}: {head}");
        assert_eq!(String::from_utf8(body).unwrap(), index, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_says_what_a_browser_must_not_do_with_it() {
    let mesh = shop(|_| {}).await;
    for path in ["/", "/me", "/assets/old.js", "/nothing"] {
        let (head, _) = exchange(&mesh, &format!("GET {path} HTTP/1.1"), b"").await;
        let policy = header(&head, "content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header(&head, "x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(header(&head, "referrer-policy"), Some("no-referrer"), "{path}");
    }
    let (head, body) = exchange(&mesh, "HEAD /me HTTP/1.1", b"").await;
    assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_refused() {
    let mesh = shop(|_| {}).await;
    let head = format!("GET / HTTP/1.1\r\nx-long: {}", "x".repeat(100_000));
    let mut socket = TcpStream::connect(mesh.edge).await.unwrap();
    let _ = socket.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
}
