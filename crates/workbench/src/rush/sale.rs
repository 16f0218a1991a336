//! What the rush is for: one product with one SKU, made by an admin and opened at an instant that
//! the shop's own clock decides.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use firstcome_proto::{
    ProductId, SkuId,
    inventory_v1::{
        CreateProductRequest, Drop, GetStockRequest, NewSku, ScheduleDropRequest,
        catalog_service_client::CatalogServiceClient, stock_service_client::StockServiceClient,
    },
    money_v1, timestamp,
};
use time::OffsetDateTime;
use tokio::time::Instant;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// What a pair costs.
const PRICE_MINOR: i64 = 189_000;
const CURRENCY: &str = "KRW";
/// Long enough for a product that is fenced while its first gate is loaded.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a shop that does not show the drop yet is asked again.
const POLL: Duration = Duration::from_millis(100);

/// A product about to be sold.
#[derive(Clone, Copy, Debug)]
pub struct Sale {
    /// The product.
    pub product: ProductId,
    /// Its one SKU.
    pub sku: SkuId,
}

impl Sale {
    /// Makes the product of a run.
    pub async fn create(
        channel: Channel,
        admin: &MetadataValue<Ascii>,
        run: &str,
        stock: u32,
    ) -> Result<Self> {
        let price = money_v1::Money { currency_code: CURRENCY.into(), amount_minor: PRICE_MINOR };
        let message = CreateProductRequest {
            idempotency_key: format!("rush-{run}"),
            name: format!("Rush {run}"),
            description: "A limited pair, for as long as there are any.".into(),
            skus: vec![NewSku {
                label: "270 mm, white".into(),
                price: Some(price),
                total: i32::try_from(stock).context("a smaller stock")?,
                ..NewSku::default()
            }],
            ..CreateProductRequest::default()
        };
        let answer = CatalogServiceClient::new(channel)
            .create_product(as_admin(admin, message))
            .await
            .context("create the product")?;
        let product = answer.into_inner().product.context("an answer without a product")?;
        let sku = product.skus.first().context("a product without a SKU")?;
        Ok(Self { product: product.product_id.parse()?, sku: sku.sku_id.parse()? })
    }

    /// Opens the product that long from now; gives the instant by our clock.
    pub async fn open_in(
        &self,
        channel: Channel,
        admin: &MetadataValue<Ascii>,
        span: Duration,
        limit_per_buyer: u32,
        hold: Duration,
    ) -> Result<Instant> {
        let drop = Drop {
            opens_at: Some(timestamp::to_wire(OffsetDateTime::now_utc() + span)),
            closes_at: None,
            limit_per_buyer: i32::try_from(limit_per_buyer).context("a smaller limit")?,
            hold_ttl: Some(timestamp::duration_to_wire(hold)),
        };
        let message =
            ScheduleDropRequest { product_id: self.product.to_string(), drop: Some(drop) };
        CatalogServiceClient::new(channel.clone())
            .schedule_drop(as_admin(admin, message))
            .await
            .context("schedule the drop")?;
        self.opening(channel).await
    }

    /// When the product opens, by our clock: the shard's may be another machine's.
    async fn opening(&self, channel: Channel) -> Result<Instant> {
        let mut client = StockServiceClient::new(channel);
        let give_up = Instant::now() + CALL_TIMEOUT;
        loop {
            let request = GetStockRequest { product_id: self.product.to_string() };
            match client.get_stock(request).await {
                Ok(answer) => {
                    let stock = answer.into_inner().stock.context("an answer without stock")?;
                    let instant = |stamp: Option<prost_types::Timestamp>| {
                        stamp.as_ref().and_then(timestamp::from_wire)
                    };
                    if let (Some(opens), Some(read)) =
                        (instant(stock.opens_at), instant(stock.read_time))
                    {
                        let left = Duration::try_from(opens - read).unwrap_or(Duration::ZERO);
                        return Ok(Instant::now() + left);
                    }
                }
                Err(status) if Instant::now() >= give_up => {
                    return Err(status).context("read the stock");
                }
                Err(_) => {}
            }
            ensure!(Instant::now() < give_up, "the drop does not show in the stock");
            tokio::time::sleep(POLL).await;
        }
    }
}

fn as_admin<T>(admin: &MetadataValue<Ascii>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", admin.clone());
    request.set_timeout(CALL_TIMEOUT);
    request
}
