//! A buyer with a client that behaves: one call, its answer or its refusal.

use std::time::Duration;

use anyhow::{Context as _, Result};
use firstcome_proto::{
    Refusal, UserId,
    address_v1::Address,
    order_v1::{
        AddCartItemRequest, Basket, BasketItem, BasketSelection, CancelOrderRequest,
        GetOrderRequest, ListCartItemsRequest, ListOrdersRequest, NewOrderLine, Order, OrderState,
        PayOrderRequest, PlaceOrderRequest, RequestReturnRequest, WatchOrderRequest,
        cart_service_client::CartServiceClient, order_service_client::OrderServiceClient,
        pay_order_request::Destination,
    },
};
use rand::RngExt as _;
use tonic::{Request, Status, transport::Channel};

use crate::{Sale, shop::authorized};

/// No story waits longer for a change of an order.
const LONGEST: Duration = Duration::from_secs(60);

/// A product, one of its SKUs, and how many.
pub type Line<'a> = (&'a str, &'a str, i32);

/// Somebody with an account, a device and an address on the network.
#[derive(Clone)]
pub struct Buyer {
    /// Who.
    pub user: UserId,
    /// What lets them in.
    pub token: String,
    /// Where they call from, for the edge's limits.
    pub address: String,
    channel: Channel,
}

impl Buyer {
    /// A buyer at a random address.
    pub fn new(channel: Channel, user: UserId, token: String) -> Result<Self> {
        let [a, b, c]: [u8; 3] = rand::rng().random();
        Ok(Self { user, token, address: format!("10.{a}.{b}.{c}"), channel })
    }

    /// A call by this buyer.
    pub fn call<T>(&self, message: T) -> Request<T> {
        let mut request = authorized(message, &self.token);
        let address = self.address.parse().expect("addresses are ASCII");
        request.metadata_mut().insert("x-forwarded-for", address);
        request
    }

    /// Orders.
    pub fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.channel.clone())
    }

    /// Buys one unit of the sale's first SKU.
    pub async fn buy(&self, sale: &Sale, key: &str) -> Result<Order, Refusal> {
        self.place(key, &[(&sale.product, &sale.skus[0], 1)]).await
    }

    /// Places an order of (product, SKU, quantity) lines.
    pub async fn place(&self, key: &str, lines: &[Line<'_>]) -> Result<Order, Refusal> {
        self.try_place(key, lines).await.map_err(|status| Refusal::from_status(&status))
    }

    /// Places an order and gives the status as it came.
    pub async fn try_place(&self, key: &str, lines: &[Line<'_>]) -> Result<Order, Status> {
        let lines = lines.iter().map(|(product, sku, quantity)| NewOrderLine {
            product_id: (*product).to_owned(),
            sku_id: (*sku).to_owned(),
            quantity: *quantity,
        });
        let request = PlaceOrderRequest {
            idempotency_key: key.to_owned(),
            lines: lines.collect(),
            selection: None,
        };
        let response = self.orders().place_order(self.call(request)).await?;
        Ok(response.into_inner().order.expect("an answer carries the order"))
    }

    /// Pays with a test card.
    pub async fn pay(&self, order_id: &str, card: &str) -> Result<Order, Refusal> {
        let request = PayOrderRequest {
            order_id: order_id.to_owned(),
            destination: Some(Destination::Address(address())),
            payment_method: card.to_owned(),
        };
        let response = self.orders().pay_order(self.call(request)).await;
        heard(response.map(|response| response.into_inner().order))
    }

    /// Cancels before it ships.
    pub async fn cancel(&self, order_id: &str) -> Result<Order, Refusal> {
        let request = CancelOrderRequest { order_id: order_id.to_owned() };
        let response = self.orders().cancel_order(self.call(request)).await;
        heard(response.map(|response| response.into_inner().order))
    }

    /// Sends it back.
    pub async fn request_return(&self, order_id: &str) -> Result<Order, Refusal> {
        let request = RequestReturnRequest { order_id: order_id.to_owned() };
        let response = self.orders().request_return(self.call(request)).await;
        heard(response.map(|response| response.into_inner().order))
    }

    /// Reads an order.
    pub async fn order(&self, order_id: &str) -> Result<Order, Refusal> {
        let request = GetOrderRequest { order_id: order_id.to_owned() };
        let response = self.orders().get_order(self.call(request)).await;
        heard(response.map(|response| response.into_inner().order))
    }

    /// Waits until an order has come to a state, and gives it as it is then.
    pub async fn order_in(&self, order_id: &str, state: OrderState) -> Result<Order> {
        let request = WatchOrderRequest { order_id: order_id.to_owned() };
        let watching = async {
            let mut changes = self.orders().watch_order(self.call(request)).await?.into_inner();
            while let Some(change) = changes.message().await? {
                let order = change.order.context("an order")?;
                if order.state() == state {
                    return Ok(order);
                }
            }
            anyhow::bail!("the order ended in another state than {state:?}")
        };
        tokio::time::timeout(LONGEST, watching).await.context("an order changes in time")?
    }

    /// Puts units of the sale's first SKU into the cart; gives how many there are then.
    pub async fn add_to_cart(&self, sale: &Sale, key: &str, quantity: i32) -> Result<i32, Refusal> {
        let request = AddCartItemRequest {
            idempotency_key: key.to_owned(),
            product_id: sale.product.clone(),
            sku_id: sale.skus[0].clone(),
            quantity,
        };
        let added = self.carts().add_cart_item(self.call(request)).await;
        let added = added.map_err(|status| Refusal::from_status(&status))?;
        Ok(added.into_inner().quantity)
    }

    /// What stands in the cart, oldest line first.
    pub async fn cart(&self) -> Result<Vec<BasketItem>, Refusal> {
        let listed = self.carts().list_cart_items(self.call(ListCartItemsRequest {})).await;
        let listed = listed.map_err(|status| Refusal::from_status(&status))?;
        Ok(listed.into_inner().items)
    }

    /// Carts.
    pub fn carts(&self) -> CartServiceClient<Channel> {
        CartServiceClient::new(self.channel.clone())
    }

    /// Orders everything in the cart.
    pub async fn order_cart(&self, key: &str) -> Result<Order, Refusal> {
        self.order_from(key, Basket::Cart, &[]).await
    }

    /// Orders what is chosen of a list; nothing chosen means all of it.
    pub async fn order_from(
        &self,
        key: &str,
        basket: Basket,
        skus: &[String],
    ) -> Result<Order, Refusal> {
        let selection = BasketSelection { basket: basket as i32, sku_ids: skus.to_vec() };
        let request = PlaceOrderRequest {
            idempotency_key: key.to_owned(),
            lines: Vec::new(),
            selection: Some(selection),
        };
        let response = self.orders().place_order(self.call(request)).await;
        heard(response.map(|response| response.into_inner().order))
    }

    /// Reads the newest orders.
    pub async fn newest_orders(&self) -> Result<Vec<Order>, Refusal> {
        let request = ListOrdersRequest { page_size: 100, page_token: String::new() };
        let response = self.orders().list_orders(self.call(request)).await;
        let response = response.map_err(|status| Refusal::from_status(&status))?;
        Ok(response.into_inner().orders)
    }
}

/// The order that an answer carries, or why there is none.
fn heard(answer: Result<Option<Order>, Status>) -> Result<Order, Refusal> {
    let order = answer.map_err(|status| Refusal::from_status(&status))?;
    Ok(order.expect("an answer carries the order"))
}

/// Where the goods go.
pub fn address() -> Address {
    Address {
        recipient: "Kim Minji".into(),
        phone: "+821012345678".into(),
        line1: "12 Seongsui-ro".into(),
        line2: String::new(),
        city: "Seoul".into(),
        postal_code: "04784".into(),
        country_code: "KR".into(),
    }
}
