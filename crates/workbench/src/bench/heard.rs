//! What callers heard: orders, refusals that say what to do next, and what nobody can explain.

use std::{collections::BTreeMap, time::Duration};

use firstcome_proto::{Reason, refusal::DOMAIN};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::load::histogram;
use crate::rush::Latency;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The caller has an order.
    Order,
    /// The caller was told why not, and what to do.
    Refused(Reason),
    /// Neither; in words.
    Unexplained(String),
}

/// What is an explanation.
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    /// These say all by themselves.
    pub plainly: &'static [Reason],
    /// These must say when to come back, in a RetryInfo.
    pub with_retry: &'static [Reason],
}

impl Explained {
    /// Reads an answer.
    pub fn judge<T>(&self, answer: &Result<T, Status>) -> Answer {
        let status = match answer {
            Ok(_) => return Answer::Order,
            Err(status) => status,
        };
        // Not through Refusal: it adds what a status lacks.
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let Some(reason) = info.and_then(|info| Reason::from_name(&info.reason)) else {
            return Answer::Unexplained(format!("{:?}: {}", status.code(), status.message()));
        };
        let says_when = details.retry_info().is_some_and(|info| info.retry_delay.is_some());
        if self.plainly.contains(&reason) || (self.with_retry.contains(&reason) && says_when) {
            return Answer::Refused(reason);
        }
        let without = if says_when { "" } else { " without RetryInfo" };
        Answer::Unexplained(format!("{}{without}", reason.name()))
    }
}

/// All answers of a crowd.
#[derive(Debug)]
pub struct Heard {
    orders: u64,
    refused: BTreeMap<String, u64>,
    unexplained: BTreeMap<String, u64>,
    answers_us: Histogram<u64>,
    orders_us: Histogram<u64>,
}

/// The same in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Callers with an order.
    pub orders: u64,
    /// Callers without, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Answers that explain nothing, and calls without an answer.
    pub unexplained: BTreeMap<String, u64>,
    /// From call to answer, over all.
    pub answers_ms: Latency,
    /// From call to answer, over orders.
    pub orders_ms: Latency,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            orders: 0,
            refused: BTreeMap::new(),
            unexplained: BTreeMap::new(),
            answers_us: histogram(),
            orders_us: histogram(),
        }
    }
}

impl Heard {
    /// Counts an answer.
    pub fn add(&mut self, answer: Answer, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        self.answers_us.saturating_record(us);
        match answer {
            Answer::Order => {
                self.orders += 1;
                self.orders_us.saturating_record(us);
            }
            Answer::Refused(reason) => {
                *self.refused.entry(reason.name().to_owned()).or_default() += 1;
            }
            Answer::Unexplained(words) => *self.unexplained.entry(words).or_default() += 1,
        }
    }

    /// In figures.
    pub fn summary(self) -> Summary {
        Summary {
            orders: self.orders,
            refused: self.refused,
            unexplained: self.unexplained,
            answers_ms: latency(&self.answers_us),
            orders_ms: latency(&self.orders_us),
        }
    }
}

impl Summary {
    /// Everybody who heard anything, or waited in vain.
    pub fn answers(&self) -> u64 {
        self.orders + self.refused.values().sum::<u64>() + self.unexplained()
    }

    /// Answers that explain nothing.
    pub fn unexplained(&self) -> u64 {
        self.unexplained.values().sum()
    }
}

fn latency(us: &Histogram<u64>) -> Latency {
    let ms = |us: u64| us as f64 / 1000.0;
    let quantile = |share| ms(us.value_at_quantile(share));
    Latency { p50: quantile(0.50), p95: quantile(0.95), p99: quantile(0.99), max: ms(us.max()) }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::Refusal;
    use tonic::Code;

    use super::*;

    const EXPLAINED: Explained =
        Explained { plainly: &[Reason::SoldOut], with_retry: &[Reason::Overloaded] };

    #[test]
    fn an_explanation_is_a_known_reason_that_says_when_to_come_back() {
        let refused = |reason| Refusal::because(reason, "x");
        let check = |status: Status, answer: Answer| {
            assert_eq!(EXPLAINED.judge(&Err::<(), _>(status)), answer);
        };
        let soon = Duration::from_millis(200);
        assert_eq!(EXPLAINED.judge(&Ok(())), Answer::Order);
        check(refused(Reason::SoldOut).into(), Answer::Refused(Reason::SoldOut));
        check(
            refused(Reason::Overloaded).retry_after(soon).into(),
            Answer::Refused(Reason::Overloaded),
        );
        let silent = Answer::Unexplained("OVERLOADED without RetryInfo".into());
        check(refused(Reason::Overloaded).into(), silent);
        let fault = Answer::Unexplained("INTERNAL".into());
        check(refused(Reason::Internal).retry_after(soon).into(), fault);
        let bare = Answer::Unexplained(format!("{:?}: gone", Code::Unavailable));
        check(Status::unavailable("gone"), bare);
    }

    #[test]
    fn everybody_is_counted_once_and_latencies_are_in_milliseconds() {
        let mut heard = Heard::default();
        for ms in 1..=100 {
            heard.add(Answer::Refused(Reason::SoldOut), Duration::from_millis(ms));
        }
        heard.add(Answer::Order, Duration::from_millis(500));
        heard.add(Answer::Unexplained("x".into()), Duration::from_millis(1));
        let summary = heard.summary();
        assert_eq!((summary.answers(), summary.orders, summary.unexplained()), (102, 1, 1));
        assert_eq!(summary.refused["SOLD_OUT"], 100);
        assert!((summary.answers_ms.p50 - 50.0).abs() < 1.5, "{summary:?}");
        assert!((summary.orders_ms.max - 500.0).abs() < 1.0, "{summary:?}");
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }
}
