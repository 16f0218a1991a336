//! Retries of calls between services: UNAVAILABLE only, jittered, few, and never more than a
//! share of the traffic, so that a struggling upstream is not multiplied to death.

use std::{future::Future, sync::Arc, time::Duration};

use firstcome_proto::{Reason, Refusal};
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::Deadline;

/// Each request pays for this share of a retry: half of what an upstream that is down may see above
/// its traffic.
const BUDGET_SHARE: f64 = 0.1;
/// What is saved at most, and there from the start: enough for a few callers of a quiet service to
/// ask again at once, and spent in the first moment of an outage.
const BUDGET_SAVED_MAX: f64 = 8.0;
/// What time alone saves, so that a service that is hardly called can retry again after a while.
const BUDGET_SAVED_PER_S: f64 = 0.25;
/// Calls in all, the first included.
const ATTEMPTS_MAX: u32 = 3;
/// The first pause is up to this long; each further one up to twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(20);

/// How much calling again an upstream is spared: a bucket of tokens, as gRPC's own throttle of
/// retries. tower's budget allows so many a second whatever the traffic, which at modest traffic
/// doubles it. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Mutex<Saved>>);

struct Saved {
    retries: f64,
    at: Instant,
}

impl Default for Budget {
    fn default() -> Self {
        let saved = Saved { retries: BUDGET_SAVED_MAX, at: Instant::now() };
        Self(Arc::new(Mutex::new(saved)))
    }
}

impl Budget {
    /// Counts a request, once, whatever becomes of it.
    pub fn deposit(&self) {
        let mut saved = self.0.lock();
        saved.retries = (saved.retries + BUDGET_SHARE).min(BUDGET_SAVED_MAX);
    }

    /// Whether one may be made again.
    pub fn withdraw(&self) -> bool {
        let mut saved = self.0.lock();
        let now = Instant::now();
        let by_time = (now - saved.at).as_secs_f64() * BUDGET_SAVED_PER_S;
        saved.retries = (saved.retries + by_time).min(BUDGET_SAVED_MAX);
        saved.at = now;
        let may = saved.retries >= 1.0;
        if may {
            saved.retries -= 1.0;
        }
        may
    }
}

/// How calls to one upstream are retried. Clones share one budget.
#[derive(Clone, Default)]
pub struct Retry {
    budget: Budget,
}

impl Retry {
    /// Calls, and calls again while the upstream is unavailable, the budget allows it and the
    /// deadline leaves room. Only for calls that are idempotent by their key.
    pub async fn call<T, F, Fut>(&self, deadline: Deadline, mut call: F) -> Result<T, Status>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        self.budget.deposit();
        let mut pause_max = PAUSE_FIRST;
        for _ in 1..ATTEMPTS_MAX {
            match call().await {
                Err(status) if is_worth_another_try(&status) => {
                    let pause = rand::rng().random_range(Duration::ZERO..pause_max);
                    if deadline.left() <= pause || !self.budget.withdraw() {
                        return Err(status);
                    }
                    tokio::time::sleep(pause).await;
                    pause_max *= 2;
                }
                answer => return answer,
            }
        }
        call().await
    }
}

/// Whether another replica, or the same one in a moment, may do better. Whoever is full or rebuilds
/// the product has said when to come back, which is longer than we wait here.
fn is_worth_another_try(status: &Status) -> bool {
    let says_so_itself = || Refusal::from_status(status).reason() != Reason::UpstreamUnavailable;
    status.code() == Code::Unavailable && (status.details().is_empty() || !says_so_itself())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn calls_made(code: Code, failures: u32, deadline: Deadline) -> (u32, bool) {
        let calls = AtomicU32::new(0);
        let answer = Retry::default()
            .call(deadline, || async {
                let made = calls.fetch_add(1, Ordering::Relaxed);
                if made < failures { Err(Status::new(code, "")) } else { Ok(()) }
            })
            .await;
        (calls.into_inner(), answer.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn only_unavailable_is_retried_and_not_for_ever() {
        let deadline = Deadline::after(Duration::from_secs(5));
        assert_eq!(calls_made(Code::Unavailable, 1, deadline).await, (2, true));
        assert_eq!(calls_made(Code::Unavailable, 9, deadline).await, (ATTEMPTS_MAX, false));
        assert_eq!(calls_made(Code::Internal, 9, deadline).await, (1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_full_is_not_asked_again_at_once() {
        for (reason, made) in
            [(Reason::Overloaded, 1), (Reason::Fenced, 1), (Reason::UpstreamUnavailable, 3)]
        {
            let calls = AtomicU32::new(0);
            let retry = Retry::default();
            let refused = retry.call(Deadline::after(Duration::from_secs(5)), || async {
                calls.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(Status::from(Refusal::because(reason, "")))
            });
            assert!(refused.await.is_err());
            assert_eq!(calls.into_inner(), made, "{reason:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_retry_starts_after_the_deadline() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(calls_made(Code::Unavailable, 9, deadline).await, (1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_budget_stops_retries() {
        let retry = Retry::default();
        let deadline = Deadline::after(Duration::from_secs(3600));
        let calls = AtomicU32::new(0);
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_millis(50)).await;
            let _ = retry
                .call(deadline, || async {
                    calls.fetch_add(1, Ordering::Relaxed);
                    Err::<(), _>(Status::unavailable(""))
                })
                .await;
        }
        let calls = calls.into_inner();
        assert!(calls <= 1200, "an upstream that is down gets {calls} calls for 1000 requests");
        assert!(calls > 1050, "{calls}: some are retried");
    }
}
