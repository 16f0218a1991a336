//! The end of a process: one signal that everybody hears, and the tasks it must wait for.

use std::{future::Future, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handed to whoever runs for long or starts what must finish. Clones share one end.
#[derive(Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// An end that comes when [`Shutdown::begin`] is called.
    pub fn new() -> Self {
        Self::default()
    }

    /// An end that SIGTERM or SIGINT begins.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let begin = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stop"),
                _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stop"),
            }
            begin.begin();
        });
        Ok(shutdown)
    }

    /// Tells everybody to stop.
    pub fn begin(&self) {
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

    /// Runs a task that the end waits for: what a dropped handler must not take with it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Sleeps, or returns false at once when the end begins.
    pub async fn sleep(&self, span: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(span) => true,
        }
    }

    /// Waits for the tracked tasks; false when the deadline came first.
    pub async fn finished(&self, within: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(within, self.tasks.wait()).await.is_ok()
    }
}
