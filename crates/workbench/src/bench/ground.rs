//! Where it is measured: a mesh of its own, as shipped, with stores that keep what they are told.

use std::{fs, io, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use firstcome_local::{
    Address, Checkout, Mesh, Service, Stores,
    mesh::Options,
    port,
    service::Ports,
    stores::{self, Own},
};
use tokio::sync::Mutex;

use super::cost::{Costs, Meter, Part, Reading};
use crate::state::Lock;

/// The nodes of the Redis Cluster.
const REDIS_NODES: u16 = 6;
/// Between two looks at whether the shop has come to rest.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// A shop at rest works no more than this between two looks: a tenth of a core.
const AT_REST: Duration = Duration::from_millis(10);
/// After so many looks whatever still goes on is the shop's daily work, and belongs to the cost.
const LOOKS_MAX: u32 = 20;

/// A running mesh and its clocks.
pub struct Ground {
    mesh: Mesh,
    meter: Mutex<Meter>,
    checkout: Checkout,
    _lock: Lock,
}

impl Ground {
    /// Starts from nothing, apart from the mesh of `up`. `env` is for one service or for all.
    pub async fn start(
        checkout: &Checkout,
        env: &[(Option<Service>, String, String)],
    ) -> Result<Self> {
        let checkout = checkout.apart("bench");
        let lock = Lock::take(&checkout)?;
        wipe(&checkout)?;
        eprintln!("starting a mesh to measure ...");
        let mut ports = port::free_row(REDIS_NODES + 1)?;
        let postgres = ports.pop().context("a free port")?;
        let store_ports = stores::Ports { redis_first: ports[0], postgres };
        let stores = Stores::start_kept(&checkout, store_ports, Own::default()).await?;
        let options = Options {
            programs: programs()?,
            logs: checkout.logs(),
            mail: checkout.mail(),
            certificates: checkout.certificates(),
            secrets: checkout.secrets(),
            ports: Ports::free()?,
            env: env.to_vec(),
        };
        let mesh = Mesh::prepare(stores, options).await?;
        mesh.serve().await?;
        let mut meter = Meter::default();
        for (service, pid) in mesh.pids().await {
            meter.watch(part_of(service), pid);
        }
        if let Some(redis) = mesh.stores().redis() {
            redis.pids().await.into_iter().for_each(|pid| meter.watch(Part::Redis, pid));
        }
        if let Some(postgres) = mesh.stores().postgres() {
            meter.watch(Part::Postgres, postgres.pid().await.context("postgres has ended")?);
        }
        Ok(Self { mesh, meter: Mutex::new(meter), checkout, _lock: lock })
    }

    /// Where everything is.
    pub fn address(&self) -> &Address {
        self.mesh.address()
    }

    /// The processes.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// A folder for files of the run.
    pub fn files(&self) -> PathBuf {
        self.checkout.state()
    }

    /// Counts one more process.
    pub async fn watch(&self, part: Part, pid: u32) {
        self.meter.lock().await.watch(part, pid);
    }

    /// Where all clocks stand.
    pub async fn clocks(&self) -> Result<Reading> {
        self.meter.lock().await.read()
    }

    /// The time since then.
    pub async fn since(&self, earlier: &Reading) -> Result<Costs> {
        Ok(self.clocks().await?.since(earlier))
    }

    /// Waits until what came before is done with, as far as it ever is.
    pub async fn come_to_rest(&self) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let before = self.clocks().await?;
            tokio::time::sleep(LOOK_INTERVAL).await;
            if self.since(&before).await?.values().sum::<Duration>() <= AT_REST {
                break;
            }
        }
        Ok(())
    }

    /// Starts a service anew with these variables; `None` takes one back.
    pub async fn restart_with(&self, service: Service, env: &[(&str, Option<&str>)]) -> Result<()> {
        for (name, value) in env {
            self.mesh.set_env(service, name, *value);
        }
        self.mesh.restart(service).await?;
        let pid = self.mesh.pids().await.remove(&service).context("the service has ended")?;
        self.meter.lock().await.replace(part_of(service), pid);
        Ok(())
    }

    /// Stops everything and removes what it kept.
    pub async fn stop(self) {
        self.mesh.stop().await;
        if let Err(error) = wipe(&self.checkout) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// The programs that were built with this one.
pub fn programs() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    Ok(program.parent().context("a program lies in a folder")?.to_owned())
}

/// Whose time it is.
pub fn part_of(service: Service) -> Part {
    match service {
        Service::Edge => Part::Edge,
        Service::Order => Part::Order,
        Service::Inventory => Part::Inventory,
        Service::Payment => Part::Payment,
        Service::User => Part::User,
    }
}

/// Logs stay, for whoever wants to know why a run failed.
fn wipe(checkout: &Checkout) -> Result<()> {
    for folder in [checkout.data(), checkout.data_of_root(), checkout.mail()] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", folder.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
