//! How busy this process is, and which calls it turned away or failed on purpose; read off the
//! layers in front of what it serves, when somebody asks.

use std::{
    fmt,
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::shed::Load;
use crate::metrics;

/// Kept for good, as a layer is: what was counted once must not be forgotten.
static LOADS: Mutex<Vec<Load>> = Mutex::new(Vec::new());
static FAULTS: Mutex<Vec<Arc<AtomicU64>>> = Mutex::new(Vec::new());

/// Tells from now on of one more layer that sheds.
pub fn tell(load: Load) {
    begin();
    LOADS.lock().push(load);
}

/// Tells from now on of one more layer that makes faults, by how many it has made.
pub fn tell_faults(made: Arc<AtomicU64>) {
    begin();
    FAULTS.lock().push(made);
}

fn begin() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| metrics::register_collector(Collected));
}

/// All layers together; a process has one of each.
#[derive(Debug)]
struct Collected;

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (waiting, shed) = LOADS.lock().iter().fold((0, 0), |(waiting, shed), load| {
            (waiting + load.in_flight() as i64, shed + load.shed())
        });
        let faults = FAULTS.lock().iter().map(|made| made.load(Ordering::Relaxed)).sum::<u64>();
        write(
            &mut encoder,
            "firstcome_rpc_server_waiting",
            "Calls that wait here for the head of their answer.",
            &ConstGauge::new(waiting),
        )?;
        write(
            &mut encoder,
            "firstcome_rpc_server_shed",
            "Calls that were turned away because too many waited for their answer.",
            &ConstCounter::new(shed),
        )?;
        write(
            &mut encoder,
            "firstcome_injected_faults",
            "Calls that were made to fail or to be late on purpose.",
            &ConstCounter::new(faults),
        )
    }
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::future::ready;
    use http::{Request, Response};
    use tonic::body::Body;
    use tower::{Layer as _, ServiceExt as _, service_fn};

    use crate::{
        metrics::text,
        server::{
            inject::InjectLayer,
            shed::{Load, ShedLayer},
        },
    };

    fn told(metric: &str) -> u64 {
        let text = text();
        let value = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        value.expect("it is told from the start").parse().unwrap()
    }

    #[tokio::test]
    async fn calls_that_are_shed_or_failed_on_purpose_are_told() {
        let well =
            service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(Response::new(Body::empty()))));
        let counts =
            || ["firstcome_rpc_server_shed_total", "firstcome_injected_faults_total"].map(told);
        let before = counts();
        let full = ShedLayer::new(Load::default(), 0).layer(well);
        full.oneshot(Request::new(Body::empty())).await.unwrap();
        let failing = InjectLayer::new(&["errors:100%".parse().unwrap()]).layer(well);
        failing.oneshot(Request::new(Body::empty())).await.unwrap();
        // Other tests of this process shed too.
        for (before, after) in before.into_iter().zip(counts()) {
            assert!(after > before, "{after} after {before}");
        }
    }

    #[tokio::test]
    async fn calls_that_wait_for_the_head_of_their_answer_are_told() {
        let never = service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let service = ShedLayer::new(Load::default(), 9).layer(never);
        let call = tokio::spawn(service.oneshot(Request::new(Body::empty())));
        while told("firstcome_rpc_server_waiting") == 0 {
            tokio::task::yield_now().await;
        }
        call.abort();
    }
}
