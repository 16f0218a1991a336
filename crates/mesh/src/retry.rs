//! Retries of calls between services: UNAVAILABLE only, jittered, few, and never more than a
//! share of the traffic, so that a struggling upstream is not multiplied to death.

use std::{future::Future, sync::Arc, time::Duration};

use rand::RngExt as _;
use tonic::{Code, Status};
use tower::retry::budget::{Budget as _, TpsBudget};

use crate::Deadline;

/// Retries may add this share to the calls of the last ten seconds.
const BUDGET_SHARE: f32 = 0.2;
/// Retries a second that are allowed whatever the traffic, so that a quiet service can retry.
const BUDGET_FLOOR_PER_S: u32 = 10;
/// The span over which calls and retries are counted.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// Calls in all, the first included.
const ATTEMPTS_MAX: u32 = 3;
/// The first pause is up to this long; each further one up to twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(20);

/// How calls to one upstream are retried. Clones share one budget.
#[derive(Clone)]
pub struct Retry {
    budget: Arc<TpsBudget>,
}

impl Default for Retry {
    fn default() -> Self {
        let budget = TpsBudget::new(BUDGET_WINDOW, BUDGET_FLOOR_PER_S, BUDGET_SHARE);
        Self { budget: Arc::new(budget) }
    }
}

impl Retry {
    /// Calls, and calls again while the upstream is unavailable, the budget allows it and the
    /// deadline leaves room. Only for calls that are idempotent by their key.
    pub async fn call<T, F, Fut>(&self, deadline: Deadline, mut call: F) -> Result<T, Status>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut pause_max = PAUSE_FIRST;
        for _ in 1..ATTEMPTS_MAX {
            match call().await {
                Err(status) if status.code() == Code::Unavailable => {
                    let pause = rand::rng().random_range(Duration::ZERO..pause_max);
                    if deadline.left() <= pause || !self.budget.withdraw() {
                        return Err(status);
                    }
                    tokio::time::sleep(pause).await;
                    pause_max *= 2;
                }
                answer => {
                    self.budget.deposit();
                    return answer;
                }
            }
        }
        call().await
    }
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
            let _ = retry
                .call(deadline, || async {
                    calls.fetch_add(1, Ordering::Relaxed);
                    Err::<(), _>(Status::unavailable(""))
                })
                .await;
        }
        assert!(calls.into_inner() < 1300, "an upstream that is down must not get 3000 calls");
    }
}
