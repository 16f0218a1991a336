//! What the edge is told from outside. Every default has its reason beside it.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use firstcome_mesh::{
    batcher::{InFlightMax, ItemsMax, Limits},
    config::{Logs, Serve, Share, Validate},
    server::probes::Healthy,
    upstream,
};
use firstcome_proto::UserId;
use http::HeaderValue;

use crate::{address::Network, limiter::Rate};

/// The longest a unary call may take, also when the caller asks for longer: above the slowest
/// honest payment, below what a person waits for.
const CALL_DEADLINE_DEFAULT: &str = "15s";
/// One call in a hundred: in a rush some of every batch, and so each step of it, at a cost that
/// does not show.
const TRACED_SHARE_DEFAULT: &str = "0.01";
/// Calls whose answer has not begun. At about 4 KiB each this is 160 MiB: above a whole rush that
/// arrives in one second, below what would swap.
const CALLS_MAX_DEFAULT: usize = 40_000;
/// Streams of WatchStock; about 6 KiB each.
const WATCHERS_MAX_DEFAULT: usize = 50_000;
/// A watcher to whom nothing could be written for this long is gone or asleep.
const WATCHER_STALL_DEFAULT: &str = "10s";
/// One address may be an office or a mobile carrier's gateway: hundreds of honest buyers.
const ADDRESS_LIMIT_DEFAULT: &str = "200/s burst 1000";
/// One account is one person with a few devices, whose client retries.
const USER_LIMIT_DEFAULT: &str = "50/s burst 200";
/// Methods that try a password or a code, or send a mail: a person needs three of them in a row.
const CREDENTIALS_LIMIT_DEFAULT: &str = "60/m burst 100";
/// A mail costs us something, and its reader patience: a person needs two of them.
const MAILS_LIMIT_DEFAULT: &str = "20/m burst 40";
/// Whoever is in already and tries the account's password: its owner mistypes a few times.
const PASSWORD_LIMIT_DEFAULT: &str = "6/m burst 10";
/// `user` may restart, or lose its database for a moment, without stopping a sale; a stolen phone
/// that was logged out meanwhile shops no longer than this.
const REVOCATIONS_STALE_MAX_DEFAULT: &str = "60s";
/// One lost answer must not shut the shop.
const REVOCATIONS_STALE_MAX_SHORTEST: Duration = Duration::from_secs(1);
/// One call in flight gathers the most. A second one would let a product's losers pass its winners,
/// whose commits they wait for, and cost everybody a tenth.
const BATCHES_IN_FLIGHT_DEFAULT: InFlightMax = InFlightMax::new(1);
/// Buyers who wait for one product, and for all of them; about 1 KiB each.
const BUYERS_OF_PRODUCT_MAX: usize = 32_768;
const BUYERS_MAX: usize = 65_536;

/// The command line.
#[derive(Parser, Debug)]
#[command(name = "firstcome-edge", version, about)]
pub struct CommandLine {
    /// How to log.
    #[command(flatten)]
    pub logs: Logs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve the public port.
    Serve(Box<Config>),
    /// Ask the one that serves here whether it is ready; the exit code says so.
    Healthy(Healthy),
}

impl Validate for CommandLine {
    fn faults(&self) -> Vec<String> {
        match &self.command {
            Command::Serve(config) => config.faults(),
            Command::Healthy(_) => Vec::new(),
        }
    }
}

/// Everything `serve` takes.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Where to listen, and how to stop.
    #[command(flatten)]
    pub serve: Serve,

    /// The user service, as in http://127.0.0.1:9101. Several are separated by commas; a name is
    /// looked up every few seconds, and each of its addresses called.
    #[arg(long, env = "FIRSTCOME_USER_ENDPOINT")]
    pub user_endpoint: String,

    /// The inventory service.
    #[arg(long, env = "FIRSTCOME_INVENTORY_ENDPOINT")]
    pub inventory_endpoint: String,

    /// The order service.
    #[arg(long, env = "FIRSTCOME_ORDER_ENDPOINT")]
    pub order_endpoint: String,

    /// The payment service.
    #[arg(long, env = "FIRSTCOME_PAYMENT_ENDPOINT")]
    pub payment_endpoint: String,

    /// Development: pages of any origin may call, and anybody may look on while a drop sells.
    #[arg(long, env = "FIRSTCOME_DEVELOPMENT", default_value_t = false,
          action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub development: bool,

    /// Origins whose pages may call through a browser, separated by commas, as in
    /// https://shop.example. In development any may.
    #[arg(long, env = "FIRSTCOME_WEB_ORIGINS", value_delimiter = ',')]
    pub web_origins: Vec<HeaderValue>,

    /// Networks whose `x-forwarded-for` is believed, separated by commas, as in 10.0.0.0/8.
    #[arg(long, env = "FIRSTCOME_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,

    /// Calls of one address (IPv6: one /64), as in `200/s burst 1000`, or `off`.
    #[arg(long, env = "FIRSTCOME_ADDRESS_LIMIT", default_value = ADDRESS_LIMIT_DEFAULT)]
    pub address_limit: Rate,

    /// Calls of one address to the methods that try a password or a code, or send a mail, all
    /// together, or `off`.
    #[arg(long, env = "FIRSTCOME_CREDENTIALS_LIMIT", default_value = CREDENTIALS_LIMIT_DEFAULT)]
    pub credentials_limit: Rate,

    /// Calls of one address to SignUp, ResendVerification and RequestPasswordReset together, which
    /// send mails, or `off`.
    #[arg(long, env = "FIRSTCOME_MAILS_LIMIT", default_value = MAILS_LIMIT_DEFAULT)]
    pub mails_limit: Rate,

    /// Calls of one user to ChangePassword and DeleteAccount together, or `off`.
    #[arg(long, env = "FIRSTCOME_PASSWORD_LIMIT", default_value = PASSWORD_LIMIT_DEFAULT)]
    pub password_limit: Rate,

    /// Calls of one user, or `off`.
    #[arg(long, env = "FIRSTCOME_USER_LIMIT", default_value = USER_LIMIT_DEFAULT)]
    pub user_limit: Rate,

    /// Development: users whose calls are not counted, separated by commas. A load generator is
    /// one user with the calls of thousands.
    #[arg(long, env = "FIRSTCOME_EXEMPT_USERS", value_delimiter = ',')]
    pub exempt_users: Vec<UserId>,

    /// The share of all calls that are traced where spans are exported, from 0 to 1. The variable
    /// is OpenTelemetry's own.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = TRACED_SHARE_DEFAULT)]
    pub traced_share: Share,

    /// The longest a unary call may take.
    #[arg(long, env = "FIRSTCOME_CALL_DEADLINE", default_value = CALL_DEADLINE_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub call_deadline: Duration,

    /// How long tokens are believed without word from the user service about ended sessions. Then
    /// calls that carry one are refused until it is heard again; everything else goes on.
    #[arg(long, env = "FIRSTCOME_REVOCATIONS_STALE_MAX",
          default_value = REVOCATIONS_STALE_MAX_DEFAULT, value_parser = humantime::parse_duration)]
    pub revocations_stale_max: Duration,

    /// Calls that may wait for their answer at once; more are told to come back.
    #[arg(long, env = "FIRSTCOME_CALLS_MAX", default_value_t = CALLS_MAX_DEFAULT)]
    pub calls_max: usize,

    /// WatchStock streams that may be open at once.
    #[arg(long, env = "FIRSTCOME_WATCHERS_MAX", default_value_t = WATCHERS_MAX_DEFAULT)]
    pub watchers_max: usize,

    /// How long a watcher may fail to read before it is dropped.
    #[arg(long, env = "FIRSTCOME_WATCHER_STALL", default_value = WATCHER_STALL_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub watcher_stall: Duration,

    /// Buyers whom one call to order carries, 1 to 512.
    #[arg(long, env = "FIRSTCOME_BATCH_ITEMS_MAX", default_value_t = ItemsMax::MAX)]
    pub batch_items_max: ItemsMax,

    /// Calls to order under way at once for one product, 1 to 4096.
    #[arg(long, env = "FIRSTCOME_BATCHES_IN_FLIGHT_MAX",
          default_value_t = BATCHES_IN_FLIGHT_DEFAULT)]
    pub batches_in_flight_max: InFlightMax,
}

impl Config {
    /// How buyers are gathered in front of order.
    pub fn gathered(&self) -> Limits {
        Limits {
            batch_items_max: self.batch_items_max.get(),
            in_flight_max: self.batches_in_flight_max.get(),
            key_queue_items_max: BUYERS_OF_PRODUCT_MAX,
            queue_items_max: BUYERS_MAX,
        }
    }

    fn faults(&self) -> Vec<String> {
        // Not those of where it listens: the public port is open to everybody.
        let mut faults = self.serve.tls.faults();
        faults.extend(self.serve.faults.faults());
        let endpoints = [
            ("user", &self.user_endpoint),
            ("inventory", &self.inventory_endpoint),
            ("order", &self.order_endpoint),
            ("payment", &self.payment_endpoint),
        ];
        for (name, endpoint) in endpoints {
            if let Err(fault) = upstream::check(endpoint) {
                faults.push(format!("{name}-endpoint: {fault}"));
            }
        }
        if !self.exempt_users.is_empty() && !self.development {
            faults.push(
                "exempt-users lifts a limit that protects everybody, so it stands only with \
                 FIRSTCOME_DEVELOPMENT=true"
                    .into(),
            );
        }
        if self.calls_max == 0 || self.watchers_max == 0 {
            faults.push("calls-max and watchers-max must let one pass".into());
        }
        if self.call_deadline.is_zero() || self.watcher_stall.is_zero() {
            faults.push("call-deadline and watcher-stall must be longer than nothing".into());
        }
        if self.revocations_stale_max < REVOCATIONS_STALE_MAX_SHORTEST {
            faults.push("revocations-stale-max wants a second at least".into());
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use firstcome_mesh::config::{Faults, read};

    use super::*;

    fn faults(more: &[&str]) -> Vec<String> {
        let line = "firstcome-edge serve --listen 127.0.0.1:0 --user-endpoint http://127.0.0.1:1 \
                    --inventory-endpoint http://127.0.0.1:2 --order-endpoint http://127.0.0.1:3 \
                    --payment-endpoint http://127.0.0.1:4";
        let arguments = line.split_whitespace().chain(more.iter().copied());
        match read::<CommandLine>(arguments.map(Into::into)) {
            Ok(_) => Vec::new(),
            Err(Faults::All(faults)) => faults,
            Err(Faults::Display(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn only_in_development_may_a_user_be_exempt() {
        let exempt = "--exempt-users=0d8e1f62-5c37-4a90-b3d1-7e442f90a6b8";
        assert_eq!(faults(&[]), Vec::<String>::new());
        assert_eq!(faults(&["--development", exempt]), Vec::<String>::new());
        let faults = faults(&[exempt]);
        assert!(faults.len() == 1 && faults[0].contains("FIRSTCOME_DEVELOPMENT"), "{faults:?}");
    }

    #[test]
    fn a_batch_that_could_not_be_sent_is_a_fault() {
        for (flag, text) in [
            ("--batch-items-max", "0"),
            ("--batch-items-max", "513"),
            ("--batches-in-flight-max", "0"),
            ("--batches-in-flight-max", "4097"),
        ] {
            let faults = faults(&[flag, text]);
            assert!(faults.len() == 1 && faults[0].contains(flag), "{flag} {text}: {faults:?}");
        }
        assert!(faults(&["--batch-items-max=1", "--batches-in-flight-max=4096"]).is_empty());
    }

    #[test]
    fn one_lost_answer_must_not_shut_the_shop() {
        let faults_of = |span: &str| faults(&["--revocations-stale-max", span]);
        assert_eq!(faults_of("1s"), Vec::<String>::new());
        let faults = faults_of("999ms");
        assert!(faults.len() == 1 && faults[0].contains("revocations-stale-max"), "{faults:?}");
    }
}
