//! What each program takes, from its own configuration.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser};
use firstcome_edge::config as edge;
use firstcome_inventory::config as inventory;
use firstcome_local::{Certificates, Service, checkout};
use firstcome_mesh::config::{self, Faults, Validate};
use firstcome_order::config as order;
use firstcome_payment::config as payment;
use firstcome_user::config as user;

/// What our variables begin with.
pub const PREFIX: &str = "FIRSTCOME_";
/// What others read in our processes, and we set: the allocator, and the runtime.
const FOREIGN: [&str; 2] = ["MIMALLOC_PURGE_DELAY", "TOKIO_WORKER_THREADS"];
/// Values in place of secrets that are known elsewhere only: each is of the form that is wanted.
const SAMPLES: [(&str, &str); 12] = [
    ("FIRSTCOME_DATABASE_URL", "postgres://fc:secret@postgres.example/firstcome"),
    ("FIRSTCOME_SANDBOX_DATABASE_URL", "postgres://fc:secret@postgres.example/firstcome"),
    ("FIRSTCOME_REDIS_URL", "redis-cluster://redis.example:6379"),
    ("FIRSTCOME_ADMIN_EMAIL", "operator@shop.example"),
    ("FIRSTCOME_ADMIN_PASSWORD", "the-password-of-nobody-1"),
    ("FIRSTCOME_SMTP_URL", "smtps://shop:secret@mail.example"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4317"),
    ("FIRSTCOME_DATA_KEYS", "1:abababababababababababababababababababababababababababababababab"),
    ("FIRSTCOME_INDEX_KEY", "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"),
    ("FIRSTCOME_STRIPE_SECRET_KEY", "sk_test_of_nobody"),
    ("FIRSTCOME_STRIPE_WEBHOOK_SECRET", "whsec_of_nobody_at_all"),
    ("FIRSTCOME_SANDBOX_WEBHOOK_SECRET", "whsec_of_nobody_at_all"),
];

/// What a container sets a variable to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// This.
    Known(String),
    /// What somebody else keeps.
    Kept,
}

/// Where a process listens, how it ends, and how much of Postgres it takes.
#[derive(Clone, Debug)]
pub struct Served {
    /// The port for calls.
    pub port: u16,
    /// The port for probes.
    pub health_port: Option<u16>,
    /// How long it serves on for those who have not heard that it ends.
    pub drain_wait: Duration,
    /// How long calls in flight may take to end.
    pub drain_timeout: Duration,
    /// Connections to Postgres, at most.
    pub connections: u32,
}

/// The five, and certificates to show them.
pub struct Programs {
    certificates: Certificates,
}

impl Programs {
    /// Makes certificates that go with this process: a program looks into its files when it starts.
    pub fn prepare() -> Result<Self> {
        let folder = checkout::create_throwaway_folder()?.join("certificates");
        let certificates = Certificates::prepare(&folder).context("make certificates to show")?;
        Ok(Self { certificates })
    }

    /// What a program says to this command and these variables: faults, and where it would serve.
    pub fn read(
        &self,
        service: Service,
        args: &[String],
        env: &BTreeMap<String, Value>,
    ) -> (Vec<String>, Option<Served>) {
        let command = command_of(service);
        let Some(subcommand) = args.first().and_then(|name| command.find_subcommand(name)) else {
            return (vec![format!("{service} has no command {args:?}")], None);
        };
        let mut faults = Vec::new();
        let mut line: Vec<OsString> = vec![service.name().into()];
        line.extend(args.iter().map(Into::into));
        for (name, value) in env {
            let is_named =
                |argument: &&clap::Arg| argument.get_env().is_some_and(|env| env == name.as_str());
            let globals = command.get_arguments().filter(|argument| argument.is_global_set());
            let argument = subcommand.get_arguments().chain(globals).find(is_named);
            match argument.and_then(clap::Arg::get_long) {
                Some(flag) => {
                    let value = self.shown(service, name, value);
                    line.push(format!("--{flag}={value}").into());
                }
                None if FOREIGN.contains(&name.as_str()) => {}
                None => faults.push(format!("{service} {} reads no {name}", args.join(" "))),
            }
        }
        match served(service, line) {
            Ok(served) => (faults, served),
            Err(refused) => {
                faults.extend(refused.into_iter().map(|fault| format!("{service}: {fault}")));
                (faults, None)
            }
        }
    }

    /// What a program is shown for a variable: files and secrets are elsewhere.
    fn shown(&self, service: Service, name: &str, value: &Value) -> String {
        let files = self.certificates.files(service.peer());
        match (name, value) {
            ("FIRSTCOME_TLS_CERTIFICATE", _) => files.certificate.display().to_string(),
            ("FIRSTCOME_TLS_KEY", _) => files.key.display().to_string(),
            ("FIRSTCOME_TLS_AUTHORITY", _) => files.authority.display().to_string(),
            (_, Value::Known(value)) => value.clone(),
            (_, Value::Kept) => {
                let sample = SAMPLES.iter().find(|(sample, _)| *sample == name);
                sample.map(|(_, value)| (*value).to_owned()).unwrap_or_default()
            }
        }
    }
}

/// The service whose image this is, as in `registry.example/firstcome/user:0.1.0`.
pub fn of_image(image: &str) -> Option<Service> {
    let path = image.split(['@', ':']).next()?;
    let (folder, name) = path.rsplit_once('/')?;
    let ours = folder == "firstcome" || folder.ends_with("/firstcome");
    let named = |service: &Service| service.name().strip_prefix("firstcome-") == Some(name);
    Service::ALL.into_iter().find(|service| ours && named(service))
}

fn command_of(service: Service) -> clap::Command {
    match service {
        Service::User => user::Config::command(),
        Service::Inventory => inventory::Config::command(),
        Service::Order => order::Config::command(),
        Service::Payment => payment::Config::command(),
        Service::Edge => edge::CommandLine::command(),
    }
}

/// Reads a command line as the program does.
fn served(service: Service, line: Vec<OsString>) -> Result<Option<Served>, Vec<String>> {
    Ok(match service {
        Service::User => match read::<user::Config>(line)?.command {
            user::Command::Serve(of) => Some(serving(&of.mesh, of.database_connections)),
            _ => None,
        },
        Service::Inventory => match read::<inventory::Config>(line)?.command {
            inventory::Command::Serve(of) => Some(serving(&of.serve, of.database_connections)),
            _ => None,
        },
        Service::Order => match read::<order::Config>(line)?.command {
            order::Command::Serve(of) => Some(serving(&of.mesh, of.database_connections)),
            _ => None,
        },
        Service::Payment => match read::<payment::Config>(line)?.command {
            payment::Command::Serve(of) => {
                // The sandbox has a pool of its own.
                let pools = match of.partner.provider {
                    payment::ProviderKind::Sandbox => 2,
                    payment::ProviderKind::Stripe => 1,
                };
                Some(serving(&of.mesh, of.database_connections * pools))
            }
            _ => None,
        },
        Service::Edge => match read::<edge::CommandLine>(line)?.command {
            edge::Command::Serve(of) => Some(serving(&of.serve, 0)),
            edge::Command::Healthy(_) => None,
        },
    })
}

fn serving(serve: &config::Serve, connections: u32) -> Served {
    Served {
        port: serve.listen.port(),
        health_port: serve.health_listen.map(|address| address.port()),
        drain_wait: serve.drain_wait,
        drain_timeout: serve.drain_timeout,
        connections,
    }
}

fn read<C: Parser + Validate>(line: Vec<OsString>) -> Result<C, Vec<String>> {
    config::read::<C>(line).map_err(|faults| match faults {
        Faults::All(faults) => faults,
        Faults::Display(answer) => vec![format!("asks for help: {answer}")],
    })
}
