//! One more process of a service beside the one that a mesh runs, as a deployment has when it
//! grows. The others do not know of it: whoever wants it calls its own port.

use anyhow::{Context as _, Result};

use crate::{Address, Service, port, ready, runner::Runner};

/// A running process; dropping it kills it.
#[derive(Debug)]
pub struct Replica {
    runner: Runner,
    endpoint: String,
}

impl Replica {
    /// Starts one with the environment of the mesh's own, at a free port, and waits until it is
    /// ready. Its log bears the number.
    pub async fn start(mesh: &Address, service: Service, number: u16) -> Result<Self> {
        let port = *port::free_row(1)?.first().context("a free port")?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut address = mesh.clone();
        address.endpoints.insert(service, endpoint.clone());
        let log = mesh.logs.join(format!("{service}-{number}.log"));
        let runner = Runner::new(address.launch(service, "serve").log(log));
        runner.start().await?;
        ready::wait_until_ready(&address, service, &runner).await?;
        Ok(Self { runner, endpoint })
    }

    /// Where it listens, as in `http://127.0.0.1:1234`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its process number.
    pub async fn pid(&self) -> Result<u32> {
        self.runner.pid().await.context("the replica has ended")
    }
}
