//! The postman: takes letters out of the outbox and sends them, in every replica.
//!
//! A letter is taken before it is sent, so it leaves at most once. It is put back when it surely did
//! not leave; where nobody knows (the process died in between, the mail server hung up while it read
//! the letter, the database did not say what was taken), it is not.

use std::time::Duration;

use firstcome_mesh::{Shutdown, failpoint};
use firstcome_vault::Unopened;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::{
    letter::Urgency,
    mail::{CONNECTIONS_MAX, Fault, Mailer},
    metrics::{Fate, METRICS},
    outbox::{Closed, Outbox, Taken},
    store::Store,
};

/// Letters on their way at once that somebody waits for.
const AWAITED_AT_ONCE: usize = 8;
/// And of the others: after a rush there are thousands.
const UNASKED_AT_ONCE: usize = 4;
const _: () = assert!(AWAITED_AT_ONCE + UNASKED_AT_ONCE <= CONNECTIONS_MAX);
/// How soon a letter is found that another process posted, or that waited for its time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a letter waits that was turned away, the first time; twice as long each further time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(5 * 60);
/// The same for a mail server that cannot be reached, and all letters to it.
const REST_FIRST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);
/// How long a letter waits whose key this process was not given: another one has it.
const NO_KEY_WAIT: Duration = Duration::from_secs(5);
/// How soon a database is asked again that does not take a letter back.
const PUT_BACK_EVERY: Duration = Duration::from_millis(500);

/// Sends what is in the outbox.
#[derive(Clone)]
pub struct Postman {
    store: Store,
    outbox: Outbox,
    mailer: Mailer,
}

/// What became of a letter, as far as the next ones are concerned.
enum Outcome {
    /// The mail server answered.
    Answered,
    /// It could not be reached.
    Unreachable,
    /// It was not asked, or nobody knows.
    Untold,
}

/// How a letter comes back.
struct Back {
    /// How often it was turned away by now.
    refusals: i32,
    /// How long it waits.
    after: Duration,
}

/// How long to leave a mail server alone that cannot be reached.
struct Rest {
    span: Duration,
    until: Instant,
}

impl Postman {
    /// With this way out.
    pub fn new(store: Store, outbox: Outbox, mailer: Mailer) -> Self {
        Self { store, outbox, mailer }
    }

    /// Sends until the end begins; what is on its way then still leaves.
    pub fn start(self, shutdown: &Shutdown) {
        for (urgency, at_once) in
            [(Urgency::Awaited, AWAITED_AT_ONCE), (Urgency::Unasked, UNASKED_AT_ONCE)]
        {
            let (postman, end) = (self.clone(), shutdown.clone());
            shutdown.spawn(async move { postman.walk(urgency, at_once, &end).await });
        }
    }

    async fn walk(&self, urgency: Urgency, at_once: usize, shutdown: &Shutdown) {
        let mut under_way = FuturesUnordered::new();
        let mut rest: Option<Rest> = None;
        let mut is_more = true;
        while !shutdown.has_begun() {
            // While the mail server cannot be reached, one letter at a time knocks.
            let room = if rest.is_some() { 1 } else { at_once };
            let room = room.saturating_sub(under_way.len());
            let is_resting = rest.as_ref().is_some_and(|rest| Instant::now() < rest.until);
            if is_more && room > 0 && !is_resting {
                // A fault is logged in the store; the next look is as good.
                let taken = self.store.take_letters(urgency, room).await.unwrap_or_default();
                if !taken.is_empty() {
                    failpoint::hit("user.after_letters_taken");
                }
                is_more = taken.len() == room;
                let span = rest.as_ref().map_or(Duration::ZERO, |rest| rest.span);
                let again_after = next_wait(span, REST_FIRST, REST_MAX);
                // Tasks of their own: they go on while this one waits for the database.
                under_way.extend(taken.into_iter().map(|letter| {
                    let (postman, end) = (self.clone(), shutdown.clone());
                    shutdown.spawn(async move { postman.deliver(letter, again_after, &end).await })
                }));
            }
            tokio::select! {
                Some(outcome) = under_way.next() => match outcome {
                    Ok(Outcome::Answered) => rest = None,
                    Ok(Outcome::Unreachable) => rest = Some(Rest::after(rest)),
                    Ok(Outcome::Untold) | Err(_) => {}
                },
                () = self.outbox.rung(urgency) => is_more = true,
                () = tokio::time::sleep(LOOK_EVERY) => is_more = true,
                () = shutdown.begun() => {}
            }
        }
    }

    /// Sends a letter, or puts it back, or gives it up.
    async fn deliver(&self, taken: Taken, again_after: Duration, shutdown: &Shutdown) -> Outcome {
        let (outcome, back) = self.send(&taken, again_after).await;
        match back {
            Some(Back { refusals, after }) => {
                self.put_back(&Taken { refusals, ..taken }, after, shutdown).await;
            }
            // A fault is logged in the store; the letter stays taken and is swept at its end.
            None => drop(self.store.delete_letter(&taken).await),
        }
        outcome
    }

    /// Sends a letter; says how it is to be put back, if at all.
    async fn send(&self, taken: &Taken, again_after: Duration) -> (Outcome, Option<Back>) {
        let letter = taken.id;
        let refusals = taken.refusals;
        if taken.is_over {
            METRICS.tried(Fate::GivenUp);
            tracing::warn!(%letter, "a letter's time was over before it could leave");
            return (Outcome::Untold, None);
        }
        let opened = match self.outbox.open(taken) {
            Ok(Some(opened)) => opened,
            Ok(None) => return (Outcome::Untold, None),
            Err(fault @ Closed::Unopened(Unopened::UnknownKey(_))) => {
                METRICS.tried(Fate::Unread);
                tracing::warn!(%letter, %fault, "a letter waits for who can read it");
                return (Outcome::Untold, Some(Back { refusals, after: NO_KEY_WAIT }));
            }
            Err(fault) => {
                METRICS.tried(Fate::GivenUp);
                tracing::error!(%letter, %fault, "a letter is given up");
                return (Outcome::Untold, None);
            }
        };
        let sent = self.mailer.send(letter, &opened).await;
        METRICS.tried(match &sent {
            Ok(()) => Fate::Sent,
            Err(Fault::NotNow(_)) => Fate::TurnedAway,
            Err(Fault::Unreachable(_)) => Fate::Unreachable,
            Err(Fault::Refused(_) | Fault::Unknown(_)) => Fate::GivenUp,
        });
        match sent {
            Ok(()) => (Outcome::Answered, None),
            Err(fault @ Fault::Unreachable(_)) => {
                tracing::warn!(%fault, "mail waits");
                (Outcome::Unreachable, Some(Back { refusals, after: again_after }))
            }
            Err(fault @ Fault::NotNow(_)) => {
                tracing::info!(%letter, %fault, "a letter is tried again later");
                let doublings = refusals.clamp(0, 16).unsigned_abs();
                let after = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
                (Outcome::Answered, Some(Back { refusals: refusals.saturating_add(1), after }))
            }
            Err(fault @ Fault::Refused(_)) => {
                tracing::warn!(%letter, %fault, "a letter is given up");
                (Outcome::Answered, None)
            }
            Err(fault @ Fault::Unknown(_)) => {
                tracing::warn!(%letter, %fault, "a letter is given up");
                (Outcome::Untold, None)
            }
        }
    }

    /// As long as the process lives, a letter that did not leave is not lost to a database that
    /// does not answer.
    async fn put_back(&self, letter: &Taken, after: Duration, shutdown: &Shutdown) {
        while self.store.put_letter_back(letter, after).await.is_err() {
            if !shutdown.sleep(PUT_BACK_EVERY).await {
                tracing::warn!(letter = %letter.id, "a letter did not leave and never will");
                return;
            }
        }
    }
}

impl Rest {
    /// The next one: each is twice as long as the one before. Letters that were on their way
    /// together and find nobody at home are one try.
    fn after(last: Option<Self>) -> Self {
        let now = Instant::now();
        match last {
            Some(rest) if now < rest.until => rest,
            last => {
                let span = last.map_or(Duration::ZERO, |rest| rest.span);
                let span = next_wait(span, REST_FIRST, REST_MAX);
                Self { span, until: now + span }
            }
        }
    }
}

fn next_wait(last: Duration, first: Duration, max: Duration) -> Duration {
    (last * 2).clamp(first, max)
}
