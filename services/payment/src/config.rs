//! What the process is told: flags, or the environment variables named beside them.

use std::{str::FromStr as _, time::Duration};

use clap::{Args, Parser, Subcommand};
use firstcome_mesh::config::{Logs, Serve as Mesh, Validate};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

/// Writes are batched, so a few connections carry everything; the rest serve reads.
const CONNECTIONS_DEFAULT: u32 = 8;
/// How late the sandbox answers for its slow card: longer than a buyer likes to wait.
const SANDBOX_SLOW_DEFAULT: &str = "3s";

/// firstcome-payment: charges, refunds and the payment provider.
#[derive(Parser, Debug)]
#[command(name = "firstcome-payment", version)]
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
    /// Bring the schemas of payment and of the sandbox provider up to date, and exit.
    Migrate(Databases),
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
    pub databases: Databases,
    /// Connections to each database, at most.
    #[arg(long, env = "FIRSTCOME_DATABASE_CONNECTIONS", default_value_t = CONNECTIONS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_connections: u32,
    /// How late the sandbox provider answers for `pm_card_slow`.
    #[arg(long, env = "FIRSTCOME_SANDBOX_SLOW", default_value = SANDBOX_SLOW_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub sandbox_slow: Duration,
}

/// Two databases, or two roles of one: payment and its provider do not see each other's tables.
#[derive(Args, Clone, Debug)]
pub struct Databases {
    /// Payment's own, as `postgres://fc_payment:…@host:port/firstcome`.
    #[arg(long, env = "FIRSTCOME_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// The sandbox provider's own, as `postgres://fc_sandbox:…@host:port/firstcome`.
    #[arg(long, env = "FIRSTCOME_SANDBOX_DATABASE_URL", hide_env_values = true)]
    pub sandbox_database_url: SecretString,
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        let (mut faults, databases) = match &self.command {
            Command::Serve(serve) => (serve.mesh.faults(), &serve.databases),
            Command::Migrate(databases) => (Vec::new(), databases),
        };
        let addresses = [
            ("--database-url", &databases.database_url),
            ("--sandbox-database-url", &databases.sandbox_database_url),
        ];
        let wrong = addresses
            .into_iter()
            .filter(|(_, url)| PgConnectOptions::from_str(url.expose_secret()).is_err())
            .map(|(flag, _)| format!("{flag} is not a postgres:// address"));
        faults.extend(wrong);
        faults
    }
}
