//! What the process is told: flags, or the environment variables named beside them.

use std::{path::PathBuf, str::FromStr as _, time::Duration};

use clap::{Args, Parser, Subcommand};
use firstcome_mesh::{
    config::{Logs, Serve as Mesh, Validate},
    server::probes::Healthy,
};
use firstcome_vault::{DataKeys, Index, Vault};
use lettre::message::Mailbox;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

use crate::{
    account::{Email, Password},
    mail::Server,
};

/// Log-ins are bounded by password hashing long before they are by connections.
const CONNECTIONS_DEFAULT: u32 = 8;
/// How long a stolen access token is good for, and how often honest clients refresh.
const ACCESS_TOKEN_TTL_DEFAULT: &str = "10m";
/// How long a device may stay away and still be logged in.
const REFRESH_TOKEN_TTL_DEFAULT: &str = "14d";
/// How long a client has to ask again after it lost the answer to a refresh.
const REFRESH_REPLAY_DEFAULT: &str = "30s";
/// How long a mailed code lives: long enough to open a mailbox.
const CODE_TTL_DEFAULT: &str = "3m";
/// How long an address is left alone between two codes that its reader asked for.
const CODE_COOLDOWN_DEFAULT: &str = "60s";
/// How long an account may stay unused before it is dormant.
const DORMANT_AFTER_DEFAULT: &str = "365d";
/// Who the mails are from.
const MAIL_FROM_DEFAULT: &str = "firstcome <no-reply@firstcome.example>";
/// Shorter secrets can be guessed.
const REFRESH_SECRET_BYTES_MIN: usize = 32;

/// firstcome-user: accounts, sessions, tokens.
#[derive(Parser, Debug)]
#[command(name = "firstcome-user", version)]
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
    /// Bring the schema up to date, seal what the last release left in the clear, and exit.
    Migrate(Upkeep),
    /// Make the key that signs access tokens from ten seconds later on, and print its id.
    RotateSigningKey(Upkeep),
    /// Seal anew, while others serve, all personal data that is under another than the first of the
    /// data keys; print how many fields that were, and exit.
    RotateKeys(Upkeep),
    /// Make an operator's account, or make an account an operator's, and print its id.
    CreateAdmin(CreateAdmin),
    /// Make verified users in bulk and write their access tokens. Development only.
    Seed(Seed),
    /// Ask the one that serves here whether it is ready; the exit code says so.
    Healthy(Healthy),
}

/// Where the rows are.
#[derive(Args, Clone, Debug)]
pub struct Database {
    /// As `postgres://fc_user:…@host:port/firstcome`.
    #[arg(long, env = "FIRSTCOME_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
}

/// What opens the rows.
#[derive(Args, Clone, Debug)]
pub struct Keys {
    /// What personal data is sealed with.
    #[command(flatten)]
    pub data_keys: DataKeys,
    /// What an account is found by its address with, and a key's second use told from its first: 64
    /// hex digits, as `openssl rand -hex 32` makes them. Under another one nobody is found.
    #[arg(long, env = "FIRSTCOME_INDEX_KEY", hide_env_values = true)]
    pub index_key: SecretString,
}

impl Keys {
    /// Seals and opens.
    pub fn vault(&self) -> Vault {
        Vault::new(&self.data_keys.keyring().expect("the configuration was checked"))
    }

    /// Finds.
    pub fn index(&self) -> Index {
        Index::new(&self.index_key).expect("the configuration was checked")
    }
}

/// What `migrate` and `rotate-keys` need.
#[derive(Args, Clone, Debug)]
pub struct Upkeep {
    /// Where the rows are.
    #[command(flatten)]
    pub database: Database,
    /// What opens them.
    #[command(flatten)]
    pub keys: Keys,
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
    /// What opens them.
    #[command(flatten)]
    pub keys: Keys,
    /// Connections to the database, at most.
    #[arg(long, env = "FIRSTCOME_DATABASE_CONNECTIONS", default_value_t = CONNECTIONS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_connections: u32,
    /// Where the mailed codes are kept, as `redis-cluster://host:port?node=host:port&node=…`.
    #[arg(long, env = "FIRSTCOME_REDIS_URL", hide_env_values = true)]
    pub redis_url: SecretString,

    /// How mail leaves.
    #[command(flatten)]
    pub mail: Mail,
    /// How long a mailed code lives.
    #[arg(long, env = "FIRSTCOME_CODE_TTL", default_value = CODE_TTL_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub code_ttl: Duration,
    /// How long an address is left alone between two codes that its reader asked for.
    #[arg(long, env = "FIRSTCOME_CODE_COOLDOWN", default_value = CODE_COOLDOWN_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub code_cooldown: Duration,
    /// How long an account may stay unused before it is dormant; longer than a refresh token lives.
    #[arg(long, env = "FIRSTCOME_DORMANT_AFTER", default_value = DORMANT_AFTER_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub dormant_after: Duration,

    /// How long an access token lives. Who shortens a life of more than an hour leaves tokens out
    /// that outlive what edges know of ended sessions.
    #[arg(long, env = "FIRSTCOME_ACCESS_TOKEN_TTL", default_value = ACCESS_TOKEN_TTL_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub access_token_ttl: Duration,
    /// How long a refresh token lives.
    #[arg(long, env = "FIRSTCOME_REFRESH_TOKEN_TTL", default_value = REFRESH_TOKEN_TTL_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub refresh_token_ttl: Duration,
    /// How long a spent refresh token gives the same answer again.
    #[arg(long, env = "FIRSTCOME_REFRESH_REPLAY", default_value = REFRESH_REPLAY_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub refresh_replay: Duration,
    /// What refresh tokens are derived from, at least 32 bytes; without it, one is made and kept
    /// in the database, sealed. Another one logs everybody out.
    #[arg(long, env = "FIRSTCOME_REFRESH_SECRET", hide_env_values = true)]
    pub refresh_secret: Option<SecretString>,
}

/// Over SMTP, or else into a folder.
#[derive(Args, Clone, Debug)]
pub struct Mail {
    /// A mail server, as `smtps://user:password@host:465` or `smtp://host:587?tls=required`, with
    /// the name to greet it with behind, if need be, as in `smtps://host/shop.example`. To this
    /// machine itself, and where `tls=none` says so, smtp:// goes in the clear.
    #[arg(long, env = "FIRSTCOME_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<SecretString>,
    /// A PEM file of the authorities that vouch for the mail server, in place of the public ones.
    /// Without TLS to a mail server there is nothing to vouch for.
    #[arg(long, env = "FIRSTCOME_SMTP_AUTHORITY")]
    pub smtp_authority: Option<PathBuf>,
    /// Without a mail server: a folder that gets one file for each mail. With one, it gets none.
    #[arg(long, env = "FIRSTCOME_MAIL_DIR")]
    pub mail_dir: Option<PathBuf>,
    /// Who the mails are from.
    #[arg(long, env = "FIRSTCOME_MAIL_FROM", default_value = MAIL_FROM_DEFAULT)]
    pub mail_from: Mailbox,
}

impl Mail {
    /// The mail server, if there is one, or what is wrong with it.
    pub fn server(&self) -> Option<Result<Server, String>> {
        let url = self.smtp_url.as_ref()?;
        Some(Server::read(url.expose_secret(), self.smtp_authority.as_deref()))
    }
}

/// What `create-admin` needs.
#[derive(Args, Clone, Debug)]
pub struct CreateAdmin {
    /// Where the rows are.
    #[command(flatten)]
    pub database: Database,
    /// What opens them.
    #[command(flatten)]
    pub keys: Keys,
    /// Whose account.
    #[arg(long, env = "FIRSTCOME_ADMIN_EMAIL")]
    pub email: String,
    /// Its password from now on.
    #[arg(long, env = "FIRSTCOME_ADMIN_PASSWORD", hide_env_values = true)]
    pub password: SecretString,
}

/// What `seed` needs.
#[derive(Args, Clone, Debug)]
pub struct Seed {
    /// Where the rows are.
    #[command(flatten)]
    pub database: Database,
    /// What opens them.
    #[command(flatten)]
    pub keys: Keys,
    /// Without this, nothing is seeded.
    #[arg(long, env = "FIRSTCOME_DEVELOPMENT", default_value_t = false, num_args = 0..=1,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub development: bool,
    /// How many users.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Where to write one JSON object a line: `user_id`, `email`, `access_token`.
    #[arg(long)]
    pub out: PathBuf,
    /// The users are `<prefix>-0@seed.firstcome.example`, `<prefix>-1@…` and so on; the same ones
    /// again when they are there already.
    #[arg(long, default_value = "buyer")]
    pub prefix: String,
    /// How long the tokens live.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    pub token_ttl: Duration,
    /// The password of all of them, to log one in by hand.
    #[arg(long, default_value = "Seeded-buyer-1", hide_default_value = true)]
    pub password: SecretString,
    /// Make nobody: only sign new tokens for users who are there.
    #[arg(long)]
    pub sign_only: bool,
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let (database, keys) = match &self.command {
            Command::Migrate(upkeep)
            | Command::RotateSigningKey(upkeep)
            | Command::RotateKeys(upkeep) => (&upkeep.database, &upkeep.keys),
            Command::Serve(serve) => {
                faults.extend(serve.faults());
                (&serve.database, &serve.keys)
            }
            Command::Healthy(_) => return Vec::new(),
            Command::CreateAdmin(admin) => {
                faults.extend(admin.faults());
                (&admin.database, &admin.keys)
            }
            Command::Seed(seed) => {
                faults.extend(seed.faults());
                (&seed.database, &seed.keys)
            }
        };
        faults.extend(keys.faults());
        if PgConnectOptions::from_str(database.database_url.expose_secret()).is_err() {
            faults.push("--database-url is not a postgres:// address".into());
        }
        faults
    }
}

impl Validate for Keys {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.data_keys.faults();
        if let Err(fault) = Index::new(&self.index_key) {
            faults.push(format!("--index-key: {fault}"));
        }
        faults
    }
}

impl Validate for Serve {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.mesh.faults();
        if !self.redis_url.expose_secret().starts_with("redis-cluster://") {
            faults.push("--redis-url is not a redis-cluster:// address".into());
        }
        match self.mail.server() {
            Some(server) => faults.extend(server.err()),
            None => {
                if self.mail.mail_dir.is_none() {
                    faults.push("either --smtp-url or --mail-dir says how mail leaves".into());
                }
                if self.mail.smtp_authority.is_some() {
                    faults.push("--smtp-authority vouches for nobody without --smtp-url".into());
                }
            }
        }
        let secret = self.refresh_secret.as_ref().map(|secret| secret.expose_secret());
        if secret.is_some_and(|secret| secret.len() < REFRESH_SECRET_BYTES_MIN) {
            faults.push("--refresh-secret is shorter than 32 bytes".into());
        }
        for (flag, span) in [
            ("--code-ttl", self.code_ttl),
            ("--access-token-ttl", self.access_token_ttl),
            ("--refresh-token-ttl", self.refresh_token_ttl),
        ] {
            if span < Duration::from_millis(1) {
                faults.push(format!("{flag} is too short"));
            }
        }
        if self.dormant_after <= self.refresh_token_ttl {
            faults.push("--dormant-after is not longer than --refresh-token-ttl".into());
        }
        faults
    }
}

impl Validate for CreateAdmin {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if Email::from_field("email", &self.email).is_err() {
            faults.push("--email is not an address".into());
        }
        if Password::new("password", self.password.clone()).is_err() {
            faults.push(
                "--password wants 8 to 128 characters with a letter, a digit and a special one"
                    .into(),
            );
        }
        faults
    }
}

impl Validate for Seed {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.development {
            faults.push(
                "seed makes accounts that anybody can enter, so it runs only with \
                 FIRSTCOME_DEVELOPMENT=true"
                    .into(),
            );
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.bytes().all(plain) {
            faults.push("--prefix wants 1 to 32 lower-case letters and digits".into());
        }
        if Password::new("password", self.password.clone()).is_err() {
            faults.push(
                "--password wants 8 to 128 characters with a letter, a digit and a special one"
                    .into(),
            );
        }
        faults
    }
}
