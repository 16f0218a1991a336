//! Buys one unit: logs in, places an order and pays, again under the same key until it is told.
mod buy;
mod patience;
include!(concat!(env!("OUT_DIR"), "/contract.rs"));

use std::{env, time::Duration};

use firstcome::inventory::v1::*;
use tonic::{Status, transport::Channel};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let key = env::var("FIRSTCOME_KEY").unwrap_or_else(|_| uuid::Uuid::new_v4().into());
    println!("FIRSTCOME_KEY={key}"); // Cut off? Start again with it: it finds the same order.
    let shop = Channel::from_shared(setting("EDGE"))?.timeout(Duration::from_secs(20));
    // The pings notice when a stream's connection has died without a word.
    let shop = shop.http2_keep_alive_interval(Duration::from_secs(20)).connect_lazy();
    let (mut session, mut tries) = (Session::new(), 0);
    while let Err(refused) = buy::buy(&shop, &key, &mut session).await {
        patience::wait_out(refused, &shop, &mut session, &mut tries).await?;
    }
    Ok(())
}

/// A log-in: the key that is the same for its retries, and the access token that it brought.
struct Session {
    key: String,
    token: String,
}

impl Session {
    fn new() -> Self {
        Self { key: uuid::Uuid::new_v4().into(), token: String::new() }
    }
}

/// Returns when a unit can be had, or none can come back.
async fn watch(shop: &Channel) -> Result<(), Status> {
    let mut stock = stock_service_client::StockServiceClient::new(shop.clone());
    let product = WatchStockRequest { product_id: setting("PRODUCT") };
    let mut changes = stock.watch_stock(product).await?.into_inner();
    while let Some(change) = changes.message().await? {
        let now = change.stock.unwrap_or_default();
        let sku = now.skus.iter().find(|sku| sku.sku_id == setting("SKU"));
        let may_come_back = sku.is_some_and(|sku| sku.available == 0 && sku.holds_open > 0);
        match now.state() {
            SaleState::NotOpen => {}
            SaleState::Open if may_come_back => {}
            _ => return Ok(()),
        }
    }
    Ok(())
}

fn setting(name: &str) -> String {
    env::var(format!("FIRSTCOME_{name}")).unwrap_or_else(|_| panic!("FIRSTCOME_{name} is not set"))
}
