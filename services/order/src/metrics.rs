//! What Prometheus is told of orders: how many are placed, how each step of the saga ends and how
//! long it takes, how long a payment takes, what is overdue, and which events nobody has told yet.

use std::{sync::LazyLock, time::Duration};

use firstcome_mesh::{
    Shutdown,
    metrics::{
        self, Gauge, Labels, SecondsGauge, counter::Counter, family::Family, histogram::Histogram,
    },
};

use crate::{
    order::{State, Step},
    saga::table::Outcome,
    store::{Store, Waiting},
};

/// The one of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::register);

/// How a step can end, as a label says it.
const OUTCOMES: [&str; 7] =
    ["done", "had_expired", "declined", "not_yet", "refused", "unknown", "still_unknown"];

/// Everything that is counted here.
pub struct Metrics {
    /// Orders of one product, written for new admissions.
    pub placed: Counter,
    /// Orders of several products.
    pub placed_by_attempt: Counter,
    /// One for each step: how often it ended how, and how long it took.
    steps: Vec<(Step, [Counter; OUTCOMES.len()], Histogram)>,
    rests: Vec<(State, Counter)>,
    payment_seconds: Histogram,
    due: Gauge,
    due_seconds: SecondsGauge,
    unpublished: Gauge,
    unpublished_seconds: SecondsGauge,
    attempts: Gauge,
}

impl Metrics {
    fn register() -> Self {
        let [placed, placed_by_attempt] = metrics::counters(
            "firstcome_orders_placed",
            "Orders that were written, by how they were placed",
            "way",
            ["one_product", "several_products"],
        );
        let ended = Family::<Labels, Counter>::default();
        let took = metrics::SecondsFamily::new_with_constructor(metrics::seconds_histogram);
        let steps = Step::ALL.iter().map(|step| {
            let word = ("step", step.word().into());
            let of = |outcome: &'static str| {
                ended.get_or_create_owned(&vec![word.clone(), ("outcome", outcome.into())])
            };
            (*step, OUTCOMES.map(of), took.get_or_create_owned(&vec![word.clone()]))
        });
        let steps = steps.collect();
        metrics::register("firstcome_saga_steps", "Steps of the saga, by how they ended", ended);
        metrics::register(
            "firstcome_saga_step_seconds",
            "How long a step of the saga took, without saving what follows",
            took,
        );
        let reached = Family::<Labels, Counter>::default();
        let rest = |state: &State| {
            let labels = vec![("state", state.word().into())];
            (*state, reached.get_or_create_owned(&labels))
        };
        let rests = State::ALL.iter().map(rest).collect();
        metrics::register("firstcome_saga_ends", "States in which orders came to rest", reached);
        Self {
            placed,
            placed_by_attempt,
            steps,
            rests,
            payment_seconds: metrics::seconds(
                "firstcome_saga_payment_seconds",
                "From the first step of a payment until its order rests",
            ),
            due: metrics::gauge("firstcome_orders_due", "Orders whose next step is due"),
            due_seconds: metrics::seconds_gauge(
                "firstcome_order_oldest_due_seconds",
                "How long the longest due order waits for its step, tried or not",
            ),
            unpublished: metrics::gauge(
                "firstcome_event_outbox_events",
                "Events that are not known to stand in their stream",
            ),
            unpublished_seconds: metrics::seconds_gauge(
                "firstcome_event_outbox_oldest_seconds",
                "How long the oldest of these events waits",
            ),
            attempts: metrics::gauge(
                "firstcome_placements_open",
                "Orders of several products that are being placed, or were left so",
            ),
        }
    }

    /// A step was done, or not.
    pub fn stepped(&self, step: Step, outcome: Outcome, took: Duration) {
        let place = match outcome {
            Outcome::Done => 0,
            Outcome::HadExpired => 1,
            Outcome::Declined(_) => 2,
            Outcome::NotYet => 3,
            Outcome::Refused => 4,
            Outcome::Unknown => 5,
            Outcome::StillUnknown => 6,
        };
        let (_, ended, seconds) = &self.steps[step as usize];
        ended[place].inc();
        seconds.observe(took.as_secs_f64());
    }

    /// An order rests; if it was being paid, since then.
    pub fn rests(&self, state: State, paid_since: Option<Duration>) {
        self.rests[state as usize].1.inc();
        if let Some(took) = paid_since {
            self.payment_seconds.observe(took.as_secs_f64());
        }
    }

    fn waits(&self, waiting: &Waiting) {
        self.due.set(waiting.due);
        self.due_seconds.set(waiting.due_seconds);
        self.unpublished.set(waiting.unpublished);
        self.unpublished_seconds.set(waiting.unpublished_seconds);
        self.attempts.set(waiting.attempts);
    }
}

/// Tells from now on what waits, where a step belongs to its driver for this long.
pub fn begin(store: Store, lease: Duration, shutdown: &Shutdown) {
    LazyLock::force(&METRICS);
    let look = move || {
        let store = store.clone();
        async move {
            let waiting = store.waiting(lease).await;
            waiting.inspect_err(|fault| tracing::warn!(%fault, "tell what waits later")).ok()
        }
    };
    metrics::keep_looking(shutdown, look, |waiting| METRICS.waits(&waiting));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_and_state_is_counted_at_its_own_place() {
        for step in Step::ALL {
            assert_eq!(METRICS.steps[*step as usize].0, *step);
        }
        for state in State::ALL {
            assert_eq!(METRICS.rests[*state as usize].0, *state);
        }
    }
}
