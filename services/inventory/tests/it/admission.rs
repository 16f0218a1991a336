//! Who gets a unit, who does not, and what each is told.

use std::collections::BTreeSet;

use bytes::Bytes;
use firstcome_inventory::{
    catalog::Drop as Window,
    gate::Verdict,
    hold::{Line, Wish},
    store::epoch::Change,
};
use firstcome_proto::{
    BuyerId, Reason, ReservationId, SkuId,
    inventory_v1::{HoldState, ReserveItem},
    timestamp,
};
use futures::future::join_all;
use uuid::Uuid;

use crate::it::app::{Goods, Shop, from_now, open_window, random_id, refused, wish};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_units_go_to_the_first_hundred_of_130_parallel_buyers() {
    let (shop, replica, goods) = Shop::selling(100, 0).await;
    let epoch = shop.epoch(&goods).await;
    let calls = goods.wishes(130).into_iter().map(|wish| replica.reserve_one(&goods, wish));
    let answers = join_all(calls).await;

    let places: BTreeSet<i64> = answers.iter().flatten().map(|hold| hold.sequence).collect();
    assert_eq!(places, (1..=100).collect());
    for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refusal.reason(), Reason::SoldOut);
        assert_eq!(refusal.metadata["holds_open"], "100");
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 30);
    assert!(answers.iter().flatten().all(|hold| hold.newly_admitted));
    shop.assert_books_balance_in_epoch(&goods, epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_buyer_with_fifty_keys_gets_one_unit_under_a_limit_of_one() {
    let (shop, replica, goods) = Shop::selling(100, 1).await;
    let buyer = random_id();
    let calls = (0..50).map(|_| {
        let wish = ReserveItem { buyer_id: buyer.clone(), ..goods.wish() };
        replica.reserve_one(&goods, wish)
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().flatten().count(), 1);
    for answer in answers.iter().filter(|answer| answer.is_err()) {
        assert_eq!(refused(answer), Reason::LimitPerBuyer);
    }
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_counts_units_across_skus_and_orders() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let window = Window { limit_per_buyer: 3, ..open_window() };
    let goods = replica.parts.sell(&[10, 10], window).await;
    let buyer = random_id();
    let of = |lines: &[(SkuId, i32)]| ReserveItem { buyer_id: buyer.clone(), ..wish(lines) };
    let (one, two) = (goods.skus[0], goods.skus[1]);
    let items = vec![of(&[(one, 2), (two, 2)]), of(&[(one, 1), (two, 1)]), of(&[(one, 2)])];
    let answers = replica.reserve(&goods, items).await;
    assert_eq!(refused(&answers[0]), Reason::LimitPerBuyer);
    assert!(answers[1].is_ok());
    assert_eq!(refused(&answers[2]), Reason::LimitPerBuyer);
    assert!(replica.reserve_one(&goods, of(&[(two, 1)])).await.is_ok());
    assert_eq!(refused(&replica.reserve_one(&goods, of(&[(two, 1)])).await), Reason::LimitPerBuyer);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_lines_are_held_or_none() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let goods = replica.parts.sell(&[10, 1], open_window()).await;
    let both = |units| wish(&[(goods.skus[0], units), (goods.skus[1], 1)]);
    let answers = replica.reserve(&goods, vec![both(1), both(1), goods.wish()]).await;
    assert!(answers[0].is_ok());
    assert_eq!(refused(&answers[1]), Reason::SoldOut);
    assert_eq!(answers[2].as_ref().unwrap().sequence, 2);
    let snapshot = shop.gate.snapshot(goods.id).await.unwrap();
    assert_eq!(snapshot.available[&goods.skus[0]], 8);
    shop.assert_books_balance(&goods).await;
}

/// Fifty answers with the same hold, of which one says that it is new.
async fn press_fifty_times(
    replica: &crate::it::app::Replica,
    goods: &Goods,
    item: &ReserveItem,
    want_new: usize,
) -> i64 {
    let in_one_call = replica.reserve(goods, vec![item.clone(); 25]);
    let in_many = join_all((0..25).map(|_| replica.reserve_one(goods, item.clone())));
    let (mut answers, others) = tokio::join!(in_one_call, in_many);
    answers.extend(others);
    let holds: Vec<_> = answers.into_iter().map(|answer| answer.expect("a hold")).collect();
    assert_eq!(holds.len(), 50);
    assert!(holds.iter().all(|hold| hold.reservation_id == item.reservation_id));
    assert!(holds.iter().all(|hold| hold.sequence == holds[0].sequence));
    assert_eq!(holds.iter().filter(|hold| hold.newly_admitted).count(), want_new);
    holds[0].sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_pressed_fifty_times_is_one_hold_also_after_sell_out_and_closing() {
    let (shop, replica, goods) = Shop::selling(2, 0).await;
    let item = goods.wish();
    let place = press_fifty_times(&replica, &goods, &item, 1).await;

    assert!(replica.reserve_one(&goods, goods.wish()).await.is_ok());
    assert_eq!(refused(&replica.reserve_one(&goods, goods.wish()).await), Reason::SoldOut);
    assert_eq!(press_fifty_times(&replica, &goods, &item, 0).await, place);

    let closed = Window { closes_at: Some(from_now(-60)), ..open_window() };
    replica.parts.live.change(goods.id, Change::Drop(closed)).await.unwrap();
    assert_eq!(refused(&replica.reserve_one(&goods, goods.wish()).await), Reason::Closed);
    assert_eq!(press_fifty_times(&replica, &goods, &item, 0).await, place);
    assert_eq!(shop.rows(&goods).await.len(), 2);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_other_contents_is_reused() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let goods = replica.parts.sell(&[10, 10], open_window()).await;
    let first = goods.wish();
    let id = || first.reservation_id.clone();
    let buyer = || first.buyer_id.clone();
    let others = vec![
        ReserveItem { buyer_id: random_id(), ..first.clone() },
        ReserveItem { fingerprint: Bytes::from_static(&[8; 16]), ..first.clone() },
        ReserveItem { reservation_id: id(), buyer_id: buyer(), ..wish(&[(goods.sku(), 2)]) },
        ReserveItem { reservation_id: id(), buyer_id: buyer(), ..wish(&[(goods.skus[1], 1)]) },
    ];
    let batch = [vec![first.clone()], others.clone(), vec![first.clone()]].concat();
    for items in [batch, [others, vec![first]].concat()] {
        let answers = replica.reserve(&goods, items).await;
        let reused = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert_eq!(
            reused.map(|refusal| refusal.reason()).collect::<Vec<_>>(),
            [Reason::KeyReused; 4]
        );
    }
    assert_eq!(shop.rows(&goods).await.len(), 1);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_opens_and_closes_to_the_millisecond() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let (opens_at, closes_at) = (from_now(3600), from_now(7200));
    let window = Window { opens_at, closes_at: Some(closes_at), ..open_window() };
    let goods = replica.parts.sell(&[10], window).await;
    let (opens, closes) = (timestamp::unix_ms(opens_at), timestamp::unix_ms(closes_at));

    shop.set_gate(&goods, "last", opens - 1).await;
    let early = replica.reserve_one(&goods, goods.wish()).await.expect_err("not open");
    assert_eq!(early.reason(), Reason::NotOpen);
    let told = &early.metadata["opens_at"];
    let format = &time::format_description::well_known::Rfc3339;
    assert_eq!(time::OffsetDateTime::parse(told, format).unwrap(), opens_at);

    for (now, is_open) in [(opens, true), (closes - 1, true), (closes, false)] {
        shop.set_gate(&goods, "last", now).await;
        let answer = replica.reserve_one(&goods, goods.wish()).await;
        match is_open {
            true => assert!(answer.is_ok(), "{answer:?}"),
            false => assert_eq!(refused(&answer), Reason::Closed),
        }
    }
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_moves_with_its_drop() {
    let (shop, replica, goods) = Shop::selling(10, 0).await;
    let first = goods.wish();
    assert!(replica.reserve_one(&goods, first.clone()).await.is_ok());
    for (opens, reason) in [(60, Some(Reason::NotOpen)), (-60, None)] {
        let window = Window { opens_at: from_now(opens), ..open_window() };
        replica.parts.live.change(goods.id, Change::Drop(window)).await.unwrap();
        let answer = replica.reserve_one(&goods, goods.wish()).await;
        assert_eq!(answer.as_ref().err().map(|refusal| refusal.reason()), reason);
        assert_eq!(replica.reserve_one(&goods, first.clone()).await.unwrap().sequence, 1);
    }
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_without_a_drop_is_closed() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let goods = replica.parts.register(&[10]).await;
    assert_eq!(refused(&replica.insist(&goods, goods.wish()).await), Reason::Closed);
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_not_there_is_told_to_every_item() {
    let (_shop, replica, goods) = Shop::selling(10, 0).await;
    let nowhere = Goods { id: firstcome_proto::ProductId(Uuid::new_v4()), ..goods };
    for answer in replica.reserve(&nowhere, nowhere.wishes(3)).await {
        assert_eq!(refused(&answer), Reason::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_item_harms_no_other_of_its_batch() {
    let (shop, replica, goods) = Shop::selling(100, 0).await;
    let sku = goods.sku();
    let short = Bytes::from_static(&[1; 15]);
    let eleven: Vec<_> = (0..11).map(|_| (SkuId(Uuid::new_v4()), 1)).collect();
    let mut short_sku = goods.wish();
    short_sku.lines[0].sku_id = short.clone();
    let faulty = [
        (wish(&[(sku, 0)]), "lines[0].quantity"),
        (wish(&[(sku, -5)]), "lines[0].quantity"),
        (wish(&[(sku, i32::MAX)]), "lines[0].quantity"),
        (wish(&[(sku, 1001)]), "lines[0].quantity"),
        (wish(&[]), "lines"),
        (wish(&eleven), "lines"),
        (wish(&[(sku, 1), (sku, 1)]), "lines[1].sku_id"),
        (short_sku, "lines[0].sku_id"),
        (ReserveItem { reservation_id: short.clone(), ..goods.wish() }, "reservation_id"),
        (ReserveItem { buyer_id: short.clone(), ..goods.wish() }, "buyer_id"),
        (ReserveItem { fingerprint: short, ..goods.wish() }, "fingerprint"),
        (ReserveItem { reservation_id: Bytes::new(), ..goods.wish() }, "reservation_id"),
    ];
    let mut items = Vec::new();
    for (item, _) in &faulty {
        items.extend([goods.wish(), item.clone()]);
    }
    items.extend([wish(&[(SkuId(Uuid::new_v4()), 1)]), goods.wish()]);

    let answers = replica.reserve(&goods, items).await;
    for (place, (_, field)) in faulty.iter().enumerate() {
        let refusal = answers[2 * place + 1].as_ref().expect_err(field);
        assert_eq!(refusal.reason(), Reason::InvalidArgument);
        let at = format!("items[{}].{field}", 2 * place + 1);
        assert_eq!(refusal.violations[0].field, at);
    }
    assert_eq!(refused(&answers[2 * faulty.len()]), Reason::NotFound, "an unknown SKU");
    let good = answers.iter().flatten().map(|hold| hold.sequence);
    assert_eq!(good.collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_1_to_512_items() {
    let (shop, replica, goods) = Shop::selling(512, 0).await;
    for count in [0, 513] {
        let request = firstcome_proto::inventory_v1::ReserveRequest {
            product_id: goods.id.to_wire(),
            items: goods.wishes(count),
        };
        let status = replica.reservations().reserve(request).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }
    let answers = replica.reserve(&goods, goods.wishes(512)).await;
    assert_eq!(answers.iter().flatten().count(), 512);
    assert!(answers.iter().flatten().all(|hold| hold.state() == HoldState::Held));
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_itself_refuses_what_it_cannot_read() {
    let (shop, _replica, goods) = Shop::selling(100, 0).await;
    let wish = |lines: &[(SkuId, i32)]| Wish {
        reservation: ReservationId(Uuid::new_v4()),
        buyer: BuyerId(Uuid::new_v4()),
        fingerprint: [7; 16],
        lines: lines.iter().map(|&(sku, quantity)| Line { sku, quantity }).collect(),
    };
    let sku = goods.sku();
    let eleven: Vec<_> = (0..11).map(|_| (SkuId(Uuid::new_v4()), 1)).collect();
    let wishes = [
        wish(&[(sku, 1)]),
        wish(&[]),
        wish(&[(sku, 0)]),
        wish(&[(sku, -5)]),
        wish(&[(sku, i32::MAX)]),
        wish(&eleven),
        wish(&[(sku, 1), (sku, 1)]),
        wish(&[(sku, 2)]),
    ];
    let epoch = shop.epoch(&goods).await;
    let verdicts = shop.gate.reserve(goods.id, epoch, &wishes).await.unwrap().verdicts;
    let mut want = [Verdict::Malformed; 8];
    (want[0], want[7]) = (Verdict::Admitted(1), Verdict::Admitted(2));
    assert_eq!(verdicts, want);
    assert_eq!(shop.gate.snapshot(goods.id).await.unwrap().available[&sku], 97);
    // Nobody commits these: the keeper does.
    shop.assert_books_balance_in_epoch(&goods, epoch).await;
    assert_eq!(shop.rows(&goods).await.len(), 2);
}
