//! What Prometheus is told of events on their way.

use std::sync::LazyLock;

use firstcome_mesh::metrics::{self, counter::Counter};

use crate::consumer::Outcome;

static PUBLISHED: LazyLock<Counter> = LazyLock::new(|| {
    metrics::counter("firstcome_events_published", "Events that were appended to their stream")
});

static LOST: LazyLock<Counter> = LazyLock::new(|| {
    let help = "Times that a stream had lost its end, so that all that is kept was told again";
    metrics::counter("firstcome_event_stream_losses", help)
});

static ACTED: LazyLock<[Counter; 4]> = LazyLock::new(|| {
    metrics::counters(
        "firstcome_events_consumed",
        "Events that were handled, by how that ended",
        "outcome",
        ["done", "try_again", "poison", "unavailable"],
    )
});

static PARKED: LazyLock<Counter> = LazyLock::new(|| {
    metrics::counter("firstcome_events_put_aside", "Events that were parked, because they fail")
});

/// Tells from the start that nothing happened yet.
pub fn begin_relaying() {
    LazyLock::force(&PUBLISHED);
    LazyLock::force(&LOST);
}

/// The same.
pub fn begin_consuming() {
    LazyLock::force(&ACTED);
    LazyLock::force(&PARKED);
}

/// So many stand in their stream.
pub fn published(events: usize) {
    PUBLISHED.inc_by(events as u64);
}

/// A stream has forgotten what stood there.
pub fn lost() {
    LOST.inc();
}

/// An event was handled.
pub fn acted(outcome: &Outcome) {
    let place = match outcome {
        Outcome::Done => 0,
        Outcome::TryAgain(_) => 1,
        Outcome::Poison(_) => 2,
        Outcome::Unavailable(_) => 3,
    };
    ACTED[place].inc();
}

/// An event was put aside.
pub fn parked() {
    PARKED.inc();
}
