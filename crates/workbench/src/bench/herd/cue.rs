//! What a crowd and whoever started it say to each other, and how it comes to the edge.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use firstcome_mesh::open_files;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tonic::transport::{Channel, Endpoint};

/// An edge that is asked by thousands at once may let one wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls that wait for one connection; a buyer makes one, a watcher's connection a hundred.
const CALLS_QUEUED_MAX: usize = 128;

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

/// Whether a crowd of so many connections fits into a process, and into the edge's.
pub fn ensure_room(connections: usize) -> Result<()> {
    Ok(open_files::enough_for(connections)?)
}
