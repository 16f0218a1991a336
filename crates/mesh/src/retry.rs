//! Retries of calls between services: UNAVAILABLE only, jittered, few, and never more than a
//! share of the traffic, so that a struggling upstream is not multiplied to death.

use std::{future::Future, sync::Arc, time::Duration};

use rand::RngExt as _;
use tonic::{Code, Status};
use tower::retry::budget::{Budget as _, TpsBudget};

use crate::Deadline;

/// Retries may add this share to the calls of the last second: half of what an upstream that is
/// down should see above its traffic, because the second before it went down counts too.
const BUDGET_SHARE: f32 = 0.1;
/// Retries a second that are allowed whatever the traffic, so that a quiet service can retry. One
/// more would double what a quiet upstream sees.
const BUDGET_FLOOR_PER_S: u32 = 1;
/// The span over which calls and retries are counted: short, so that what was saved in calm times
/// is not spent in the first moment of an outage.
const BUDGET_WINDOW: Duration = Duration::from_secs(1);
/// Calls in all, the first included.
const ATTEMPTS_MAX: u32 = 3;
/// The first pause is up to this long; each further one up to twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(20);

/// How much calling again an upstream is spared. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<TpsBudget>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(TpsBudget::new(BUDGET_WINDOW, BUDGET_FLOOR_PER_S, BUDGET_SHARE)))
    }
}

impl Budget {
    /// Counts a request, once, whatever becomes of it.
    pub fn deposit(&self) {
        self.0.deposit();
    }

    /// Whether it may be made again.
    pub fn withdraw(&self) -> bool {
        self.0.withdraw()
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
                Err(status) if status.code() == Code::Unavailable => {
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
