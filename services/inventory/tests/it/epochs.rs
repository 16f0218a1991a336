//! Gates that are lost, moved or wrong, and the one path on which the next is made.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use firstcome_inventory::{
    catalog::Drop as Window,
    gate::Fault,
    keeper::Auditor,
    store::epoch::{Advance, Change},
};
use firstcome_proto::{Reason, inventory_v1::ReserveItem};
use firstcome_redis::keys;
use firstcome_testkit::eventually;
use fred::interfaces::HashesInterface as _;
use futures::future::join_all;
use tokio::time::Instant;

use crate::it::{
    app::{Goods, Replica, SOON, Shop, from_now, open_window, random_id, refused, wish},
    books::all_keys,
};

/// After its gate was lost: who was admitted is remembered, limits hold, the count goes on.
async fn assert_nothing_was_forgotten(
    shop: &Shop,
    replica: &Replica,
    goods: &Goods,
    first: &ReserveItem,
) {
    let last = shop.rows(goods).await.last().unwrap().seq;
    let other = replica.insist(goods, goods.wish()).await.unwrap();
    assert_eq!(other.sequence, last + 1);
    let replay = replica.insist(goods, first.clone()).await.unwrap();
    assert_eq!((replay.sequence, replay.newly_admitted), (1, false));
    let greedy = ReserveItem { reservation_id: random_id(), ..first.clone() };
    assert_eq!(refused(&replica.insist(goods, greedy).await), Reason::LimitPerBuyer);
    shop.assert_books_balance(goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_lost_everything_or_one_key_is_made_again() {
    let (shop, replica, goods) = Shop::selling(100, 1).await;
    let first = goods.wish();
    replica.reserve_one(&goods, first.clone()).await.unwrap();
    shop.assert_books_balance(&goods).await;

    let mut epoch = shop.epoch(&goods).await;
    shop.lose_gate(&goods).await;
    assert_nothing_was_forgotten(&shop, &replica, &goods, &first).await;
    for key in all_keys(&goods) {
        epoch += 1;
        assert_eq!(shop.epoch(&goods).await, epoch, "before the loss of {key}");
        shop.lose_key(key).await;
        assert_nothing_was_forgotten(&shop, &replica, &goods, &first).await;
    }
    assert_eq!(shop.epoch(&goods).await, epoch + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_lost_any_key_admits_and_frees_nobody() {
    let shop = Shop::open().await;
    let parts = shop.parts().await;
    for key in 0..4 {
        let goods = parts.sell(&[5], open_window()).await;
        let wishes = [crate::it::lost::to_gate(&goods.wish())];
        shop.lose_key(all_keys(&goods)[key].clone()).await;
        let fault = shop.gate.reserve(goods.id, 1, &wishes).await.expect_err("no gate");
        assert!(matches!(fault, Fault::Missing), "{fault}");
        let fault = shop.gate.snapshot(goods.id).await.expect_err("no gate");
        assert!(matches!(fault, Fault::Missing), "{fault}");
        // Freeing needs no `unconfirmed`.
        let freed = shop.gate.free(goods.id, 1, &[(wishes[0].reservation, 1)]).await;
        assert_eq!(freed.is_ok(), key == 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_of_another_redis_process_is_made_again() {
    let (shop, replica, goods) = Shop::selling(100, 1).await;
    let first = goods.wish();
    replica.reserve_one(&goods, first.clone()).await.unwrap();
    shop.assert_books_balance(&goods).await;
    // What a promoted replica finds: everything there, loaded by somebody else.
    let run = ("run", "0123456789abcdef");
    let () = shop.redis.commands().hset(keys::stock(goods.id), run).await.unwrap();
    assert_nothing_was_forgotten(&shop, &replica, &goods, &first).await;
    assert_eq!(shop.epoch(&goods).await, 2);
}

/// Buys one unit after the other until told to stop; gives how many it got.
async fn keep_buying(replica: &Replica, goods: &Goods, stop: &AtomicBool) -> i32 {
    let mut bought = 0;
    while !stop.load(Ordering::Relaxed) {
        match replica.insist(goods, goods.wish()).await {
            Ok(hold) => bought += i32::from(hold.newly_admitted),
            Err(refusal) => assert_eq!(refusal.reason(), Reason::SoldOut),
        }
    }
    bought
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_changes_while_its_product_sells() {
    let (shop, one, goods) = Shop::selling(40, 0).await;
    let two = shop.replica().await;
    let stop = AtomicBool::new(false);
    let admin = async {
        let held = async || shop.counters(&goods).await[0].held;
        for (total, enough) in [(60, 40), (300, 70), (200, 200)] {
            let change = Change::Total { sku: goods.sku(), total };
            one.parts.live.change(goods.id, change).await.unwrap();
            eventually(SOON, async || held().await >= enough).await;
        }
        let change = Change::Total { sku: goods.sku(), total: 199 };
        let refusal = two.parts.live.change(goods.id, change).await.expect_err("refused");
        assert_eq!(refusal.reason(), Reason::BelowCommitted);
        assert_eq!(refusal.metadata["floor"], "200");
        stop.store(true, Ordering::Relaxed);
    };
    // The total comes down from 300 to 200 while units go: soon after 70 they are fewer still.
    let buyers =
        async { tokio::join!(keep_buying(&one, &goods, &stop), keep_buying(&two, &goods, &stop)) };
    let ((), (by_one, by_two)) = tokio::join!(admin, buyers);
    // An admission whose answer was lost is replayed and so not told as new.
    assert!(by_one + by_two <= 200);
    assert_eq!(shop.rows(&goods).await.len(), 200);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_moves_while_its_product_sells() {
    let (shop, one, goods) = Shop::selling(1000, 0).await;
    let two = shop.replica().await;
    let buyer = random_id();
    let buy = async |replica: &Replica| {
        let item = ReserveItem { buyer_id: buyer.clone(), ..goods.wish() };
        replica.insist(&goods, item).await
    };
    for replica in [&one, &two, &one] {
        assert!(buy(replica).await.is_ok());
    }
    let moves = [
        (Window { limit_per_buyer: 4, ..open_window() }, None),
        (Window { limit_per_buyer: 4, ..open_window() }, Some(Reason::LimitPerBuyer)),
        (Window { opens_at: from_now(60), ..open_window() }, Some(Reason::NotOpen)),
        (Window { closes_at: Some(from_now(-60)), ..open_window() }, Some(Reason::Closed)),
        (open_window(), None),
    ];
    for (window, reason) in moves {
        one.parts.live.change(goods.id, Change::Drop(window)).await.unwrap();
        let answer = buy(&two).await;
        assert_eq!(answer.err().map(|refusal| refusal.reason()), reason, "{window:?}");
    }
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_rebuild_at_once_end_in_one_epoch() {
    let (shop, one, goods) = Shop::selling(1000, 0).await;
    let two = shop.replica().await;
    for round in 1..=5 {
        for replica in [&one, &two] {
            replica.insist(&goods, goods.wish()).await.unwrap();
        }
        shop.lose_gate(&goods).await;
        let calls = (0..10).map(|call| {
            let replica = if call % 2 == 0 { &one } else { &two };
            replica.insist(&goods, goods.wish())
        });
        for answer in join_all(calls).await {
            answer.unwrap();
        }
        assert_eq!(shop.epoch(&goods).await, 1 + round);
    }
    shop.assert_books_balance(&goods).await;
    assert_eq!(shop.rows(&goods).await.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loader_that_dies_on_its_way_is_followed_by_another() {
    let (shop, replica, goods) = Shop::selling(100, 1).await;
    let first = goods.wish();
    replica.reserve_one(&goods, first.clone()).await.unwrap();
    shop.assert_books_balance(&goods).await;
    for (dies_after_begin, epoch) in [(false, 1), (true, 3)] {
        let started = replica.parts.store.advance(goods.id, epoch, None).await.unwrap();
        let Advance::Started(_, image) = started else { panic!("{started:?}") };
        assert_eq!(image.epoch, epoch + 1);
        if dies_after_begin {
            let head = ["4", "0", "begin", "1", "0", "1", "1"].map(Bytes::from_static_str);
            let line = [goods.sku().to_wire(), Bytes::from_static(b"99")];
            let args = head.into_iter().chain(line).collect();
            let keys = all_keys(&goods).to_vec();
            shop.redis.fcall("load_1", keys, args).await.unwrap();
        }
        let begun = Instant::now();
        assert_eq!(refused(&replica.reserve_one(&goods, goods.wish()).await), Reason::Fenced);
        assert_nothing_was_forgotten(&shop, &replica, &goods, &first).await;
        assert!(begun.elapsed() > Duration::from_secs(2), "a live loader is left alone");
        assert_eq!(shop.epoch(&goods).await, epoch + 2);
        // The dead one comes back to life and finds that it is too late.
        let late = shop.gate.load(goods.id, &image).await.expect_err("too late");
        assert!(matches!(late, Fault::OtherEpoch(newer) if newer == epoch + 2), "{late}");
    }
    shop.assert_books_balance_in_epoch(&goods, 5).await;
    let places: Vec<i64> = shop.rows(&goods).await.iter().map(|row| row.seq).collect();
    assert_eq!(places, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_process_died_takes_effect_though_nobody_is_admitted() {
    let (shop, replica, goods) = Shop::selling(1, 0).await;
    assert!(replica.reserve_one(&goods, goods.wish()).await.is_ok());
    // Sold out: the old gate refuses everybody and never meets the ledger.
    let change = Change::Total { sku: goods.sku(), total: 2 };
    replica.parts.store.advance(goods.id, 0, Some(&change)).await.unwrap();
    assert_eq!(refused(&replica.reserve_one(&goods, goods.wish()).await), Reason::SoldOut);
    let other = goods.wish();
    eventually(SOON, async || replica.reserve_one(&goods, other.clone()).await.is_ok()).await;
    shop.assert_books_balance(&goods).await;
}

/// A text argument.
trait FromStaticStr {
    fn from_static_str(text: &'static str) -> Self;
}

impl FromStaticStr for Bytes {
    fn from_static_str(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_gives_too_much_sells_no_unit_twice() {
    let (shop, replica, goods) = Shop::selling(5, 0).await;
    assert!(replica.reserve(&goods, goods.wishes(4)).await.iter().all(Result::is_ok));
    shop.tamper(&goods, goods.sku(), 3).await;
    // All of the batch goes, also the one for whom there is a unit.
    for answer in replica.reserve(&goods, vec![wish(&[(goods.sku(), 1)]); 2]).await {
        let refusal = answer.err().map(|refusal| refusal.reason());
        assert!(refusal.is_none() || refusal == Some(Reason::Fenced), "{refusal:?}");
    }
    let answers = join_all((0..5).map(|_| replica.insist(&goods, goods.wish()))).await;
    assert!(answers.iter().flatten().count() <= 1);
    assert_eq!(refused(&replica.insist(&goods, goods.wish()).await), Reason::SoldOut);
    shop.assert_books_balance_in_epoch(&goods, 2).await;
    assert_eq!(shop.counters(&goods).await[0].held, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_gives_a_number_twice_is_made_again() {
    let (shop, replica, goods) = Shop::selling(50, 0).await;
    replica.reserve(&goods, goods.wishes(10)).await;
    shop.set_gate(&goods, "seq", 3).await;
    assert_eq!(refused(&replica.reserve_one(&goods, goods.wish()).await), Reason::Fenced);
    assert_eq!(replica.insist(&goods, goods.wish()).await.unwrap().sequence, 11);
    shop.assert_books_balance_in_epoch(&goods, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_forgot_a_hold_is_made_again_when_its_key_comes() {
    let (shop, replica, goods) = Shop::selling(50, 0).await;
    let first = goods.wish();
    replica.reserve_one(&goods, first.clone()).await.unwrap();
    let field = fred::types::Key::from(first.reservation_id.clone());
    let () = shop.redis.commands().hdel(keys::taken(goods.id), field).await.unwrap();
    let again = replica.reserve_one(&goods, first).await.unwrap();
    assert_eq!((again.sequence, again.newly_admitted), (1, false));
    shop.assert_books_balance_in_epoch(&goods, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_believes_only_what_it_sees_twice() {
    let shop = Shop::open().await;
    let parts = shop.parts().await;
    let goods = parts.sell(&[50], open_window()).await;
    let mut auditor = Auditor::new(parts.keeper.clone());
    let mut look = async |want_epoch: i64| {
        auditor.look().await;
        let give_up = Instant::now() + SOON;
        while parts.live.open(goods.id).await.is_err() {
            assert!(Instant::now() < give_up, "the product opens again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(shop.epoch(&goods).await, want_epoch);
    };
    for _ in 0..3 {
        look(1).await;
    }
    // Seen once and gone.
    shop.tamper(&goods, goods.sku(), 1).await;
    look(1).await;
    shop.tamper(&goods, goods.sku(), -1).await;
    look(1).await;
    // Another difference than the one seen before.
    shop.tamper(&goods, goods.sku(), 2).await;
    look(1).await;
    shop.tamper(&goods, goods.sku(), -3).await;
    look(1).await;
    // The same twice.
    look(2).await;
    look(2).await;
    shop.assert_books_balance(&goods).await;

    // A unit that the gate took for somebody of whom nobody knows.
    let orphan = crate::it::lost::to_gate(&goods.wish());
    shop.gate.reserve(goods.id, 2, std::slice::from_ref(&orphan)).await.unwrap();
    for _ in 0..3 {
        look(2).await; // it stands in `unconfirmed`, so it is on its way
    }
    let entries = shop.gate.unconfirmed(goods.id, 10).await.unwrap();
    let names = entries.into_iter().map(|entry| entry.entry).collect();
    shop.gate.confirm(goods.id, names).await.unwrap();
    look(2).await;
    look(3).await;
    shop.assert_books_balance(&goods).await;
    assert_eq!(shop.gate.snapshot(goods.id).await.unwrap().available[&goods.sku()], 50);
}
