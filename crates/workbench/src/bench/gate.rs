//! The gate's floor: one-request `reserve`, unpipelined, straight against Redis.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use firstcome_local::{Address, Service};
use serde::Deserialize;

use super::companion::Companion;

/// Connections, each with one call at a time: enough to keep one shard busy.
const CONNECTIONS: u16 = 16;

/// Longer than loading a gate, or emptying it one by one, ever takes.
const TURN_TIMEOUT: Duration = Duration::from_secs(120);

/// The measuring process, with its gate loaded.
pub struct Measurement {
    process: Companion,
}

/// What it did.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Measured {
    /// Reservations.
    pub items: u32,
    /// From the first call to the last answer, in microseconds.
    pub took_us: u64,
}

impl Measurement {
    /// Starts the process and waits until it is ready to begin.
    pub async fn prepare(mesh: &Address, items: u32, batch: u16) -> Result<Self> {
        let (items, batch) = (items.to_string(), batch.to_string());
        let connections = CONNECTIONS.to_string();
        let args = ["measure-gate", "--items", &items, "--batch", &batch];
        let args = [&args[..], &["--connections", &connections]].concat();
        let program = mesh.program(Service::Inventory);
        let env = mesh.env_of(Service::Inventory);
        let mut process = Companion::start("measuring process", &program, &args, env)?;
        let ready = process.hear(TURN_TIMEOUT).await?;
        ensure!(ready == "ready", "the measuring process says {ready}");
        Ok(Self { process })
    }

    /// Lets it begin and waits until it is done.
    pub async fn run(&mut self) -> Result<Measured> {
        self.process.tell("go").await?;
        let line = self.process.hear(TURN_TIMEOUT).await?;
        serde_json::from_str(&line).context("read what was measured")
    }

    /// Waits until it has taken its gate away.
    pub async fn end(self) -> Result<()> {
        self.process.end().await
    }
}

impl Measured {
    /// From the first call to the last answer.
    pub fn took(&self) -> Duration {
        Duration::from_micros(self.took_us)
    }
}
