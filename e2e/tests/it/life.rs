//! The whole life of an order, as its buyer and the shop live it.

use std::time::Duration;

use firstcome_e2e::{Buyer, Sale, Shop, shop::Terms};
use firstcome_local::Service;
use firstcome_proto::{
    Reason,
    inventory_v1::Availability,
    order_v1::{
        Basket, BasketSelection, ListAllOrdersRequest, OrderState, PreviewOrderRequest,
        RefundOrderRequest, WatchOrderRequest,
    },
    payment_v1::{GetPaymentRequest, PaymentState, payment_service_client::PaymentServiceClient},
};
use firstcome_testkit::eventually;

/// Long enough to do something in, short enough to wait for.
const DAY: &str = "2s";

/// What stands in the cart: units and whether they could be had.
async fn cart(buyer: &Buyer) -> Vec<(i32, Availability)> {
    let items = buyer.cart().await.unwrap();
    items.iter().map(|item| (item.quantity, item.availability())).collect()
}

async fn available(shop: &Shop, sale: &Sale) -> i32 {
    shop.stock(sale).await.unwrap().skus[0].available
}

async fn payment(shop: &Shop, buyer: &Buyer, order: &str) -> PaymentState {
    let mut payments = PaymentServiceClient::new(shop.channel.clone());
    let request = buyer.call(GetPaymentRequest { payment_id: order.into() });
    payments.get_payment(request).await.unwrap().into_inner().payment.unwrap().state()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_life_of_an_order_with_a_day_of_two_seconds() {
    let shop = Shop::own(&[(Service::Order, "FIRSTCOME_DAY", DAY)]).await.unwrap();
    let (shoes, socks) =
        (shop.sell(Terms::of(10)).await.unwrap(), shop.sell(Terms::of(20)).await.unwrap());
    let buyer = shop.buyer().await.unwrap();

    // She fills her cart, looks at what it would cost, and orders all of it.
    buyer.add_to_cart(&shoes, "first tap", 1).await.unwrap();
    buyer.add_to_cart(&shoes, "first tap", 1).await.unwrap();
    buyer.add_to_cart(&socks, "second tap", 3).await.unwrap();
    let could_be_had = Availability::Available;
    assert_eq!(cart(&buyer).await, [(1, could_be_had), (3, could_be_had)]);
    let whole_cart = Some(BasketSelection { basket: Basket::Cart as i32, sku_ids: Vec::new() });
    let preview = PreviewOrderRequest { lines: Vec::new(), selection: whole_cart };
    let preview = buyer.orders().preview_order(buyer.call(preview)).await.unwrap().into_inner();
    assert!(preview.orderable);
    assert_eq!(preview.total.as_ref().unwrap().amount_minor, 4 * 129_000);
    let order = buyer.order_cart("the whole cart").await.unwrap();
    let id = order.order_id.as_str();
    assert_eq!(order.total, preview.total);
    assert_eq!(cart(&buyer).await, [], "what is ordered leaves the cart");
    let again = buyer.order_cart("the whole cart").await.unwrap();
    assert_eq!(again, order, "the key gives the order, although the cart is empty");
    assert_eq!((available(&shop, &shoes).await, available(&shop, &socks).await), (9, 17));

    // She watches it while she pays, and it ships, and it comes.
    let watch = buyer.call(WatchOrderRequest { order_id: id.into() });
    let mut changes = buyer.orders().watch_order(watch).await.unwrap().into_inner();
    buyer.pay(id, "pm_card_approve").await.unwrap();
    assert_eq!(payment(&shop, &buyer, id).await, PaymentState::Captured);
    for state in [
        OrderState::PendingPayment,
        OrderState::Preparing,
        OrderState::Shipping,
        OrderState::Delivered,
    ] {
        let change = changes.message().await.unwrap().expect("there is more to tell");
        assert_eq!(change.order.unwrap().state(), state);
    }
    let late = buyer.cancel(id).await.unwrap_err();
    assert_eq!(late.reason(), Reason::WrongState);

    // They do not fit. A day later they are back, and so is her money.
    let stranger = shop.buyer().await.unwrap();
    assert_eq!(stranger.request_return(id).await.unwrap_err().reason(), Reason::NotFound);
    buyer.request_return(id).await.unwrap();
    assert_eq!(available(&shop, &shoes).await, 9, "they are on their way");
    let returned = buyer.order_in(id, OrderState::Returned).await.unwrap();
    assert_eq!(returned.state(), OrderState::Returned);
    assert_eq!(payment(&shop, &buyer, id).await, PaymentState::Refunded);
    let back =
        || async { (available(&shop, &shoes).await, available(&shop, &socks).await) == (10, 20) };
    eventually(Duration::from_secs(5), back).await;

    // Somebody else keeps his, and a third thinks better of it before it ships.
    let keeper = stranger;
    let kept = keeper.buy(&shoes, "mine").await.unwrap().order_id;
    keeper.pay(&kept, "pm_card_approve").await.unwrap();
    let doubter = shop.buyer().await.unwrap();
    let dropped = doubter.buy(&shoes, "perhaps").await.unwrap().order_id;
    doubter.pay(&dropped, "pm_card_approve").await.unwrap();
    assert_eq!(doubter.cancel(&dropped).await.unwrap().state(), OrderState::Cancelled);
    assert_eq!(payment(&shop, &doubter, &dropped).await, PaymentState::Refunded);
    eventually(Duration::from_secs(5), || async { available(&shop, &shoes).await == 9 }).await;
    keeper.order_in(&kept, OrderState::Confirmed).await.unwrap();
    let late = keeper.request_return(&kept).await.unwrap_err();
    assert_eq!(late.reason(), Reason::ReturnWindowOver);

    // The shop's own people see all three, and buyers do not.
    let mut orders = keeper.orders();
    let request = shop.as_admin(ListAllOrdersRequest::default());
    let seen = orders.list_all_orders(request).await.unwrap().into_inner().orders;
    let owners: Vec<_> = seen.iter().map(|order| order.user_id.clone()).collect();
    let [first, second, third] = [&doubter, &keeper, &buyer].map(|buyer| buyer.user.to_string());
    assert_eq!(owners, [first, second, third], "newest first");
    let refused = orders.list_all_orders(keeper.call(ListAllOrdersRequest::default())).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
    let refund = RefundOrderRequest { order_id: kept.clone() };
    let refused = orders.refund_order(keeper.call(refund.clone())).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
    let refused = orders.refund_order(shop.as_admin(refund)).await.unwrap_err();
    let refused = firstcome_proto::Refusal::from_status(&refused);
    assert_eq!(refused.reason(), Reason::WrongState, "what is confirmed is confirmed");
    shop.verify().await.unwrap();
}
