//! A place for one long-lived process: started, killed, and started again as it was.

use std::{process::ExitStatus, sync::Mutex as StdMutex, time::Duration};

use anyhow::{Context as _, Result};
use tokio::sync::Mutex;

use crate::process::{Launch, Process, Signal};

/// One process and how to start it; dropping it kills the process.
#[derive(Debug)]
pub struct Runner {
    launch: StdMutex<Launch>,
    process: Mutex<Option<Process>>,
}

impl Runner {
    /// Starts nothing yet.
    pub fn new(launch: Launch) -> Self {
        Self { launch: StdMutex::new(launch), process: Mutex::new(None) }
    }

    /// Starts it, unless it runs.
    pub async fn start(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        if process.is_none() {
            *process = Some(self.launch().start()?);
        }
        Ok(())
    }

    /// Starts something else from the next start on.
    pub fn set_launch(&self, launch: Launch) {
        *self.launch.lock().expect("nobody panics while holding it") = launch;
    }

    /// Sets a variable for the next start; `None` takes it back.
    pub fn set_env(&self, name: &str, value: Option<&str>) {
        self.launch.lock().expect("nobody panics while holding it").set_env(name, value);
    }

    /// Kills it at once, as `kill -9` does.
    pub async fn kill9(&self) {
        // Dropping a process kills it.
        self.process.lock().await.take();
    }

    /// Asks it to stop, and kills it when it has not by the deadline.
    pub async fn stop(&self, signal: Signal, deadline: Duration) {
        if let Some(process) = self.process.lock().await.take() {
            process.stop(signal, deadline).await;
        }
    }

    /// Asks it to stop, and says how it ended; nothing when it had to be killed, or never ran.
    pub async fn end(&self, signal: Signal, deadline: Duration) -> Option<ExitStatus> {
        let process = self.process.lock().await.take()?;
        process.signal(signal);
        // Dropping a process kills it.
        process.ended_within(deadline).await
    }

    /// Starts it again if it has ended by itself; true when it had.
    pub async fn revive(&self) -> Result<bool> {
        let mut process = self.process.lock().await;
        let ended = process.as_ref().is_some_and(|process| process.ended().is_some());
        if ended {
            *process = Some(self.launch().start()?);
        }
        Ok(ended)
    }

    /// Waits until it has ended by itself, as it does at a failpoint.
    pub async fn wait_until_ended(&self, deadline: Duration) -> Result<()> {
        let mut slot = self.process.lock().await;
        if let Some(process) = slot.as_ref() {
            let ended = process.ended_within(deadline).await;
            ended.with_context(|| format!("{} runs after {deadline:?}", process.name()))?;
        }
        slot.take();
        Ok(())
    }

    /// Its process number while it runs.
    pub async fn pid(&self) -> Option<u32> {
        self.process.lock().await.as_ref().map(Process::pid)
    }

    /// Whether it was started and has ended by itself.
    pub async fn has_ended(&self) -> bool {
        self.process.lock().await.as_ref().is_some_and(|process| process.ended().is_some())
    }

    /// An error that quotes its log when it has ended by itself.
    pub async fn ensure_running(&self) -> Result<()> {
        self.process.lock().await.as_ref().map_or(Ok(()), Process::ensure_running)
    }

    /// The end of its log, for an error message.
    pub fn log_tail(&self) -> String {
        self.launch().log_tail()
    }

    fn launch(&self) -> Launch {
        self.launch.lock().expect("nobody panics while holding it").clone()
    }
}
