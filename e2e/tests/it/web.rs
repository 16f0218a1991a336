//! Browsers: grpc-web through tonic-web's client, and a raw exchange over HTTP/1.1.

use base64::Engine as _;
use firstcome_e2e::{Shop, shop::Terms};
use firstcome_local::Service;
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{
        GetProductRequest, WatchStockRequest, stock_service_client::StockServiceClient,
    },
    order_v1::{
        NewOrderLine, OrderState, PlaceOrderRequest, order_service_client::OrderServiceClient,
    },
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic_web::GrpcWebClientLayer;
use tower::ServiceBuilder;

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_buys_and_watches_through_grpc_web() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyers = shop.buyers(2).await.unwrap();
    let edge: http::Uri = shop.mesh.address().endpoint(Service::Edge).parse().unwrap();
    let web = || {
        let client = Client::builder(TokioExecutor::new()).build_http();
        ServiceBuilder::new().layer(GrpcWebClientLayer::new()).service(client)
    };

    let mut stock = StockServiceClient::with_origin(web(), edge.clone());
    let watch = WatchStockRequest { product_id: sale.product.clone() };
    let mut changes = stock.watch_stock(watch).await.unwrap().into_inner();
    let now = changes.message().await.unwrap().unwrap().stock.unwrap();
    assert_eq!(now.skus[0].available, 1);

    let mut orders = OrderServiceClient::with_origin(web(), edge);
    let request = PlaceOrderRequest {
        idempotency_key: "from a browser".into(),
        lines: vec![NewOrderLine {
            product_id: sale.product.clone(),
            sku_id: sale.skus[0].clone(),
            quantity: 1,
        }],
        selection: None,
    };
    let placed = orders.place_order(buyers[0].call(request.clone())).await.unwrap().into_inner();
    assert_eq!(placed.order.unwrap().state(), OrderState::PendingPayment);
    loop {
        let change = changes.message().await.unwrap().unwrap().stock.unwrap();
        if change.skus[0].available == 0 {
            break;
        }
    }
    let late = orders.place_order(buyers[1].call(request)).await.unwrap_err();
    assert_eq!(Refusal::from_status(&late).reason(), Reason::SoldOut, "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_exchange_over_http_1_1_is_grpc_web() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let edge = shop.mesh.address().endpoint(Service::Edge).replace("http://", "");
    let message = GetProductRequest { product_id: sale.product.clone() }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);

    let binary = exchange(&edge, "application/grpc-web+proto", &frame).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(text(&binary).starts_with("HTTP/1.1 200"), "{}", text(&binary));
    assert!(contains(&binary, b"grpc-status:0"), "{}", text(&binary));
    assert!(contains(&binary, sale.product.as_bytes()), "{}", text(&binary));

    let encoded = base64::engine::general_purpose::STANDARD.encode(&frame);
    let in_text = exchange(&edge, "application/grpc-web-text", encoded.as_bytes()).await;
    assert!(contains(&in_text, b"application/grpc-web-text"), "{}", text(&in_text));
}

/// One request over a bare socket; the server closes when it has answered.
async fn exchange(edge: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut socket = tokio::net::TcpStream::connect(edge).await.unwrap();
    let head = format!(
        "POST /firstcome.inventory.v1.CatalogService/GetProduct HTTP/1.1\r\n\
         host: {edge}\r\ncontent-type: {content_type}\r\naccept: {content_type}\r\n\
         x-grpc-web: 1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len(),
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    answer
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
