//! The calls of a purchase as every buyer here makes them, in a rush, in a herd or to be measured:
//! the same messages, the same headers, the same patience.

use std::time::Duration;

use firstcome_proto::{
    OrderId, UserId,
    address_v1::Address,
    order_v1::{
        CancelOrderRequest, NewOrderLine, Order, PayOrderRequest, PlaceOrderRequest,
        order_service_client::OrderServiceClient, pay_order_request::Destination,
    },
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::rush::sale::Sale;

/// Longest wait for one answer; then the buyer asks again with the same key.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A payment is five steps over four services.
pub const PAYMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// A card that is good for everything.
pub const CARD_APPROVED: &str = "pm_card_approve";
/// A card that is good for nothing.
pub const CARD_DECLINED: &str = "pm_card_decline";

/// Somebody who wants a pair.
#[derive(Clone)]
pub struct Person {
    /// Who.
    pub user: UserId,
    /// The access token as a header.
    pub authorization: MetadataValue<Ascii>,
    /// The own client address, so that rate limits can stay on.
    pub address: MetadataValue<Ascii>,
}

impl Person {
    /// PlaceOrder for one unit.
    pub async fn place(
        &self,
        channel: Channel,
        sale: Sale,
        key: &str,
        patience: Duration,
    ) -> Result<Order, Status> {
        let request = self.request(order_of(sale, key), patience);
        let answer = OrderServiceClient::new(channel).place_order(request).await?;
        order_in(answer.into_inner().order)
    }

    /// PayOrder, goods to [`somewhere`].
    pub async fn pay(&self, channel: Channel, order: OrderId, card: &str) -> Result<Order, Status> {
        let message = PayOrderRequest {
            order_id: order.to_string(),
            destination: Some(Destination::Address(somewhere())),
            payment_method: card.to_owned(),
        };
        let request = self.request(message, PAYMENT_TIMEOUT);
        let answer = OrderServiceClient::new(channel).pay_order(request).await?;
        order_in(answer.into_inner().order)
    }

    /// CancelOrder.
    pub async fn cancel(&self, channel: Channel, order: OrderId) -> Result<Order, Status> {
        let message = CancelOrderRequest { order_id: order.to_string() };
        let request = self.request(message, PAYMENT_TIMEOUT);
        let answer = OrderServiceClient::new(channel).cancel_order(request).await?;
        order_in(answer.into_inner().order)
    }

    /// A call by this person, who waits so long for the answer.
    pub fn request<T>(&self, message: T, patience: Duration) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.authorization.clone());
        metadata.insert("x-forwarded-for", self.address.clone());
        request.set_timeout(patience);
        request
    }
}

/// What a buyer sends who wants one unit.
pub fn order_of(sale: Sale, key: &str) -> PlaceOrderRequest {
    let line = NewOrderLine {
        product_id: sale.product.to_string(),
        sku_id: sale.sku.to_string(),
        quantity: 1,
    };
    PlaceOrderRequest { idempotency_key: key.to_owned(), lines: vec![line], selection: None }
}

/// Where all goods go.
pub fn somewhere() -> Address {
    Address {
        recipient: "Rush Buyer".into(),
        phone: "+821012345678".into(),
        line1: "1 Sejong-daero".into(),
        line2: String::new(),
        city: "Seoul".into(),
        postal_code: "04524".into(),
        country_code: "KR".into(),
    }
}

fn order_in(answer: Option<Order>) -> Result<Order, Status> {
    answer.ok_or_else(|| Status::internal("an answer without an order"))
}
