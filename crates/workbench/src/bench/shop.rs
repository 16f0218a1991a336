//! The shop that is measured: its sales, and [`calls`](crate::calls) over its connections.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use firstcome_local::{Address, Service};
use firstcome_mesh::upstream;
use firstcome_proto::{
    OrderId, Reason, Refusal,
    inventory_v1::{
        AdjustStockRequest, GetProductRequest, catalog_service_client::CatalogServiceClient,
    },
    order_v1::{Order, OrderState},
};
use prost::Message as _;
use tokio::time::Instant;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::echo::{self, Payload};
use crate::{
    calls::{ANSWER_TIMEOUT, CARD_APPROVED, Person, order_of},
    rush::{crowd, sale::Sale},
};

/// Units are held longer than any run lasts.
const HOLD: Duration = Duration::from_secs(3600);
/// Between scheduling and opening: sales for a measurement open as soon as they can.
const OPENS_IN: Duration = Duration::from_millis(50);

/// The shop as buyers see it.
pub struct Shop {
    channels: Vec<Channel>,
    floor: Vec<Channel>,
    admin: MetadataValue<Ascii>,
}

impl Shop {
    /// Opens the connections, as many to the edge as to the floor.
    pub async fn open(mesh: &Address, floor: &str, connections: u16) -> Result<Self> {
        let open = |endpoint: &str| -> Result<Vec<Channel>> {
            (0..connections).map(|_| Ok(upstream::channel(endpoint)?)).collect()
        };
        let channels = open(mesh.endpoint(Service::Edge))?;
        let admin = crowd::admin(mesh, channels[0].clone()).await?;
        Ok(Self { channels, floor: open(floor)?, admin })
    }

    /// The same shop through another edge.
    pub fn beside(&self, edge: &str, connections: u16) -> Result<Self> {
        let channels = (0..connections).map(|_| Ok(upstream::channel(edge)?));
        let channels = channels.collect::<Result<_>>()?;
        Ok(Self { channels, floor: self.floor.clone(), admin: self.admin.clone() })
    }

    /// A shop without a floor to measure it against.
    pub async fn without_floor(mesh: &Address, connections: u16) -> Result<Self> {
        Self::open(mesh, mesh.endpoint(Service::Edge), connections).await
    }

    /// A sale of so many units that is open now.
    pub async fn sale(&self, stock: u32, limit_per_buyer: u32) -> Result<Sale> {
        let sale = self.product(stock).await?;
        let opening = self.open_in(sale, OPENS_IN, limit_per_buyer);
        tokio::time::sleep_until(opening.await?).await;
        Ok(sale)
    }

    /// Sets how many units exist, held ones included.
    pub async fn restock(&self, sale: Sale, total: u32) -> Result<()> {
        let mut request = Request::new(AdjustStockRequest {
            product_id: sale.product.to_string(),
            sku_id: sale.sku.to_string(),
            total: i32::try_from(total).context("a smaller stock")?,
        });
        request.metadata_mut().insert("authorization", self.admin.clone());
        let mut client = CatalogServiceClient::new(self.channel(0));
        client.adjust_stock(request).await.context("restock")?;
        Ok(())
    }

    /// A product of so many units that nobody can buy yet.
    pub async fn product(&self, stock: u32) -> Result<Sale> {
        let run = format!("{:08x}", rand::random::<u32>());
        Sale::create(self.channels[0].clone(), &self.admin, &run, stock).await
    }

    /// Opens a product's sale that long from now; gives the instant by our clock.
    pub async fn open_in(
        &self,
        sale: Sale,
        span: Duration,
        limit_per_buyer: u32,
    ) -> Result<Instant> {
        sale.open_in(self.channels[0].clone(), &self.admin, span, limit_per_buyer, HOLD).await
    }

    /// A sale whose only unit is gone.
    pub async fn sold_out(&self, buyer: &Person) -> Result<Sale> {
        let sale = self.sale(1, 1).await?;
        // The same buyer comes first to every sale, and a key is good for one purchase.
        self.place(0, buyer, sale, &format!("first-{}", sale.product)).await?;
        Ok(sale)
    }

    /// PlaceOrder that must win.
    pub async fn place(&self, number: u32, buyer: &Person, sale: Sale, key: &str) -> Result<Order> {
        Ok(self.try_place(number, buyer, sale, key, ANSWER_TIMEOUT).await?)
    }

    /// PlaceOrder, whatever comes of it.
    pub async fn try_place(
        &self,
        number: u32,
        buyer: &Person,
        sale: Sale,
        key: &str,
        patience: Duration,
    ) -> Result<Order, Status> {
        buyer.place(self.channel(number), sale, key, patience).await
    }

    /// PlaceOrder that must be told that nothing is left.
    pub async fn be_refused(
        &self,
        number: u32,
        buyer: &Person,
        sale: Sale,
        key: &str,
    ) -> Result<()> {
        match self.try_place(number, buyer, sale, key, ANSWER_TIMEOUT).await {
            Err(status) if Refusal::from_status(&status).reason() == Reason::SoldOut => Ok(()),
            Err(status) => Err(status).context("want SOLD_OUT"),
            Ok(_) => bail!("an order where nothing is left"),
        }
    }

    /// GetProduct.
    pub async fn look(&self, number: u32, buyer: &Person, sale: Sale) -> Result<()> {
        let mut client = CatalogServiceClient::new(self.channel(number));
        let message = GetProductRequest { product_id: sale.product.to_string() };
        client.get_product(buyer.request(message, ANSWER_TIMEOUT)).await?;
        Ok(())
    }

    /// PayOrder that must go through.
    pub async fn pay(&self, number: u32, buyer: &Person, order: OrderId) -> Result<()> {
        match buyer.pay(self.channel(number), order, CARD_APPROVED).await?.state() {
            OrderState::Preparing => Ok(()),
            state => bail!("an order that is paid is {state:?}"),
        }
    }

    /// The floor, with a message of PlaceOrder's size.
    pub async fn echo(&self, number: u32, buyer: &Person, message: &Arc<Payload>) -> Result<()> {
        let channel = self.floor[number as usize % self.floor.len()].clone();
        echo::call(channel, buyer.request(Payload::clone(message), ANSWER_TIMEOUT)).await?;
        Ok(())
    }

    /// The connections take turns.
    pub fn channel(&self, number: u32) -> Channel {
        self.channels[number as usize % self.channels.len()].clone()
    }
}

/// A message as long as PlaceOrder's with this key.
pub fn message_like_an_order(sale: Sale, key: &str) -> Payload {
    let bytes = order_of(sale, key).encoded_len();
    // Two bytes of tag and length are ours.
    Payload { bytes: vec![b'x'; bytes.saturating_sub(3)].into() }
}
