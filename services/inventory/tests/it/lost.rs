//! Processes, answers and connections that are lost on the way.

use std::time::Duration;

use firstcome_inventory::hold::{Line, Wish};
use firstcome_proto::{
    BuyerId, Reason, ReservationId, SkuId,
    inventory_v1::{HoldState, ReserveItem},
};
use firstcome_testkit::eventually;
use futures::future::join_all;
use tokio::time::Instant;

use crate::it::app::{SOON, Shop, open_window};

/// The wish as the gate is told of it.
pub fn to_gate(item: &ReserveItem) -> Wish {
    let line = |line: &firstcome_proto::inventory_v1::ReservationLine| Line {
        sku: SkuId::from_wire("sku_id", &line.sku_id).unwrap(),
        quantity: line.quantity,
    };
    Wish {
        reservation: ReservationId::from_wire("reservation_id", &item.reservation_id).unwrap(),
        buyer: BuyerId::from_wire("buyer_id", &item.buyer_id).unwrap(),
        fingerprint: item.fingerprint.as_ref().try_into().unwrap(),
        lines: item.lines.iter().map(line).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_admitted_before_it_died_is_finished_by_another() {
    let (shop, replica, goods) = Shop::selling(5, 1).await;
    let epoch = shop.epoch(&goods).await;
    let item = goods.wish();
    shop.gate.reserve(goods.id, epoch, &[to_gate(&item)]).await.unwrap();
    let died = Instant::now();
    eventually(SOON, async || shop.rows(&goods).await.len() == 1).await;
    let took = died.elapsed();
    assert!((4..=10).contains(&took.as_secs()), "swept after {took:?}");

    let retry = replica.reserve_one(&goods, item).await.unwrap();
    assert_eq!((retry.sequence, retry.newly_admitted), (1, false));
    assert_eq!(retry.state(), HoldState::Held);
    shop.assert_books_balance_in_epoch(&goods, epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_finishes_what_its_first_attempt_began() {
    let (shop, replica, goods) = Shop::selling(5, 1).await;
    let epoch = shop.epoch(&goods).await;
    let item = goods.wish();
    shop.gate.reserve(goods.id, epoch, &[to_gate(&item)]).await.unwrap();
    let retry = replica.reserve_one(&goods, item).await.unwrap();
    assert_eq!((retry.sequence, retry.state()), (1, HoldState::Held));
    shop.assert_books_balance_in_epoch(&goods, epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_admission_that_lost_its_gate_too_costs_no_unit() {
    let (shop, replica, goods) = Shop::selling(1, 1).await;
    let epoch = shop.epoch(&goods).await;
    let lost = goods.wish();
    shop.gate.reserve(goods.id, epoch, &[to_gate(&lost)]).await.unwrap();
    shop.lose_gate(&goods).await;
    let hold = replica.insist(&goods, goods.wish()).await.unwrap();
    assert_eq!(hold.sequence, 1, "nobody was told of the first");
    shop.assert_books_balance_in_epoch(&goods, epoch + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admission_is_undone_once_and_by_its_exact_number() {
    let shop = Shop::open().await;
    let parts = shop.parts().await;
    let goods = parts.sell(&[5], open_window()).await;
    let lost = to_gate(&goods.wish());
    shop.gate.reserve(goods.id, 1, std::slice::from_ref(&lost)).await.unwrap();
    let available = async || shop.gate.snapshot(goods.id).await.unwrap().available[&goods.sku()];
    // Late news of an admission of the same key that is long over.
    for (seq, freed, left) in [(2, 0, 4), (0, 0, 4), (1, 1, 5), (1, 0, 5)] {
        assert_eq!(shop.gate.forget(goods.id, 1, &[(lost.reservation, 7)]).await.unwrap(), 0);
        let told = shop.gate.free(goods.id, 1, &[(lost.reservation, seq)]).await.unwrap();
        assert_eq!((told, available().await), (freed, left), "free of {seq}");
    }
    // Of another epoch, nothing is done at all.
    assert!(shop.gate.free(goods.id, 2, &[(lost.reservation, 1)]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_does_not_take_a_unit_along() {
    let (shop, replica, goods) = Shop::selling(50, 0).await;
    let impatient = goods.wishes(50).into_iter().enumerate().map(|(place, item)| {
        let call = replica.reserve_one(&goods, item);
        let patience = Duration::from_micros(200 * place as u64);
        async move { drop(tokio::time::timeout(patience, call).await) }
    });
    join_all(impatient).await;
    shop.assert_books_balance(&goods).await;
    let left = shop.gate.snapshot(goods.id).await.unwrap().available[&goods.sku()];
    let answers = replica.reserve(&goods, goods.wishes(50)).await;
    assert_eq!(answers.iter().flatten().count(), usize::try_from(left).unwrap());
    shop.assert_books_balance(&goods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_outlive_postgres_connections() {
    let (shop, replica, goods) = Shop::selling(300, 1).await;
    let cut = async {
        for _ in 0..10 {
            let sql = "select pg_terminate_backend(pid) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid()";
            // The pool of this test is cut with the others.
            let _ = sqlx::query(sql).execute(&shop.database.pool).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let buy = |item: ReserveItem| {
        let (replica, goods) = (&replica, &goods);
        async move {
            let mut faults = Vec::new();
            let begun = Instant::now();
            loop {
                match replica.reserve_one(goods, item.clone()).await {
                    Err(refusal) if refusal.retry_after.is_some() && begun.elapsed() < SOON => {
                        faults.push(refusal.reason());
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    answer => return (answer, faults),
                }
            }
        }
    };
    let waves = async {
        let mut answers = Vec::new();
        for _ in 0..8 {
            answers.extend(join_all(goods.wishes(50).into_iter().map(buy)).await);
        }
        answers
    };
    let ((), answers) = tokio::join!(cut, waves);
    for (answer, faults) in &answers {
        if let Err(refusal) = answer {
            assert_eq!(refusal.reason(), Reason::SoldOut, "{refusal:?}");
        }
        let known = [Reason::UpstreamUnavailable, Reason::Fenced, Reason::Overloaded];
        assert!(faults.iter().all(|fault| known.contains(fault)), "{faults:?}");
    }
    assert_eq!(answers.iter().filter(|(answer, _)| answer.is_ok()).count(), 300);
    shop.assert_books_balance(&goods).await;
}
