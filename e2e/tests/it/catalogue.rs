//! The catalogue, from the operator who fills it to the visitor who looks through it.

use std::time::Duration;

use firstcome_e2e::{Buyer, Sale, Shop, shop::Terms};
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{
        CancelDropRequest, CreateProductRequest, GetProductRequest, LikeProductRequest,
        ListProductsRequest, NewSku, Product, ProductKind, ProductStatus, ScheduleDropRequest,
        SkuChange, StockBadge, UnlikeProductRequest, UpdateProductRequest,
        catalog_service_client::CatalogServiceClient,
    },
    money_v1::Money,
    order_v1::OrderState,
};
use prost_types::FieldMask;
use tonic::transport::Channel;
use uuid::Uuid;

/// A change is seen by every visitor within a second; a busy machine gets some more.
const SEEN: Duration = Duration::from_secs(3);

fn catalogue(shop: &Shop) -> CatalogServiceClient<Channel> {
    CatalogServiceClient::new(shop.channel.clone())
}

fn won(amount_minor: i64) -> Option<Money> {
    Some(Money { currency_code: "KRW".into(), amount_minor })
}

/// A product with a white and a black SKU of so many units each.
fn pair(name: &str, category: &str, kind: ProductKind, total: i32) -> CreateProductRequest {
    let sku = |color: &str| NewSku {
        label: format!("270 mm, {color}"),
        price: won(129_000),
        total,
        color: color.into(),
        size: "270 mm".into(),
    };
    CreateProductRequest {
        idempotency_key: Uuid::new_v4().to_string(),
        name: name.into(),
        description: "a pair".into(),
        skus: vec![sku("white"), sku("black")],
        category: category.into(),
        kind: kind as i32,
    }
}

async fn register(shop: &Shop, request: CreateProductRequest) -> (Product, Sale) {
    let made = catalogue(shop).create_product(shop.as_admin(request)).await.unwrap();
    let product = made.into_inner().product.unwrap();
    let skus = product.skus.iter().map(|sku| sku.sku_id.clone()).collect();
    let sale = Sale { product: product.product_id.clone(), skus };
    (product, sale)
}

async fn update(shop: &Shop, sale: &Sale, path: &str, change: UpdateProductRequest) -> Product {
    let request = UpdateProductRequest {
        product_id: sale.product.clone(),
        update_mask: Some(FieldMask { paths: vec![path.into()] }),
        ..change
    };
    let updated = catalogue(shop).update_product(shop.as_admin(request)).await.unwrap();
    updated.into_inner().product.unwrap()
}

async fn product(shop: &Shop, sale: &Sale) -> Product {
    let request = GetProductRequest { product_id: sale.product.clone() };
    catalogue(shop).get_product(request).await.unwrap().into_inner().product.unwrap()
}

async fn found(shop: &Shop, query: &str, category: &str) -> Vec<String> {
    let request = ListProductsRequest {
        page_size: 100,
        query: query.into(),
        category: category.into(),
        ..Default::default()
    };
    let page = catalogue(shop).list_products(request).await.unwrap().into_inner();
    page.products.into_iter().map(|product| product.product_id).collect()
}

/// Buys, again with the same key while the live stock is being rebuilt.
async fn insist(buyer: &Buyer, key: &str, line: (&str, &str, i32)) -> Result<i64, Reason> {
    let give_up = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match buyer.place(key, &[line]).await {
            Ok(order) => return Ok(order.total.unwrap().amount_minor),
            Err(refusal)
                if refusal.retry_after.is_some() && tokio::time::Instant::now() < give_up =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(refusal) => return Err(refusal.reason()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_finds_a_pair_by_half_its_name_and_a_buyer_likes_it() {
    let shop = Shop::shared().await;
    // Stories share the shop; this one's words are its own.
    let word = Uuid::new_v4().simple().to_string();
    let name = format!("한정판운동화 {word}");
    let category = format!("sneakers-{word}");
    let (made, sale) = register(shop, pair(&name, &category, ProductKind::Limited, 6)).await;
    assert_eq!((made.skus[1].color.as_str(), made.skus[1].size.as_str()), ("black", "270 mm"));
    for query in [format!("운동 {word}"), format!("동화 {}", &word[8..24])] {
        assert_eq!(found(shop, &query, "").await, [sale.product.as_str()], "{query}");
    }
    assert_eq!(found(shop, "", &category).await, [sale.product.as_str()]);
    assert!(found(shop, "운동", "elsewhere").await.is_empty());
    let (_, other) = register(shop, pair(&word, &category, ProductKind::Limited, 0)).await;
    assert_eq!(found(shop, "", &category).await, [other.product.as_str(), &sale.product]);
    assert_eq!(product(shop, &sale).await.badge(), StockBadge::TenOrMore);
    assert_eq!(product(shop, &other).await.badge(), StockBadge::SoldOut);

    let buyers = shop.buyers(2).await.unwrap();
    let like = LikeProductRequest { product_id: sale.product.clone() };
    for (buyer, count) in [(&buyers[0], 1), (&buyers[0], 1), (&buyers[1], 2)] {
        let liked = catalogue(shop).like_product(buyer.call(like.clone())).await.unwrap();
        assert_eq!(liked.into_inner().like_count, count);
    }
    firstcome_testkit::eventually(SEEN, async || product(shop, &sale).await.like_count == 2).await;
    let unlike = UnlikeProductRequest { product_id: sale.product.clone() };
    let unliked = catalogue(shop).unlike_product(buyers[0].call(unlike)).await.unwrap();
    assert_eq!(unliked.into_inner().like_count, 1);

    // Visitors like nothing, and buyers run no shop.
    let status = catalogue(shop).like_product(like).await.unwrap_err();
    assert_eq!(Refusal::from_status(&status).reason(), Reason::TokenInvalid);
    let change = UpdateProductRequest { product_id: sale.product.clone(), ..Default::default() };
    let status = catalogue(shop).update_product(buyers[0].call(change)).await.unwrap_err();
    assert_eq!(Refusal::from_status(&status).reason(), Reason::PermissionDenied);
    let cancel = CancelDropRequest { product_id: sale.product.clone() };
    let status = catalogue(shop).cancel_drop(buyers[0].call(cancel)).await.unwrap_err();
    assert_eq!(Refusal::from_status(&status).reason(), Reason::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_general_product_is_bought_without_any_drop() {
    let shop = Shop::shared().await;
    let name = format!("Socks {}", Uuid::new_v4());
    let (made, sale) = register(shop, pair(&name, "socks", ProductKind::General, 5)).await;
    assert_eq!(made.kind(), ProductKind::General);
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.place("k", &[(&sale.product, &sale.skus[0], 3)]).await.unwrap();
    let paid = buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();
    assert_eq!(paid.state(), OrderState::Preparing);
    firstcome_testkit::eventually(SEEN, async || {
        product(shop, &sale).await.badge() == StockBadge::UnderTen
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_new_for_the_next_order_and_never_for_one_that_was_placed() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(10)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let line = (sale.product.as_str(), sale.skus[0].as_str(), 2);
    assert_eq!(insist(&buyer, "before", line).await, Ok(258_000));

    let sku = SkuChange {
        sku_id: sale.skus[0].clone(),
        label: "250 mm".into(),
        price: won(150_000),
        ..SkuChange::default()
    };
    let dearer = UpdateProductRequest { skus: vec![sku], ..Default::default() };
    update(shop, &sale, "skus", dearer).await;
    assert_eq!(insist(&buyer, "after", line).await, Ok(300_000));
    assert_eq!(insist(&buyer, "before", line).await, Ok(258_000), "the key gives the order");
    let orders = buyer.newest_orders().await.unwrap();
    let mut totals: Vec<_> =
        orders.iter().map(|order| order.total.as_ref().unwrap().amount_minor).collect();
    totals.sort_unstable();
    assert_eq!(totals, [258_000, 300_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discontinued_product_stays_in_old_orders_and_leaves_the_shop() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(10)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "before").await.unwrap();
    let name = product(shop, &sale).await.name;
    assert_eq!(found(shop, &name, "").await, [sale.product.as_str()]);

    let status = ProductStatus::Discontinued as i32;
    let ended = UpdateProductRequest { status, ..Default::default() };
    update(shop, &sale, "status", ended).await;
    let line = (sale.product.as_str(), sale.skus[0].as_str(), 1);
    assert_eq!(insist(&buyer, "after", line).await, Err(Reason::Closed));
    assert!(found(shop, &name, "").await.is_empty());
    assert_eq!(product(shop, &sale).await.status(), ProductStatus::Discontinued);
    let request = ScheduleDropRequest {
        product_id: sale.product.clone(),
        drop: Some(firstcome_proto::inventory_v1::Drop {
            opens_at: Some(std::time::SystemTime::now().into()),
            ..Default::default()
        }),
    };
    let status = catalogue(shop).schedule_drop(shop.as_admin(request)).await.unwrap_err();
    assert_eq!(Refusal::from_status(&status).reason(), Reason::WrongState);
    // Who had ordered it gets it.
    let paid = buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();
    assert_eq!(paid.state(), OrderState::Preparing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_drop_sells_no_more_and_is_paid_by_those_who_were_in_time() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(10)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "in time").await.unwrap();
    for _ in 0..2 {
        let cancel = CancelDropRequest { product_id: sale.product.clone() };
        let cancelled = catalogue(shop).cancel_drop(shop.as_admin(cancel)).await.unwrap();
        assert_eq!(cancelled.into_inner().product.unwrap().drop, None);
    }
    let line = (sale.product.as_str(), sale.skus[0].as_str(), 1);
    assert_eq!(insist(&buyer, "late", line).await, Err(Reason::Closed));
    let paid = buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();
    assert_eq!(paid.state(), OrderState::Preparing);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_buyer_counts_all_skus_of_a_product() {
    let shop = Shop::shared().await;
    let terms = Terms { stock: vec![10, 10], limit_per_buyer: 3, ..Terms::of(0) };
    let sale = shop.sell(terms).await.unwrap();
    let buyers = shop.buyers(2).await.unwrap();
    let (product, one, two) = (sale.product.as_str(), sale.skus[0].as_str(), sale.skus[1].as_str());
    assert!(insist(&buyers[0], "a", (product, one, 2)).await.is_ok());
    assert_eq!(insist(&buyers[0], "b", (product, two, 2)).await, Err(Reason::LimitPerBuyer));
    assert!(insist(&buyers[0], "c", (product, two, 1)).await.is_ok());
    assert_eq!(insist(&buyers[0], "d", (product, one, 1)).await, Err(Reason::LimitPerBuyer));
    // Both SKUs in one order count together, and the limit is each buyer's own.
    let refusal = buyers[1].place("e", &[(product, one, 2), (product, two, 2)]).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::LimitPerBuyer);
    let both = buyers[1].place("f", &[(product, one, 1), (product, two, 2)]).await.unwrap();
    // What is given back counts no more.
    buyers[1].cancel(&both.order_id).await.unwrap();
    let again = async || insist(&buyers[1], "g", (product, two, 3)).await.is_ok();
    firstcome_testkit::eventually(Duration::from_secs(5), again).await;
}
