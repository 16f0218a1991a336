//! Carts: what stands in them, and what it would cost.

use firstcome_proto::{Reason, inventory_v1::Availability};
use futures::future::join_all;
use uuid::Uuid;

use super::{
    app::{Shop, refused},
    peers::Product,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_filled_changed_and_emptied() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let (buyer, stranger) = (replica.buyer(), replica.buyer());
    let cart = buyer.cart();
    let [product, red, blue] = [(); 3].map(|()| Uuid::new_v4());
    shop.peers.product(product, Product::default());

    assert_eq!(cart.add("a", product, red, 2).await, Ok(2));
    assert_eq!(cart.add("a", product, red, 2).await, Ok(2), "a retry adds nothing");
    refused(&cart.add("a", product, red, 3).await, Reason::KeyReused);
    assert_eq!(cart.add("b", product, red, 1).await, Ok(3));
    assert_eq!(cart.add("c", product, blue, 1).await, Ok(1));
    assert_eq!(cart.lines().await, [(red, 3), (blue, 1)]);
    assert_eq!(stranger.cart().lines().await, []);

    cart.set(blue, 7).await.unwrap();
    refused(&cart.set(Uuid::new_v4(), 1).await, Reason::NotFound);
    refused(&stranger.cart().set(blue, 1).await, Reason::NotFound);
    cart.remove(red).await.unwrap();
    cart.remove(red).await.unwrap();
    assert_eq!(cart.lines().await, [(blue, 7)]);
    cart.clear().await.unwrap();
    assert_eq!(cart.lines().await, []);
    assert_eq!(cart.add("b", product, red, 1).await, Ok(0), "a late retry adds nothing either");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_takes_no_more_than_an_order_may_have() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let cart = buyer.cart();
    let product = Uuid::new_v4();
    shop.peers.product(product, Product::default());
    // More than there is room for, all at once.
    let skus: Vec<Uuid> = (0..60).map(|_| Uuid::new_v4()).collect();
    let keys: Vec<String> = (0..60).map(|key| key.to_string()).collect();
    let adding = skus.iter().zip(&keys).map(|(sku, key)| cart.add(key, product, *sku, 1));
    let added = join_all(adding).await;
    let refusals: Vec<_> = added.iter().filter(|outcome| outcome.is_err()).collect();
    assert_eq!(refusals.len(), 10);
    refusals.into_iter().for_each(|outcome| refused(outcome, Reason::BasketFull));
    let lines = cart.lines().await;
    assert_eq!(lines.len(), 50);

    let sku = lines[0].0;
    assert_eq!(cart.add("more", product, sku, 999).await, Ok(1000));
    refused(&cart.add("too many", product, sku, 1).await, Reason::BasketFull);
    cart.set(sku, 1).await.unwrap();
    assert_eq!(cart.add("too many", product, sku, 1).await, Ok(2), "a refusal uses no key up");
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_additions_name_their_fields() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let cart = buyer.cart();
    let [product, sku] = [Uuid::new_v4(), Uuid::new_v4()];
    refused(&cart.add("k", product, sku, 1).await, Reason::NotFound);
    shop.peers.product(product, Product::default());
    for quantity in [0, -5, 1001, i32::MIN] {
        let refusal = cart.add("", product, sku, quantity).await.unwrap_err();
        let fields: Vec<_> = refusal.violations.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["idempotency_key", "quantity"], "{quantity}");
        refused(&cart.set(sku, quantity).await, Reason::InvalidArgument);
    }
    assert_eq!(cart.lines().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_and_availability_are_those_of_the_moment() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let cart = buyer.cart();
    let [plenty, scarce, gone] = [(); 3].map(|()| Uuid::new_v4());
    for product in [plenty, scarce, gone] {
        shop.peers.product(product, Product::default());
    }
    for (key, product, units) in [("a", plenty, 2), ("b", scarce, 3), ("c", gone, 1)] {
        cart.add(key, product, Uuid::new_v4(), units).await.unwrap();
    }
    let preview = buyer.preview_cart().await.unwrap();
    assert!(preview.orderable);
    assert_eq!(preview.total.unwrap().amount_minor, 6 * 12_900);

    shop.peers.product(plenty, Product { price: 100, ..Product::default() });
    shop.peers.product(scarce, Product { available: 2, ..Product::default() });
    shop.peers.product(gone, Product { available: -1, ..Product::default() });
    let list = cart.list().await;
    let said: Vec<_> =
        list.items.iter().map(|item| (item.availability(), item.available)).collect();
    let plenty = 1_000_000;
    assert_eq!(
        said,
        [
            (Availability::Available, plenty),
            (Availability::Available, 2),
            (Availability::Discontinued, 0)
        ]
    );
    assert_eq!(list.total.unwrap().amount_minor, 200, "only what could be had");
    let preview = buyer.preview_cart().await.unwrap();
    assert!(!preview.orderable);
}
