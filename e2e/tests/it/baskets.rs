//! The two lists that a buyer keeps, through the edge.

use firstcome_e2e::{Buyer, Sale, Shop, shop::Terms};
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{
        Availability, ProductStatus, UpdateProductRequest,
        catalog_service_client::CatalogServiceClient,
    },
    order_v1::{
        AddWishlistItemRequest, Basket, ClearCartRequest, ListWishlistItemsRequest,
        RemoveCartItemRequest, UpdateCartItemRequest, UpdateWishlistItemRequest,
        wishlist_service_client::WishlistServiceClient,
    },
};

/// SKU, units and availability of each line.
async fn cart(buyer: &Buyer) -> Vec<(String, i32, Availability)> {
    let items = buyer.cart().await.unwrap().into_iter();
    items
        .map(|item| {
            let availability = item.availability();
            (item.sku_id, item.quantity, availability)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_changed_partly_ordered_and_cleared_and_shows_what_is_gone() {
    use Availability::{Available, Discontinued, SoldOut};
    let shop = Shop::shared().await;
    let [shirt, scarf, hat] = [
        shop.sell(Terms::of(9)).await.unwrap(),
        shop.sell(Terms::of(1)).await.unwrap(),
        shop.sell(Terms::of(9)).await.unwrap(),
    ];
    let sku = |sale: &Sale| sale.skus[0].clone();
    let (buyer, other) = (shop.buyer().await.unwrap(), shop.buyer().await.unwrap());
    assert_eq!(buyer.add_to_cart(&shirt, "a", 2).await, Ok(2));
    assert_eq!(buyer.add_to_cart(&shirt, "a", 2).await, Ok(2), "the same tap");
    assert_eq!(buyer.add_to_cart(&shirt, "b", 2).await, Ok(4));
    buyer.add_to_cart(&scarf, "c", 2).await.unwrap();
    buyer.add_to_cart(&hat, "d", 2).await.unwrap();
    let unknown = Sale { skus: vec![sku(&shirt)], ..hat.clone() };
    assert_eq!(buyer.add_to_cart(&unknown, "e", 2).await.unwrap_err().reason(), Reason::NotFound);

    let set = UpdateCartItemRequest { sku_id: sku(&shirt), quantity: 3 };
    buyer.carts().update_cart_item(buyer.call(set.clone())).await.unwrap();
    let theirs = other.carts().update_cart_item(other.call(set)).await.unwrap_err();
    assert_eq!(Refusal::from_status(&theirs).reason(), Reason::NotFound);

    // The scarf is bought by somebody else, and the shop gives the hat up.
    other.buy(&scarf, "the last one").await.unwrap();
    let mut update = UpdateProductRequest {
        product_id: hat.product.clone(),
        status: ProductStatus::Discontinued as i32,
        ..UpdateProductRequest::default()
    };
    update.update_mask = Some(prost_types::FieldMask { paths: vec!["status".into()] });
    let mut catalog = CatalogServiceClient::new(shop.channel.clone());
    catalog.update_product(shop.as_admin(update)).await.unwrap();
    firstcome_testkit::eventually(std::time::Duration::from_secs(10), || async {
        let seen = cart(&buyer).await;
        let said: Vec<_> = seen.iter().map(|(_, units, it)| (*units, *it)).collect();
        said == [(3, Available), (2, SoldOut), (2, Discontinued)]
    })
    .await;

    let whole = buyer.order_cart("all of it").await.unwrap_err();
    assert!(matches!(whole.reason(), Reason::SoldOut | Reason::Closed), "{whole:?}");
    let order = buyer.order_from("the shirts", Basket::Cart, &[sku(&shirt)]).await.unwrap();
    assert_eq!(order.lines[0].quantity, 3);
    assert_eq!(cart(&buyer).await.len(), 2, "the others stay");
    let remove = RemoveCartItemRequest { sku_id: sku(&hat) };
    buyer.carts().remove_cart_item(buyer.call(remove)).await.unwrap();
    assert_eq!(cart(&buyer).await.len(), 1);
    buyer.carts().clear_cart(buyer.call(ClearCartRequest {})).await.unwrap();
    assert_eq!(cart(&buyer).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ordered_from_the_wishlist_leaves_it() {
    let shop = Shop::shared().await;
    let [one, other] =
        [shop.sell(Terms::of(5)).await.unwrap(), shop.sell(Terms::of(5)).await.unwrap()];
    let buyer = shop.buyer().await.unwrap();
    let mut wishlists = WishlistServiceClient::new(shop.channel.clone());
    for sale in [&one, &other] {
        let request = AddWishlistItemRequest {
            idempotency_key: sale.product.clone(),
            product_id: sale.product.clone(),
            sku_id: sale.skus[0].clone(),
            quantity: 1,
        };
        wishlists.add_wishlist_item(buyer.call(request)).await.unwrap();
    }
    let set = UpdateWishlistItemRequest { sku_id: one.skus[0].clone(), quantity: 2 };
    wishlists.update_wishlist_item(buyer.call(set)).await.unwrap();
    let order = buyer.order_from("one day is now", Basket::Wishlist, &one.skus).await.unwrap();
    assert_eq!((order.lines.len(), order.lines[0].quantity), (1, 2));
    let listed = wishlists.list_wishlist_items(buyer.call(ListWishlistItemsRequest {})).await;
    let items = listed.unwrap().into_inner().items;
    let left: Vec<_> = items.iter().map(|item| item.sku_id.as_str()).collect();
    assert_eq!(left, [other.skus[0].as_str()]);
    assert_eq!(cart(&buyer).await, [], "the cart is another list");
}
