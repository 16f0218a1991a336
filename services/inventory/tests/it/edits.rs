//! Products that change while they sell.

use firstcome_inventory::{
    catalog::{Edit, SkuEdit},
    store::epoch::Change,
};
use firstcome_proto::{
    Reason,
    inventory_v1::{
        CancelDropRequest, CreateProductRequest, Drop, HoldState, ListProductsRequest, Product,
        ProductKind, ProductStatus, ScheduleDropRequest, SkuChange, StockBadge,
        UpdateProductRequest,
    },
    money::{self, Currency},
    money_v1::Money,
    timestamp,
};
use firstcome_testkit::{eventually, rounds};
use uuid::Uuid;

use crate::it::{
    app::{Goods, Replica, SOON, Shop, from_now, open_window, refused, wish},
    catalogue::{create, get, goods_of, list, request, update},
};

fn won(amount_minor: i64) -> Option<Money> {
    Some(Money { amount_minor, currency_code: "KRW".into() })
}

fn change_of(product: &Product) -> UpdateProductRequest {
    UpdateProductRequest { product_id: product.product_id.clone(), ..Default::default() }
}

/// A SKU of this id and label at this price.
fn sku(sku_id: &str, label: &str, amount_minor: i64) -> SkuChange {
    let (sku_id, label) = (sku_id.to_owned(), label.to_owned());
    SkuChange { sku_id, label, price: won(amount_minor), ..SkuChange::default() }
}

async fn schedule(replica: &Replica, product: &Product) -> Result<Product, Reason> {
    let opens_at = Some(timestamp::to_wire(from_now(-60)));
    let drop = Some(Drop { opens_at, ..Drop::default() });
    let request = ScheduleDropRequest { product_id: product.product_id.clone(), drop };
    let scheduled = replica.catalogue().schedule_drop(request).await;
    let scheduled = scheduled.map_err(|s| firstcome_proto::Refusal::from_status(&s).reason())?;
    Ok(scheduled.into_inner().product.unwrap())
}

async fn price_held(replica: &Replica, goods: &Goods) -> i64 {
    let hold = replica.insist(goods, goods.wish()).await.unwrap();
    hold.lines[0].unit_price.as_ref().unwrap().amount_minor
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mask_names_is_changed_and_nothing_else() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let made = create(&replica, request("k", "shoe")).await.unwrap();
    let change = UpdateProductRequest {
        name: "boot".into(),
        description: "warm".into(),
        category: "boots".into(),
        ..change_of(&made)
    };
    let named = update(&replica, &["name"], change.clone()).await.unwrap();
    assert_eq!(named, Product { name: "boot".into(), ..made.clone() });
    let all = ["name", "description", "category"];
    let changed = update(&replica, &all, change.clone()).await.unwrap();
    assert_eq!((changed.description.as_str(), changed.category.as_str()), ("warm", "boots"));
    assert_eq!(update(&replica, &all, change).await.unwrap(), changed, "once more");
    assert_eq!(get(&replica, &made.product_id).await.unwrap(), changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_does_not_fit_is_refused_by_field_and_changes_nothing() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let made = create(&replica, request("k", "shoe")).await.unwrap();
    let other = create(&replica, request("l", "boot")).await.unwrap();
    let of = |change: &dyn Fn(&mut UpdateProductRequest)| {
        let mut request = UpdateProductRequest {
            name: "sandal".into(),
            skus: vec![sku(&made.skus[0].sku_id, "260 mm", 5)],
            ..change_of(&made)
        };
        change(&mut request);
        request
    };
    let cases: [(&[&str], UpdateProductRequest, &str); 13] = [
        (&[], of(&|_| ()), "update_mask"),
        (&["kind"], of(&|_| ()), "update_mask"),
        (&["name"], of(&|r| r.name = String::new()), "name"),
        (&["category"], of(&|r| r.category = "a b".into()), "category"),
        (&["name", "status"], of(&|_| ()), "status"),
        (&["name", "skus"], of(&|r| r.skus.clear()), "skus"),
        (&["skus"], of(&|r| r.skus[0].sku_id = "x".into()), "skus[0].sku_id"),
        (
            &["name", "skus"],
            of(&|r| r.skus[0].sku_id = other.skus[0].sku_id.clone()),
            "skus[0].sku_id",
        ),
        (&["name", "skus"], of(&|r| r.skus[0].label = "270 mm".into()), "skus[0].label"),
        (&["name", "skus"], of(&|r| r.skus[0].price = None), "skus[0].price"),
        (
            &["name", "skus"],
            of(&|r| r.skus[0].price.as_mut().unwrap().currency_code = "EUR".into()),
            "skus[0].price",
        ),
        (&["name", "skus"], of(&|r| r.skus.push(sku("", "260 mm", 5))), "skus[1].sku_id"),
        (&["skus"], of(&|r| r.skus[0].total = -1), "skus[0].total"),
    ];
    for (paths, request, field) in cases {
        let refusal = update(&replica, paths, request).await.expect_err(field);
        assert_eq!(refusal.reason(), Reason::InvalidArgument, "{field}");
        assert_eq!(refusal.violations[0].field, field);
    }
    for paths in [&["name"][..], &["name", "skus"]] {
        let taken = of(&|r| r.name = "boot".into());
        let refusal = update(&replica, paths, taken).await.expect_err("taken");
        assert_eq!(refusal.reason(), Reason::NameTaken);
        let nowhere = of(&|r| r.product_id = Uuid::new_v4().to_string());
        let refusal = update(&replica, paths, nowhere).await.expect_err("nowhere");
        assert_eq!(refusal.reason(), Reason::NotFound);
    }
    assert_eq!(get(&replica, &made.product_id).await.unwrap(), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_holds_for_the_next_buyer_of_every_replica() {
    let shop = Shop::open().await;
    let (one, two) = (shop.replica().await, shop.replica().await);
    let made = create(&one, request("k", "shoe")).await.unwrap();
    schedule(&one, &made).await.unwrap();
    let goods = goods_of(&made);
    let first = goods.wish();
    assert_eq!(price_held(&one, &goods).await, 129_000);
    two.insist(&goods, first.clone()).await.unwrap();

    let dearer = UpdateProductRequest {
        skus: vec![sku(&made.skus[0].sku_id, "260 mm", 200_000)],
        ..change_of(&made)
    };
    update(&one, &["skus"], dearer).await.unwrap();
    // From the answer on, also where nobody was told of it.
    assert_eq!(price_held(&two, &goods).await, 200_000);
    // Two of the three units stay with those who had them.
    let replay = two.insist(&goods, first).await.unwrap();
    assert_eq!((replay.state(), replay.newly_admitted), (HoldState::Held, false));
    assert_eq!(refused(&one.insist(&goods, goods.wish()).await), Reason::SoldOut);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skus_are_added_and_relabelled_while_their_product_sells() {
    let shop = Shop::open().await;
    let (one, two) = (shop.replica().await, shop.replica().await);
    let made = create(&one, request("k", "shoe")).await.unwrap();
    schedule(&one, &made).await.unwrap();
    let goods = goods_of(&made);
    two.insist(&goods, goods.wish()).await.unwrap();

    let added = SkuChange { color: "red".into(), total: 12, ..sku("", "280 mm", 7) };
    let wider = UpdateProductRequest { skus: vec![added], ..change_of(&made) };
    let wider_by_one = update(&one, &["skus"], wider.clone()).await.unwrap();
    // A retry adds nothing and leaves the total alone.
    let mut again = wider;
    again.skus[0].total = 99;
    let after = update(&two, &["skus"], again).await.unwrap();
    assert_eq!(after.skus, wider_by_one.skus);
    let red = &after.skus[2];
    assert_eq!((red.label.as_str(), red.color.as_str(), red.total), ("280 mm", "red", 12));
    assert_eq!(after.badge(), StockBadge::TenOrMore);

    let wider = goods_of(&after);
    let both = wish(&[(wider.skus[0], 1), (wider.skus[2], 2)]);
    assert_eq!(two.insist(&wider, both).await.unwrap().lines.len(), 2);

    let swapped = UpdateProductRequest {
        skus: vec![sku(&made.skus[0].sku_id, "270 mm", 1), sku(&made.skus[1].sku_id, "260 mm", 1)],
        ..change_of(&made)
    };
    let swapped = update(&one, &["skus"], swapped).await.unwrap();
    let labels: Vec<_> = swapped.skus.iter().map(|sku| sku.label.as_str()).collect();
    assert_eq!(labels, ["270 mm", "260 mm", "280 mm"]);
    shop.assert_books_balance(&wider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_that_is_added_beside_another_change_has_live_stock() {
    let shop = Shop::open().await;
    let (one, two) = (shop.parts().await, shop.parts().await);
    for round in 0..rounds() {
        let goods = one.sell(&[5], open_window()).await;
        let queued = async |count: i64| {
            let sql = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
            let waiting = async || sqlx::query_scalar(sql).fetch_one(&shop.database.pool).await;
            eventually(SOON, async || waiting().await.is_ok_and(|there: i64| there == count)).await;
        };
        let edit = Edit {
            skus: vec![SkuEdit {
                id: None,
                label: "added".into(),
                color: String::new(),
                size: String::new(),
                price: money::Money { amount_minor: 1, currency: Currency::parse("KRW").unwrap() },
                total: 7,
            }],
            ..Edit::default()
        };
        let total = Change::Total { sku: goods.sku(), total: 9 };

        // Both wait behind a purchase, the one that adds a SKU first.
        let mut purchase = shop.database.pool.begin().await.unwrap();
        let sql = "select from stock where product_id = $1 for update";
        sqlx::query(sql).bind(goods.id.0).execute(&mut *purchase).await.unwrap();
        let adds = one.live.change(goods.id, Change::Edit(edit));
        let adjusts = async {
            queued(1).await;
            two.live.change(goods.id, total).await
        };
        let purchase = async {
            queued(2).await;
            purchase.commit().await.unwrap();
        };
        let (added, adjusted, ()) = tokio::join!(adds, adjusts, purchase);
        let (added, adjusted) = (added.unwrap(), adjusted.unwrap());
        assert_eq!((added.skus.len(), adjusted.skus.len()), (2, 2), "round {round}");

        let snapshot = shop.gate.snapshot(goods.id).await.unwrap();
        assert_eq!(snapshot.epoch, adjusted.epoch);
        for sku in &adjusted.skus {
            assert_eq!(snapshot.available.get(&sku.id), Some(&sku.total), "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discontinued_product_is_readable_and_sells_to_nobody() {
    let shop = Shop::open().await;
    let (one, two) = (shop.replica().await, shop.replica().await);
    let made = create(&one, request("k", "shoe")).await.unwrap();
    schedule(&one, &made).await.unwrap();
    let goods = goods_of(&made);
    let item = goods.wish();
    two.insist(&goods, item.clone()).await.unwrap();

    let status =
        |status: ProductStatus| UpdateProductRequest { status: status as i32, ..change_of(&made) };
    for _ in 0..2 {
        let ended = update(&one, &["status"], status(ProductStatus::Discontinued)).await.unwrap();
        assert_eq!((ended.status(), ended.drop), (ProductStatus::Discontinued, None));
    }
    for replica in [&one, &two] {
        assert_eq!(refused(&replica.insist(&goods, goods.wish()).await), Reason::Closed);
        let there = async || get(replica, &made.product_id).await.unwrap().status();
        eventually(SOON, async || there().await == ProductStatus::Discontinued).await;
        let listed = async || list(replica, ListProductsRequest::default()).await.unwrap().0;
        eventually(SOON, async || listed().await.is_empty()).await;
        assert_eq!(schedule(replica, &made).await, Err(Reason::WrongState));
    }
    // Who has one keeps it.
    let ids = [item.reservation_id];
    assert_eq!(two.pin(&goods, &ids).await, [Ok(HoldState::Pinned)]);
    assert_eq!(two.settle(&goods, &ids).await, [Ok(HoldState::Settled)]);

    let back = update(&two, &["status"], status(ProductStatus::Active)).await.unwrap();
    assert_eq!((back.status(), back.drop), (ProductStatus::Active, None));
    assert_eq!(refused(&one.insist(&goods, goods.wish()).await), Reason::Closed);
    schedule(&one, &made).await.unwrap();
    two.insist(&goods, goods.wish()).await.unwrap();
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_general_product_sells_from_its_creation_without_end_or_limit() {
    let shop = Shop::open().await;
    let (one, two) = (shop.replica().await, shop.replica().await);
    let kind = ProductKind::General as i32;
    let new = CreateProductRequest { kind, ..request("k", "socks") };
    let made = create(&one, new.clone()).await.unwrap();
    let drop = made.drop.unwrap();
    assert_eq!((drop.closes_at, drop.limit_per_buyer), (None, 0));
    let goods = goods_of(&made);
    // The first buyer finds a gate, wherever they come.
    let three = wish(&[(goods.sku(), 3)]);
    assert!(two.reserve_one(&goods, three).await.is_ok());
    assert_eq!(create(&two, new).await.unwrap().drop, made.drop, "the same key");

    let cancelled = CancelDropRequest { product_id: made.product_id.clone() };
    one.catalogue().cancel_drop(cancelled).await.unwrap();
    assert_eq!(refused(&two.insist(&goods, goods.wish()).await), Reason::Closed);
    let status =
        |status: ProductStatus| UpdateProductRequest { status: status as i32, ..change_of(&made) };
    update(&one, &["status"], status(ProductStatus::Discontinued)).await.unwrap();
    let back = update(&one, &["status"], status(ProductStatus::Active)).await.unwrap();
    assert!(back.drop.is_some_and(|again| again.closes_at.is_none()), "on sale again");
    assert_eq!(refused(&two.insist(&goods, goods.wish()).await), Reason::SoldOut);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_drop_closes_and_leaves_open_holds_alone() {
    let (shop, one, goods) = Shop::selling(50, 2).await;
    let two = shop.replica().await;
    let items = goods.wishes(2);
    let held = two.insist(&goods, items[0].clone()).await.unwrap();
    // Buyers go on while it is cancelled, and again after a retry.
    let cancel = CancelDropRequest { product_id: goods.id.to_string() };
    let buyers = futures::future::join_all(goods.wishes(20).into_iter().map(|item| {
        let (two, goods) = (&two, &goods);
        async move { two.insist(goods, item).await }
    }));
    let (cancelled, answers) = tokio::join!(
        async { one.catalogue().cancel_drop(cancel.clone()).await.unwrap().into_inner() },
        buyers
    );
    assert_eq!(cancelled.product.unwrap().drop, None);
    for answer in answers {
        assert!(
            answer.as_ref().is_ok_and(|hold| hold.newly_admitted)
                || answer.is_err_and(|refusal| refusal.reason() == Reason::Closed)
        );
    }
    two.catalogue().cancel_drop(cancel).await.unwrap();
    for replica in [&one, &two] {
        assert_eq!(refused(&replica.insist(&goods, items[1].clone()).await), Reason::Closed);
    }
    let replay = one.insist(&goods, items[0].clone()).await.unwrap();
    assert_eq!((replay.expires_at, replay.newly_admitted), (held.expires_at, false));
    let ids = [items[0].reservation_id.clone()];
    assert_eq!(one.pin(&goods, &ids).await, [Ok(HoldState::Pinned)]);
    assert_eq!(two.settle(&goods, &ids).await, [Ok(HoldState::Settled)]);
    shop.assert_books_balance(&goods).await;
    let nowhere = CancelDropRequest { product_id: Uuid::new_v4().to_string() };
    one.catalogue().cancel_drop(nowhere).await.expect_err("no such product");
}
