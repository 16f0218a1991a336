//! A closed loop: so many calls in flight until a fixed number is done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::schedule::Spread;

/// The longest latency that the histogram tells apart, in microseconds.
const LATENCY_MAX_US: u64 = 120_000_000;

/// What the caller saw.
#[derive(Clone, Debug)]
pub struct Load {
    /// Calls.
    pub calls: u32,
    /// From the first call to the last answer.
    pub took: Duration,
    /// From call to answer, in microseconds.
    pub latency_us: Histogram<u64>,
}

impl Load {
    /// Calls whose latencies nobody took.
    pub fn without_latency(calls: u32, took: Duration) -> Self {
        Self { calls, took, latency_us: histogram() }
    }

    /// Loads that took so long in all, as one.
    pub fn sum<'a>(loads: impl IntoIterator<Item = &'a Self>, took: Duration) -> Self {
        let (mut calls, mut latency_us) = (0, histogram());
        for load in loads {
            calls += load.calls;
            latency_us.add(&load.latency_us).expect("all histograms have the same bounds");
        }
        Self { calls, took, latency_us }
    }

    /// Answers a second.
    pub fn rate_per_s(&self) -> f64 {
        f64::from(self.calls) / self.took.as_secs_f64()
    }

    /// The latency that this share of the answers, from 0 to 1, did not exceed.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.latency_us.value_at_quantile(share) as f64 / 1000.0
    }
}

/// Makes the calls numbered from 0, in that order. The first one that fails ends it.
pub async fn drive<C, F>(calls: u32, in_flight: u16, call: C) -> Result<Load>
where
    C: Fn(u32) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let next = Arc::new(AtomicU32::new(0));
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let (next, call) = (Arc::clone(&next), call.clone());
        callers.spawn(async move {
            // A histogram for each caller would be megabytes by the dozen.
            let mut latencies_us = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return Ok(latencies_us);
                }
                let asked = Instant::now();
                call(number).await.with_context(|| format!("call {number}"))?;
                latencies_us.push(u64::try_from(asked.elapsed().as_micros())?);
            }
        });
    }
    let mut all_us = Vec::new();
    while let Some(caller) = callers.join_next().await {
        let own: Result<Vec<u64>> = caller?;
        all_us.extend(own?);
    }
    let took = started.elapsed();
    let mut latency_us = histogram();
    all_us.into_iter().for_each(|latency| latency_us.saturating_record(latency));
    Ok(Load { calls, took, latency_us })
}

/// Makes calls at a constant rate for so long, whatever becomes of those before; a latency counts from
/// the instant that the plan has for its call. The first call that fails ends it.
pub async fn offer<C, F>(rate_per_s: f64, span: Duration, call: C) -> Result<Load>
where
    C: Fn(u32) -> F,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let calls = (rate_per_s * span.as_secs_f64()) as u32;
    let started = Instant::now();
    let (mut under_way, mut all_us) = (JoinSet::new(), Vec::new());
    for (number, offset) in (0..calls).zip(Spread::Evenly.over(span, calls)) {
        let planned = started + offset;
        // A timer is good for a millisecond, so that calls which are nearer go together.
        if planned > Instant::now() + Duration::from_millis(1) {
            tokio::time::sleep_until(planned.into()).await;
        }
        let called = call(number);
        under_way.spawn(async move {
            called.await.with_context(|| format!("call {number}"))?;
            Ok::<_, anyhow::Error>(u64::try_from(planned.elapsed().as_micros())?)
        });
        while let Some(done) = under_way.try_join_next() {
            all_us.push(done??);
        }
    }
    while let Some(done) = under_way.join_next().await {
        all_us.push(done??);
    }
    let took = started.elapsed();
    let mut latency_us = histogram();
    all_us.into_iter().for_each(|latency| latency_us.saturating_record(latency));
    Ok(Load { calls, took, latency_us })
}

/// Of latencies in microseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are in order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loads_are_summed_with_all_their_calls() {
        let done = drive(100, 7, |_| async { Ok(()) }).await.unwrap();
        let sum = Load::sum([&done, &done], Duration::from_secs(2));
        assert_eq!((sum.calls, sum.latency_us.len()), (200, 200));
        assert_eq!(sum.rate_per_s(), 100.0);
    }

    #[tokio::test]
    async fn what_is_offered_waits_for_no_answer() {
        let call = |_| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(())
        };
        let done = offer(100.0, Duration::from_millis(100), call).await.unwrap();
        assert_eq!((done.calls, done.latency_us.len()), (10, 10));
        assert!(done.took < Duration::from_millis(300) * 10, "one waited for another");
    }

    #[tokio::test]
    async fn the_first_call_that_fails_ends_it() {
        let failed = drive(100, 7, |number| async move {
            if number == 50 { anyhow::bail!("no") } else { Ok(()) }
        });
        assert!(failed.await.is_err());
    }
}
