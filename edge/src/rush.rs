//! WatchRush: what PlaceOrder tells its callers and how one product sells, four times a second, for
//! a page on a wall. In development only; elsewhere there is no such method.
//!
//! Each onlooker counts from its own last look, so that none disturbs another. The stock comes from
//! the stream that all watchers of a product share ([`crate::watch`]).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use firstcome_mesh::Shutdown;
use firstcome_proto::{
    Reason, Refusal,
    edge_v1::{
        RefusalCount, RushCounts, RushLatency, RushStock, WatchRushRequest, WatchRushResponse,
    },
    inventory_v1::{ProductStock, SkuStock, WatchStockResponse},
    timestamp,
};
use hdrhistogram::Histogram;
use http_body::Frame;
use time::OffsetDateTime;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tonic::Status;

use crate::{
    tally::{Counts, Onlooker, Tally},
    watch::{self, News, Watches},
    wire::{self, Response},
};

/// Fast enough for figures that seem to run, slow enough to be read.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A few screens; each look copies the latencies, some 20 KiB.
const ONLOOKERS_MAX: usize = 64;
/// When an onlooker who found no place may come back.
const RETRY: Duration = Duration::from_secs(1);

/// Shows rushes.
pub struct RushView {
    tally: Arc<Tally>,
    watches: Watches,
    places: Arc<Semaphore>,
    /// How long an onlooker may fail to read.
    stall: Duration,
    shutdown: Shutdown,
}

impl RushView {
    /// Of what is counted here, and of what these watches hear.
    pub fn new(tally: Arc<Tally>, watches: Watches, stall: Duration, shutdown: Shutdown) -> Self {
        let places = Arc::new(Semaphore::new(ONLOOKERS_MAX));
        Self { tally, watches, places, stall, shutdown }
    }

    /// Opens an onlooker's stream.
    pub fn watch(&self, request: WatchRushRequest) -> Result<Response, Refusal> {
        let full = || Refusal::because(Reason::Overloaded, "too many look on").retry_after(RETRY);
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| full())?;
        let news = match request.product_id {
            product if product.is_empty() => None,
            product => Some(self.watches.news(product).ok_or_else(full)?),
        };
        let (outlet, answer) = watch::stream();
        let look = Looks::begin(Arc::clone(&self.tally));
        tokio::spawn(show(look, news, outlet, self.stall, self.shutdown.clone(), place));
        Ok(answer)
    }
}

/// Sends one look after the other, until somebody ends it.
async fn show(
    mut looks: Looks,
    mut news: Option<News>,
    outlet: mpsc::Sender<Frame<Bytes>>,
    stall: Duration,
    shutdown: Shutdown,
    _place: OwnedSemaphorePermit,
) {
    let mut shelf = Shelf::default();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let last = loop {
        tokio::select! {
            () = outlet.closed() => return, // the onlooker left
            () = shutdown.begun() => break watch::stopping().into(),
            heard = hear(&mut news) => match heard {
                Ok(stock) => shelf.put(stock),
                Err(status) => break status,
            },
            _ = ticks.tick() => {
                let look = wire::frame(&looks.take(shelf.to_wire()));
                match timeout(stall, outlet.send(Frame::data(look))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return, // too slow, which the stream's end says
                }
            }
        }
    };
    let trailers = Frame::trailers(wire::trailers(&last));
    let _ = timeout(stall, outlet.send(trailers)).await;
}

/// The next news of the stock; where no product is watched there are none.
async fn hear(news: &mut Option<News>) -> Result<ProductStock, Status> {
    let Some(news) = news else { return std::future::pending().await };
    let message: WatchStockResponse = wire::decode(&news.next().await?)?;
    Ok(message.stock.unwrap_or_default())
}

/// One onlooker's looks at the tally.
struct Looks {
    tally: Arc<Tally>,
    onlooker: Onlooker,
    before: Counts,
    before_us: Histogram<u64>,
    taken: Option<Instant>,
}

impl Looks {
    fn begin(tally: Arc<Tally>) -> Self {
        let onlooker = tally.look();
        let before_us = onlooker.latency_us();
        Self { before: tally.counts(), before_us, onlooker, tally, taken: None }
    }

    fn take(&mut self, stock: Option<RushStock>) -> WatchRushResponse {
        let now = Instant::now();
        let (counts, latency_us) = (self.tally.counts(), self.onlooker.latency_us());
        let interval = self.taken.map_or(Duration::ZERO, |taken| now - taken);
        let message = WatchRushResponse {
            read_time: Some(timestamp::to_wire(OffsetDateTime::now_utc())),
            interval: Some(timestamp::duration_to_wire(interval)),
            since_start: Some(counts_to_wire(&counts)),
            in_interval: Some(counts_to_wire(&counts.since(&self.before))),
            latency: latency_since(&latency_us, &self.before_us),
            in_flight: to_wire(self.tally.in_flight()),
            stock,
        };
        (self.before, self.before_us, self.taken) = (counts, latency_us, Some(now));
        message
    }
}

fn counts_to_wire(counts: &Counts) -> RushCounts {
    let refused = counts
        .refused()
        .map(|(reason, count)| RefusalCount { reason: reason as i32, count: to_wire(count) });
    RushCounts {
        admitted: to_wire(counts.admitted),
        refused: refused.collect(),
        left: to_wire(counts.left),
    }
}

fn to_wire(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The latencies that are in one and not yet in the other; `None` where there are none.
fn latency_since(now_us: &Histogram<u64>, before_us: &Histogram<u64>) -> Option<RushLatency> {
    let mut us = now_us.clone();
    us.subtract(before_us).expect("latencies are only ever added");
    let span = |us| Some(timestamp::duration_to_wire(Duration::from_micros(us)));
    (!us.is_empty()).then(|| RushLatency {
        p50: span(us.value_at_quantile(0.50)),
        p95: span(us.value_at_quantile(0.95)),
        p99: span(us.value_at_quantile(0.99)),
        max: span(us.max()),
    })
}

/// What is known of the watched product.
#[derive(Default)]
struct Shelf {
    stock: Option<ProductStock>,
    sold_out_after: Option<Duration>,
}

impl Shelf {
    /// Takes in what was heard. The first moment without a unit is known to who saw one before.
    fn put(&mut self, stock: ProductStock) {
        let before = self.stock.as_ref().filter(|before| before.opens_at == stock.opens_at);
        let had_some = before.is_some_and(|before| units(before, |sku| sku.available) > 0);
        let has_none = units(&stock, |sku| sku.available) == 0;
        if before.is_none() {
            self.sold_out_after = None;
        }
        if self.sold_out_after.is_none() && had_some && has_none {
            self.sold_out_after = since_opening(&stock);
        }
        self.stock = Some(stock);
    }

    fn to_wire(&self) -> Option<RushStock> {
        let stock = self.stock.as_ref()?;
        let (total, available) = (units(stock, |sku| sku.total), units(stock, |sku| sku.available));
        let held = units(stock, |sku| sku.holds_open);
        Some(RushStock {
            product_id: stock.product_id.clone(),
            state: stock.state,
            opens_at: stock.opens_at,
            total,
            available,
            held,
            sold: (total - available - held).max(0),
            sold_out_after: self.sold_out_after.map(timestamp::duration_to_wire),
        })
    }
}

fn units(stock: &ProductStock, of: impl Fn(&SkuStock) -> i32) -> i64 {
    stock.skus.iter().map(|sku| i64::from(of(sku))).sum()
}

fn since_opening(stock: &ProductStock) -> Option<Duration> {
    let opens_at = timestamp::from_wire(stock.opens_at.as_ref()?)?;
    let read_time = timestamp::from_wire(stock.read_time.as_ref()?)?;
    Duration::try_from(read_time - opens_at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Option<prost_types::Timestamp> {
        timestamp::from_unix_ms(1_000_000 + ms).map(timestamp::to_wire)
    }

    /// Two SKUs, opened at 0.
    fn stock(available: [i32; 2], holds_open: i32, read_ms: i64) -> ProductStock {
        let sku = |available, holds_open| SkuStock {
            available,
            holds_open,
            total: 10,
            ..SkuStock::default()
        };
        let skus = vec![sku(available[0], holds_open), sku(available[1], 0)];
        ProductStock { skus, opens_at: at(0), read_time: at(read_ms), ..ProductStock::default() }
    }

    #[test]
    fn the_first_moment_without_a_unit_is_kept_by_who_saw_it() {
        let mut shelf = Shelf::default();
        let table = [
            ([10, 10], -500, None),
            ([4, 0], 900, None),
            ([0, 0], 1300, Some(1300)),
            ([2, 0], 6000, Some(1300)),
            ([0, 0], 6200, Some(1300)),
        ];
        for (available, read_ms, want_ms) in table {
            shelf.put(stock(available, 0, read_ms));
            let after = shelf.sold_out_after.map(|after| after.as_millis());
            assert_eq!(after, want_ms, "at {read_ms}");
        }
        let moved = ProductStock { opens_at: at(90_000), ..stock([0, 0], 0, 91_000) };
        shelf.put(moved);
        assert_eq!(shelf.sold_out_after, None, "another opening");

        let mut late = Shelf::default();
        late.put(stock([0, 0], 0, 5000));
        assert_eq!(late.sold_out_after, None);
    }

    #[test]
    fn units_are_available_held_or_sold() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.to_wire(), None);
        shelf.put(stock([3, 5], 4, 100));
        let told = shelf.to_wire().expect("a stock");
        assert_eq!((told.total, told.available, told.held, told.sold), (20, 8, 4, 8));
    }

    #[test]
    fn a_latency_is_of_the_calls_since_the_last_look() {
        let mut us = Histogram::new_with_bounds(1, 1_000_000, 3).expect("bounds");
        us.saturating_record(900_000);
        let before = us.clone();
        assert_eq!(latency_since(&us, &before), None);
        for ms in 1..=100 {
            us.saturating_record(ms * 1000);
        }
        let latency = latency_since(&us, &before).expect("calls were answered");
        let ms = |span: Option<prost_types::Duration>| {
            timestamp::duration_from_wire(&span.expect("a span")).expect("a span").as_millis()
        };
        let told = [latency.p50, latency.p95, latency.p99, latency.max].map(ms);
        assert_eq!(told, [50, 95, 99, 100]);
    }
}
