//! What the buyers of a roll lived through: every call with its tries, when it was asked and when
//! answered, and what that means for each second and each restart.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use firstcome_proto::{Reason, Refusal};
use tokio::time::Instant;
use tonic::Status;

/// Answers that help nobody are counted by their words; different words beyond this are not kept.
const FAULTS_KEPT: usize = 20;

/// Takes what many buyers write down. Clones share one journal.
#[derive(Clone)]
pub struct Journal {
    start: Instant,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Default)]
struct Pages {
    calls: Vec<Heard>,
    faults: BTreeMap<String, u64>,
}

/// A call that has come to its end, in milliseconds since the journal's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it was first sent.
    pub asked_ms: u64,
    /// When its last try ended.
    pub answered_ms: u64,
    /// How often it was sent.
    pub tries: u32,
    /// Whether its tries did not help.
    pub failed: bool,
}

impl Journal {
    /// An empty one, whose time begins now.
    pub fn begin() -> Self {
        Self { start: Instant::now(), pages: Arc::default() }
    }

    /// Writes a call down that ends now; with its status when it ended in one.
    pub fn write(&self, asked: Instant, tries: u32, status: Option<&Status>) {
        let (asked_ms, answered_ms) = (self.ms(asked), self.ms(Instant::now()));
        let fault = status.filter(|status| !is_an_answer(status));
        let mut pages = self.pages();
        pages.calls.push(Heard { asked_ms, answered_ms, tries, failed: fault.is_some() });
        if let Some(status) = fault {
            let words = format!("{:?}: {}", status.code(), status.message());
            if pages.faults.len() < FAULTS_KEPT || pages.faults.contains_key(&words) {
                *pages.faults.entry(words).or_default() += 1;
            }
        }
    }

    /// An instant by this journal.
    pub fn ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Heard> {
        self.pages().calls.clone()
    }

    /// What those were told whose tries did not help, and how many of them.
    pub fn faults(&self) -> BTreeMap<String, u64> {
        self.pages().faults.clone()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a shop in order tells a buyer in order; everything else is a call that failed.
fn is_an_answer(status: &Status) -> bool {
    matches!(
        Refusal::from_status(status).reason(),
        Reason::NotOpen
            | Reason::SoldOut
            | Reason::LimitPerBuyer
            | Reason::OrderExpired
            | Reason::OutOfStock
            | Reason::WrongState
            | Reason::CardDeclined
            | Reason::InsufficientFunds
            | Reason::PaymentInProgress
            | Reason::PlacementInProgress
    )
}

/// One second of a rush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Second {
    /// Calls that were first sent in it.
    pub asked: u64,
    /// Calls that were answered in it.
    pub answered: u64,
    /// Those of the answered that had been sent more than once.
    pub retried: u64,
    /// Calls whose tries ended in it, and had not helped.
    pub failed: u64,
}

/// The whole seconds of a rush that began then and lasted so long.
pub fn by_second(calls: &[Heard], begun_ms: u64, span: Duration) -> Vec<Second> {
    let mut seconds = vec![Second::default(); usize::try_from(span.as_secs()).unwrap_or(0)];
    let place = |ms: u64| usize::try_from(ms.saturating_sub(begun_ms) / 1000).unwrap_or(usize::MAX);
    for call in calls {
        if let Some(second) = seconds.get_mut(place(call.asked_ms)) {
            second.asked += 1;
        }
        if let Some(second) = seconds.get_mut(place(call.answered_ms)) {
            second.answered += u64::from(!call.failed);
            second.retried += u64::from(call.tries > 1);
            second.failed += u64::from(call.failed);
        }
    }
    seconds
}

/// What calls between two instants saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Witness {
    /// Calls that were under way.
    pub calls: u64,
    /// Those sent more than once.
    pub retried: u64,
    /// Those whose tries did not help.
    pub failed: u64,
    /// How long the slowest took, its tries and their pauses included.
    pub slowest_ms: u64,
}

/// The calls that were under way between these milliseconds.
pub fn between(calls: &[Heard], from_ms: u64, until_ms: u64) -> Witness {
    let under_way =
        calls.iter().filter(|call| call.asked_ms < until_ms && call.answered_ms >= from_ms);
    under_way.fold(Witness::default(), |sum, call| Witness {
        calls: sum.calls + 1,
        retried: sum.retried + u64::from(call.tries > 1),
        failed: sum.failed + u64::from(call.failed),
        slowest_ms: sum.slowest_ms.max(call.answered_ms - call.asked_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(asked_ms: u64, answered_ms: u64, tries: u32, failed: bool) -> Heard {
        Heard { asked_ms, answered_ms, tries, failed }
    }

    #[test]
    fn each_second_has_its_calls_and_a_failure_is_no_answer() {
        let calls = [
            heard(10, 20, 1, false),
            heard(990, 1010, 2, false),
            heard(1500, 2999, 5, true),
            heard(3000, 3001, 1, false),
        ];
        let second = |asked, answered, retried, failed| Second { asked, answered, retried, failed };
        // The fourth second was not whole.
        assert_eq!(
            by_second(&calls, 0, Duration::from_millis(3_900)),
            [second(2, 1, 0, 0), second(1, 1, 1, 0), second(0, 0, 1, 1)]
        );
    }

    #[test]
    fn a_restart_is_witnessed_by_all_calls_under_way() {
        let calls = [
            heard(0, 99, 1, false),
            heard(50, 150, 1, false),
            heard(120, 620, 3, false),
            heard(150, 160, 5, true),
            heard(200, 210, 2, false),
        ];
        let witness = Witness { calls: 3, retried: 2, failed: 1, slowest_ms: 500 };
        assert_eq!(between(&calls, 100, 200), witness);
    }

    #[test]
    fn only_what_tells_a_buyer_how_to_go_on_is_an_answer() {
        let journal = Journal::begin();
        let statuses = [
            Refusal::because(Reason::SoldOut, "nothing is left").into(),
            Refusal::because(Reason::Internal, "a fault").into(),
            Status::deadline_exceeded("too late"),
            Status::deadline_exceeded("too late"),
            Status::unavailable("nobody there"),
        ];
        journal.write(Instant::now(), 1, None);
        for status in &statuses {
            journal.write(Instant::now(), 1, Some(status));
        }
        assert_eq!(journal.calls().iter().filter(|call| call.failed).count(), 4);
        assert_eq!(journal.faults()["DeadlineExceeded: too late"], 2);
    }
}
