//! The crowd as a process of its own: its connections, its memory and its limit of open files are
//! not the shop's. It hears one job on its standard input, then cues, and says one line of JSON for
//! each thing that is done.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    buyers::{self, Buy},
    cue::next_cue,
    watchers::{self, Look},
};
use crate::bench::companion::Companion;

/// What a crowd comes for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// To buy, all at once.
    Buy(Buy),
    /// To look on.
    Look(Look),
}

/// The process's life; ends when its job is done, or nobody gives cues any more.
pub async fn serve() -> Result<()> {
    match next_cue().await? {
        Job::Buy(buy) => buyers::run(buy).await,
        Job::Look(look) => watchers::run(look).await,
    }
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
