//! What becomes of calls of PlaceOrder, counted where each call is: how many were given an order,
//! how many were refused and why, how many wait, and for how long. [`crate::rush`] shows it.
//!
//! A call costs a handful of additions. The clock is read, and a latency written down, only while
//! somebody looks on; outside development there is no tally at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use firstcome_proto::Reason;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// More than the enum has; a reason beyond it is counted as unspecified.
const REASONS: usize = 64;
/// Above the longest deadline that a caller may have.
const LATENCY_MAX_US: u64 = 120_000_000;
/// Two digits: 12 ms are told from 13 ms, in 20 KiB.
const LATENCY_DIGITS: u8 = 2;

/// Counts since the edge started, and latencies of the times when somebody looked on.
pub struct Tally {
    admitted: AtomicU64,
    refused: [AtomicU64; REASONS],
    left: AtomicU64,
    in_flight: AtomicU64,
    onlookers: AtomicUsize,
    /// One lock is enough: who holds it adds one to a number, and it is taken while somebody looks.
    latency_us: Mutex<Histogram<u64>>,
}

/// What was counted until some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// They were given an order.
    pub admitted: u64,
    refused: [u64; REASONS],
    /// Their callers did not wait for the answer.
    pub left: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS);
        Self {
            admitted: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; REASONS],
            left: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            onlookers: AtomicUsize::new(0),
            latency_us: Mutex::new(histogram.expect("the bounds are in order")),
        }
    }
}

impl Tally {
    /// A call comes in.
    pub fn begin(self: &Arc<Self>) -> Counted {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let is_looked_at = self.onlookers.load(Ordering::Relaxed) > 0;
        let began = is_looked_at.then(Instant::now);
        Counted { tally: Arc::clone(self), began, is_answered: false }
    }

    /// Everything so far.
    pub fn counts(&self) -> Counts {
        let refused = std::array::from_fn(|slot| self.refused[slot].load(Ordering::Relaxed));
        let admitted = self.admitted.load(Ordering::Relaxed);
        Counts { admitted, refused, left: self.left.load(Ordering::Relaxed) }
    }

    /// Calls that wait for their answer.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// From now on, until the answer is dropped, it is written down how long callers wait.
    pub fn look(self: &Arc<Self>) -> Onlooker {
        self.onlookers.fetch_add(1, Ordering::Relaxed);
        Onlooker { tally: Arc::clone(self) }
    }

    fn answered(&self, counter: &AtomicU64, began: Option<Instant>) {
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(began) = began {
            let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.latency_us.lock().saturating_record(us.clamp(1, LATENCY_MAX_US));
        }
    }
}

impl Counts {
    /// What was refused, by reason: those that were told.
    pub fn refused(&self) -> impl Iterator<Item = (Reason, u64)> {
        let told = (0..).zip(self.refused).filter(|(_, count)| *count > 0);
        told.map(|(number, count)| (Reason::try_from(number).unwrap_or_default(), count))
    }

    /// What came after an earlier moment.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            admitted: self.admitted - before.admitted,
            refused: std::array::from_fn(|slot| self.refused[slot] - before.refused[slot]),
            left: self.left - before.left,
        }
    }
}

/// Somebody who looks on.
pub struct Onlooker {
    tally: Arc<Tally>,
}

impl Onlooker {
    /// All latencies that were written down so far, in microseconds.
    pub fn latency_us(&self) -> Histogram<u64> {
        self.tally.latency_us.lock().clone()
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.tally.onlookers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call under way. Dropped without an answer, its caller has left, or it has panicked.
pub struct Counted {
    tally: Arc<Tally>,
    began: Option<Instant>,
    is_answered: bool,
}

impl Counted {
    /// It is answered: with an order, or with the reason of its refusal.
    pub fn answered(mut self, refused: Option<Reason>) {
        self.is_answered = true;
        let tally = &self.tally;
        let counter = refused.map_or(&tally.admitted, |reason| &tally.refused[slot(reason)]);
        tally.answered(counter, self.began);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let tally = &self.tally;
        tally.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.is_answered {
            return;
        }
        if std::thread::panicking() {
            tally.answered(&tally.refused[slot(Reason::Internal)], self.began);
        } else {
            tally.left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn slot(reason: Reason) -> usize {
    usize::try_from(reason as i32).ok().filter(|&slot| slot < REASONS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_counted_once_by_how_it_ended() {
        let tally = Arc::new(Tally::default());
        let calls = [None, Some(Reason::SoldOut), Some(Reason::SoldOut), Some(Reason::Fenced)];
        let begun = calls.map(|_| tally.begin());
        let before = tally.counts();
        drop(tally.begin());
        assert_eq!(tally.in_flight(), 4);
        for (call, refused) in begun.into_iter().zip(calls) {
            call.answered(refused);
        }
        let after = tally.counts();
        assert_eq!((after.admitted, after.left, tally.in_flight()), (1, 1, 0));
        let refused: Vec<_> = after.refused().collect();
        assert_eq!(refused, [(Reason::SoldOut, 2), (Reason::Fenced, 1)]);
        assert_eq!(after.since(&before), after, "nothing had ended before");
        assert_eq!(after.since(&after).refused().count(), 0);
    }

    #[test]
    fn a_call_that_panics_is_a_fault_of_ours() {
        let tally = Arc::new(Tally::default());
        let call = tally.begin();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _call = call;
            panic!("as a layer might");
        }));
        assert!(panicked.is_err());
        assert_eq!(tally.counts().refused().collect::<Vec<_>>(), [(Reason::Internal, 1)]);
        assert_eq!((tally.counts().left, tally.in_flight()), (0, 0));
    }

    #[test]
    fn latencies_are_written_down_while_somebody_looks() {
        let tally = Arc::new(Tally::default());
        let answer = || tally.begin().answered(None);
        answer();
        let onlooker = tally.look();
        assert_eq!(onlooker.latency_us().len(), 0);
        answer();
        assert_eq!(onlooker.latency_us().len(), 1);
        drop(onlooker);
        answer();
        assert_eq!(tally.look().latency_us().len(), 1);
        assert_eq!(tally.counts().admitted, 3);
    }

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        let last = (0..).map_while(|number| Reason::try_from(number).ok()).last();
        assert_eq!(slot(last.expect("there is one")), last.map_or(0, |last| last as usize));
    }
}
