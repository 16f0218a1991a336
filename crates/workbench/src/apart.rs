//! A mesh beside that of `up`, with data, logs and secrets of its own: what is measured or broken
//! there leaves the other alone. It begins with nothing and leaves its logs.

use std::{fs, io, path::PathBuf};

use anyhow::{Context as _, Result};
use firstcome_local::{
    Checkout, Mesh, Service, Stores,
    mesh::Options,
    port,
    service::Ports,
    stores::{self, Own},
};

use crate::state::Lock;

/// The nodes of the Redis Cluster.
const REDIS_NODES: u16 = 6;

/// What to run apart.
#[derive(Debug)]
pub struct Setup {
    /// Names the folder, as in `bench`.
    pub name: &'static str,
    /// The folder with the five programs.
    pub programs: PathBuf,
    /// Where the stores listen; on free ports unless given.
    pub store_ports: Option<stores::Ports>,
    /// Where the services listen, and so how many there are of each.
    pub ports: Ports,
    /// More environment, for one service or, without one, for all.
    pub env: Vec<(Option<Service>, String, String)>,
}

/// A mesh with stores that keep what they are told, as shipped.
#[derive(Debug)]
pub struct Apart {
    mesh: Mesh,
    checkout: Checkout,
    _lock: Lock,
}

impl Apart {
    /// Starts the stores from nothing and migrates them; the services are the caller's to start.
    pub async fn prepare(checkout: &Checkout, setup: Setup) -> Result<Self> {
        let checkout = checkout.apart(setup.name);
        let lock = Lock::take(&checkout)?;
        wipe(&checkout)?;
        let store_ports = setup.store_ports.map_or_else(free_store_ports, Ok)?;
        let stores = Stores::start_kept(&checkout, store_ports, Own::default()).await?;
        let options = Options {
            programs: setup.programs,
            logs: checkout.logs(),
            mail: checkout.mail(),
            certificates: checkout.certificates(),
            secrets: checkout.secrets(),
            ports: setup.ports,
            env: setup.env,
        };
        let mesh = Mesh::prepare(stores, options).await?;
        Ok(Self { mesh, checkout, _lock: lock })
    }

    /// The processes.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// A folder for files of the run.
    pub fn files(&self) -> PathBuf {
        self.checkout.state()
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

fn free_store_ports() -> Result<stores::Ports> {
    let mut ports = port::free_row(REDIS_NODES + 1)?;
    let postgres = ports.pop().context("a free port")?;
    Ok(stores::Ports { redis_first: ports[0], postgres })
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
