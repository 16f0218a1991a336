//! What Prometheus is told by the edge beyond what every process tells: how fresh its word on ended
//! sessions is, and how often it calls again for a buyer.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use firstcome_mesh::metrics::{self, Gauge, SecondsGauge, calls::expect_served, counter::Counter};
use firstcome_proto::Reason;

/// The one of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::register);

/// How a rush is refused: queries look for these before the first one.
const RUSH: [Reason; 7] = [
    Reason::SoldOut,
    Reason::LimitPerBuyer,
    Reason::NotOpen,
    Reason::Closed,
    Reason::RateLimited,
    Reason::Overloaded,
    Reason::Fenced,
];

/// Everything that is counted here.
pub struct Metrics {
    /// Calls of PlaceOrders that were made again.
    pub place_retries: Counter,
    /// Sessions whose end is remembered.
    pub sessions_ended: Gauge,
    revocations_heard: SecondsGauge,
}

impl Metrics {
    fn register() -> Self {
        expect_served("/firstcome.order.v1.OrderService/PlaceOrder", &RUSH);
        Self {
            place_retries: metrics::counter(
                "firstcome_edge_place_retries",
                "Batches of orders that were sent again, because order did not answer",
            ),
            sessions_ended: metrics::gauge(
                "firstcome_edge_sessions_ended",
                "Sessions that have ended before their tokens, and are refused",
            ),
            revocations_heard: metrics::seconds_gauge(
                "firstcome_edge_revocations_heard_timestamp_seconds",
                "When the last answered question about ended sessions was asked, since 1970",
            ),
        }
    }

    /// The edge knows what it was told so long ago. A moment is told and no age, so that a task that
    /// died is seen.
    pub fn heard(&self, ago: Duration) {
        let at = SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.revocations_heard.set(since.as_secs_f64());
    }
}

/// Tells from the start that nothing happened yet.
pub fn begin() {
    LazyLock::force(&METRICS);
}
