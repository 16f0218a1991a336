//! Pages that are kept, and how they hear of changes.

use std::{sync::Arc, time::Duration};

use firstcome_inventory::{badge::Badges, shelf::Shelf, store::epoch::Change};
use firstcome_proto::{
    Reason,
    inventory_v1::{ListProductsRequest, StockBadge, UpdateProductRequest},
};
use firstcome_testkit::eventually;
use futures::future::join_all;
use sqlx::Executor as _;

use crate::it::{
    app::{Replica, SOON, Shop, open_window},
    catalogue::{create, get, goods_of, list, request, update},
};

/// A change is seen everywhere within a second; a busy machine gets another.
const SEEN: Duration = Duration::from_secs(2);

async fn named(replica: &Replica, product_id: &str, name: &str) -> bool {
    let listed = list(replica, ListProductsRequest::default()).await.unwrap().0;
    get(replica, product_id).await.unwrap().name == name && listed.iter().any(|n| n == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_pages_ask_postgres_nothing_and_hear_of_changes() {
    let shop = Shop::open().await;
    let (one, two) = (shop.replica().await, shop.replica().await);
    let warm = create(&one, request("k", "shoe")).await.unwrap();
    let cold = create(&one, request("l", "boot")).await.unwrap();
    let goods = goods_of(&warm);
    let front = ListProductsRequest { page_size: 1, ..Default::default() };
    let filtered = ListProductsRequest { query: "shoe".into(), ..Default::default() };
    for replica in [&one, &two] {
        eventually(SOON, async || named(replica, &warm.product_id, "shoe").await).await;
    }

    // Whoever now reads a product from Postgres fails.
    shop.database.pool.execute("alter table skus rename to hidden").await.unwrap();
    for replica in [&one, &two] {
        for _ in 0..20 {
            assert_eq!(get(replica, &warm.product_id).await.unwrap().name, "shoe");
            assert_eq!(list(replica, front.clone()).await.unwrap().0, ["boot"]);
        }
        let refusal = list(replica, filtered.clone()).await.expect_err("reads");
        assert_eq!(refusal.reason(), Reason::Internal);
    }
    let refusal = get(&two, &cold.product_id).await.expect_err("reads");
    assert_eq!(refusal.reason(), Reason::Internal);
    shop.database.pool.execute("alter table hidden rename to skus").await.unwrap();

    // What one replica changes, and a product that it makes, the other shows a second later.
    let change = UpdateProductRequest {
        product_id: warm.product_id.clone(),
        name: "sandal".into(),
        ..Default::default()
    };
    update(&one, &["name"], change).await.unwrap();
    assert!(named(&one, &warm.product_id, "sandal").await, "at once where it was changed");
    eventually(SEEN, async || named(&two, &warm.product_id, "sandal").await).await;
    let newer = create(&two, request("m", "clog")).await.unwrap();
    eventually(SEEN, async || list(&one, front.clone()).await.unwrap().0 == ["clog"]).await;

    // The badge follows the gate, not the ledger.
    one.parts.live.change(goods.id, Change::Drop(open_window())).await.unwrap();
    for replica in [&one, &two] {
        let badge = async || get(replica, &warm.product_id).await.unwrap().badge();
        eventually(SEEN, async || badge().await == StockBadge::UnderTen).await;
        assert_eq!(get(replica, &newer.product_id).await.unwrap().badge(), StockBadge::UnderTen);
    }
    for answer in one.reserve(&goods, goods.wishes(3)).await {
        answer.unwrap();
    }
    for replica in [&one, &two] {
        let badge = async || get(replica, &warm.product_id).await.unwrap().badge();
        eventually(SEEN, async || badge().await == StockBadge::SoldOut).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_knows_what_is_left_while_the_gate_is_gone() {
    let shop = Shop::open().await;
    // Without duties, so that the gate stays away.
    let parts = shop.parts().await;
    let goods = parts.sell(&[9, 1], open_window()).await;
    let product = parts.store.product(goods.id).await.unwrap().unwrap();
    let badges = Badges::new(shop.gate.clone());
    assert_eq!(badges.of(&product).await, StockBadge::TenOrMore);
    shop.lose_gate(&goods).await;
    assert_eq!(badges.of(&product).await, StockBadge::TenOrMore, "a second old at most");
    eventually(SEEN, async || badges.of(&product).await == StockBadge::Unspecified).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_vouch_for_is_shown_for_a_while_and_not_for_ever() {
    let shop = Shop::open().await;
    let parts = shop.parts().await;
    let goods = parts.register(&[1]).await;
    let mut shelf = Shelf::new(parts.store.clone());
    shelf.untold_max = Duration::from_secs(2);
    shelf.start(&parts.shutdown);
    let kept = async || {
        let one = shelf.product(goods.id).await.unwrap().unwrap();
        Arc::ptr_eq(&one, &shelf.product(goods.id).await.unwrap().unwrap())
    };
    eventually(SOON, kept).await;

    // From now on nobody can ask what was changed, or read a product.
    shop.database.pool.execute("alter table product_marks rename to hidden").await.unwrap();
    assert!(kept().await);
    eventually(SOON, async || shelf.product(goods.id).await.is_err()).await;
    shop.database.pool.execute("alter table hidden rename to product_marks").await.unwrap();
    eventually(SOON, async || shelf.product(goods.id).await.is_ok() && kept().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_for_what_is_not_kept_has_it_read_once() {
    let shop = Shop::open().await;
    let parts = shop.parts().await;
    let goods = parts.register(&[1]).await;
    let shelf = Shelf::new(parts.store.clone());

    let mut tx = shop.database.pool.begin().await.unwrap();
    tx.execute("lock table skus").await.unwrap();
    let crowd = join_all((0..50).map(|_| shelf.product(goods.id)));
    let unlock = async {
        let sql = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
        let waiting = async || sqlx::query_scalar(sql).fetch_one(&shop.database.pool).await;
        eventually(SOON, async || waiting().await.is_ok_and(|there: i64| there == 1)).await;
        tx.commit().await.unwrap();
    };
    let (answers, ()) = tokio::join!(crowd, unlock);
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
    assert!(answers.iter().all(|answer| Arc::ptr_eq(answer, &answers[0])));
    // What was read for them is not what later ones get.
    let later = shelf.product(goods.id).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&later, &answers[0]), "nobody vouches for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_commits_late_is_heard_of() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let late = create(&replica, request("k", "late")).await.unwrap();
    let other = create(&replica, request("l", "other")).await.unwrap();
    eventually(SOON, async || named(&replica, &late.product_id, "late").await).await;

    let mut tx = shop.database.pool.begin().await.unwrap();
    tx.execute("update products set name = 'changed' where name = 'late'").await.unwrap();
    let mark = "update product_marks set changed_in = this_transaction() where product_id = $1";
    let id: uuid::Uuid = late.product_id.parse().unwrap();
    sqlx::query(mark).bind(id).execute(&mut *tx).await.unwrap();

    // Changes that began later are committed and heard of while it is still open.
    for name in ["other 1", "other 2", "other 3"] {
        let sql = "with renamed as (update products set name = $2 where product_id = $1)
                   update product_marks set changed_in = this_transaction()
                   where product_id = $1";
        let id: uuid::Uuid = other.product_id.parse().unwrap();
        sqlx::query(sql).bind(id).bind(name).execute(&shop.database.pool).await.unwrap();
        eventually(SEEN, async || named(&replica, &other.product_id, name).await).await;
        assert_eq!(get(&replica, &late.product_id).await.unwrap().name, "late");
    }
    tx.commit().await.unwrap();
    eventually(SEEN, async || named(&replica, &late.product_id, "changed").await).await;
}
