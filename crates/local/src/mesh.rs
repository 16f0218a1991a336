//! The five services as processes, one or several of each, and their faults.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    Address, Certificates, Checkout, Replica, Role, Service, Stores, address::Sealing, checkout,
    process::Signal, replica::STOP_TIMEOUT, secret::Secrets, service::Ports,
};

/// An empty schema is migrated in a second.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(120);

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
    /// Where they listen, and so how many there are of each.
    pub ports: Ports,
    /// More environment, for one service or, without one, for all.
    pub env: Vec<(Option<Service>, String, String)>,
}

/// The services, running or about to, on running stores; dropping it kills everything that is private.
#[derive(Debug)]
pub struct Mesh {
    // First, so that services end before their stores.
    replicas: BTreeMap<Service, Vec<Replica>>,
    address: Address,
    stores: Stores,
}

impl Mesh {
    /// Migrates every schema. The services' commands can be run now, and their environment set;
    /// [`Mesh::serve`] starts them.
    pub async fn prepare(stores: Stores, options: Options) -> Result<Self> {
        options.ports.ensure_free()?;
        Certificates::prepare(&options.certificates).context("certify the services")?;
        let endpoints = |service| {
            let ports = options.ports.of(service).iter();
            (service, ports.map(|port| format!("http://127.0.0.1:{port}")).collect())
        };
        let address = Address {
            programs: options.programs,
            logs: options.logs,
            mail: options.mail,
            certificates: options.certificates,
            sealing: Sealing::kept(&Secrets::open(&options.secrets)?)?,
            endpoints: Service::ALL.into_iter().map(endpoints).collect(),
            redis_url: stores.redis_url().to_owned(),
            database_urls: Role::ALL.map(|role| (role, stores.database_url(role))).into(),
            env: options.env,
        };
        let mut replicas: BTreeMap<Service, Vec<Replica>> = BTreeMap::new();
        for service in Service::ALL {
            for (number, _) in (1..).zip(address.endpoints_of(service)) {
                let replica = Replica::of(&address, service, number)?;
                replicas.entry(service).or_default().push(replica);
            }
        }
        let mesh = Self { replicas, address, stores };
        migrate(&mesh.address).await?;
        Ok(mesh)
    }

    /// Starts the services and waits until each is ready.
    pub async fn serve(&self) -> Result<()> {
        for replica in self.all_replicas() {
            replica.runner().start().await?;
        }
        for replica in self.all_replicas() {
            replica.wait_until_ready().await?;
        }
        Ok(())
    }

    /// Starts the first replica of each service, as a mesh that has no others, and knows of none.
    pub async fn serve_first_replicas(&self) -> Result<()> {
        let alone = self.address.of_first_replicas();
        for service in Service::ALL {
            let replica = self.replica(service, 1)?;
            replica.renew(&alone);
            replica.runner().start().await?;
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
        Self::start_throwaway_of(1, programs, env).await
    }

    /// The same with so many replicas of each service.
    pub async fn start_throwaway_of(
        replicas: u16,
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
            ports: Ports::free(replicas)?,
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

    /// One process of a service, counted from 1.
    pub fn replica(&self, service: Service, number: u16) -> Result<&Replica> {
        let found = self.replicas[&service].iter().find(|replica| replica.number() == number);
        found.with_context(|| format!("{service} has no replica {number}"))
    }

    /// Every process; whoever calls another comes after it.
    pub fn all_replicas(&self) -> impl DoubleEndedIterator<Item = &Replica> {
        Service::ALL.into_iter().flat_map(|service| &self.replicas[&service])
    }

    /// Sets a variable for a service's next start, as in a failpoint; `None` takes it back.
    pub fn set_env(&self, service: Service, name: &str, value: Option<&str>) {
        for replica in &self.replicas[&service] {
            replica.runner().set_env(name, value);
        }
    }

    /// Kills a service's first replica at once.
    pub async fn kill9(&self, service: Service) {
        self.first(service).runner().kill9().await;
    }

    /// Waits until a service's first replica has ended by itself, as it does at a failpoint.
    pub async fn wait_until_ended(&self, service: Service, deadline: Duration) -> Result<()> {
        self.first(service).runner().wait_until_ended(deadline).await
    }

    /// Starts a killed first replica again, and waits until it is ready.
    pub async fn start_again(&self, service: Service) -> Result<()> {
        self.first(service).serve().await
    }

    /// Stops a service's first replica in good order, and starts it again.
    pub async fn restart(&self, service: Service) -> Result<()> {
        self.first(service).runner().stop(Signal::TERM, STOP_TIMEOUT).await;
        self.start_again(service).await
    }

    /// Waits until a service's first replica says that it is ready.
    pub async fn wait_until_ready(&self, service: Service) -> Result<()> {
        self.first(service).wait_until_ready().await
    }

    /// Starts everything again that has ended by itself; says what.
    pub async fn revive(&self) -> Result<Vec<String>> {
        let mut revived = self.stores.revive().await?;
        for replica in self.all_replicas() {
            if replica.runner().revive().await? {
                revived.push(replica.name());
            }
        }
        Ok(revived)
    }

    /// The number of each running process.
    pub async fn pids(&self) -> Vec<(Service, u32)> {
        let mut pids = Vec::new();
        for replica in self.all_replicas() {
            pids.extend(replica.pid().await.map(|pid| (replica.service(), pid)));
        }
        pids
    }

    /// Stops everything: the edge first, the stores last.
    pub async fn stop(&self) {
        for replica in self.all_replicas().rev() {
            replica.runner().stop(Signal::TERM, STOP_TIMEOUT).await;
        }
        self.stores.stop().await;
    }

    fn first(&self, service: Service) -> &Replica {
        self.replicas[&service].first().expect("a service has a replica")
    }
}

/// Brings every schema up to date with the programs of this address.
pub async fn migrate(address: &Address) -> Result<()> {
    for service in Service::ALL.into_iter().filter(|service| service.role().is_some()) {
        let migrate = address.run(service, &["migrate"], MIGRATE_TIMEOUT).await;
        migrate.with_context(|| format!("migrate the schema of {service}"))?;
    }
    Ok(())
}
