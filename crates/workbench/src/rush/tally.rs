//! What is counted while the buyers run. Everybody adds, the progress bars read along.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use firstcome_proto::Reason;
use hdrhistogram::Histogram;

use super::buyer::Ending;

/// More than the enum has; a reason beyond it is counted as unspecified.
const REASONS: usize = 64;
/// The longest latency that the histogram tells apart, in microseconds.
const LATENCY_MAX_US: u64 = 120_000_000;
/// Three digits: 12.3 ms is told from 12.4 ms.
const LATENCY_DIGITS: u8 = 3;

/// Counters of one rush.
pub struct Tally {
    /// Buyers who were given an order.
    admitted: AtomicU64,
    paid: AtomicU64,
    abandoned: AtomicU64,
    declined: AtomicU64,
    /// Buyers who went home without, by the last reason they heard.
    refused: [AtomicU64; REASONS],
    /// Answers that refused, by reason.
    refusals: [AtomicU64; REASONS],
    place_order_us: Mutex<Histogram<u64>>,
}

/// How PlaceOrder was answered, from call to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Latency {
    /// Half of the answers were no slower.
    pub p50: f64,
    /// 95 of 100 were no slower.
    pub p95: f64,
    /// 99 of 100 were no slower.
    pub p99: f64,
    /// None was slower.
    pub max: f64,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS)
            .expect("the bounds are in order");
        Self {
            admitted: AtomicU64::new(0),
            paid: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            declined: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; REASONS],
            refusals: [const { AtomicU64::new(0) }; REASONS],
            place_order_us: Mutex::new(histogram),
        }
    }
}

impl Tally {
    /// A buyer was given an order.
    pub fn count_admission(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer refused.
    pub fn count_refusal(&self, reason: Reason) {
        self.refusals[slot(reason)].fetch_add(1, Ordering::Relaxed);
    }

    /// PlaceOrder was answered after this long.
    pub fn count_latency(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let mut histogram = self.place_order_us.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(us.clamp(1, LATENCY_MAX_US));
    }

    /// A buyer went home.
    pub fn count_ending(&self, ending: Ending) {
        let counter = match ending {
            Ending::Paid => &self.paid,
            Ending::Abandoned => &self.abandoned,
            Ending::Declined => &self.declined,
            Ending::Refused(reason) => &self.refused[slot(reason)],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Buyers who were given an order.
    pub fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Buyers who own the goods.
    pub fn paid(&self) -> u64 {
        self.paid.load(Ordering::Relaxed)
    }

    /// Buyers who walked away.
    pub fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Buyers whose card was declined.
    pub fn declined(&self) -> u64 {
        self.declined.load(Ordering::Relaxed)
    }

    /// Answers that refused, over all reasons.
    pub fn refusals_total(&self) -> u64 {
        self.refusals.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Buyers who went home without, by the last reason they heard.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        by_name(&self.refused)
    }

    /// Answers that refused, by reason.
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        by_name(&self.refusals)
    }

    /// How PlaceOrder was answered, in milliseconds.
    pub fn place_order_ms(&self) -> Latency {
        let histogram = self.place_order_us.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |us: u64| Duration::from_micros(us).as_secs_f64() * 1000.0;
        let quantile = |share| ms(histogram.value_at_quantile(share));
        Latency {
            p50: quantile(0.50),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: ms(histogram.max()),
        }
    }
}

fn slot(reason: Reason) -> usize {
    usize::try_from(reason as i32).ok().filter(|&slot| slot < REASONS).unwrap_or(0)
}

fn by_name(counters: &[AtomicU64; REASONS]) -> BTreeMap<&'static str, u64> {
    (0..)
        .zip(counters)
        .filter_map(|(number, counter)| {
            let count = counter.load(Ordering::Relaxed);
            let name = Reason::try_from(number).ok()?.name();
            (count > 0).then_some((name, count))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_by_reason() {
        let tally = Tally::default();
        for reason in [Reason::SoldOut, Reason::SoldOut, Reason::Fenced] {
            tally.count_refusal(reason);
        }
        tally.count_ending(Ending::Refused(Reason::SoldOut));
        tally.count_ending(Ending::Paid);
        assert_eq!(tally.refusals(), BTreeMap::from([("FENCED", 1), ("SOLD_OUT", 2)]));
        assert_eq!(tally.refused(), BTreeMap::from([("SOLD_OUT", 1)]));
        assert_eq!((tally.paid(), tally.refusals_total()), (1, 3));
    }

    #[test]
    fn latencies_are_told_in_milliseconds() {
        let tally = Tally::default();
        for ms in 1..=100 {
            tally.count_latency(Duration::from_millis(ms));
        }
        let latency = tally.place_order_ms();
        assert!((latency.p50 - 50.0).abs() < 0.1, "{latency:?}");
        assert!((latency.max - 100.0).abs() < 0.2, "{latency:?}");
    }
}
