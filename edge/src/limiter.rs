//! How many calls somebody may make: a rate with a burst for each key, kept in bounded memory.

use std::{hash::Hash, num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use firstcome_proto::{Reason, Refusal};
use governor::{Quota, RateLimiter, clock::Clock as _, state::keyed::DashMapStateStore};

use crate::route::Class;

/// Keys that are as good as new are forgotten this often.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// So many calls in a second, a minute or an hour, and so many at once; or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Option<Quota>);

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("want a rate as in `20/s burst 40`, or `off`, not {text:?}");
        let number = |digits: &str| digits.parse::<NonZeroU32>().map_err(|_| form());
        let mut words = text.split_whitespace();
        let rate = words.next().ok_or_else(form)?;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some("burst"), Some(digits), None) => Some(number(digits)?),
            _ => return Err(form()),
        };
        if rate == "off" && burst.is_none() {
            return Ok(Self::OFF);
        }
        let (count, unit) = rate.split_once('/').ok_or_else(form)?;
        let count = number(count)?;
        let quota = match unit {
            "s" => Quota::per_second(count),
            "m" => Quota::per_minute(count),
            "h" => Quota::per_hour(count),
            _ => return Err(form()),
        };
        Ok(Self(Some(quota.allow_burst(burst.unwrap_or(count)))))
    }
}

type Buckets<K> = RateLimiter<K, DashMapStateStore<K>, governor::clock::DefaultClock>;

/// A rate for each key. Clones share the counts.
pub struct Limiter<K: Hash + Eq + Clone> {
    buckets: Option<Arc<Buckets<K>>>,
    /// Whose calls are counted, for the refusal's reader.
    whose: &'static str,
}

impl<K: Hash + Eq + Clone> Clone for Limiter<K> {
    fn clone(&self) -> Self {
        Self { buckets: self.buckets.clone(), whose: self.whose }
    }
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// Counts the calls of each key against this rate.
    pub fn new(rate: Rate, whose: &'static str) -> Self {
        let buckets = rate.0.map(|quota| Arc::new(RateLimiter::dashmap(quota)));
        Self { buckets, whose }
    }

    /// Counts one call, or says how long to wait.
    pub fn check(&self, key: &K) -> Result<(), Refusal> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        buckets.check_key(key).map_err(|until| {
            let wait = until.wait_time_from(buckets.clock().now());
            let message = format!("too many calls of this {}", self.whose);
            Refusal::because(Reason::RateLimited, message).retry_after(wait)
        })
    }

    /// Forgets the keys whose burst is whole again, so that memory is bounded by the distinct
    /// callers of the time that a burst takes to grow back: seconds of all calls, two minutes of
    /// those that are watched closely. Each of them needed a connection or a token of ours.
    pub fn sweep(&self) {
        if let Some(buckets) = &self.buckets {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }
}

/// The rates of one kind of key: of all calls, and of those that are watched closely.
pub struct Limits<K: Hash + Eq + Clone> {
    all: Limiter<K>,
    strict: Arc<[(Class, Limiter<K>)]>,
}

impl<K: Hash + Eq + Clone> Clone for Limits<K> {
    fn clone(&self) -> Self {
        Self { all: self.all.clone(), strict: Arc::clone(&self.strict) }
    }
}

impl<K: Hash + Eq + Clone> Limits<K> {
    /// Counts all calls against one rate, and those of each class against its own too. A class that
    /// is not here is not counted by this kind of key.
    pub fn new(
        whose: &'static str,
        all: Rate,
        strict: impl IntoIterator<Item = (Class, Rate)>,
    ) -> Self {
        let strict = strict.into_iter().map(|(class, rate)| (class, Limiter::new(rate, whose)));
        Self { all: Limiter::new(all, whose), strict: strict.collect() }
    }

    /// Counts one call of these classes, or says how long to wait.
    pub fn check(&self, key: &K, classes: &[Class]) -> Result<(), Refusal> {
        self.all.check(key)?;
        if classes.is_empty() {
            return Ok(()); // nearly all calls
        }
        let strict = self.strict.iter().filter(|(class, _)| classes.contains(class));
        strict.map(|(_, limiter)| limiter).try_for_each(|limiter| limiter.check(key))
    }

    /// Forgets, as [`Limiter::sweep`] does.
    pub fn sweep(&self) {
        self.all.sweep();
        self.strict.iter().for_each(|(_, limiter)| limiter.sweep());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_with_and_without_a_burst() {
        let two = NonZeroU32::new(2).expect("not zero");
        let nine = NonZeroU32::new(9).expect("not zero");
        let table = [
            ("off", Some(Rate::OFF)),
            ("2/s", Some(Rate(Some(Quota::per_second(two))))),
            ("2/m burst 9", Some(Rate(Some(Quota::per_minute(two).allow_burst(nine))))),
            ("", None),
            ("0/s", None),
            ("2/d", None),
            ("2/s burst", None),
            ("2/s burst 0", None),
            ("2/s burst 9 more", None),
            ("off burst 9", None),
        ];
        for (text, rate) in table {
            assert_eq!(text.parse().ok(), rate, "{text:?}");
        }
    }

    #[test]
    fn a_full_bucket_says_when_to_come_back_and_others_pass() {
        let limiter = Limiter::new("1/h burst 2".parse().unwrap(), "address");
        assert!(limiter.check(&1).is_ok() && limiter.check(&1).is_ok());
        let refusal = limiter.check(&1).expect_err("the burst is spent");
        assert_eq!(refusal.reason(), Reason::RateLimited);
        assert!(refusal.retry_after.expect("a wait").seconds > 3000);
        assert!(limiter.check(&2).is_ok());
        limiter.sweep();
        assert!(limiter.check(&1).is_err(), "a sweep forgives nobody");
    }
}
