//! How the ways to other services stand, looked at when somebody asks: endpoints by what they say
//! of themselves, breakers by their state, and calls that went nowhere.

use std::{collections::BTreeMap, fmt, sync::Once};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::{Standing, State, Upstream};
use crate::metrics;

/// Gives how a way stands, until it is closed.
type Look = Box<dyn Fn() -> Option<Upstream> + Send>;

/// Every way of this process that is open.
static WAYS: Mutex<Vec<Look>> = Mutex::new(Vec::new());

/// Tells of one more way, until it gives nothing.
pub fn tell(look: impl Fn() -> Option<Upstream> + Send + 'static) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| metrics::register_collector(Collected));
    WAYS.lock().push(Box::new(look));
}

/// All of them together, by upstream.
#[derive(Debug)]
struct Collected;

#[derive(Default)]
struct Sum {
    standings: [i64; STANDINGS.len()],
    breakers: [i64; BREAKERS.len()],
    refused: [u64; WHY.len()],
}

const STANDINGS: [&str; 3] = ["ready", "unheard", "not_ready"];
const BREAKERS: [&str; 3] = ["closed", "half_open", "open"];
const WHY: [&str; 2] = ["away", "full"];

impl Sum {
    fn add(&mut self, upstream: &Upstream) {
        for endpoint in &upstream.endpoints {
            let standing = match endpoint.standing {
                Standing::Ready => 0,
                Standing::Unheard => 1,
                Standing::NotReady => 2,
            };
            self.standings[standing] += 1;
            let breaker = match endpoint.breaker {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open { .. } => 2,
            };
            self.breakers[breaker] += 1;
        }
        self.refused[0] += upstream.refused_away;
        self.refused[1] += upstream.refused_full;
    }
}

fn sums() -> BTreeMap<&'static str, Sum> {
    let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
    WAYS.lock().retain(|look| {
        let Some(upstream) = look() else { return false };
        sums.entry(upstream.peer.short_name()).or_default().add(&upstream);
        true
    });
    sums
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sums = sums();
        let gauges = |counts: &[i64]| counts.iter().map(|count| ConstGauge::new(*count)).collect();
        write(
            &mut encoder,
            "firstcome_upstream_endpoints",
            "Addresses of another service, by what they say of themselves.",
            ("standing", &STANDINGS),
            &sums,
            |sum| -> Vec<_> { gauges(&sum.standings) },
        )?;
        write(
            &mut encoder,
            "firstcome_upstream_breakers",
            "Breakers of another service's addresses, by their state.",
            ("state", &BREAKERS),
            &sums,
            |sum| -> Vec<_> { gauges(&sum.breakers) },
        )?;
        write(
            &mut encoder,
            "firstcome_upstream_refused",
            "Calls that went nowhere: no address was worth asking, or all were full.",
            ("why", &WHY),
            &sums,
            |sum| sum.refused.iter().map(|count| ConstCounter::new(*count)).collect(),
        )
    }
}

fn write<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    (label, values): (&'static str, &[&'static str]),
    sums: &BTreeMap<&'static str, Sum>,
    metrics: impl Fn(&Sum) -> Vec<M>,
) -> fmt::Result {
    let some = sums.values().next().map(&metrics).unwrap_or_default();
    let Some(kind) = some.first().map(EncodeMetric::metric_type) else { return Ok(()) };
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (upstream, sum) in sums {
        for (value, metric) in values.iter().zip(metrics(sum)) {
            metric.encode(family.encode_family(&[("upstream", *upstream), (label, *value)])?)?;
        }
    }
    Ok(())
}
