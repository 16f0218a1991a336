//! The gate's floor: one-request `reserve`, unpipelined, straight against Redis.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use firstcome_local::{Address, Service};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Connections, each with one call at a time: enough to keep one shard busy.
const CONNECTIONS: u16 = 16;

/// The measuring process, with its gate loaded.
pub struct Measurement {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
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
        let mut process = Command::new(mesh.program(Service::Inventory))
            .arg("measure-gate")
            .args(["--items", &items.to_string(), "--batch", &batch.to_string()])
            .args(["--connections", &CONNECTIONS.to_string()])
            .envs(mesh.env_of(Service::Inventory))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the measuring process")?;
        let input = process.stdin.take().context("its input")?;
        let output = BufReader::new(process.stdout.take().context("its output")?).lines();
        let mut measurement = Self { process, input, output };
        let ready = measurement.output.next_line().await?;
        ensure!(ready.as_deref() == Some("ready"), "the measuring process says {ready:?}");
        Ok(measurement)
    }

    /// Lets it begin and waits until it is done.
    pub async fn run(&mut self) -> Result<Measured> {
        self.input.write_all(b"go\n").await?;
        let line = self.output.next_line().await?.context("the measuring process ended")?;
        serde_json::from_str(&line).context("read what was measured")
    }

    /// Waits until it has taken its gate away.
    pub async fn end(mut self) -> Result<()> {
        let status = self.process.wait().await?;
        ensure!(status.success(), "the measuring process ended with {status}");
        Ok(())
    }
}

impl Measured {
    /// From the first call to the last answer.
    pub fn took(&self) -> Duration {
        Duration::from_micros(self.took_us)
    }
}
