//! WatchStock: one stream inward, however many watch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{
        ProductStock, SkuStock, WatchStockRequest, WatchStockResponse,
        stock_service_client::StockServiceClient,
    },
};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tonic::{Status, Streaming, transport::Endpoint};
use uuid::Uuid;

use crate::mesh::{Mesh, Services, reason, refused, stream, until};

const WATCH_STOCK: &str = "inventory.v1.StockService/WatchStock";

type News = UnboundedSender<WatchStockResponse>;

fn watch() -> WatchStockRequest {
    WatchStockRequest { product_id: Uuid::from_u128(5).to_string() }
}

fn stock(available: i32) -> WatchStockResponse {
    let sku = SkuStock { available, sku_id: "s".repeat(200), ..SkuStock::default() };
    let stock = ProductStock { skus: vec![sku], ..ProductStock::default() };
    WatchStockResponse { stock: Some(stock) }
}

fn available(news: &WatchStockResponse) -> i32 {
    news.stock.as_ref().expect("a stock").skus[0].available
}

/// Scripts inventory: each stream starts with this stock; the returned list takes what follows.
fn inventory(mesh: &Mesh, first: i32) -> Arc<Mutex<Vec<News>>> {
    let open: Arc<Mutex<Vec<News>>> = Arc::default();
    let opened = Arc::clone(&open);
    mesh.scripts.on(WATCH_STOCK, move |_| {
        let (news, answer) = stream();
        news.send(stock(first)).unwrap();
        opened.lock().push(news);
        async { answer }
    });
    open
}

async fn next(stream: &mut Streaming<WatchStockResponse>) -> Result<i32, Status> {
    let next = tokio::time::timeout(Duration::from_secs(10), stream.message()).await;
    next.expect("news in time").map(|news| available(&news.expect("the stream has no end")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_watchers_share_one_stream_and_late_ones_get_the_latest_at_once() {
    let mesh = Mesh::start().await;
    let open = inventory(&mesh, 50);
    let client = StockServiceClient::new(mesh.channel());
    let mut watchers = Vec::new();
    for _ in 0..100 {
        let mut client = client.clone();
        watchers.push(client.watch_stock(watch()).await.unwrap().into_inner());
    }
    for watcher in &mut watchers {
        assert_eq!(next(watcher).await.unwrap(), 50);
    }
    assert_eq!(mesh.scripts.asked(WATCH_STOCK).len(), 1, "one stream inward");

    open.lock()[0].send(stock(49)).unwrap();
    for watcher in &mut watchers {
        assert_eq!(next(watcher).await.unwrap(), 49);
    }
    let mut late = client.clone().watch_stock(watch()).await.unwrap().into_inner();
    assert_eq!(next(&mut late).await.unwrap(), 49);
    assert_eq!(mesh.scripts.asked(WATCH_STOCK).len(), 1);

    drop((watchers, late));
    let inward = open.lock().remove(0);
    until("the stream inward is closed", async || inward.is_closed()).await;
    let mut again = client.clone().watch_stock(watch()).await.unwrap().into_inner();
    assert_eq!(next(&mut again).await.unwrap(), 50);
    assert_eq!(mesh.scripts.asked(WATCH_STOCK).len(), 2, "who comes later opens it anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn news_come_at_most_ten_times_a_second_and_the_last_one_always() {
    let mesh = Mesh::start().await;
    let open = inventory(&mesh, 2000);
    let mut client = StockServiceClient::new(mesh.channel());
    let mut watcher = client.watch_stock(watch()).await.unwrap().into_inner();
    assert_eq!(next(&mut watcher).await.unwrap(), 2000);
    let began = Instant::now();
    let news = open.lock()[0].clone();
    tokio::spawn(async move {
        for left in (0..500).rev() {
            news.send(stock(left)).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut heard = 0;
    let mut last = i32::MAX;
    while last > 0 {
        let left = next(&mut watcher).await.unwrap();
        assert!(left < last, "news never go back");
        last = left;
        heard += 1;
    }
    let most = began.elapsed().as_millis() / 100 + 2;
    assert!(heard as u128 <= most, "{heard} in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_stream_is_opened_again_unseen() {
    let mut mesh = Mesh::start().await;
    let open = inventory(&mesh, 7);
    let mut client = StockServiceClient::new(mesh.channel());
    let mut watcher = client.watch_stock(watch()).await.unwrap().into_inner();
    assert_eq!(next(&mut watcher).await.unwrap(), 7);
    mesh.services.kill();
    open.lock().clear();
    let address = mesh.services.address.to_string();
    let open = inventory(&mesh, 6);
    mesh.services = Services::start(&mesh.scripts, &address);
    assert_eq!(next(&mut watcher).await.unwrap(), 6);
    open.lock()[0].send(stock(5)).unwrap();
    assert_eq!(next(&mut watcher).await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_inventory_refuses_the_watcher_hears() {
    let mesh = Mesh::start().await;
    mesh.scripts
        .on(WATCH_STOCK, |_| async { refused(&Status::from(Refusal::not_found("product"))) });
    let mut client = StockServiceClient::new(mesh.channel());
    for _ in 0..2 {
        let mut watcher = client.watch_stock(watch()).await.unwrap().into_inner();
        assert_eq!(
            reason(&next(&mut watcher).await.expect_err("no such product")),
            Reason::NotFound
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_inventory_a_watcher_is_told_so() {
    let mut mesh = Mesh::start().await;
    mesh.services.kill();
    let mut client = StockServiceClient::new(mesh.channel());
    let mut watcher = client.watch_stock(watch()).await.unwrap().into_inner();
    let status = next(&mut watcher).await.expect_err("nobody is there");
    assert_eq!(reason(&status), Reason::UpstreamUnavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_who_does_not_read_is_dropped_and_others_are_not() {
    let mesh = Mesh::start_with(|config| {
        config.watcher_stall = Duration::from_millis(300);
        config.watchers_max = 2;
    })
    .await;
    let open = inventory(&mesh, 1);
    // The smallest window HTTP/2 clients offer is soon full of news that nobody reads.
    let endpoint = Endpoint::from_shared(format!("http://{}", mesh.edge)).unwrap();
    let narrow = endpoint.initial_stream_window_size(1024).connect_lazy();
    let mut sleeper =
        StockServiceClient::new(narrow).watch_stock(watch()).await.unwrap().into_inner();
    let mut reader =
        StockServiceClient::new(mesh.channel()).watch_stock(watch()).await.unwrap().into_inner();
    let third = StockServiceClient::new(mesh.channel()).watch_stock(watch()).await;
    assert_eq!(reason(&third.expect_err("two at most")), Reason::Overloaded);

    next(&mut reader).await.expect("the stream inward is open");
    // The sleeper's place is free when it was dropped; the reader reads on meanwhile.
    let news = open.lock()[0].clone();
    let feeding = tokio::spawn(async move {
        for count in 2.. {
            if news.send(stock(count)).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut third = None;
    for _ in 0..100 {
        next(&mut reader).await.expect("the reader reads on");
        let watcher = StockServiceClient::new(mesh.channel()).watch_stock(watch()).await;
        if let Ok(watcher) = watcher {
            third = Some(watcher.into_inner());
            break;
        }
    }
    next(&mut third.expect("a place became free")).await.expect("news");
    let slow = loop {
        if let Err(status) = next(&mut sleeper).await {
            break status;
        }
    };
    assert_eq!(reason(&slow), Reason::WatcherTooSlow);
    assert!(Refusal::from_status(&slow).retry_after.is_some());
    feeding.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_streams_with_a_reason() {
    let mut mesh = Mesh::start().await;
    let _open = inventory(&mesh, 1);
    let mut client = StockServiceClient::new(mesh.channel());
    let mut watcher = client.watch_stock(watch()).await.unwrap().into_inner();
    assert_eq!(next(&mut watcher).await.unwrap(), 1);
    mesh.shutdown.begin();
    assert_eq!(reason(&next(&mut watcher).await.expect_err("it stops")), Reason::Overloaded);
    let served = mesh.served.take().unwrap();
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("it ends").unwrap().unwrap();
}
