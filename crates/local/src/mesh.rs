//! The five services as processes, and their faults.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    Address, Certificates, Checkout, Role, Service, Stores, address::Sealing, checkout, port,
    process::Signal, ready, runner::Runner, secret::Secrets, service::Ports,
};

/// An empty schema is migrated in a second.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(120);
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
    /// The mesh's certificates and keys are kept here.
    pub certificates: PathBuf,
    /// What they seal personal data with is kept here: without it, nobody reads the old rows.
    pub secrets: PathBuf,
    /// Where they listen.
    pub ports: Ports,
    /// More environment, for one service or, without one, for all.
    pub env: Vec<(Option<Service>, String, String)>,
}

/// The services, running or about to, on running stores; dropping it kills everything that is private.
#[derive(Debug)]
pub struct Mesh {
    // First, so that services end before their stores.
    runners: BTreeMap<Service, Runner>,
    address: Address,
    stores: Stores,
}

impl Mesh {
    /// Migrates every schema. The services' commands can be run now, and their environment set;
    /// [`Mesh::serve`] starts them.
    pub async fn prepare(stores: Stores, options: Options) -> Result<Self> {
        for service in Service::ALL {
            port::ensure_free(options.ports.of(service), service.name())?;
        }
        Certificates::prepare(&options.certificates).context("certify the services")?;
        let endpoint =
            |service| (service, format!("http://127.0.0.1:{}", options.ports.of(service)));
        let address = Address {
            programs: options.programs,
            logs: options.logs,
            mail: options.mail,
            certificates: options.certificates,
            sealing: Sealing::kept(&Secrets::open(&options.secrets)?)?,
            endpoints: Service::ALL.into_iter().map(endpoint).collect(),
            redis_url: stores.redis_url().to_owned(),
            database_urls: Role::ALL.map(|role| (role, stores.database_url(role))).into(),
            env: options.env,
        };
        let runner = |service| (service, Runner::new(address.launch(service, "serve")));
        let runners = Service::ALL.map(runner).into();
        let mesh = Self { runners, address, stores };
        mesh.migrate().await?;
        Ok(mesh)
    }

    /// Starts the services and waits until each is ready.
    pub async fn serve(&self) -> Result<()> {
        for runner in self.runners.values() {
            runner.start().await?;
        }
        for service in Service::ALL {
            self.wait_until_ready(service).await?;
        }
        Ok(())
    }

    /// A mesh of its own for a test: stores that keep nothing, with replicas; free ports.
    pub async fn start_throwaway(
        programs: PathBuf,
        env: Vec<(Option<Service>, String, String)>,
    ) -> Result<Self> {
        let folder = checkout::create_throwaway_folder()?;
        let stores = Stores::start_throwaway(&Checkout::here(), &folder, true).await?;
        let options = Options {
            programs,
            logs: folder.join("logs"),
            mail: folder.join("mail"),
            certificates: folder.join("certificates"),
            secrets: folder.join("secrets"),
            ports: Ports::free()?,
            env,
        };
        let mesh = Self::prepare(stores, options).await?;
        mesh.serve().await?;
        Ok(mesh)
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
        self.runners[&service].set_env(name, value);
    }

    /// Kills a service at once.
    pub async fn kill9(&self, service: Service) {
        self.runners[&service].kill9().await;
    }

    /// Waits until a service has ended by itself, as it does at a failpoint.
    pub async fn wait_until_ended(&self, service: Service, deadline: Duration) -> Result<()> {
        self.runners[&service].wait_until_ended(deadline).await
    }

    /// Starts a killed service again, and waits until it is ready.
    pub async fn start_again(&self, service: Service) -> Result<()> {
        self.runners[&service].start().await?;
        self.wait_until_ready(service).await
    }

    /// Stops a service in good order, and starts it again.
    pub async fn restart(&self, service: Service) -> Result<()> {
        self.runners[&service].stop(Signal::TERM, STOP_TIMEOUT).await;
        self.start_again(service).await
    }

    /// Waits until a service says that it is ready.
    pub async fn wait_until_ready(&self, service: Service) -> Result<()> {
        ready::wait_until_ready(&self.address, service, &self.runners[&service]).await
    }

    /// Starts everything again that has ended by itself; says what.
    pub async fn revive(&self) -> Result<Vec<String>> {
        let mut revived = self.stores.revive().await?;
        for (service, runner) in &self.runners {
            if runner.revive().await? {
                revived.push(service.name().to_owned());
            }
        }
        Ok(revived)
    }

    /// The process number of each running service.
    pub async fn pids(&self) -> BTreeMap<Service, u32> {
        let mut pids = BTreeMap::new();
        for (service, runner) in &self.runners {
            pids.extend(runner.pid().await.map(|pid| (*service, pid)));
        }
        pids
    }

    /// Stops everything: the edge first, the stores last.
    pub async fn stop(&self) {
        for service in Service::ALL.into_iter().rev() {
            self.runners[&service].stop(Signal::TERM, STOP_TIMEOUT).await;
        }
        self.stores.stop().await;
    }

    async fn migrate(&self) -> Result<()> {
        for service in Service::ALL.into_iter().filter(|service| service.role().is_some()) {
            let migrate = self.address.run(service, &["migrate"], MIGRATE_TIMEOUT).await;
            migrate.with_context(|| format!("migrate the schema of {service}"))?;
        }
        Ok(())
    }
}
