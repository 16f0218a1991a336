//! Processes beside the bench, whose processor time is their own: they are told what to do and say
//! how it went, a line at a time, and die with us, however we end.

use std::{ffi::OsStr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Closing ten thousand connections takes a moment.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// Such a process; dropping it kills it.
pub struct Companion {
    name: &'static str,
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Companion {
    /// Starts it with variables beside ours; `name` is for messages.
    pub fn start<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        name: &'static str,
        program: &Path,
        args: &[&str],
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start the {name}"))?;
        let input = process.stdin.take().context("its input")?;
        let output = BufReader::new(process.stdout.take().context("its output")?).lines();
        Ok(Self { name, process, input, output })
    }

    /// Its process number.
    pub fn pid(&self) -> Result<u32> {
        self.process.id().with_context(|| format!("the {} has ended", self.name))
    }

    /// Tells it a line.
    pub async fn tell(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        let told = self.input.write_all(line.as_bytes()).await;
        told.with_context(|| format!("tell the {} what to do", self.name))
    }

    /// Waits for the next line that it says.
    pub async fn hear(&mut self, within: Duration) -> Result<String> {
        let line = timeout(within, self.output.next_line()).await;
        let line = line.with_context(|| format!("the {} says nothing in time", self.name))??;
        line.with_context(|| format!("the {} has ended", self.name))
    }

    /// Has nothing more to tell, and waits until it is gone.
    pub async fn end(mut self) -> Result<()> {
        drop(self.input);
        let status = timeout(END_TIMEOUT, self.process.wait()).await;
        let status = status.with_context(|| format!("the {} does not end", self.name))??;
        ensure!(status.success(), "the {} ended with {status}", self.name);
        Ok(())
    }
}
