//! The purchase: log in, place the order, pay it.
use tonic::{Request, Status, metadata::MetadataValue, transport::Channel};

use crate::{
    Session,
    firstcome::{address::v1::Address, order::v1::*, user::v1::*},
    setting,
};

/// All of it may be done again: session, order and payment are then what they were.
pub async fn buy(shop: &Channel, key: &str, session: &mut Session) -> Result<(), Status> {
    if session.token.is_empty() {
        let (email, password, device) = (setting("EMAIL"), setting("PASSWORD"), String::new());
        let idempotency_key = session.key.clone();
        let log_in = LogInRequest { email, password, idempotency_key, device };
        let mut accounts = account_service_client::AccountServiceClient::new(shop.clone());
        let tokens = accounts.log_in(log_in).await?.into_inner().tokens;
        session.token = tokens.unwrap_or_default().access_token;
    }
    let bearer = format!("Bearer {}", session.token);
    let bearer: MetadataValue<_> = bearer.parse().expect("tokens are ASCII");
    let as_buyer = |mut call: Request<()>| {
        call.metadata_mut().insert("authorization", bearer.clone());
        Ok(call)
    };
    type Orders<T> = order_service_client::OrderServiceClient<T>;
    let mut orders = Orders::with_interceptor(shop.clone(), as_buyer);

    let (product_id, sku_id) = (setting("PRODUCT"), setting("SKU"));
    let lines = vec![NewOrderLine { product_id, sku_id, quantity: 1 }];
    let wish = PlaceOrderRequest { idempotency_key: key.into(), lines, selection: None };
    let placed = orders.place_order(wish).await?.into_inner().order.unwrap_or_default();
    println!("placed: {} is number {} of its product", placed.order_id, placed.sequence);

    let [recipient, phone, line1, city, postal_code, country_code] =
        ["Kim Minji", "+821012345678", "12 Seongsui-ro", "Seoul", "04784", "KR"].map(String::from);
    let line2 = String::new();
    let address = Address { recipient, phone, line1, line2, city, postal_code, country_code };
    let destination = Some(pay_order_request::Destination::Address(address));
    let payment_method = "pm_card_approve".to_owned();
    let payment = PayOrderRequest { order_id: placed.order_id, destination, payment_method };
    let paid = orders.pay_order(payment).await?.into_inner().order.unwrap_or_default();
    println!("paid: {}", paid.state().as_str_name());
    Ok(())
}
