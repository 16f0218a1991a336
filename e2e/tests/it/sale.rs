//! First come, first served, and one effect per key.

use std::collections::{BTreeSet, HashSet};

use firstcome_e2e::{Buyer, Sale, Shop, buyer::Line, gate::Gate, shop::Terms};
use firstcome_proto::{Reason, Refusal, order_v1::Order};
use futures::future::join_all;

fn reasons(answers: &[Result<Order, Refusal>], reason: Reason) -> usize {
    answers.iter().filter(|a| a.as_ref().is_err_and(|r| r.reason() == reason)).count()
}

async fn press(buyer: &Buyer, sale: &Sale, keys: Vec<String>) -> Vec<Result<Order, Refusal>> {
    join_all(keys.iter().map(|key| buyer.buy(sale, key))).await
}

async fn all_want_one_of_100(buyers: usize) {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(100)).await.unwrap();
    let buyers = shop.buyers(buyers).await.unwrap();

    let answers = join_all(buyers.iter().map(|buyer| buyer.buy(&sale, "pair"))).await;

    let sequences: BTreeSet<i64> =
        answers.iter().filter_map(|a| a.as_ref().ok()).map(|order| order.sequence).collect();
    assert_eq!(sequences, (1..=100).collect(), "each place in the order is given once");
    assert_eq!(reasons(&answers, Reason::SoldOut), buyers.len() - 100, "{answers:?}");
    let refusal = answers.iter().find_map(|a| a.as_ref().err()).unwrap();
    let holds_open: i64 = refusal.metadata["holds_open"].parse().unwrap();
    assert!((1..=100).contains(&holds_open), "{holds_open}");
    let stock = shop.stock(&sale).await.unwrap();
    assert_eq!(stock.skus[0].available, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_130_buyers_for_100_pairs_30_hear_sold_out() {
    all_want_one_of_100(130).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_101_buyers_for_100_pairs_one_hears_sold_out() {
    all_want_one_of_100(101).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_buyer_pressing_50_times_under_limit_1_gets_one() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms { limit_per_buyer: 1, ..Terms::of(100) }).await.unwrap();
    let buyer = shop.buyer().await.unwrap();

    let keys = (0..50).map(|n| format!("press {n}")).collect();
    let answers = press(&buyer, &sale, keys).await;

    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(reasons(&answers, Reason::LimitPerBuyer), 49);
    assert_eq!(shop.stock(&sale).await.unwrap().skus[0].available, 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_50_times_is_one_order_also_after_sell_out_and_closing() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms { closes_in_ms: Some(3_600_000), ..Terms::of(3) }).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let press_50 = || press(&buyer, &sale, vec!["the one".to_owned(); 50]);

    let check = |answers: Vec<Result<Order, Refusal>>| {
        let orders: HashSet<(String, i64)> = answers
            .into_iter()
            .map(|answer| answer.expect("each press is answered with the order"))
            .map(|order| (order.order_id, order.sequence))
            .collect();
        assert_eq!(orders.len(), 1, "{orders:?}");
    };
    check(press_50().await);

    let others = shop.buyers(5).await.unwrap();
    let answers = join_all(others.iter().map(|buyer| buyer.buy(&sale, "late"))).await;
    assert_eq!(reasons(&answers, Reason::SoldOut), 3, "sold out: {answers:?}");
    check(press_50().await);

    let gate = Gate::of(shop, &sale).await.unwrap();
    gate.set_clock(gate.opens_ms().await.unwrap() + 7_200_000).await.unwrap();
    let late = others[0].buy(&sale, "too late").await.unwrap_err();
    assert_eq!(late.reason(), Reason::Closed);
    check(press_50().await);
    assert_eq!(buyer.newest_orders().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_other_contents_is_refused_and_takes_nothing() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms { stock: vec![5, 5], ..Terms::of(5) }).await.unwrap();
    let other = shop.sell(Terms::of(5)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let order = buyer.buy(&sale, "k").await.unwrap();

    let (product, first, second) = (&sale.product, &sale.skus[0], &sale.skus[1]);
    let table: [(&str, &[Line<'_>]); 4] = [
        ("other SKU", &[(product, second, 1)]),
        ("other quantity", &[(product, first, 2)]),
        ("one more line", &[(product, first, 1), (product, second, 1)]),
        ("other product", &[(&other.product, &other.skus[0], 1)]),
    ];
    for (what, lines) in table {
        let refusal = buyer.place("k", lines).await.expect_err(what);
        assert_eq!(refusal.reason(), Reason::KeyReused, "{what}");
    }
    assert_eq!(buyer.buy(&sale, "k").await.unwrap().order_id, order.order_id);
    let left = shop.stock(&sale).await.unwrap();
    assert_eq!((left.skus[0].available, left.skus[1].available), (4, 5));
    let everything_back =
        || async { shop.stock(&other).await.is_ok_and(|stock| stock.skus[0].available == 5) };
    firstcome_testkit::eventually(std::time::Duration::from_secs(5), everything_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_millisecond_before_opening_is_too_early() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms { opens_in_ms: 3_600_000, ..Terms::of(1) }).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let gate = Gate::of(shop, &sale).await.unwrap();
    let opens_ms = gate.opens_ms().await.unwrap();

    gate.set_clock(opens_ms - 1).await.unwrap();
    let early = buyer.buy(&sale, "k").await.unwrap_err();
    assert_eq!(early.reason(), Reason::NotOpen);
    let format = &time::format_description::well_known::Rfc3339;
    let told = time::OffsetDateTime::parse(&early.metadata["opens_at"], format).unwrap();
    assert_eq!(firstcome_proto::timestamp::unix_ms(told), opens_ms);

    gate.set_clock(opens_ms).await.unwrap();
    assert_eq!(buyer.buy(&sale, "k").await.unwrap().sequence, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_unit_is_on_sale_again_within_two_seconds() {
    let shop = Shop::shared().await;
    let hold = std::time::Duration::from_secs(1);
    let sale = shop.sell(Terms { hold, limit_per_buyer: 1, ..Terms::of(1) }).await.unwrap();
    let buyers = shop.buyers(2).await.unwrap();
    let first = buyers[0].buy(&sale, "k").await.unwrap();
    let pay_by = firstcome_proto::timestamp::from_wire(&first.pay_by.unwrap()).unwrap();

    let sold_again = || async { buyers[1].buy(&sale, "k").await.is_ok() };
    firstcome_testkit::eventually(std::time::Duration::from_secs(10), sold_again).await;
    let late = time::OffsetDateTime::now_utc() - pay_by;
    assert!(late < time::Duration::seconds(2), "{late} after pay-by");

    let pay = buyers[0].pay(&first.order_id, "pm_card_approve").await.unwrap_err();
    assert_eq!(pay.reason(), Reason::OrderExpired);
}
