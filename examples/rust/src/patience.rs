//! What to do about a refusal: its reason says so, and RetryInfo for how long to wait.
use std::time::Duration;

use tonic::{Code, Status, transport::Channel};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{firstcome::inventory::v1::*, setting};

/// Without RetryInfo: the network failed, and the shop had no say.
const PAUSE: Duration = Duration::from_secs(1);

/// Returns when it is time to try again with the same key, or gives back what no waiting changes.
pub async fn wait_out(refused: Status, shop: &Channel, token: &mut String) -> Result<(), Status> {
    let details: ErrorDetails = refused.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    println!("refused: {reason} {}", refused.message());
    let says = |name: &str| details.error_info().and_then(|info| info.metadata.get(name));
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    match (reason, delay, refused.code()) {
        ("NOT_OPEN", ..) => watch(shop).await,
        ("SOLD_OUT", ..) if says("holds_open").is_some_and(|units| units != "0") => {
            watch(shop).await
        }
        ("TOKEN_EXPIRED", ..) => token.clear(),
        // Up to half as long again: those who were refused together do not come back together.
        (_, Some(delay), _) => {
            tokio::time::sleep(delay.mul_f64(rand::random_range(1.0..1.5))).await
        }
        (_, None, Code::Unavailable | Code::DeadlineExceeded) => tokio::time::sleep(PAUSE).await,
        _ => return Err(refused),
    }
    Ok(())
}

/// Returns when a unit can be had, when none can come back, or when the stream breaks.
async fn watch(shop: &Channel) {
    let mut stock = stock_service_client::StockServiceClient::new(shop.clone());
    let product = WatchStockRequest { product_id: setting("PRODUCT") };
    if let Ok(changes) = stock.watch_stock(product).await {
        let mut changes = changes.into_inner();
        while let Ok(Some(change)) = changes.message().await {
            let now = change.stock.unwrap_or_default();
            let sku = now.skus.iter().find(|sku| sku.sku_id == setting("SKU"));
            let may_try = sku.is_none_or(|sku| sku.available > 0 || sku.holds_open == 0);
            if now.state() != SaleState::NotOpen && may_try {
                return;
            }
        }
    }
    tokio::time::sleep(PAUSE).await;
}
