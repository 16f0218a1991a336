//! The life of a hold after its admission.

use std::time::Duration;

use firstcome_inventory::catalog::Drop as Window;
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{HoldState, ReleaseCause, ReserveItem},
    timestamp,
};
use firstcome_testkit::eventually;

use crate::it::app::{SOON, Shop, open_window, random_id, refused};

/// The state that a command was refused for.
#[track_caller]
fn wrong(answer: &Result<HoldState, Refusal>) -> &str {
    let refusal = answer.as_ref().expect_err("refused");
    assert_eq!(refusal.reason(), Reason::WrongState);
    &refusal.metadata["state"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_pinned_settled_and_restocked_each_once() {
    let (shop, replica, goods) = Shop::selling(3, 1).await;
    let epoch = shop.epoch(&goods).await;
    let item = goods.wish();
    replica.reserve_one(&goods, item.clone()).await.unwrap();
    let id = [item.reservation_id.clone()];

    assert_eq!(wrong(&replica.settle(&goods, &id).await[0]), "held");
    assert_eq!(wrong(&replica.restock(&goods, &id).await[0]), "held");
    for _ in 0..2 {
        assert_eq!(replica.pin(&goods, &id).await, [Ok(HoldState::Pinned)]);
    }
    for cause in [ReleaseCause::Cancel, ReleaseCause::Expire, ReleaseCause::Undo] {
        assert_eq!(wrong(&replica.release(&goods, &id, cause).await[0]), "pinned");
    }
    for _ in 0..2 {
        assert_eq!(replica.settle(&goods, &id).await, [Ok(HoldState::Settled)]);
    }
    assert_eq!(replica.pin(&goods, &id).await, [Ok(HoldState::Settled)]);
    assert_eq!(wrong(&replica.release(&goods, &id, ReleaseCause::Saga).await[0]), "settled");
    shop.assert_books_balance(&goods).await;
    assert_eq!(shop.counters(&goods).await[0].settled, 1);

    for _ in 0..2 {
        assert_eq!(replica.restock(&goods, &id).await, [Ok(HoldState::Returned)]);
    }
    assert_eq!(wrong(&replica.pin(&goods, &id).await[0]), "returned");
    shop.assert_books_balance_in_epoch(&goods, epoch).await;
    let counters = shop.counters(&goods).await.remove(0);
    assert_eq!((counters.held, counters.settled), (0, 0));
    // The limit came back with the unit.
    let again = ReserveItem { reservation_id: random_id(), ..item };
    assert!(replica.reserve_one(&goods, again).await.is_ok());
    shop.assert_books_balance_in_epoch(&goods, epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cause_ends_a_hold_once_and_gives_unit_and_limit_back() {
    let (shop, replica, goods) = Shop::selling(1, 1).await;
    let buyer = random_id();
    let causes = [
        (ReleaseCause::Saga, HoldState::Released),
        (ReleaseCause::Cancel, HoldState::Cancelled),
        (ReleaseCause::Undo, HoldState::Released),
        (ReleaseCause::Expire, HoldState::Expired),
    ];
    for (cause, end) in causes {
        let item = ReserveItem { buyer_id: buyer.clone(), ..goods.wish() };
        let hold = replica.reserve_one(&goods, item.clone()).await.unwrap();
        assert!(hold.newly_admitted);
        let id = [item.reservation_id.clone()];
        if cause == ReleaseCause::Expire {
            assert_eq!(wrong(&replica.release(&goods, &id, cause).await[0]), "held");
            shop.make_overdue(&goods, &id[0]).await;
        }
        for _ in 0..3 {
            assert_eq!(replica.release(&goods, &id, cause).await, [Ok(end)]);
        }
        // However often it was ended, and whatever for, one unit came back.
        assert_eq!(replica.release(&goods, &id, ReleaseCause::Saga).await, [Ok(end)]);
        shop.assert_books_balance(&goods).await;
        assert_eq!(shop.gate.snapshot(goods.id).await.unwrap().available[&goods.sku()], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_saga_ends_a_pinned_hold() {
    let (shop, replica, goods) = Shop::selling(1, 0).await;
    let item = goods.wish();
    let id = [item.reservation_id.clone()];
    replica.reserve_one(&goods, item).await.unwrap();
    assert_eq!(replica.pin(&goods, &id).await, [Ok(HoldState::Pinned)]);
    let ended = replica.release(&goods, &id, ReleaseCause::Saga).await;
    assert_eq!(ended, [Ok(HoldState::Released)]);
    assert_eq!(wrong(&replica.settle(&goods, &id).await[0]), "released");
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_items_are_answered_each_for_itself_in_their_order() {
    let (shop, replica, goods) = Shop::selling(10, 0).await;
    let items = goods.wishes(3);
    replica.reserve(&goods, items.clone()).await;
    let id = |place: usize| items[place].reservation_id.clone();
    replica.pin(&goods, &[id(1)]).await;
    let answers = replica.settle(&goods, &[id(2), random_id(), id(1), id(1)]).await;
    assert_eq!(wrong(&answers[0]), "held");
    assert_eq!(answers[1].as_ref().expect_err("unknown").reason(), Reason::NotFound);
    assert_eq!(answers[2..], [Ok(HoldState::Settled), Ok(HoldState::Settled)]);
    assert_eq!(shop.counters(&goods).await[0].settled, 1);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_commands_on_one_hold_take_effect_once() {
    let (shop, replica, goods) = Shop::selling(20, 0).await;
    for item in goods.wishes(20) {
        let id = [item.reservation_id.clone()];
        replica.reserve_one(&goods, item).await.unwrap();
        replica.pin(&goods, &id).await;
        let (settled, released, again) = tokio::join!(
            replica.settle(&goods, &id),
            replica.release(&goods, &id, ReleaseCause::Saga),
            replica.release(&goods, &id, ReleaseCause::Saga),
        );
        assert_ne!(settled[0].is_ok(), released[0].is_ok(), "{settled:?} {released:?}");
        assert_eq!(released[0].is_ok(), again[0].is_ok());
    }
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_hold_is_on_sale_again_within_two_seconds() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let window = Window { limit_per_buyer: 1, hold_ttl_ms: 1000, ..open_window() };
    let goods = replica.parts.sell(&[1], window).await;
    let first = goods.wish();
    let hold = replica.reserve_one(&goods, first.clone()).await.unwrap();
    let expires_at = timestamp::from_wire(&hold.expires_at.unwrap()).unwrap();

    // The same buyer: the limit comes back with the unit.
    let next = ReserveItem { reservation_id: random_id(), ..first.clone() };
    eventually(SOON, async || replica.reserve_one(&goods, next.clone()).await.is_ok()).await;
    let late = time::OffsetDateTime::now_utc() - expires_at;
    assert!(late.is_positive() && late < Duration::from_secs(2), "on sale again after {late}");

    let ended = replica.reserve_one(&goods, first).await;
    // Its unit is somebody's again, so the retry is refused as anyone would be.
    assert_eq!(refused(&ended), Reason::LimitPerBuyer);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pin_and_expiry_of_an_overdue_hold_end_with_one_winner() {
    let (shop, replica, goods) = Shop::selling(20, 0).await;
    for item in goods.wishes(20) {
        let id = [item.reservation_id.clone()];
        replica.reserve_one(&goods, item).await.unwrap();
        shop.make_overdue(&goods, &id[0]).await;
        let (pinned, ()) = tokio::join!(replica.pin(&goods, &id), replica.parts.keeper.expire());
        let settled = replica.settle(&goods, &id).await.remove(0);
        match pinned[0] {
            Ok(state) => assert_eq!((state, settled), (HoldState::Pinned, Ok(HoldState::Settled))),
            Err(_) => assert_eq!((wrong(&pinned[0]), wrong(&settled)), ("expired", "expired")),
        }
    }
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_expire_each_hold_once() {
    let (shop, one, goods) = Shop::selling(600, 0).await;
    let two = shop.replica().await;
    for _ in 0..2 {
        assert!(one.reserve(&goods, goods.wishes(300)).await.iter().all(Result::is_ok));
    }
    sqlx::query("update holds set expires_at = now()").execute(&shop.database.pool).await.unwrap();
    tokio::join!(one.parts.keeper.expire(), two.parts.keeper.expire());
    shop.assert_books_balance(&goods).await;
    assert!(shop.rows(&goods).await.iter().all(|row| row.state == "expired"));
    assert_eq!(shop.gate.snapshot(goods.id).await.unwrap().available[&goods.sku()], 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_key_is_answered_with_its_hold_and_takes_no_unit() {
    let (shop, replica, goods) = Shop::selling(2, 1).await;
    let epoch = shop.epoch(&goods).await;
    let item = goods.wish();
    let id = [item.reservation_id.clone()];
    replica.reserve_one(&goods, item.clone()).await.unwrap();
    replica.release(&goods, &id, ReleaseCause::Cancel).await;
    shop.assert_books_balance(&goods).await;

    let retry = replica.reserve_one(&goods, item.clone()).await.unwrap();
    assert_eq!((retry.state(), retry.sequence), (HoldState::Cancelled, 1));
    assert!(!retry.newly_admitted);
    let mut other = item.clone();
    other.lines[0].quantity = 1;
    other.buyer_id = random_id();
    assert_eq!(refused(&replica.reserve_one(&goods, other).await), Reason::KeyReused);
    shop.assert_books_balance_in_epoch(&goods, epoch).await;

    // Sold out: refused as anyone would be.
    let answers = replica.reserve(&goods, goods.wishes(2)).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(refused(&replica.reserve_one(&goods, item).await), Reason::SoldOut);
    shop.assert_books_balance_in_epoch(&goods, epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_hold_still_answers_and_counts() {
    let (shop, replica, goods) = Shop::selling(5, 1).await;
    let epoch = shop.epoch(&goods).await;
    let item = goods.wish();
    let id = [item.reservation_id.clone()];
    replica.reserve_one(&goods, item.clone()).await.unwrap();
    replica.pin(&goods, &id).await;
    replica.settle(&goods, &id).await;
    let keeper = firstcome_inventory::keeper::Keeper {
        forget_after: Duration::ZERO,
        ..replica.parts.keeper.clone()
    };
    keeper.forget().await;
    shop.assert_books_balance_in_epoch(&goods, epoch).await;
    assert_eq!(shop.gate.snapshot(goods.id).await.unwrap().taken, 0);

    // The buyer owns as many as the limit allows, so the gate refuses before it looks further.
    assert_eq!(refused(&replica.reserve_one(&goods, item.clone()).await), Reason::LimitPerBuyer);
    let unlimited = firstcome_inventory::store::epoch::Change::Drop(open_window());
    replica.parts.live.change(goods.id, unlimited).await.unwrap();
    let retry = replica.reserve_one(&goods, item).await.unwrap();
    assert_eq!((retry.state(), retry.newly_admitted), (HoldState::Settled, false));
    shop.assert_books_balance_in_epoch(&goods, epoch + 1).await;
    assert_eq!(shop.gate.snapshot(goods.id).await.unwrap().available[&goods.sku()], 4);

    // Returned after all: the gate has no record to free, so the audit finds the unit.
    replica.restock(&goods, &id).await;
    shop.assert_books_balance_in_epoch(&goods, epoch + 2).await;
}
