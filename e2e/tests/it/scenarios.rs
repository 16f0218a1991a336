//! The numbers that the systems before us were tried with, on release builds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use firstcome_e2e::{Buyer, Sale, Shop, shop::Terms};
use firstcome_workbench::rush::{RushArgs, rush};
use parking_lot::Mutex;
use tokio::task::JoinSet;

/// How long a steady load lasts.
const SPAN: Duration = Duration::from_secs(60);
/// Orders are begun in bunches of this interval, whatever became of those before.
const TICK: Duration = Duration::from_millis(10);
/// Each buyer may call 50 times a second; nobody comes near it.
const ORDERS_OF_BUYER_PER_S: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn stock_10_and_10_000_buyers_sell_10_and_answer_everybody() {
    let shop = Shop::own(&[]).await.unwrap();
    let args = RushArgs { buyers: 10_000, stock: 10, json: true, ..RushArgs::default() };
    let report = rush(shop.mesh.address(), &args).await.unwrap();
    assert_eq!((report.sold, report.oversold), (10, 0), "{:?}", report.refusals);
    assert!(report.verified.is_clean(), "{:#?}", report.verified.violations);
}

/// What a steady load saw.
struct Steady {
    /// Of each order, from its instant in the plan to its answer: whoever is kept waiting before
    /// the call is counted too.
    took: Vec<Duration>,
}

impl Steady {
    fn quantile(&self, share: f64) -> Duration {
        let place = (self.took.len() as f64 * share) as usize;
        self.took[place.min(self.took.len() - 1)]
    }

    fn share_over(&self, span: Duration) -> f64 {
        let over = self.took.iter().filter(|took| **took > span).count();
        over as f64 / self.took.len() as f64
    }
}

/// Orders one unit so many times a second, whether or not those before were answered.
async fn order_steadily(buyers: &[Buyer], sale: &Sale, per_s: usize) -> Steady {
    let buyers: Arc<[Buyer]> = buyers.into();
    let sale = Arc::new(sale.clone());
    let took = Arc::new(Mutex::new(Vec::with_capacity(per_s * 60)));
    let (mut calls, started) = (JoinSet::new(), Instant::now());
    let mut begun = 0;
    while started.elapsed() < SPAN {
        let due = (started.elapsed().as_secs_f64() * per_s as f64) as usize;
        for number in begun..due {
            let planned = started + Duration::from_secs_f64(number as f64 / per_s as f64);
            let (buyers, sale) = (Arc::clone(&buyers), Arc::clone(&sale));
            let took = Arc::clone(&took);
            calls.spawn(async move {
                let buyer = &buyers[number % buyers.len()];
                buyer.buy(&sale, &format!("steady {number}")).await.expect("there is one for each");
                took.lock().push(planned.elapsed());
            });
        }
        begun = due;
        tokio::time::sleep(TICK).await;
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    let mut took = std::mem::take(&mut *took.lock());
    took.sort_unstable();
    Steady { took }
}

async fn sell_steadily(per_s: usize) -> Steady {
    let shop = Shop::own(&[]).await.unwrap();
    let stock = i32::try_from(per_s * 61).unwrap();
    let sale = shop.sell(Terms::of(stock)).await.unwrap();
    let buyers = shop.buyers(per_s / ORDERS_OF_BUYER_PER_S).await.unwrap();
    let steady = order_steadily(&buyers, &sale, per_s).await;
    let left = shop.stock(&sale).await.unwrap().skus[0].available;
    assert_eq!(stock - left, i32::try_from(steady.took.len()).unwrap(), "each took one unit");
    shop.verify().await.unwrap();
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    eprintln!(
        "{per_s} orders a second for {} s, one SKU: {} orders, p50 {:.1} ms, p95 {:.1} ms, \
         p99 {:.1} ms, over 200 ms {:.2} %",
        SPAN.as_secs(),
        steady.took.len(),
        ms(steady.quantile(0.5)),
        ms(steady.quantile(0.95)),
        ms(steady.quantile(0.99)),
        100.0 * steady.share_over(Duration::from_millis(200)),
    );
    steady
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sku_bears_500_orders_a_second_for_60_s() {
    sell_steadily(500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thousand_orders_a_second_for_60_s_beside_the_claim_of_56_ms() {
    let steady = sell_steadily(1000).await;
    eprintln!("the source claims a p95 of 56 ms; ours is {:?}", steady.quantile(0.95));
}
