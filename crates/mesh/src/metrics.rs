//! What this process tells Prometheus. A process has one registry, as it has one log: whoever
//! counts something registers it once, keeps the handle, and pays an atomic addition for each time.
//!
//! Names follow Prometheus: `firstcome_`, the noun, the unit, and `_total` behind what is counted.
//! Labels are words out of closed lists (methods of the contract, reasons, steps): there are no ids
//! of products or people, so the number of series is bounded by the code. What queries and alerts
//! look for exists from the start, at zero: a counter that begins at one has never increased.

pub mod calls;
pub mod hop;
mod process;

use std::{
    borrow::Cow,
    fmt::Debug,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::text,
    metrics::{
        counter::Counter, family::Family, gauge::Gauge as IntegerGauge, histogram::Histogram,
    },
    registry::{Metric, Registry},
};

pub use prometheus_client::metrics::{counter, family, histogram};

use crate::Shutdown;

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from a call in the same machine to the longest that anybody waits.
pub const SECONDS: [f64; 15] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Items of one batch, up to the largest.
pub const ITEMS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What may go up and down. Clones share one value.
pub type Gauge = IntegerGauge<i64>;
/// The same, of seconds.
pub type SecondsGauge = IntegerGauge<f64, std::sync::atomic::AtomicU64>;
/// Names and values of a metric's labels.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(|| {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(process::Process::started_now()));
    Mutex::new(registry)
});

static BUILD: LazyLock<Family<Labels, Gauge>> = LazyLock::new(|| {
    register(
        "firstcome_build_info",
        "Which program this is, and of which version",
        Family::default(),
    )
});

static LOOKED_AT: LazyLock<SecondsGauge> = LazyLock::new(|| {
    seconds_gauge(
        "firstcome_looked_at_timestamp_seconds",
        "When this process last saw what it tells of backlogs, in seconds since 1970",
    )
});

/// All programs are of one version: the workspace's.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How often a process looks at what only a query knows: its answer is a few numbers, and Prometheus
/// asks every few seconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Begins to tell, and says who does.
pub fn begin(service: &'static str) {
    let labels = vec![("service", service.into()), ("version", VERSION.into())];
    BUILD.get_or_create_owned(&labels).set(1);
}

/// Looks at what only a query knows, now and every few seconds until the end begins, and tells what
/// it saw. Every replica does, and all see the same: a query over them takes the largest. A look
/// that fails leaves what was told, gives nothing, and logs why; how old that is, the time of the
/// last one says.
pub fn keep_looking<F, Looking, Seen>(
    shutdown: &Shutdown,
    look: F,
    tell: impl Fn(Seen) + Send + 'static,
) where
    F: Fn() -> Looking + Send + 'static,
    Looking: Future<Output = Option<Seen>> + Send,
{
    let end = shutdown.clone();
    LazyLock::force(&LOOKED_AT);
    shutdown.spawn(async move {
        loop {
            if let Some(seen) = look().await {
                tell(seen);
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                LOOKED_AT.set(now.unwrap_or_default().as_secs_f64());
            }
            if !end.sleep(LOOK_EVERY).await {
                return;
            }
        }
    });
}

/// Everything that is told, as OpenMetrics text.
pub fn text() -> String {
    let mut text = String::new();
    let written = text::encode(&mut text, &REGISTRY.lock());
    written.expect("a String takes whatever is written");
    text
}

/// Registers a metric under its full name, without `_total`. The help is a sentence without its
/// full stop.
pub fn register<M: Metric + Clone + Debug>(name: &str, help: &str, metric: M) -> M {
    REGISTRY.lock().register(name, help, metric.clone());
    metric
}

/// What is looked at when somebody asks, and counted nowhere else.
pub fn register_collector(collector: impl Collector) {
    REGISTRY.lock().register_collector(Box::new(collector));
}

/// What only goes up.
pub fn counter(name: &str, help: &str) -> Counter {
    register(name, help, Counter::default())
}

/// One counter for each value of a label, all at zero from now on.
pub fn counters<const N: usize>(
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Counter; N] {
    let family = Family::<Labels, Counter>::default();
    let of = |value: &'static str| family.get_or_create_owned(&vec![(label, value.into())]);
    let counters = values.map(of);
    register(name, help, family);
    counters
}

/// What goes up and down.
pub fn gauge(name: &str, help: &str) -> Gauge {
    register(name, help, Gauge::default())
}

/// One gauge for each value of a label.
pub fn gauges<const N: usize>(
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Gauge; N] {
    let family = Family::<Labels, Gauge>::default();
    let of = |value: &'static str| family.get_or_create_owned(&vec![(label, value.into())]);
    let gauges = values.map(of);
    register(name, help, family);
    gauges
}

/// A span, or a moment since 1970, in seconds.
pub fn seconds_gauge(name: &str, help: &str) -> SecondsGauge {
    register(name, help, SecondsGauge::default())
}

/// How long something takes, in seconds.
pub fn seconds(name: &str, help: &str) -> Histogram {
    register(name, help, seconds_histogram())
}

/// One histogram of seconds for each value of a label.
pub fn seconds_by<const N: usize>(
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Histogram; N] {
    let family = SecondsFamily::new_with_constructor(seconds_histogram);
    let of = |value: &'static str| family.get_or_create_owned(&vec![(label, value.into())]);
    let histograms = values.map(of);
    register(name, help, family);
    histograms
}

/// Histograms of seconds, made as their labels are met.
pub type SecondsFamily = Family<Labels, Histogram, fn() -> Histogram>;

/// Makes one, for a [`SecondsFamily`].
pub fn seconds_histogram() -> Histogram {
    Histogram::new(SECONDS)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        future::ready,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_told_is_as_old_as_the_last_look_that_succeeded() {
        let shutdown = Shutdown::new();
        let (looks, told) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let looked = Arc::clone(&looks);
        // Each second look fails.
        let look = move || {
            let place = looked.fetch_add(1, Ordering::Relaxed);
            ready((place % 2 == 0).then_some(place))
        };
        let heard = Arc::clone(&told);
        keep_looking(&shutdown, look, move |place| heard.store(place, Ordering::Relaxed));
        tokio::time::sleep(LOOK_EVERY / 2).await;
        assert!(LOOKED_AT.get() > 0.0, "it looks at once");
        LOOKED_AT.set(0.0);

        tokio::time::sleep(LOOK_EVERY).await;
        assert_eq!((looks.load(Ordering::Relaxed), told.load(Ordering::Relaxed)), (2, 0));
        assert_eq!(LOOKED_AT.get(), 0.0, "a look that fails is none");
        tokio::time::sleep(LOOK_EVERY).await;
        assert_eq!((looks.load(Ordering::Relaxed), told.load(Ordering::Relaxed)), (3, 2));
        assert!(LOOKED_AT.get() > 0.0);
        assert!(text().contains("\nfirstcome_looked_at_timestamp_seconds "));
        shutdown.begin();
    }

    #[test]
    fn what_is_registered_is_told_in_the_form_that_prometheus_reads() {
        begin("firstcome-test");
        let [won, lost] =
            counters("firstcome_test_wishes", "Wishes by outcome", "outcome", ["won", "lost"]);
        won.inc_by(3);
        seconds("firstcome_test_seconds", "How long it takes").observe(0.003);
        let text = text();
        for line in [
            "firstcome_build_info{service=\"firstcome-test\",version=\"",
            "# TYPE firstcome_test_wishes counter\n",
            "firstcome_test_wishes_total{outcome=\"won\"} 3\n",
            "firstcome_test_wishes_total{outcome=\"lost\"} 0\n",
            "firstcome_test_seconds_bucket{le=\"0.0025\"} 0\n",
            "firstcome_test_seconds_bucket{le=\"0.005\"} 1\n",
            "process_open_fds ",
            "process_cpu_seconds_total ",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"), "a scrape that was cut is told from a whole one");
        assert_eq!(lost.get(), 0);
        let names: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let distinct: HashSet<_> = names.iter().collect();
        assert_eq!(names.len(), distinct.len(), "each is registered once: {names:?}");
    }
}
