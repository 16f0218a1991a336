//! What the process is told: flags, or the environment variables named beside them.

use std::{str::FromStr as _, time::Duration};

use clap::{Args, Parser, Subcommand};
use firstcome_mesh::{
    config::{Logs, Serve as Mesh, Validate},
    server::probes::Healthy,
};
use http::{HeaderValue, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

use crate::{sandbox, sandbox::teller::Merchant, stripe};

/// Writes are batched, so a few connections carry everything; the rest serve reads.
const CONNECTIONS_DEFAULT: u32 = 8;
/// How late the sandbox answers for its slow card: longer than a buyer likes to wait.
const SANDBOX_SLOW_DEFAULT: &str = "3s";

/// Shorter secrets can be guessed by whoever has one signed webhook.
const WEBHOOK_SECRET_CHARS_MIN: usize = 16;

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
    /// Ask the one that serves here whether it is ready; the exit code says so.
    Healthy(Healthy),
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
    /// Who moves the money.
    #[command(flatten)]
    pub partner: Partner,
}

/// The one provider of this deployment, and what each kind needs. Whoever changes it lets the
/// payments of the other end first.
#[derive(Args, Clone, Debug)]
pub struct Partner {
    /// Which provider.
    #[arg(long, env = "FIRSTCOME_PROVIDER", default_value = sandbox::NAME)]
    pub provider: ProviderKind,

    /// How late the sandbox answers for `pm_card_slow`, and takes what it takes by itself.
    #[arg(long, env = "FIRSTCOME_SANDBOX_SLOW", default_value = SANDBOX_SLOW_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub sandbox_slow: Duration,
    /// Where the sandbox sends its webhooks, as in http://127.0.0.1:8080/webhooks/sandbox; empty:
    /// it sends none.
    #[arg(long, env = "FIRSTCOME_SANDBOX_WEBHOOK_URL", default_value = "")]
    pub sandbox_webhook_url: String,
    /// What the sandbox signs its webhooks with; empty: none of them is believed.
    #[arg(
        long,
        env = "FIRSTCOME_SANDBOX_WEBHOOK_SECRET",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub sandbox_webhook_secret: SecretString,

    /// Where Stripe's API is; a test may put something else there.
    #[arg(long, env = "FIRSTCOME_STRIPE_BASE_URL", default_value = stripe::BASE_URL_DEFAULT)]
    pub stripe_base_url: String,
    /// Stripe's secret key, `sk_…`.
    #[arg(
        long,
        env = "FIRSTCOME_STRIPE_SECRET_KEY",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub stripe_secret_key: SecretString,
    /// What Stripe signs its webhooks with, `whsec_…`; empty: none of them is believed.
    #[arg(
        long,
        env = "FIRSTCOME_STRIPE_WEBHOOK_SECRET",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub stripe_webhook_secret: SecretString,
}

/// The providers that we speak to.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// Our own, for everybody who has none.
    Sandbox,
    /// Stripe's PaymentIntents.
    Stripe,
}

impl Partner {
    /// Whom the sandbox tells; `None` when there is nobody.
    pub fn merchant(&self) -> Option<Merchant> {
        let url = self.sandbox_webhook_url.parse().ok();
        let url = url.filter(|_| !self.sandbox_webhook_url.is_empty())?;
        Some(Merchant { url, secret: self.sandbox_webhook_secret.clone() })
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut want = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        let tells = !self.sandbox_webhook_url.is_empty();
        want(
            !tells || is_web_address(&self.sandbox_webhook_url),
            "--sandbox-webhook-url is not an http:// or https:// address",
        );
        want(
            !tells || !is_empty(&self.sandbox_webhook_secret),
            "--sandbox-webhook-url needs --sandbox-webhook-secret",
        );
        for (flag, secret) in [
            ("--sandbox-webhook-secret", &self.sandbox_webhook_secret),
            ("--stripe-webhook-secret", &self.stripe_webhook_secret),
        ] {
            let length = secret.expose_secret().len();
            let fault = format!("{flag} wants at least {WEBHOOK_SECRET_CHARS_MIN} characters");
            want(length == 0 || length >= WEBHOOK_SECRET_CHARS_MIN, &fault);
        }
        want(
            is_web_address(&self.stripe_base_url),
            "--stripe-base-url is not an http:// or https:// address",
        );
        let key = self.stripe_secret_key.expose_secret();
        want(HeaderValue::from_str(key).is_ok(), "--stripe-secret-key is not a key");
        if self.provider == ProviderKind::Stripe {
            want(!key.is_empty(), "--provider stripe needs --stripe-secret-key");
        }
        faults
    }
}

fn is_empty(secret: &SecretString) -> bool {
    secret.expose_secret().is_empty()
}

fn is_web_address(text: &str) -> bool {
    let scheme = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    text.parse().is_ok_and(|uri: Uri| scheme(&uri) && uri.host().is_some())
}

/// Two databases, or two roles of one: payment and its provider do not see each other's tables.
#[derive(Args, Clone, Debug)]
pub struct Databases {
    /// Payment's own, as `postgres://fc_payment:…@host:port/firstcome`.
    #[arg(long, env = "FIRSTCOME_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// The sandbox provider's own, as `postgres://fc_sandbox:…@host:port/firstcome`; nobody else's
    /// provider needs it.
    #[arg(long, env = "FIRSTCOME_SANDBOX_DATABASE_URL", hide_env_values = true)]
    pub sandbox_database_url: Option<SecretString>,
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        let (mut faults, databases) = match &self.command {
            Command::Serve(serve) => {
                let mut faults = serve.mesh.faults();
                faults.extend(serve.partner.faults());
                let has_sandbox = serve.databases.sandbox_database_url.is_some();
                if serve.partner.provider == ProviderKind::Sandbox && !has_sandbox {
                    faults.push("--provider sandbox needs --sandbox-database-url".to_owned());
                }
                (faults, &serve.databases)
            }
            Command::Migrate(databases) => (Vec::new(), databases),
            Command::Healthy(_) => return Vec::new(),
        };
        let addresses = [
            ("--database-url", Some(&databases.database_url)),
            ("--sandbox-database-url", databases.sandbox_database_url.as_ref()),
        ];
        let wrong = addresses
            .into_iter()
            .filter_map(|(flag, url)| Some((flag, url?)))
            .filter(|(_, url)| PgConnectOptions::from_str(url.expose_secret()).is_err())
            .map(|(flag, _)| format!("{flag} is not a postgres:// address"));
        faults.extend(wrong);
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(flags: &[&str]) -> String {
        let always = [
            "firstcome-payment",
            "serve",
            "--listen=127.0.0.1:0",
            "--database-url=postgres://fc_payment@127.0.0.1/firstcome",
        ];
        Config::parse_from(always.iter().chain(flags)).faults().join("\n")
    }

    #[test]
    fn what_a_provider_lacks_is_told_before_it_is_needed() {
        let database = "--sandbox-database-url=postgres://fc_sandbox@127.0.0.1/firstcome";
        let table: [(&[&str], &[&str]); 7] = [
            (&[database], &[]),
            (&[], &["needs --sandbox-database-url"]),
            (&["--provider=stripe"], &["needs --stripe-secret-key"]),
            (&["--provider=stripe", "--stripe-secret-key=sk_test_1"], &[]),
            (&[database, "--sandbox-webhook-url=localhost"], &["not an http://", "-secret"]),
            (
                &[database, "--sandbox-webhook-secret=short", "--stripe-webhook-secret=too"],
                &["--sandbox-webhook-secret wants", "--stripe-webhook-secret wants"],
            ),
            (
                &[database, "--stripe-base-url=ftp://x", "--stripe-secret-key=a\nb"],
                &["--stripe-base-url", "--stripe-secret-key is not a key"],
            ),
        ];
        for (flags, wants) in table {
            let faults = faults(flags);
            assert_eq!(faults.is_empty(), wants.is_empty(), "{flags:?}: {faults}");
            for want in wants {
                assert!(faults.contains(want), "{flags:?}: {faults}");
            }
        }
    }
}
