//! The crowd as a process of its own: its connections, its memory and its limit of open files are
//! not the shop's. It hears one job on its standard input, then cues, and says one line of JSON for
//! each thing that is done.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use firstcome_mesh::open_files;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tonic::transport::{Channel, Endpoint};

use super::{
    buyers::{self, Buy},
    watchers::{self, Look},
};
use crate::bench::companion::Companion;

/// An edge that is asked by thousands at once may let one wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls that wait for one connection; a buyer makes one, a watcher's connection a hundred.
const CALLS_QUEUED_MAX: usize = 128;

/// What a crowd comes for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// To buy, all at once.
    Buy(Buy),
    /// To look on.
    Look(Look),
}

/// All connections are open, and each has been answered.
#[derive(Debug, Serialize, Deserialize)]
pub struct Opened {
    /// How many.
    pub connections: usize,
    /// How long that took.
    pub took_ms: u64,
}

/// What a crowd waits for: the moment that is so far away.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cue {
    /// From now.
    pub in_ms: u64,
}

/// The process's life; ends when its job is done, or nobody gives cues any more.
pub async fn serve() -> Result<()> {
    match next_cue().await? {
        Job::Buy(buy) => buyers::run(buy).await,
        Job::Look(look) => watchers::run(look).await,
    }
}

/// The next line of the standard input.
pub async fn next_cue<T: DeserializeOwned + Send + 'static>() -> Result<T> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        ensure!(!line.is_empty(), "whoever gives the cues has gone");
        Ok(serde_json::from_str(&line)?)
    });
    read.await?.context("read a cue")
}

/// Says one line.
pub fn say(word: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(word)?);
    Ok(())
}

/// Opens one connection of its own.
pub async fn connect(edge: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(edge.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .buffer_size(CALLS_QUEUED_MAX);
    endpoint.connect().await.context("connect to the edge")
}

/// The process, seen from who started it; dropping it kills it.
pub struct Crowd {
    process: Companion,
}

impl Crowd {
    /// Starts a process with a job.
    pub async fn start(job: &Job) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let process = Companion::start("crowd", &program, &["crowd"], [("", ""); 0])?;
        let mut crowd = Self { process };
        crowd.cue(job).await?;
        Ok(crowd)
    }

    /// Gives a cue.
    pub async fn cue(&mut self, cue: &impl Serialize) -> Result<()> {
        self.process.tell(&serde_json::to_string(cue)?).await
    }

    /// Waits for what it says next.
    pub async fn hear<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T> {
        let line = self.process.hear(within).await?;
        serde_json::from_str(&line).context("read what the crowd says")
    }

    /// Waits until it is gone.
    pub async fn end(self) -> Result<()> {
        self.process.end().await
    }
}

/// Whether a crowd of so many connections fits into a process, and into the edge's.
pub fn ensure_room(connections: usize) -> Result<()> {
    Ok(open_files::enough_for(connections)?)
}
