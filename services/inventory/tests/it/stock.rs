//! What people see of the stock.

use std::time::Duration;

use firstcome_inventory::{catalog::Drop as Window, store::epoch::Change};
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{GetStockRequest, ProductStock, ReleaseCause, SaleState, WatchStockRequest},
};
use firstcome_testkit::eventually;
use tokio::time::timeout;
use tonic::Streaming;
use uuid::Uuid;

use crate::it::app::{Goods, Replica, SOON, Shop, from_now, open_window};

async fn get(replica: &Replica, goods: &Goods) -> Result<ProductStock, Refusal> {
    let request = GetStockRequest { product_id: goods.id.to_string() };
    match replica.stock().get_stock(request).await {
        Ok(response) => Ok(response.into_inner().stock.unwrap()),
        Err(status) => Err(Refusal::from_status(&status)),
    }
}

async fn next(
    changes: &mut Streaming<firstcome_proto::inventory_v1::WatchStockResponse>,
) -> ProductStock {
    let next = timeout(SOON, changes.message()).await.expect("a change");
    next.unwrap().expect("the stream goes on").stock.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_tells_what_is_left_and_what_may_come_back() {
    let (shop, replica, goods) = Shop::selling(5, 0).await;
    let items = goods.wishes(3);
    let ids: Vec<_> = items.iter().map(|item| item.reservation_id.clone()).collect();
    replica.reserve(&goods, items).await;
    replica.pin(&goods, &ids[..1]).await;
    replica.settle(&goods, &ids[..1]).await;
    // The ledger's share may be a second old.
    eventually(SOON, async || get(&replica, &goods).await.unwrap().skus[0].holds_open == 2).await;
    let stock = get(&replica, &goods).await.unwrap();
    assert_eq!(stock.state(), SaleState::Open);
    assert_eq!((stock.skus[0].available, stock.skus[0].total), (2, 5));
    assert!(stock.read_time.is_some() && stock.opens_at.is_some());
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_tells_where_the_window_stands() {
    let (_shop, replica, goods) = Shop::selling(5, 0).await;
    let windows = [
        (60, None, SaleState::NotOpen),
        (-60, Some(60), SaleState::Open),
        (-120, Some(-60), SaleState::Closed),
    ];
    for (opens, closes, state) in windows {
        let closes_at = closes.map(from_now);
        let window = Window { opens_at: from_now(opens), closes_at, ..open_window() };
        replica.parts.live.change(goods.id, Change::Drop(window)).await.unwrap();
        assert_eq!(get(&replica, &goods).await.unwrap().state(), state);
    }
    let nowhere = Goods { id: firstcome_proto::ProductId(Uuid::new_v4()), ..goods };
    assert_eq!(get(&replica, &nowhere).await.expect_err("none").reason(), Reason::NotFound);
    let bad = replica.stock().get_stock(GetStockRequest { product_id: "x".into() }).await;
    assert_eq!(Refusal::from_status(&bad.expect_err("bad")).reason(), Reason::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_scheduled_by_another_replica_is_seen() {
    let shop = Shop::open().await;
    let (one, two) = (shop.replica().await, shop.replica().await);
    let goods = one.parts.register(&[7]).await;
    for replica in [&one, &two] {
        let stock = get(replica, &goods).await.unwrap();
        assert_eq!(stock.state(), SaleState::Unscheduled);
        assert_eq!((stock.skus[0].available, stock.skus[0].total), (7, 7));
    }
    one.parts.live.change(goods.id, Change::Drop(open_window())).await.unwrap();
    eventually(SOON, async || {
        get(&two, &goods).await.is_ok_and(|stock| stock.state() == SaleState::Open)
    })
    .await;
    shop.assert_books_balance_in_epoch(&goods, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_gets_the_stock_at_once_and_then_each_change() {
    let (shop, replica, goods) = Shop::selling(2, 0).await;
    let request = WatchStockRequest { product_id: goods.id.to_string() };
    let mut changes = replica.stock().watch_stock(request.clone()).await.unwrap().into_inner();
    assert_eq!(next(&mut changes).await.skus[0].available, 2);

    let item = goods.wish();
    replica.reserve_one(&goods, item.clone()).await.unwrap();
    // `holds_open` follows within its second, as a change of its own.
    while next(&mut changes).await.skus[0].available != 1 {}
    replica.release(&goods, &[item.reservation_id], ReleaseCause::Cancel).await;
    while next(&mut changes).await.skus[0].available != 2 {}

    // Who comes late shares what is known; a rebuild in between is silence, not an end.
    let mut late = replica.stock().watch_stock(request).await.unwrap().into_inner();
    assert_eq!(next(&mut late).await.skus[0].available, 2);
    shop.lose_gate(&goods).await;
    replica.insist(&goods, goods.wish()).await.unwrap();
    while next(&mut late).await.skus[0].available != 1 {}
    shop.assert_books_balance(&goods).await;

    // The end of the process ends the stream and does not wait for it.
    replica.parts.shutdown.begin();
    let end = async { while let Ok(Some(_)) = late.message().await {} };
    timeout(Duration::from_secs(2), end).await.expect("the stream ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_watches_what_is_not_there() {
    let (_shop, replica, goods) = Shop::selling(2, 0).await;
    let nowhere = Goods { id: firstcome_proto::ProductId(Uuid::new_v4()), ..goods };
    let request = WatchStockRequest { product_id: nowhere.id.to_string() };
    let status = replica.stock().watch_stock(request).await.expect_err("refused");
    assert_eq!(Refusal::from_status(&status).reason(), Reason::NotFound);
}
