//! One hop of a batch: how many items travel together, how long they gathered, and how long the
//! call behind the queue took. Observed once for each batch, whatever its size.

use std::{sync::LazyLock, time::Duration};

use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};

use super::{Gauge, ITEMS, Labels, SecondsFamily, register, seconds_histogram};
use crate::Rejected;

/// Every reason why an item is not carried, as a label says it.
const REJECTED: [&str; 5] =
    ["queue_full", "waited_too_long", "deadline_passed", "closed", "unanswered"];

/// The queue in front of a call and the call, by the name of the hop.
#[derive(Clone, Debug)]
pub struct Hop {
    items: Histogram,
    waited: Histogram,
    took: Histogram,
    waiting: Gauge,
    rejected: [Counter; REJECTED.len()],
}

struct Families {
    items: Family<Labels, Histogram, fn() -> Histogram>,
    waited: SecondsFamily,
    took: SecondsFamily,
    waiting: Family<Labels, Gauge>,
    rejected: Family<Labels, Counter>,
}

static FAMILIES: LazyLock<Families> = LazyLock::new(|| Families {
    items: register(
        "firstcome_batch_items",
        "Items that one batched call carries",
        Family::new_with_constructor(|| Histogram::new(ITEMS)),
    ),
    waited: register(
        "firstcome_batch_queue_seconds",
        "How long the first item of a batch waited for its call",
        Family::new_with_constructor(seconds_histogram),
    ),
    took: register(
        "firstcome_batch_call_seconds",
        "How long a batched call took until its last answer",
        Family::new_with_constructor(seconds_histogram),
    ),
    waiting: register(
        "firstcome_batch_queue_items",
        "Items that wait for their call, over all keys and batchers of the hop",
        Family::default(),
    ),
    rejected: register(
        "firstcome_batch_rejected",
        "Items that were not carried, by why",
        Family::default(),
    ),
});

impl Hop {
    /// The hop of this name; batchers of one name share it.
    pub fn named(name: &'static str) -> Self {
        let labels: Labels = vec![("hop", name.into())];
        let rejected = REJECTED.map(|why| {
            let labels = vec![("hop", name.into()), ("why", why.into())];
            FAMILIES.rejected.get_or_create_owned(&labels)
        });
        Self {
            items: FAMILIES.items.get_or_create_owned(&labels),
            waited: FAMILIES.waited.get_or_create_owned(&labels),
            took: FAMILIES.took.get_or_create_owned(&labels),
            waiting: FAMILIES.waiting.get_or_create_owned(&labels),
            rejected,
        }
    }

    /// So many items begin to wait.
    pub fn queued(&self, items: usize) {
        self.waiting.inc_by(items as i64);
    }

    /// So many wait no longer, whatever becomes of them.
    pub fn taken(&self, items: usize) {
        self.waiting.dec_by(items as i64);
    }

    /// A batch sets out.
    pub fn sent(&self, items: usize, waited: Duration) {
        self.items.observe(items as f64);
        self.waited.observe(waited.as_secs_f64());
    }

    /// Its call is over.
    pub fn ended(&self, took: Duration) {
        self.took.observe(took.as_secs_f64());
    }

    /// So many items were not carried; for each batch it is none, and costs nothing then.
    pub fn rejected(&self, why: Rejected, items: usize) {
        if items == 0 {
            return;
        }
        let place = match why {
            Rejected::QueueFull => 0,
            Rejected::WaitedTooLong => 1,
            Rejected::DeadlinePassed => 2,
            Rejected::Closed => 3,
            Rejected::Unanswered => 4,
        };
        self.rejected[place].inc_by(items as u64);
    }
}
