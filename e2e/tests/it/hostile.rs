//! What the world may send, and the documented reason each gets. Nothing is held, nothing charged,
//! and the others of the same batch are unharmed.

use std::error::Error as _;

use firstcome_e2e::{Buyer, Shop, buyer::Line, shop::Terms};
use firstcome_local::{Certificates, Service, checkout};
use firstcome_mesh::{Identity, identity, upstream};
use firstcome_proto::{
    Reason, Refusal, SessionId,
    access::{Peer, Role},
    inventory_v1::{
        AdjustStockRequest, ReserveRequest, catalog_service_client::CatalogServiceClient,
        reservation_service_client::ReservationServiceClient,
    },
    order_v1::{
        GetOrderRequest, NewOrderLine, OrderState, PlaceOrderRequest, PlaceOrdersItem,
        PlaceOrdersRequest, order_intake_service_client::OrderIntakeServiceClient,
        order_service_client::OrderServiceClient,
    },
    payment_v1::{GetPaymentRequest, payment_service_client::PaymentServiceClient},
};
use futures::future::join_all;
use tonic::{Code, Request, Status};
use uuid::Uuid;

fn reason(status: &Status) -> Reason {
    Refusal::from_status(status).reason()
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_orders_get_their_reason_and_harm_nobody_beside_them() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(100)).await.unwrap();
    let (product, sku) = (sale.product.as_str(), sale.skus[0].as_str());
    let nobody = Uuid::new_v4().to_string();
    let long = "k".repeat(1 << 20);
    let eleven = [(product, sku, 1); 11];
    let table: Vec<(&str, Vec<Line<'_>>, Reason)> = vec![
        ("zero", vec![(product, sku, 0)], Reason::InvalidArgument),
        ("negative", vec![(product, sku, -5)], Reason::InvalidArgument),
        ("2^31 - 1", vec![(product, sku, i32::MAX)], Reason::InvalidArgument),
        ("no lines", vec![], Reason::InvalidArgument),
        ("too many lines", eleven.to_vec(), Reason::InvalidArgument),
        ("a SKU twice", vec![(product, sku, 1), (product, sku, 1)], Reason::InvalidArgument),
        ("unknown SKU", vec![(product, &nobody, 1)], Reason::NotFound),
        ("unknown product", vec![(&nobody, sku, 1)], Reason::NotFound),
        ("not a UUID", vec![(product, "270 mm", 1)], Reason::InvalidArgument),
        ("\u{7}bell", vec![(product, sku, 1)], Reason::InvalidArgument),
        ("", vec![(product, sku, 1)], Reason::InvalidArgument),
        (&long, vec![(product, sku, 1)], Reason::InvalidArgument),
    ];
    let buyers = shop.buyers(table.len() + 50).await.unwrap();
    let (faulty, good) = buyers.split_at(table.len());

    let refused =
        join_all(table.iter().zip(faulty).map(|((key, lines, want), buyer)| async move {
            let status = buyer.try_place(key, lines).await.expect_err(key);
            let name = &key[..key.len().min(20)];
            assert_eq!(reason(&status), *want, "{name:?}: {status:?}");
            assert_eq!(status.code(), want.code(), "{name:?}");
        }));
    let bought = join_all(good.iter().map(|buyer| buyer.buy(&sale, "good")));
    let (_, bought) = futures::join!(refused, bought);

    assert!(bought.iter().all(Result::is_ok), "{bought:?}");
    assert_eq!(shop.stock(&sale).await.unwrap().skus[0].available, 50);
    for buyer in faulty {
        assert!(buyer.newest_orders().await.unwrap().is_empty());
    }
}

/// 2^31 does not fit an int32; on the wire it may still be said.
#[tokio::test(flavor = "multi_thread")]
async fn a_quantity_of_2_to_the_31_on_the_wire_is_refused() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(5)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    // The varint of 2^31 decodes to the most negative int32.
    let order = buyer.try_place("k", &[(&sale.product, &sale.skus[0], i32::MIN)]).await;
    assert_eq!(reason(&order.unwrap_err()), Reason::InvalidArgument);
    assert_eq!(shop.stock(&sale).await.unwrap().skus[0].available, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_verify_lets_nobody_in() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let mut changed = buyer.token.clone().into_bytes();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let expired = {
        let file = shop.mesh.address().logs.join(format!("expired-{}.jsonl", Uuid::new_v4()));
        let path = file.to_str().unwrap();
        let args = ["seed", "--count", "1", "--out", path, "--prefix", "late", "--token-ttl", "1s"];
        let deadline = std::time::Duration::from_secs(60);
        shop.mesh.address().run(firstcome_local::Service::User, &args, deadline).await.unwrap();
        let line: serde_json::Value =
            serde_json::from_str(std::fs::read_to_string(&file).unwrap().trim()).unwrap();
        line["access_token"].as_str().unwrap().to_owned()
    };
    let try_with = |authorization: Option<String>| {
        let mut request = buyer.call(PlaceOrderRequest {
            idempotency_key: "k".into(),
            lines: vec![NewOrderLine {
                product_id: sale.product.clone(),
                sku_id: sale.skus[0].clone(),
                quantity: 1,
            }],
            selection: None,
        });
        request.metadata_mut().remove("authorization");
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        let mut orders = buyer.orders();
        async move { orders.place_order(request).await.map(drop) }
    };
    let broken = [
        None,
        Some(String::new()),
        Some("Bearer".into()),
        Some("Bearer x.y.z".into()),
        Some(format!("Basic {}", buyer.token)),
        Some(format!("Bearer {}", String::from_utf8(changed).unwrap())),
        Some(format!("Bearer {}.", buyer.token)),
    ];
    for authorization in broken {
        let status = try_with(authorization.clone()).await.unwrap_err();
        assert_eq!(reason(&status), Reason::TokenInvalid, "{authorization:?}");
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    let has_expired = || async {
        let status = try_with(Some(format!("Bearer {expired}"))).await;
        status.is_err_and(|status| reason(&status) == Reason::TokenExpired)
    };
    firstcome_testkit::eventually(std::time::Duration::from_secs(90), has_expired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_methods_do_not_exist_outside() {
    let shop = Shop::shared().await;
    let buyer = shop.buyer().await.unwrap();
    let mut intake = OrderIntakeServiceClient::new(shop.channel.clone());
    let item = PlaceOrdersItem { user_id: buyer.user.to_wire(), ..PlaceOrdersItem::default() };
    let request = PlaceOrdersRequest { items: vec![item] };
    let by_buyer = intake.place_orders(buyer.call(request.clone())).await.unwrap_err();
    let by_admin = intake.place_orders(shop.as_admin(request)).await.unwrap_err();
    let mut reservations = ReservationServiceClient::new(shop.channel.clone());
    let reserve = reservations.reserve(shop.as_admin(ReserveRequest::default())).await;
    let mut none = tonic::client::Grpc::new(shop.channel.clone());
    none.ready().await.unwrap();
    let codec = tonic_prost_codec();
    let path = "/firstcome.order.v1.OrderService/NoSuchMethod".parse().unwrap();
    let absent = none.unary(Request::new(ReserveRequest::default()), path, codec).await;
    for status in [by_buyer, by_admin, reserve.map(drop).unwrap_err(), absent.unwrap_err()] {
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        assert_eq!(reason(&status), Reason::NoSuchMethod);
    }
}

fn tonic_prost_codec() -> tonic_prost::ProstCodec<ReserveRequest, ReserveRequest> {
    tonic_prost::ProstCodec::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_from_outside_is_worth_nothing() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyers = shop.buyers(2).await.unwrap();
    let order = buyers[0].buy(&sale, "k").await.unwrap();
    let stolen = identity_of(&buyers[0]);

    let request = GetOrderRequest { order_id: order.order_id.clone() };
    let mut mine = buyers[1].call(request.clone());
    mine.metadata_mut().insert_bin(identity::HEADER, stolen.to_header());
    let status = buyers[1].orders().get_order(mine).await.unwrap_err();
    assert_eq!(reason(&status), Reason::NotFound, "it is read as the token's owner");

    let mut tokenless = Request::new(request);
    tokenless.metadata_mut().insert_bin(identity::HEADER, stolen.to_header());
    let mut orders = OrderServiceClient::new(shop.channel.clone());
    let status = orders.get_order(tokenless).await.unwrap_err();
    assert_eq!(reason(&status), Reason::TokenInvalid);
}

/// What the edge would say of a buyer, were the buyer an operator too.
fn identity_of(buyer: &Buyer) -> Identity {
    Identity { user: buyer.user, session: SessionId(Uuid::new_v4()), role: Role::Admin }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_reaches_a_services_port_gets_nowhere() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "k").await.unwrap();
    let address = shop.mesh.address();

    // It has made itself an authority, and certificates with all our names.
    let folder = checkout::create_throwaway_folder().unwrap();
    let forged = Certificates::prepare(&folder.join("forged")).unwrap();
    let ours = std::fs::read_to_string(address.certificates.join("authority.pem")).unwrap();
    let believed = forged.files(Peer::Edge).authority;
    let its_own = std::fs::read_to_string(&believed).unwrap();
    std::fs::write(&believed, format!("{its_own}{ours}")).unwrap();
    let forged = forged.credentials(Peer::Edge).unwrap();

    let endpoint = address.endpoint(Service::Order);
    let plain = upstream::channel(endpoint).unwrap();
    let pretended = upstream::connection_to(Peer::Order, endpoint, Some(&forged)).unwrap();
    for channel in [plain, pretended] {
        let mut request = Request::new(GetOrderRequest { order_id: order.order_id.clone() });
        request.metadata_mut().insert_bin(identity::HEADER, identity_of(&buyer).to_header());
        let status = OrderServiceClient::new(channel).get_order(request).await.unwrap_err();
        // No service has said this: only what breaks on the way has a source.
        assert!(status.source().is_some(), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_orders_certificate_cannot_speak_for_a_buyer() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "k").await.unwrap();
    buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();
    let as_order = |service| shop.mesh.address().channel(service, Peer::Order).unwrap();
    fn claiming<T>(buyer: &Buyer, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert_bin(identity::HEADER, identity_of(buyer).to_header());
        request
    }

    let mut orders = OrderServiceClient::new(as_order(Service::Order));
    let request = GetOrderRequest { order_id: order.order_id.clone() };
    let read = orders.get_order(claiming(&buyer, request)).await.map(drop);
    let mut intake = OrderIntakeServiceClient::new(as_order(Service::Order));
    let item = PlaceOrdersItem { user_id: buyer.user.to_wire(), ..PlaceOrdersItem::default() };
    let placed = intake.place_orders(PlaceOrdersRequest { items: vec![item] }).await.map(drop);
    let mut payments = PaymentServiceClient::new(as_order(Service::Payment));
    let request = GetPaymentRequest::default();
    let seen = payments.get_payment(claiming(&buyer, request)).await.map(drop);
    let mut reservations = ReservationServiceClient::new(as_order(Service::Inventory));
    let claimed = reservations.reserve(claiming(&buyer, ReserveRequest::default())).await;
    for refused in [read, placed, seen, claimed.map(drop)] {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        assert_eq!(reason(&status), Reason::PermissionDenied);
    }

    // What is its own to call is answered, and found at fault for what it says.
    let own = reservations.reserve(ReserveRequest::default()).await.map(drop).unwrap_err();
    assert_eq!(reason(&own), Reason::InvalidArgument, "{own:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_method_is_not_for_buyers() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let request = AdjustStockRequest {
        product_id: sale.product.clone(),
        sku_id: sale.skus[0].clone(),
        total: 1000,
    };
    let mut catalog = CatalogServiceClient::new(shop.channel.clone());
    let status = catalog.adjust_stock(buyer.call(request.clone())).await.unwrap_err();
    assert_eq!(reason(&status), Reason::PermissionDenied);
    let adjusted = catalog.adjust_stock(shop.as_admin(request)).await.unwrap().into_inner();
    assert_eq!(adjusted.product.unwrap().skus[0].total, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_payment_charges_nothing() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "k").await.unwrap();
    let id = order.order_id.as_str();
    for (order_id, card) in [(id, ""), (id, "pm\n"), ("", "pm_card_approve"), ("7", "pm")] {
        let refusal = buyer.pay(order_id, card).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::InvalidArgument, "{order_id:?} {card:?}");
    }
    let nobody = Uuid::new_v4().to_string();
    let refusal = buyer.pay(&nobody, "pm_card_approve").await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::NotFound);
    assert_eq!(buyer.order(id).await.unwrap().state(), OrderState::PendingPayment);
}
