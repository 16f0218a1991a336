//! What Prometheus is told of money: how commands end, how long the provider takes, which events of
//! the provider wait, and what had to be put right.

use std::{sync::LazyLock, time::Duration};

use firstcome_mesh::{
    Shutdown,
    metrics::{
        self, Gauge, Labels, SecondsGauge, counter::Counter, family::Family, histogram::Histogram,
    },
};

use crate::{
    error::Error,
    payment::{Command, Payment, State},
    store::{Store, inbox::Unfollowed},
};

/// The one of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::register);

const COMMANDS: [Command; 4] =
    [Command::Authorize, Command::Capture, Command::Void, Command::Refund];
/// How a command can end, as a label says it.
const OUTCOMES: [&str; 5] = ["done", "declined", "refused", "unknown", "failed"];

/// Everything that is counted here.
pub struct Metrics {
    commands: [([Counter; OUTCOMES.len()], Histogram); COMMANDS.len()],
    /// Events that were followed up.
    pub events_followed: Counter,
    /// Tries to follow one up that failed.
    pub events_postponed: Counter,
    /// Times that money moved for a payment that was given up, and was given back.
    pub remedies: Counter,
    waiting: Gauge,
    waiting_seconds: SecondsGauge,
}

impl Metrics {
    fn register() -> Self {
        let ended = Family::<Labels, Counter>::default();
        let took = metrics::SecondsFamily::new_with_constructor(metrics::seconds_histogram);
        let commands = COMMANDS.map(|command| {
            let word = ("command", name_of(command).into());
            let of = |outcome: &'static str| {
                ended.get_or_create_owned(&vec![word.clone(), ("outcome", outcome.into())])
            };
            (OUTCOMES.map(of), took.get_or_create_owned(&vec![word.clone()]))
        });
        metrics::register(
            "firstcome_payment_commands",
            "Commands on payments, by how they ended",
            ended,
        );
        metrics::register(
            "firstcome_provider_call_seconds",
            "How long the payment provider took to answer, or was waited for",
            took,
        );
        let [events_followed, events_postponed] = metrics::counters(
            "firstcome_webhook_events",
            "Tries to follow up what the provider told, by how they ended",
            "outcome",
            ["followed", "postponed"],
        );
        Self {
            commands,
            events_followed,
            events_postponed,
            remedies: metrics::counter(
                "firstcome_payment_remedies",
                "Times that money had moved for a payment that was given up, and was given back",
            ),
            waiting: metrics::gauge(
                "firstcome_webhook_events_waiting",
                "Events of the provider that nobody has followed up yet",
            ),
            waiting_seconds: metrics::seconds_gauge(
                "firstcome_webhook_event_oldest_seconds",
                "How long the oldest of them is on record",
            ),
        }
    }

    /// The provider has answered, or nobody waits for it any more.
    pub fn asked(&self, command: Command, took: Duration) {
        self.commands[command as usize].1.observe(took.as_secs_f64());
    }

    /// A command has ended.
    pub fn ended(&self, command: Command, end: &Result<Payment, Error>) {
        let place = match end {
            Ok(payment) if payment.state == State::Declined => 1,
            Ok(_) => 0,
            Err(Error::WrongState(_) | Error::KeyReused | Error::NotFound) => 2,
            Err(Error::ProviderUnknown) => 3,
            Err(_) => 4,
        };
        self.commands[command as usize].0[place].inc();
    }

    fn waits(&self, unfollowed: &Unfollowed) {
        self.waiting.set(unfollowed.events);
        self.waiting_seconds.set(unfollowed.oldest_seconds);
    }
}

fn name_of(command: Command) -> &'static str {
    match command {
        Command::Authorize => "authorize",
        Command::Capture => "capture",
        Command::Void => "void",
        Command::Refund => "refund",
    }
}

/// Tells from now on what waits.
pub fn begin(store: Store, shutdown: &Shutdown) {
    LazyLock::force(&METRICS);
    let look = move || {
        let store = store.clone();
        // A fault is logged in the store; the next look is as good.
        async move { store.unfollowed().await.ok() }
    };
    metrics::keep_looking(shutdown, look, |unfollowed| METRICS.waits(&unfollowed));
}
