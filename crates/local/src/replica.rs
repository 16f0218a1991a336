//! One process of a service, as a deployment has several of: its number, its port, its log. It is
//! started, drained, and started anew, while the others go on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{
    Address, Service,
    address::{self, DRAIN_TIMEOUT},
    port,
    process::{Launch, Signal},
    ready,
    runner::Runner,
};

/// Beyond the drain: closing connections, and a machine that is busy elsewhere.
const EXIT_SLACK: Duration = Duration::from_secs(7);
/// Whoever has not ended by then is killed.
pub(crate) const STOP_TIMEOUT: Duration = DRAIN_TIMEOUT.saturating_add(EXIT_SLACK);

/// One process and how to start it; dropping it kills the process.
#[derive(Debug)]
pub struct Replica {
    service: Service,
    number: u16,
    endpoint: String,
    address: Address,
    runner: Runner,
}

impl Replica {
    /// The replica of this number, from 1, in this mesh; starts nothing yet.
    pub(crate) fn of(mesh: &Address, service: Service, number: u16) -> Result<Self> {
        let place = usize::from(number.checked_sub(1).context("replicas are counted from 1")?);
        let endpoint = mesh.endpoints_of(service).get(place);
        let endpoint = endpoint.with_context(|| format!("{service} has no replica {number}"))?;
        Ok(Self::at(mesh, service, number, endpoint.clone()))
    }

    /// Starts one more, with the environment of the mesh's own, at a free port, and waits until it
    /// is ready. The others do not know of it: whoever wants it calls its own port.
    pub async fn start(mesh: &Address, service: Service, number: u16) -> Result<Self> {
        let port = *port::free_row(1)?.first().context("a free port")?;
        let replica = Self::at(mesh, service, number, format!("http://127.0.0.1:{port}"));
        replica.serve().await?;
        Ok(replica)
    }

    fn at(mesh: &Address, service: Service, number: u16, endpoint: String) -> Self {
        let runner = Runner::new(launch(mesh, service, number, &endpoint));
        Self { service, number, endpoint, address: mesh.clone(), runner }
    }

    /// From its next start on it is a process of this mesh: other programs, or others whom it
    /// knows. Variables that were set are forgotten.
    pub fn renew(&self, mesh: &Address) {
        self.runner.set_launch(launch(mesh, self.service, self.number, &self.endpoint));
    }

    /// Starts it, unless it runs, and waits until it is ready.
    pub async fn serve(&self) -> Result<()> {
        self.runner.start().await?;
        self.wait_until_ready().await
    }

    /// Waits until it says that it is ready.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let (service, endpoint) = (self.service, &self.endpoint);
        ready::wait_until_ready(&self.address, service, endpoint, &self.runner).await
    }

    /// Asks it to end, and waits until it has, its calls answered: an error when it had to be
    /// killed, or did not end well.
    pub async fn drain(&self) -> Result<()> {
        let name = self.name();
        let status = self.runner.end(Signal::TERM, STOP_TIMEOUT).await;
        let status = status.with_context(|| format!("{name} does not end when it is told to"))?;
        ensure!(status.success(), "{name} ended badly ({status}){}", self.runner.log_tail());
        Ok(())
    }

    /// Whose process it is.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Which of them, from 1.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// What its log is called, as in `firstcome-order-2`; the first has its service's name.
    pub fn name(&self) -> String {
        name(self.service, self.number)
    }

    /// Where it listens, as in `http://127.0.0.1:1234`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its process number.
    pub async fn pid(&self) -> Result<u32> {
        self.runner.pid().await.context("the replica has ended")
    }

    /// The process itself, to break it.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }
}

fn name(service: Service, number: u16) -> String {
    if number == 1 { service.name().to_owned() } else { format!("{service}-{number}") }
}

fn launch(mesh: &Address, service: Service, number: u16, endpoint: &str) -> Launch {
    let log = mesh.logs.join(format!("{}.log", name(service, number)));
    let (variable, value) = address::listen(endpoint);
    let mut launch = mesh.launch(service, "serve").log(log);
    launch.set_env(variable, Some(&value));
    launch
}
