//! The catalogue, as the administrator and the visitor see it.

use std::collections::HashSet;

use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{
        AdjustStockRequest, CreateProductRequest, Drop, GetProductRequest, ListProductsRequest,
        NewSku, Product, ProductKind, ProductStatus, ScheduleDropRequest, StockBadge,
        UpdateProductRequest,
    },
    money_v1::Money,
    timestamp,
};
use futures::future::join_all;
use prost_types::FieldMask;
use tonic::Status;
use uuid::Uuid;

use crate::it::app::{Goods, Replica, Shop, from_now};

pub fn request(key: &str, name: &str) -> CreateProductRequest {
    let sku = |label: &str, amount_minor, total| NewSku {
        label: label.into(),
        price: Some(Money { amount_minor, currency_code: "KRW".into() }),
        total,
        ..NewSku::default()
    };
    CreateProductRequest {
        idempotency_key: key.into(),
        name: name.into(),
        description: "what it is".into(),
        skus: vec![sku("260 mm", 129_000, 3), sku("270 mm", 139_000, 0)],
        ..CreateProductRequest::default()
    }
}

pub async fn create(replica: &Replica, request: CreateProductRequest) -> Result<Product, Refusal> {
    let created = replica.catalogue().create_product(request).await;
    created.map(|response| response.into_inner().product.unwrap()).map_err(|s| reason(&s))
}

/// Changes what the mask names.
pub async fn update(
    replica: &Replica,
    paths: &[&str],
    request: UpdateProductRequest,
) -> Result<Product, Refusal> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = UpdateProductRequest { update_mask: Some(FieldMask { paths }), ..request };
    let updated = replica.catalogue().update_product(request).await;
    updated.map(|response| response.into_inner().product.unwrap()).map_err(|s| reason(&s))
}

pub async fn get(replica: &Replica, product_id: &str) -> Result<Product, Refusal> {
    let get = GetProductRequest { product_id: product_id.into() };
    let read = replica.catalogue().get_product(get).await;
    read.map(|response| response.into_inner().product.unwrap()).map_err(|s| reason(&s))
}

/// The names on a page, and where the next begins.
pub async fn list(
    replica: &Replica,
    request: ListProductsRequest,
) -> Result<(Vec<String>, String), Refusal> {
    let listed = replica.catalogue().list_products(request).await.map_err(|s| reason(&s))?;
    let page = listed.into_inner();
    Ok((page.products.into_iter().map(|product| product.name).collect(), page.next_page_token))
}

/// What the gate and the tests of stock know a product as.
pub fn goods_of(product: &Product) -> Goods {
    let skus = product.skus.iter().map(|sku| sku.sku_id.parse().unwrap());
    Goods { id: product.product_id.parse().unwrap(), skus: skus.collect() }
}

fn reason(status: &Status) -> Refusal {
    Refusal::from_status(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_made_once_per_key() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    // The parallel ones meet on the name and on the key.
    let calls = (0..20).map(|_| create(&replica, request("k", "shoe")));
    let made: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert!(made.iter().all(|product| *product == made[0]));
    assert_eq!(made[0].skus.iter().map(|sku| sku.total).collect::<Vec<_>>(), [3, 0]);

    let other = CreateProductRequest { description: "else".into(), ..request("k", "shoe") };
    assert_eq!(create(&replica, other).await.expect_err("reused").reason(), Reason::KeyReused);
    let taken = create(&replica, request("l", "shoe")).await.expect_err("taken");
    assert_eq!(taken.reason(), Reason::NameTaken);

    let get = GetProductRequest { product_id: made[0].product_id.clone() };
    let read = replica.catalogue().get_product(get).await.unwrap().into_inner().product.unwrap();
    assert_eq!(read, made[0]);
    let get = GetProductRequest { product_id: Uuid::new_v4().to_string() };
    let missing = replica.catalogue().get_product(get).await.expect_err("missing");
    assert_eq!(reason(&missing).reason(), Reason::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_says_what_it_is_and_how_much_is_left() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let mut new =
        CreateProductRequest { category: "운동화".into(), ..request("k", "한정판 러너") };
    (new.skus[0].color, new.skus[0].size) = ("white".into(), "260".into());
    let made = create(&replica, new.clone()).await.unwrap();
    assert_eq!((made.category.as_str(), made.kind()), ("운동화", ProductKind::Limited));
    assert_eq!((made.status(), made.badge()), (ProductStatus::Active, StockBadge::UnderTen));
    assert_eq!((made.skus[0].color.as_str(), made.skus[0].size.as_str()), ("white", "260"));
    assert_eq!(create(&replica, new.clone()).await.unwrap(), made, "the same key");
    new.skus[0].color = "black".into();
    assert_eq!(create(&replica, new).await.expect_err("reused").reason(), Reason::KeyReused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_product_is_refused_by_field() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let with = |change: &dyn Fn(&mut CreateProductRequest)| {
        let mut request = request("k", "shoe");
        change(&mut request);
        request
    };
    let cases = [
        (with(&|r| r.idempotency_key = String::new()), "idempotency_key"),
        (with(&|r| r.idempotency_key = "x".repeat(65)), "idempotency_key"),
        (with(&|r| r.name = String::new()), "name"),
        (with(&|r| r.name = "x".repeat(201)), "name"),
        (with(&|r| r.name = "a\0b".into()), "name"),
        (with(&|r| r.description = "x".repeat(10_001)), "description"),
        (with(&|r| r.skus.clear()), "skus"),
        (with(&|r| r.skus[1].label = r.skus[0].label.clone()), "skus[1].label"),
        (with(&|r| r.skus[1].price = None), "skus[1].price"),
        (with(&|r| r.skus[1].price.as_mut().unwrap().amount_minor = -1), "skus[1].price"),
        (
            with(&|r| r.skus[1].price.as_mut().unwrap().currency_code = "EUR".into()),
            "skus[1].price",
        ),
        (with(&|r| r.skus[0].total = -1), "skus[0].total"),
        (with(&|r| r.skus[0].total = 10_000_001), "skus[0].total"),
        (with(&|r| r.skus[0].color = "x".repeat(101)), "skus[0].color"),
        (with(&|r| r.skus[1].size = "x".repeat(101)), "skus[1].size"),
        (with(&|r| r.category = "Upper".into()), "category"),
        (with(&|r| r.category = "x".repeat(51)), "category"),
        (with(&|r| r.kind = 3), "kind"),
    ];
    for (request, field) in cases {
        let refusal = create(&replica, request).await.expect_err(field);
        assert_eq!(refusal.reason(), Reason::InvalidArgument, "{field}");
        assert_eq!(refusal.violations[0].field, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn products_are_paged_newest_first_without_gaps() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let mut made = Vec::new();
    for number in 0..25 {
        let key = number.to_string();
        made.push(create(&replica, request(&key, &key)).await.unwrap());
    }
    made.reverse();
    // Rows of one instant are told apart by id.
    sqlx::query("update products set created_at = '2026-01-01' where name in ('3', '4', '5')")
        .execute(&shop.database.pool)
        .await
        .unwrap();
    for page_size in [0, 1, 7, 25, 100] {
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListProductsRequest {
                page_size,
                page_token: page_token.clone(),
                ..Default::default()
            };
            let page = replica.catalogue().list_products(request).await.unwrap().into_inner();
            let most = if page_size == 0 { 10 } else { page_size };
            assert!(page.products.len() <= usize::try_from(most).unwrap());
            listed.extend(page.products);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed.len(), 25);
        let ids: HashSet<_> = listed.iter().map(|product| &product.product_id).collect();
        assert_eq!(ids.len(), 25);
        assert_eq!(listed[0], made[0]);
        assert!(listed.iter().all(|product| product.skus.len() == 2));
    }
    let bad = [(-1, ""), (101, ""), (10, "x"), (10, &"z".repeat(48)), (10, &"é".repeat(24))];
    for (page_size, token) in bad {
        let request =
            ListProductsRequest { page_size, page_token: token.into(), ..Default::default() };
        let status = replica.catalogue().list_products(request).await.expect_err(token);
        assert_eq!(reason(&status).reason(), Reason::InvalidArgument, "{page_size} {token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_drop_or_total_is_refused_by_field() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let product = create(&replica, request("k", "shoe")).await.unwrap();
    let stamp = |seconds| Some(timestamp::to_wire(from_now(seconds)));
    let good = Drop { opens_at: stamp(-60), closes_at: None, limit_per_buyer: 1, hold_ttl: None };
    let ttl = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let cases = [
        (None, "drop"),
        (Some(Drop { opens_at: None, ..good }), "drop.opens_at"),
        (
            Some(Drop { opens_at: Some(prost_types::Timestamp { seconds: -1, nanos: 0 }), ..good }),
            "drop.opens_at",
        ),
        (Some(Drop { closes_at: stamp(-60 * 60), ..good }), "drop.closes_at"),
        (Some(Drop { limit_per_buyer: -1, ..good }), "drop.limit_per_buyer"),
        (Some(Drop { hold_ttl: ttl(0), ..good }), "drop.hold_ttl"),
        (Some(Drop { hold_ttl: ttl(3601), ..good }), "drop.hold_ttl"),
        (Some(Drop { hold_ttl: ttl(-5), ..good }), "drop.hold_ttl"),
    ];
    for (drop, field) in cases {
        let request = ScheduleDropRequest { product_id: product.product_id.clone(), drop };
        let status = replica.catalogue().schedule_drop(request).await.expect_err(field);
        assert_eq!(reason(&status).violations[0].field, field);
    }
    let request = ScheduleDropRequest { product_id: product.product_id.clone(), drop: Some(good) };
    let scheduled = replica.catalogue().schedule_drop(request).await.unwrap().into_inner();
    let scheduled = scheduled.product.unwrap().drop.unwrap();
    assert_eq!((scheduled.opens_at, scheduled.hold_ttl), (good.opens_at, ttl(300)));

    let adjust = |product_id: &str, sku_id: &str, total| AdjustStockRequest {
        product_id: product_id.into(),
        sku_id: sku_id.into(),
        total,
    };
    let (id, sku) = (product.product_id.as_str(), product.skus[0].sku_id.as_str());
    let nobody = Uuid::new_v4().to_string();
    let cases = [
        (adjust("x", sku, 1), Reason::InvalidArgument),
        (adjust(id, "x", 1), Reason::InvalidArgument),
        (adjust(id, sku, -1), Reason::InvalidArgument),
        (adjust(id, sku, 10_000_001), Reason::InvalidArgument),
        (adjust(&nobody, sku, 1), Reason::NotFound),
        (adjust(id, &nobody, 1), Reason::NotFound),
    ];
    for (request, want) in cases {
        let status = replica.catalogue().adjust_stock(request).await.expect_err("refused");
        assert_eq!(reason(&status).reason(), want);
    }
}
