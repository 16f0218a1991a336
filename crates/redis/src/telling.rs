//! What Prometheus is told of calls of Redis.

use std::sync::LazyLock;

use firstcome_mesh::metrics::{self, counter::Counter};

use crate::Error;

static DONE: LazyLock<Counter> = LazyLock::new(|| {
    metrics::counter(
        "firstcome_redis_calls",
        "Calls of Redis, functions among them, that ended well",
    )
});

static FAILED: LazyLock<[Counter; 4]> = LazyLock::new(|| {
    metrics::counters(
        "firstcome_redis_call_failures",
        "Calls of Redis that did not end well, by what the caller can do about it",
        "kind",
        ["unavailable", "missing_function", "script", "address"],
    )
});

/// Tells from the start that there are none.
pub fn begin() {
    LazyLock::force(&DONE);
    LazyLock::force(&FAILED);
}

/// Counts how a call ended, and passes its answer on.
pub fn counted<T>(answer: Result<T, Error>) -> Result<T, Error> {
    let counter = match &answer {
        Ok(_) => &*DONE,
        Err(Error::Unavailable(_)) => &FAILED[0],
        Err(Error::MissingFunction(_)) => &FAILED[1],
        Err(Error::Script(_)) => &FAILED[2],
        Err(Error::Address(_)) => &FAILED[3],
    };
    counter.inc();
    answer
}
