//! Where it is measured: a mesh of its own, as shipped, with stores that keep what they are told.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use firstcome_local::{Address, Checkout, Mesh, Service, service::Ports};
use tokio::sync::Mutex;

use super::cost::{Costs, Meter, Part, Reading};
use crate::apart::{Apart, Setup, programs};

/// Between two looks at whether the shop has come to rest.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// A shop at rest works no more than this between two looks: a tenth of a core.
const AT_REST: Duration = Duration::from_millis(10);
/// After so many looks whatever still goes on is the shop's daily work, and belongs to the cost.
const LOOKS_MAX: u32 = 20;

/// A running mesh and its clocks.
pub struct Ground {
    apart: Apart,
    meter: Mutex<Meter>,
}

impl Ground {
    /// Starts from nothing, apart from the mesh of `up`. `env` is for one service or for all.
    pub async fn start(
        checkout: &Checkout,
        env: &[(Option<Service>, String, String)],
    ) -> Result<Self> {
        eprintln!("starting a mesh to measure ...");
        let setup = Setup {
            name: "bench",
            programs: programs()?,
            store_ports: None,
            ports: Ports::free(1)?,
            env: env.to_vec(),
        };
        let apart = Apart::prepare(checkout, setup).await?;
        let mesh = apart.mesh();
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
        Ok(Self { apart, meter: Mutex::new(meter) })
    }

    /// Where everything is.
    pub fn address(&self) -> &Address {
        self.mesh().address()
    }

    /// The processes.
    pub fn mesh(&self) -> &Mesh {
        self.apart.mesh()
    }

    /// A folder for files of the run.
    pub fn files(&self) -> PathBuf {
        self.apart.files()
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
            self.mesh().set_env(service, name, *value);
        }
        self.mesh().restart(service).await?;
        let pid = self.mesh().replica(service, 1)?.pid().await?;
        self.meter.lock().await.replace(part_of(service), pid);
        Ok(())
    }

    /// Stops everything and removes what it kept.
    pub async fn stop(self) {
        self.apart.stop().await;
    }
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
