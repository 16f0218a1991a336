//! What the process is told: flags, or the environment variables named beside them. The limits
//! that nobody tunes stand here too, each with its reason.

use std::{str::FromStr as _, time::Duration};

use clap::{Args, Parser, Subcommand};
use firstcome_mesh::{
    batcher::{InFlightMax, ItemsMax, Limits},
    config::{Logs, Serve as Mesh, Validate},
    server::probes::Healthy,
    upstream,
};
use firstcome_vault::DataKeys;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

use crate::saga::Clock;

/// Writes are batched, so a few connections carry everything; the rest serve reads and marks.
const CONNECTIONS_DEFAULT: u32 = 12;
/// One call in flight for a product gathers the most.
const PLACEMENTS_IN_FLIGHT_DEFAULT: InFlightMax = InFlightMax::new(1);
/// Rows of all products share their queue: one batch under way, and one behind it that hides the
/// first one's round trip. More would only make the batches smaller.
const ROWS_IN_FLIGHT_DEFAULT: InFlightMax = InFlightMax::new(2);
/// A step's longest call is 5 s; who is silent for twice that is dead.
const LEASE_DEFAULT: &str = "10s";
/// What people call a day.
const DAY_DEFAULT: &str = "24h";
/// A day that is shorter than a look of the worker would say nothing about the order of things.
const DAY_MIN: Duration = Duration::from_millis(500);
/// A day that is longer than a month is a mistake.
const DAY_MAX: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// Placements that wait for one product: what it answers in about a second. A longer queue would
/// only keep buyers waiting for what they can be refused at once.
const PLACEMENTS_OF_PRODUCT_MAX: usize = 65_536;
/// Placements that wait for all products: about 100 MiB of them.
const PLACEMENTS_MAX: usize = 262_144;
/// Rows that wait to be written. What is admitted is bounded by what waited to be.
const ROWS_MAX: usize = PLACEMENTS_MAX;
/// Steps of sagas that wait for one statement, or for one product's holds.
const STEPS_MAX: usize = 65_536;

/// firstcome-order: orders and the purchase saga.
#[derive(Parser, Debug)]
#[command(name = "firstcome-order", version)]
pub struct Config {
    /// How to log.
    #[command(flatten)]
    pub logs: Logs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the process does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve until told to stop.
    Serve(Box<Serve>),
    /// Bring the schema up to date, seal what earlier releases wrote in the clear, and exit.
    Migrate(Upkeep),
    /// Seal anew, under the first of the data keys, what is under another, and exit. May run while
    /// others serve, once all of them have that key.
    RotateKeys(Upkeep),
    /// Ask the one that serves here whether it is ready; the exit code says so.
    Healthy(Healthy),
}

/// What the commands need that look after the rows.
#[derive(Args, Clone, Debug)]
pub struct Upkeep {
    /// Where the rows are.
    #[command(flatten)]
    pub database: Database,
    /// What the fields are sealed with.
    #[command(flatten)]
    pub keys: DataKeys,
}

/// What `serve` needs.
#[derive(Args, Clone, Debug)]
#[group(skip)] // the mesh's own part is a group named `Serve` already
pub struct Serve {
    /// Where to listen, how to stop.
    #[command(flatten)]
    pub mesh: Mesh,
    /// Where the rows are.
    #[command(flatten)]
    pub database: Database,
    /// What personal data is sealed with.
    #[command(flatten)]
    pub keys: DataKeys,
    /// Connections to the database, at most.
    #[arg(long, env = "FIRSTCOME_DATABASE_CONNECTIONS", default_value_t = CONNECTIONS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(4..=1000))]
    pub database_connections: u32,
    /// Where events are told, as `redis-cluster://host:port?node=host:port&node=…`. Orders are
    /// taken without it.
    #[arg(long, env = "FIRSTCOME_REDIS_URL", hide_env_values = true)]
    pub redis_url: SecretString,
    /// Inventory, as `http://host:port`.
    #[arg(long, env = "FIRSTCOME_INVENTORY_ENDPOINT")]
    pub inventory_endpoint: String,
    /// Payment, as `http://host:port`.
    #[arg(long, env = "FIRSTCOME_PAYMENT_ENDPOINT")]
    pub payment_endpoint: String,
    /// User, as `http://host:port`: the address books.
    #[arg(long, env = "FIRSTCOME_USER_ENDPOINT")]
    pub user_endpoint: String,
    /// Placements that one call to inventory carries, 1 to 512.
    #[arg(long, env = "FIRSTCOME_PLACEMENT_BATCH_ITEMS_MAX", default_value_t = ItemsMax::MAX)]
    pub placement_batch_items_max: ItemsMax,
    /// Calls with placements under way at once for one product, 1 to 4096.
    #[arg(long, env = "FIRSTCOME_PLACEMENT_BATCHES_IN_FLIGHT_MAX",
          default_value_t = PLACEMENTS_IN_FLIGHT_DEFAULT)]
    pub placement_batches_in_flight_max: InFlightMax,
    /// Orders that one insert carries, and steps of sagas that one statement or one call to
    /// inventory carries, 1 to 512.
    #[arg(long, env = "FIRSTCOME_ROW_BATCH_ITEMS_MAX", default_value_t = ItemsMax::MAX)]
    pub row_batch_items_max: ItemsMax,
    /// Such inserts, statements and (for one product) calls under way at once, 1 to 4096.
    #[arg(long, env = "FIRSTCOME_ROW_BATCHES_IN_FLIGHT_MAX",
          default_value_t = ROWS_IN_FLIGHT_DEFAULT)]
    pub row_batches_in_flight_max: InFlightMax,
    /// How long an order's step belongs to the process that began it.
    #[arg(long, env = "FIRSTCOME_STEP_LEASE", default_value = LEASE_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub step_lease: Duration,
    /// A day of the shop, in which the automatic steps after a payment and the return window are
    /// counted, and nothing else; 500ms to 31d. A demo makes it seconds.
    #[arg(long, env = "FIRSTCOME_DAY", default_value = DAY_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub day: Duration,
}

/// This service's own database.
#[derive(Args, Clone, Debug)]
pub struct Database {
    /// As `postgres://fc_order:…@host:port/firstcome`.
    #[arg(long, env = "FIRSTCOME_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
}

impl Serve {
    /// How long things take.
    pub fn clock(&self) -> Clock {
        Clock { lease: self.step_lease, day: self.day }
    }

    /// How placements queue in front of inventory.
    pub fn placements(&self) -> Limits {
        Limits {
            batch_items_max: self.placement_batch_items_max.get(),
            in_flight_max: self.placement_batches_in_flight_max.get(),
            key_queue_items_max: PLACEMENTS_OF_PRODUCT_MAX,
            queue_items_max: PLACEMENTS_MAX,
        }
    }

    /// How rows queue in front of the insert.
    pub fn rows(&self) -> Limits {
        self.row_limits(ROWS_MAX)
    }

    /// How the steps of sagas queue, in front of a product's holds and of their own rows.
    pub fn steps(&self) -> Limits {
        self.row_limits(STEPS_MAX)
    }

    fn row_limits(&self, queue_items_max: usize) -> Limits {
        Limits {
            batch_items_max: self.row_batch_items_max.get(),
            in_flight_max: self.row_batches_in_flight_max.get(),
            key_queue_items_max: queue_items_max,
            queue_items_max,
        }
    }
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let database = match &self.command {
            Command::Migrate(upkeep) | Command::RotateKeys(upkeep) => {
                faults.extend(upkeep.keys.faults());
                &upkeep.database
            }
            Command::Serve(serve) => {
                faults.extend(serve.mesh.faults());
                faults.extend(serve.keys.faults());
                for (flag, endpoint) in [
                    ("--inventory-endpoint", &serve.inventory_endpoint),
                    ("--payment-endpoint", &serve.payment_endpoint),
                    ("--user-endpoint", &serve.user_endpoint),
                ] {
                    if let Err(fault) = upstream::check(endpoint) {
                        faults.push(format!("{flag}: {fault}"));
                    }
                }
                if !serve.redis_url.expose_secret().starts_with("redis-cluster://") {
                    faults.push("--redis-url is not a redis-cluster:// address".to_owned());
                }
                if serve.step_lease.is_zero() {
                    faults.push("--step-lease must be more than nothing".to_owned());
                }
                if !(DAY_MIN..=DAY_MAX).contains(&serve.day) {
                    faults.push("--day must be 500ms to 31d".to_owned());
                }
                &serve.database
            }
            Command::Healthy(_) => return Vec::new(),
        };
        if PgConnectOptions::from_str(database.database_url.expose_secret()).is_err() {
            faults.push("--database-url is not a postgres:// address".to_owned());
        }
        faults
    }
}
