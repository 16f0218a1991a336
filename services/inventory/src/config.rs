//! Configuration of firstcome-inventory.

use std::time::Duration;

use clap::{Parser, Subcommand};
use firstcome_mesh::{
    batcher::{InFlightMax, ItemsMax, Limits},
    config::{Logs, Serve, Validate},
    server::probes::Healthy,
};
use secrecy::SecretString;

use crate::reserve::Gathered;

/// A settled hold's record leaves the gate after this long: the return window (a day after
/// delivery), the way there, and a generous rest.
const FORGET_AFTER_DEFAULT: &str = "14d";
/// Two batchers, five duties and a few reads at once; Postgres serves 100 to all services.
const DATABASE_CONNECTIONS_DEFAULT: u32 = 16;
/// A shard runs one call at a time, and one call in flight gathers the most.
const GATE_BATCHES_IN_FLIGHT_DEFAULT: InFlightMax = InFlightMax::new(1);
/// The stock row admits one transaction at a time, so one call in flight gathers the most.
const LEDGER_BATCHES_IN_FLIGHT_DEFAULT: InFlightMax = InFlightMax::new(1);

/// Wishes that wait for one product: what its shard answers in a fraction of a second. The ledger's
/// queue is as long; it is bounded by what the gate lets through.
const WISHES_OF_PRODUCT_MAX: usize = 20_000;
/// Wishes that wait for all products.
const WISHES_MAX: usize = 100_000;

/// Products, live stock and reservations.
#[derive(Parser, Debug)]
#[command(name = "firstcome-inventory", version)]
pub struct Config {
    /// How it logs.
    #[command(flatten)]
    pub logs: Logs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve until told to stop.
    Serve(Box<Service>),
    /// Bring the schema up to this version.
    Migrate {
        /// Postgres, with the role that owns the schema.
        #[arg(long, env = "FIRSTCOME_DATABASE_URL", hide_env_values = true)]
        database_url: SecretString,
    },
    /// Ask the one that serves here whether it is ready; the exit code says so.
    Healthy(Healthy),
    /// Measure what the gate alone costs; `cargo xtask bench` runs it.
    #[command(hide = true)]
    MeasureGate(MeasureGate),
}

/// What measuring the gate needs.
#[derive(clap::Args, Debug, Clone)]
pub struct MeasureGate {
    /// The Redis Cluster with all its nodes.
    #[arg(long, env = "FIRSTCOME_REDIS_URL", hide_env_values = true)]
    pub redis_url: SecretString,
    /// Reservations in all.
    #[arg(long)]
    pub items: u32,
    /// Reservations of one call, 1 to 512.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub batch: u16,
    /// Connections, each with one call at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: u16,
}

/// What serving needs.
#[derive(clap::Args, Debug, Clone)]
pub struct Service {
    /// Where and how it listens.
    #[command(flatten)]
    pub serve: Serve,

    /// Postgres, with the role that owns the schema.
    #[arg(long, env = "FIRSTCOME_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Connections to Postgres, 4 to 100.
    #[arg(long, env = "FIRSTCOME_DATABASE_CONNECTIONS", default_value_t = DATABASE_CONNECTIONS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(4..=100))]
    pub database_connections: u32,

    /// The Redis Cluster with all its nodes: redis-cluster://host:port?node=host:port&node=...
    #[arg(long, env = "FIRSTCOME_REDIS_URL", hide_env_values = true)]
    pub redis_url: SecretString,

    /// How long after its payment the gate still knows a reservation.
    #[arg(long, env = "FIRSTCOME_FORGET_AFTER", default_value = FORGET_AFTER_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub forget_after: Duration,

    /// Wishes that one call of the gate carries, 1 to 512.
    #[arg(long, env = "FIRSTCOME_GATE_BATCH_ITEMS_MAX", default_value_t = ItemsMax::MAX)]
    pub gate_batch_items_max: ItemsMax,

    /// Calls of the gate under way at once for one product, 1 to 4096.
    #[arg(long, env = "FIRSTCOME_GATE_BATCHES_IN_FLIGHT_MAX",
          default_value_t = GATE_BATCHES_IN_FLIGHT_DEFAULT)]
    pub gate_batches_in_flight_max: InFlightMax,

    /// Admissions that one transaction of the ledger carries, 1 to 512.
    #[arg(long, env = "FIRSTCOME_LEDGER_BATCH_ITEMS_MAX", default_value_t = ItemsMax::MAX)]
    pub ledger_batch_items_max: ItemsMax,

    /// Transactions of the ledger under way at once for one product, 1 to 4096.
    #[arg(long, env = "FIRSTCOME_LEDGER_BATCHES_IN_FLIGHT_MAX",
          default_value_t = LEDGER_BATCHES_IN_FLIGHT_DEFAULT)]
    pub ledger_batches_in_flight_max: InFlightMax,
}

impl Service {
    /// How wishes are gathered on their way through gate and ledger.
    pub fn gathered(&self) -> Gathered {
        let limits = |items: ItemsMax, in_flight: InFlightMax| Limits {
            batch_items_max: items.get(),
            in_flight_max: in_flight.get(),
            key_queue_items_max: WISHES_OF_PRODUCT_MAX,
            queue_items_max: WISHES_MAX,
        };
        Gathered {
            wishes: limits(self.gate_batch_items_max, self.gate_batches_in_flight_max),
            admissions: limits(self.ledger_batch_items_max, self.ledger_batches_in_flight_max),
        }
    }
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        match &self.command {
            Command::Serve(service) => service.serve.faults(),
            Command::Migrate { .. } | Command::Healthy(_) | Command::MeasureGate(_) => Vec::new(),
        }
    }
}
