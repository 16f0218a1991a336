//! The end of a process, in two steps that everybody hears: it says goodbye, and all goes on until
//! its callers have left; then it stops. And the tasks it must wait for.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::telemetry::traces;

/// Handed to whoever runs for long or starts what must finish. Clones share one end.
#[derive(Clone, Default)]
pub struct Shutdown {
    leave: CancellationToken,
    stop: CancellationToken,
    began: Arc<OnceLock<Instant>>,
    tasks: TaskTracker,
}

impl Shutdown {
    /// An end that comes when [`Shutdown::begin`] is called.
    pub fn new() -> Self {
        Self::default()
    }

    /// An end that SIGTERM or SIGINT begins: this long before it the process says goodbye. A second
    /// signal does not wait for that.
    pub fn on_signals(drain_wait: Duration) -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let begin = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stop"),
                _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stop"),
            }
            begin.leave();
            tokio::select! {
                () = tokio::time::sleep(drain_wait) => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            begin.begin();
        });
        Ok(shutdown)
    }

    /// Says goodbye: whoever calls from now on should call somebody else.
    pub fn leave(&self) {
        self.leave.cancel();
    }

    /// Waits until the process says goodbye.
    pub async fn leaving(&self) {
        self.leave.cancelled().await;
    }

    /// Tells everybody to stop.
    pub fn begin(&self) {
        self.leave();
        self.began.get_or_init(Instant::now);
        self.stop.cancel();
    }

    /// True once the end has begun.
    pub fn has_begun(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until the end begins.
    pub async fn begun(&self) {
        self.stop.cancelled().await;
    }

    /// Runs a task that the end waits for: what a dropped handler must not take with it. It stays a
    /// part of the call that starts it, if that one is traced.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tasks.spawn(traces::carried(task))
    }

    /// Sleeps, or returns false at once when the end begins.
    pub async fn sleep(&self, span: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(span) => true,
        }
    }

    /// Waits for the tracked tasks: when nothing is left that starts another.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs a part of the process, and cuts it when the end has lasted this long; then there is
    /// no output. All parts that are given the same span share one deadline.
    pub async fn within<F: Future>(&self, drain_timeout: Duration, part: F) -> Option<F::Output> {
        let late = async {
            self.begun().await;
            let began = *self.began.get().expect("the end's instant is set before it is told");
            tokio::time::sleep_until(began + drain_timeout).await;
        };
        tokio::select! {
            biased; // a part that comes too late is still told to close
            output = part => Some(output),
            () = late => {
                tracing::warn!("drain deadline passed, what is under way is cut");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_parts_of_a_drain_share_one_deadline() {
        const SECOND: Duration = Duration::from_secs(1);
        let shutdown = Shutdown::new();
        let serving = shutdown.within(SECOND, tokio::time::sleep(SECOND * 5));
        assert!(serving.await.is_some(), "nothing is cut before the end begins");

        let began = Instant::now();
        shutdown.begin();
        tokio::time::sleep(SECOND).await;
        shutdown.begin();
        shutdown.spawn(std::future::pending::<()>());
        assert!(shutdown.within(SECOND * 3, tokio::time::sleep(SECOND)).await.is_some());
        assert!(shutdown.within(SECOND * 3, shutdown.finished()).await.is_none());
        assert!(shutdown.within(SECOND * 3, shutdown.finished()).await.is_none());
        assert_eq!(began.elapsed().as_secs(), 3);
    }
}
