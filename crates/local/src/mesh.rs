//! The five services as processes, and their faults.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Mutex as StdMutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::sync::Mutex;
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    Address, Checkout, Role, Service, Stores, checkout, port,
    process::{Launch, Process, Signal},
    service::Ports,
};

/// An empty schema is migrated in a second.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(120);
/// A service waits for its stores, which may be recovering.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a starting service is asked.
const READY_POLL: Duration = Duration::from_millis(50);
/// A service that cannot say how it is in this time is not ready.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than the drain that [`Address`] gives the services.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);

/// How to run the services.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder with the five programs.
    pub programs: PathBuf,
    /// One log for each service goes here.
    pub logs: PathBuf,
    /// Mails go here.
    pub mail: PathBuf,
    /// Where they listen.
    pub ports: Ports,
    /// More environment, for one service or, without one, for all.
    pub env: Vec<(Option<Service>, String, String)>,
}

/// Running services on running stores; dropping it kills everything that is private.
#[derive(Debug)]
pub struct Mesh {
    // First, so that services end before their stores.
    processes: BTreeMap<Service, Mutex<Option<Process>>>,
    address: Address,
    overrides: StdMutex<BTreeMap<(Service, String), String>>,
    stores: Stores,
}

impl Mesh {
    /// Migrates every schema, then starts the services and waits until each is ready.
    pub async fn start(stores: Stores, options: Options) -> Result<Self> {
        for service in Service::ALL {
            port::ensure_free(options.ports.of(service), service.name())?;
        }
        let endpoint =
            |service| (service, format!("http://127.0.0.1:{}", options.ports.of(service)));
        let address = Address {
            programs: options.programs,
            logs: options.logs,
            mail: options.mail,
            endpoints: Service::ALL.into_iter().map(endpoint).collect(),
            redis_url: stores.redis_url().to_owned(),
            database_urls: Role::ALL.map(|role| (role, stores.database_url(role))).into(),
            env: options.env,
        };
        let processes = Service::ALL.map(|service| (service, Mutex::new(None))).into();
        let mesh = Self { processes, address, overrides: StdMutex::default(), stores };
        mesh.migrate().await?;
        for service in Service::ALL {
            *mesh.processes[&service].lock().await = Some(mesh.launch(service, "serve").start()?);
        }
        for service in Service::ALL {
            mesh.wait_until_ready(service).await?;
        }
        Ok(mesh)
    }

    /// A mesh of its own for a test: stores that keep nothing, with replicas; free ports.
    pub async fn start_throwaway(
        programs: PathBuf,
        env: Vec<(Option<Service>, String, String)>,
    ) -> Result<Self> {
        let folder = checkout::create_throwaway_folder()?;
        let stores = Stores::start_throwaway(&Checkout::here(), &folder, true).await?;
        let (logs, mail) = (folder.join("logs"), folder.join("mail"));
        Self::start(stores, Options { programs, logs, mail, ports: Ports::free()?, env }).await
    }

    /// Where everything is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What the services stand on.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Sets a variable for a service's next start, as in a failpoint; `None` takes it back.
    pub fn set_env(&self, service: Service, name: &str, value: Option<&str>) {
        let mut overrides = self.overrides.lock().expect("nobody panics while holding it");
        let key = (service, name.to_owned());
        match value {
            Some(value) => overrides.insert(key, value.to_owned()),
            None => overrides.remove(&key),
        };
    }

    /// Kills a service at once.
    pub async fn kill9(&self, service: Service) {
        // Dropping a process kills it.
        self.processes[&service].lock().await.take();
    }

    /// Waits until a service has ended by itself, as it does at a failpoint.
    pub async fn wait_until_ended(&self, service: Service, deadline: Duration) -> Result<()> {
        let mut slot = self.processes[&service].lock().await;
        if let Some(process) = slot.as_ref() {
            let ended = process.ended_within(deadline).await;
            ended.with_context(|| format!("{service} still runs after {deadline:?}"))?;
        }
        slot.take();
        Ok(())
    }

    /// Starts a killed service again, and waits until it is ready.
    pub async fn start_again(&self, service: Service) -> Result<()> {
        let mut slot = self.processes[&service].lock().await;
        if slot.is_none() {
            *slot = Some(self.launch(service, "serve").start()?);
        }
        drop(slot);
        self.wait_until_ready(service).await
    }

    /// Stops a service in good order, and starts it again.
    pub async fn restart(&self, service: Service) -> Result<()> {
        if let Some(process) = self.processes[&service].lock().await.take() {
            process.stop(Signal::TERM, STOP_TIMEOUT).await;
        }
        self.start_again(service).await
    }

    /// Waits until a service says that it is ready.
    pub async fn wait_until_ready(&self, service: Service) -> Result<()> {
        let started = Instant::now();
        while let Err(error) = self.ask_health(service).await {
            if let Some(process) = self.processes[&service].lock().await.as_ref() {
                process.ensure_running()?;
                if started.elapsed() > READY_TIMEOUT {
                    bail!("{service} does not become ready: {error:#}{}", process.log_tail());
                }
            } else if started.elapsed() > READY_TIMEOUT {
                bail!("{service} does not run");
            }
            tokio::time::sleep(READY_POLL).await;
        }
        Ok(())
    }

    /// The process number of each running service.
    pub async fn pids(&self) -> BTreeMap<Service, u32> {
        let mut pids = BTreeMap::new();
        for (service, process) in &self.processes {
            if let Some(process) = process.lock().await.as_ref() {
                pids.insert(*service, process.pid());
            }
        }
        pids
    }

    /// An error when anything has ended by itself.
    pub async fn ensure_running(&self) -> Result<()> {
        for process in self.processes.values() {
            process.lock().await.as_ref().map_or(Ok(()), Process::ensure_running)?;
        }
        self.stores.ensure_running().await
    }

    /// Stops everything: the edge first, the stores last.
    pub async fn stop(&self) {
        for service in Service::ALL.into_iter().rev() {
            if let Some(process) = self.processes[&service].lock().await.take() {
                process.stop(Signal::TERM, STOP_TIMEOUT).await;
            }
        }
        self.stores.stop().await;
    }

    async fn migrate(&self) -> Result<()> {
        for service in Service::ALL.into_iter().filter(|service| service.role().is_some()) {
            let migrate = self.launch(service, "migrate").run(MIGRATE_TIMEOUT).await;
            migrate.with_context(|| format!("migrate the schema of {service}"))?;
        }
        Ok(())
    }

    fn launch(&self, service: Service, command: &str) -> Launch {
        let overrides = self.overrides.lock().expect("nobody panics while holding it").clone();
        let overrides = overrides.into_iter().filter(|((of, _), _)| *of == service);
        let overrides = overrides.map(|((_, name), value)| (name, value));
        self.address.launch(service, command).env(overrides)
    }

    async fn ask_health(&self, service: Service) -> Result<()> {
        let endpoint = Endpoint::from_shared(self.address.endpoint(service).to_owned())?
            .timeout(HEALTH_TIMEOUT);
        let mut health = HealthClient::new(endpoint.connect().await?);
        let request = HealthCheckRequest { service: service.name().to_owned() };
        let status = health.check(request).await?.into_inner().status();
        if status != ServingStatus::Serving {
            bail!("{service} says {status:?}");
        }
        Ok(())
    }
}
