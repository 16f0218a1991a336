//! Configuration of firstcome-inventory.

use std::time::Duration;

use clap::{Parser, Subcommand};
use firstcome_mesh::config::{Logs, Serve, Validate};
use secrecy::SecretString;

/// A settled hold's record leaves the gate after this long: the return window (a day after
/// delivery), the way there, and a generous rest.
const FORGET_AFTER_DEFAULT: &str = "14d";
/// Two batchers, five duties and a few reads at once; Postgres serves 100 to all services.
const DATABASE_CONNECTIONS_DEFAULT: u32 = 16;

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
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        match &self.command {
            Command::Serve(service) => service.serve.faults(),
            Command::Migrate { .. } => Vec::new(),
        }
    }
}
