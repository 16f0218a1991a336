//! `up`: everything on this machine, until it is told to stop.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use firstcome_local::{
    Checkout, Mesh, Service, Stores,
    mesh::Options,
    secret::Secrets,
    service::Ports,
    stores::{self, Own},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{
    counter::{self, Account},
    ghz,
    state::{Lock, State},
    welcome::Welcome,
};

/// The operator of a mesh on one's own machine.
const ADMIN_EMAIL: &str = "admin@firstcome.example";
/// The demonstration buyer, and how long the printed token lives.
const DEMO_NAME: &str = "demo";
const DEMO_TOKEN_TTL: &str = "1h";
/// How often the processes are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// What ends more often than this within [`REVIVAL_WINDOW`] does so by its own fault.
const REVIVALS_MAX: usize = 5;
/// See [`REVIVALS_MAX`].
const REVIVAL_WINDOW: Duration = Duration::from_secs(60);
/// The buses of the Redis nodes lie 10 000 above their ports.
pub const PORT_BASE_MAX: u16 = 55_000;

/// What to bring up.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct UpArgs {
    /// Move every port: edge at this one, services from +1, Redis from +11, what Prometheus asks
    /// from +21, Postgres at +32
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..=i64::from(PORT_BASE_MAX)))]
    pub port_base: Option<u16>,
    /// Use this Postgres; its login may create roles and databases
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// Use this Redis Cluster, as redis-cluster://host:port?node=host:port
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,
    /// The folder with the five programs; beside this one unless given
    #[arg(long, hide = true)]
    pub programs: Option<PathBuf>,
}

/// A mesh that this process runs; dropping it kills everything.
#[derive(Debug)]
pub struct Up {
    mesh: Mesh,
    state: State,
    load: Account,
    health_ports: Ports,
    checkout: Checkout,
    _lock: Lock,
}

impl Up {
    /// Starts stores and services, or continues with their data, and makes the operator.
    pub async fn start(checkout: &Checkout, args: &UpArgs) -> Result<Self> {
        let lock = Lock::take(checkout)?;
        State::remove(checkout);
        let programs = programs(args)?;
        let (store_ports, service_ports) = ports(args.port_base);
        let health_ports = health_ports(args.port_base);
        // Named now, not after half a minute of starting stores.
        service_ports.ensure_free()?;
        health_ports.ensure_free()?;
        let own =
            Own { database_url: args.database_url.clone(), redis_url: args.redis_url.clone() };

        eprintln!("starting the stores ...");
        // Boxed: the largest by far of what waits here.
        let stores = Box::pin(Stores::start_kept(checkout, store_ports, own)).await?;
        eprintln!("starting the services ...");
        let mesh = Mesh::prepare(
            stores,
            Options {
                programs,
                logs: checkout.logs(),
                mail: checkout.mail(),
                certificates: checkout.certificates(),
                secrets: checkout.secrets(),
                ports: service_ports,
                env: health_env(&health_ports),
            },
        );
        let mesh = mesh.await?;
        // The edge is told when it starts whom it does not count.
        let load = ghz::create_load(mesh.address()).await?;
        mesh.set_env(Service::Edge, "FIRSTCOME_EXEMPT_USERS", Some(&load.user_id));
        mesh.serve().await?;
        let state = State {
            pid: std::process::id(),
            address: mesh.address().clone(),
            admin_email: ADMIN_EMAIL.to_owned(),
            // Letters, digits and a special character, as every password.
            admin_password: format!("admin-{}", Secrets::open(&checkout.secrets())?.get("admin")?),
        };
        counter::create_admin(&state.address, &state.admin_email, &state.admin_password).await?;
        state.write(checkout)?;
        Ok(Self { mesh, state, load, health_ports, checkout: checkout.clone(), _lock: lock })
    }

    /// Where each service says how it is, by gRPC, and by HTTP at `/metrics`.
    pub fn health_ports(&self) -> &Ports {
        &self.health_ports
    }

    /// Where everything is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The processes.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Stops everything in good order.
    pub async fn stop(self) {
        State::remove(&self.checkout);
        self.mesh.stop().await;
    }
}

/// Brings everything up, says what to try, and waits for Ctrl-C.
pub async fn up(checkout: &Checkout, args: &UpArgs) -> Result<()> {
    let up = Up::start(checkout, args).await?;
    let token = counter::log_in(up.state()).await?;
    let goods = counter::stock(up.state(), &token).await.context("put products on the shelf")?;
    let demo = counter::create_buyer(&up.state().address, DEMO_NAME, DEMO_TOKEN_TTL).await?;
    ghz::write(checkout, &up.load, &goods)?;
    println!("{}", Welcome { up: &up, goods: &goods, demo: &demo });

    let watched = watch(&up).await;
    eprintln!("stopping ...");
    up.stop().await;
    watched
}

/// Starts again what ends by itself, until a signal comes.
async fn watch(up: &Up) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut revivals: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
        for name in up.mesh().revive().await? {
            eprintln!("{name} had ended and is started again");
            let times = revivals.entry(name.clone()).or_default();
            times.retain(|time| time.elapsed() < REVIVAL_WINDOW);
            times.push(Instant::now());
            if times.len() > REVIVALS_MAX {
                let log = up.state().address.logs.join(format!("{name}.log"));
                bail!("{name} ends again and again; see {}", log.display());
            }
        }
    }
}

fn programs(args: &UpArgs) -> Result<PathBuf> {
    if let Some(folder) = &args.programs {
        return Ok(folder.clone());
    }
    let program = std::env::current_exe().context("find this program")?;
    Ok(program.parent().context("a program lies in a folder")?.to_owned())
}

/// Where a second replica of each service listens: between Redis and Postgres.
pub fn second_replicas(base: u16) -> u16 {
    base + 20
}

/// The documented ports, or a row of one's own.
pub fn ports(base: Option<u16>) -> (stores::Ports, Ports) {
    let (edge, services, redis_first, postgres) = match base {
        Some(base) => (base, base + 1, base + 11, base + 32),
        None => (8080, 9101, 7101, 7432),
    };
    let services = [
        (Service::Edge, edge),
        (Service::User, services),
        (Service::Inventory, services + 1),
        (Service::Order, services + 2),
        (Service::Payment, services + 3),
    ];
    (stores::Ports { redis_first, postgres }, Ports::new(services))
}

/// The same, for who watches over the services; in a row of one's own after the second replicas.
fn health_ports(base: Option<u16>) -> Ports {
    let first = base.map_or(9201, |base| base + 26);
    Ports::new([
        (Service::User, first),
        (Service::Inventory, first + 1),
        (Service::Order, first + 2),
        (Service::Payment, first + 3),
        (Service::Edge, first + 4),
    ])
}

fn health_env(ports: &Ports) -> Vec<(Option<Service>, String, String)> {
    let listen = |service| {
        let address = format!("127.0.0.1:{}", ports.first(service));
        (Some(service), "FIRSTCOME_HEALTH_LISTEN".to_owned(), address)
    };
    Service::ALL.map(listen).into()
}
