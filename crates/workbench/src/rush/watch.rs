//! The losers' shared look at the stock: one stream for all of them. It wakes about as many as
//! there are units on sale, and sends everybody home when nothing can come back.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use firstcome_proto::{
    ProductId,
    inventory_v1::{
        GetStockRequest, ProductStock, SaleState, WatchStockRequest,
        stock_service_client::StockServiceClient,
    },
};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, timeout},
};

use super::buyer::Event;
use crate::doors::Doors;

/// How often sleepers are woken while units are on sale: as often as the stream may speak.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);
/// Sleepers woken for each unit on sale, so that one who hesitates does not keep it.
const WOKEN_PER_UNIT: usize = 2;
/// The stream is silent while the product is fenced, and may be lost: the stock is also asked for.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// A shop that takes longer to answer is looked at again.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Open holds are told at most a second late, so an empty shop must look empty for longer.
const GONE_AFTER: Duration = Duration::from_millis(1500);

/// Where losers wait.
pub struct Watch {
    wake: Semaphore,
    waiting: AtomicUsize,
}

/// What the last look showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// So many units are on sale.
    OnSale(usize),
    /// None is, but holds are open.
    MayComeBack,
    /// None is, and none can come back.
    Gone,
}

impl Default for Watch {
    fn default() -> Self {
        Self { wake: Semaphore::new(0), waiting: AtomicUsize::new(0) }
    }
}

impl Watch {
    /// Waits for a unit, or for the end of hope.
    pub async fn wait(&self) -> Event {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let woken = self.wake.acquire().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match woken {
            Ok(permit) => {
                permit.forget();
                Event::Freed
            }
            Err(_) => Event::Gone,
        }
    }

    /// Buyers who wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Looks at the stock until nothing is left of it. Faults are waited out: the caller bounds
    /// the whole.
    pub async fn run(&self, doors: &Doors, product: ProductId) {
        let mut client = StockServiceClient::new(doors.channel());
        let mut sight = Sight::MayComeBack;
        let mut gone_since = None;
        let mut wake = tokio::time::interval(WAKE_INTERVAL);
        wake.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ask = tokio::time::interval(ASK_INTERVAL);
        let mut stream = None;
        loop {
            if stream.is_none() {
                let request = WatchStockRequest { product_id: product.to_string() };
                // A shop that does not even begin to answer is asked again; sleepers are not to
                // wait for it.
                let opened = timeout(ASK_TIMEOUT, client.watch_stock(request)).await;
                stream = opened.ok().and_then(Result::ok).map(tonic::Response::into_inner);
            }
            let next = async {
                match &mut stream {
                    Some(stream) => stream.message().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = next => match message {
                    Ok(Some(message)) => sight = message.stock.as_ref().map_or(sight, seen),
                    // The next round opens it again; the pause keeps a dead shop from being asked
                    // without end.
                    Ok(None) | Err(_) => {
                        stream = None;
                        client = StockServiceClient::new(doors.channel());
                        tokio::time::sleep(WAKE_INTERVAL).await;
                    }
                },
                _ = ask.tick() => {
                    let request = GetStockRequest { product_id: product.to_string() };
                    let asked = timeout(ASK_TIMEOUT, client.get_stock(request)).await;
                    match asked {
                        Ok(Ok(answer)) => {
                            sight = answer.into_inner().stock.as_ref().map_or(sight, seen);
                        }
                        // Another edge may know.
                        _ => client = StockServiceClient::new(doors.channel()),
                    }
                }
                _ = wake.tick() => match sight {
                    Sight::OnSale(units) => self.wake(units),
                    Sight::MayComeBack => {}
                    Sight::Gone => {
                        let since: Instant = *gone_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= GONE_AFTER {
                            self.close();
                            return;
                        }
                    }
                },
            }
            if sight != Sight::Gone {
                gone_since = None;
            }
        }
    }

    /// Sends everybody home, and whoever comes later.
    pub fn close(&self) {
        self.wake.close();
    }

    /// Wakes enough sleepers for these units, those already woken included.
    fn wake(&self, units: usize) {
        let wanted = units.saturating_mul(WOKEN_PER_UNIT).min(self.waiting());
        self.wake.add_permits(wanted.saturating_sub(self.wake.available_permits()));
    }
}

fn seen(stock: &ProductStock) -> Sight {
    let sum = |part: fn(&firstcome_proto::inventory_v1::SkuStock) -> i32| {
        let units: i64 = stock.skus.iter().map(|sku| i64::from(part(sku).max(0))).sum();
        usize::try_from(units).expect("a sum of counts is not negative")
    };
    match (stock.state(), sum(|sku| sku.available), sum(|sku| sku.holds_open)) {
        (SaleState::Closed, _, _) | (SaleState::Open, 0, 0) => Sight::Gone,
        (SaleState::Open, units, _) if units > 0 => Sight::OnSale(units),
        _ => Sight::MayComeBack,
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::inventory_v1::SkuStock;

    use super::*;

    #[test]
    fn a_look_tells_what_to_hope_for() {
        let check = |state: SaleState, available, holds_open, sight| {
            let skus = vec![SkuStock { available, holds_open, ..SkuStock::default() }];
            let stock = ProductStock { state: state as i32, skus, ..ProductStock::default() };
            assert_eq!(seen(&stock), sight, "{stock:?}");
        };
        check(SaleState::Open, 3, 9, Sight::OnSale(3));
        check(SaleState::Open, 0, 9, Sight::MayComeBack);
        check(SaleState::Open, 0, 0, Sight::Gone);
        check(SaleState::NotOpen, 5, 0, Sight::MayComeBack);
        check(SaleState::Closed, 5, 5, Sight::Gone);
    }

    #[tokio::test]
    async fn as_many_wake_as_units_need_and_no_permit_is_left_for_later() {
        let watch = Watch::default();
        watch.wake(5);
        assert_eq!(watch.wake.available_permits(), 0, "nobody sleeps yet");
        let mut sleepers: Vec<_> = (0..10).map(|_| Box::pin(watch.wait())).collect();
        for sleeper in &mut sleepers {
            assert!(futures::poll!(sleeper.as_mut()).is_pending());
        }
        watch.wake(2);
        watch.wake(2);
        let mut woken = 0;
        for sleeper in &mut sleepers {
            if let std::task::Poll::Ready(event) = futures::poll!(sleeper.as_mut()) {
                assert_eq!(event, Event::Freed);
                woken += 1;
            }
        }
        // Permits handed to sleepers leave the semaphore at once, so a second tick wakes others.
        assert_eq!(woken, 8);
        assert_eq!(watch.waiting(), 2);
        watch.wake.close();
        for sleeper in sleepers.into_iter().skip(8) {
            assert_eq!(sleeper.await, Event::Gone);
        }
    }
}
