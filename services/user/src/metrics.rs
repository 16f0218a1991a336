//! What Prometheus is told of accounts: how long passwords take and how many wait, what became of
//! letters, and what nobody could act on.

use std::sync::{LazyLock, atomic::AtomicU64};

use firstcome_mesh::{
    Shutdown,
    metrics::{self, Gauge, SecondsGauge, counter::Counter, histogram::Histogram},
};

use crate::store::{Store, backlog::Backlog};

/// The one of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::register);

/// What becomes of a letter at one try.
#[derive(Clone, Copy)]
pub enum Fate {
    /// The mail server took it.
    Sent,
    /// The mail server wants it later.
    TurnedAway,
    /// The mail server could not be reached.
    Unreachable,
    /// Nobody here can read it; another process may.
    Unread,
    /// It never leaves, or nobody knows whether it did.
    GivenUp,
}

/// Everything that is counted here.
pub struct Metrics {
    /// A password's time on its thread.
    pub hash_seconds: Histogram,
    /// Passwords whose turn has not come.
    pub hashes_waiting: Gauge,
    /// Passwords that found no place to wait.
    pub hashes_refused: Counter,
    /// What threads rested between passwords, for others.
    pub rest_seconds: Counter<f64, AtomicU64>,
    letters: [Counter; 5],
    letters_waiting: Gauge,
    letter_seconds: SecondsGauge,
    parked: Gauge,
}

impl Metrics {
    fn register() -> Self {
        Self {
            hash_seconds: metrics::seconds(
                "firstcome_password_hash_seconds",
                "How long hashing or verifying one password took on its thread",
            ),
            hashes_waiting: metrics::gauge(
                "firstcome_password_hashes_waiting",
                "Passwords that wait for their turn",
            ),
            hashes_refused: metrics::counter(
                "firstcome_password_hashes_refused",
                "Passwords that found no place to wait; their owners were told to come back",
            ),
            rest_seconds: metrics::register(
                "firstcome_password_rest_seconds",
                "How long threads rested after a password because others wanted their core",
                Counter::default(),
            ),
            letters: metrics::counters(
                "firstcome_letters",
                "Tries to send a letter, by what became of it",
                "outcome",
                ["sent", "turned_away", "unreachable", "unread", "given_up"],
            ),
            letters_waiting: metrics::gauge(
                "firstcome_letters_waiting",
                "Letters that are due and have not left",
            ),
            letter_seconds: metrics::seconds_gauge(
                "firstcome_letter_oldest_waiting_seconds",
                "How long ago the oldest letter was written that has not left, tried or not",
            ),
            parked: metrics::gauge(
                "firstcome_events_parked",
                "Events that are put aside because nobody could act on them",
            ),
        }
    }

    /// A letter was tried.
    pub fn tried(&self, fate: Fate) {
        self.letters[fate as usize].inc();
    }

    fn waits(&self, backlog: &Backlog) {
        self.letters_waiting.set(backlog.letters);
        self.letter_seconds.set(backlog.letter_seconds);
        self.parked.set(backlog.parked);
    }
}

/// Tells from now on what waits.
pub fn begin(store: Store, shutdown: &Shutdown) {
    LazyLock::force(&METRICS);
    let look = move || {
        let store = store.clone();
        // A fault is logged in the store; the next look is as good.
        async move { store.backlog().await.ok() }
    };
    metrics::keep_looking(shutdown, look, |backlog| METRICS.waits(&backlog));
}
