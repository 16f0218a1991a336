//! A private Postgres: its cluster of databases, its process, its faults.
//!
//! Postgres refuses to run as root; then it runs as `postgres` or `nobody`, in a folder that is
//! given to that user.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use sqlx::Connection as _;

use crate::{
    checkout,
    database::{Database, Passwords},
    process::{Launch, Signal, User},
    runner::Runner,
    secret::{self, Secrets},
    tools::PostgresPrograms,
};

/// The administrator that initdb makes.
const ADMIN: &str = "postgres";
/// Sorting is by bytes, which indexes like best. What is a letter is asked of the one locale that
/// Debian and Ubuntu bring along and that knows more than ASCII, or no trigram would be found in
/// Hangul. Data that was made with C for both goes on as it is.
const LOCALE: [&str; 4] = ["--locale", "C", "--lc-ctype", "C.UTF-8"];
/// Making an empty cluster takes two seconds; a loaded machine takes its time.
const INIT_TIMEOUT: Duration = Duration::from_secs(120);
/// Recovery after a crash may have to replay what a long rush wrote.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A fast shutdown writes a checkpoint.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a starting server is asked.
const START_POLL: Duration = Duration::from_millis(20);
/// Services, two rushes and a test's pools together stay well below this.
const CONNECTIONS_MAX: u32 = 300;

/// Whether what is committed must survive, and who may log in.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Commits reach the disk; passwords come from these secrets.
    Kept(Secrets),
    /// For one test run: nothing is flushed, and whoever reaches the port gets in.
    Throwaway,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The programs.
    pub programs: PostgresPrograms,
    /// A folder of its own; reachable by [`runs_as`].
    pub folder: PathBuf,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Where it logs.
    pub log: PathBuf,
    /// What for.
    pub kind: Kind,
}

/// A running Postgres; dropping it kills it.
#[derive(Debug)]
pub struct Postgres {
    runner: Runner,
    port: u16,
    folder: PathBuf,
    admin_url: String,
    database: Database,
}

/// The user that Postgres runs as when it may not run as ours.
pub fn runs_as() -> Option<User> {
    let other = || User::named("postgres").or_else(|| User::named("nobody"));
    if User::is_root() { other() } else { None }
}

impl Postgres {
    /// Makes the cluster on first use, starts it, and prepares roles and schemas.
    pub async fn start(options: Options) -> Result<Self> {
        let user = runs_as();
        if User::is_root() && user.is_none() {
            bail!("postgres does not run as root, and there is no user postgres or nobody");
        }
        prepare_folder(&options.folder, user.as_ref())?;
        let (admin_password, passwords) = match &options.kind {
            Kind::Kept(secrets) => (secrets.get("postgres-admin")?, Passwords::kept(secrets)?),
            Kind::Throwaway => ("throwaway".to_owned(), Passwords::throwaway()),
        };
        init_if_empty(&options, user.as_ref(), &admin_password).await?;

        let admin_url = format!("postgres://{ADMIN}:{admin_password}@127.0.0.1:{}", options.port);
        let runner = Runner::new(launch(&options, user));
        runner.start().await?;
        wait_until_ready(&runner, &admin_url).await?;
        let database = Database::prepare(&admin_url, passwords).await?;
        let Options { port, folder, .. } = options;
        Ok(Self { runner, port, folder, admin_url, database })
    }

    /// The database inside.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the administrator logs in, without a database's name.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Its process number while it runs.
    pub async fn pid(&self) -> Option<u32> {
        self.runner.pid().await
    }

    /// An error when it has ended by itself.
    pub async fn ensure_running(&self) -> Result<()> {
        self.runner.ensure_running().await
    }

    /// Stops it: open transactions roll back, everything committed is on disk.
    pub async fn stop(&self) {
        self.runner.stop(Signal::INT, STOP_TIMEOUT).await;
    }

    /// Kills it at once; its children notice and follow.
    pub async fn kill9(&self) {
        self.runner.kill9().await;
    }

    /// Starts it again where its data is, and waits until it answers.
    pub async fn start_again(&self) -> Result<()> {
        self.runner.start().await?;
        wait_until_ready(&self.runner, &self.admin_url).await
    }

    /// Starts it again if it has ended by itself; true when it had.
    pub async fn revive(&self) -> Result<bool> {
        self.runner.revive().await
    }

    /// Stops it and starts it again.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await;
        self.start_again().await
    }
}

/// Gives the folder to the user that Postgres runs as, and to nobody else.
fn prepare_folder(folder: &Path, user: Option<&User>) -> Result<()> {
    checkout::create_private_folder(folder)
        .with_context(|| format!("create {}", folder.display()))?;
    let metadata = fs::symlink_metadata(folder)?;
    let Some(user) = user else { return Ok(()) };
    // In a folder like /var/tmp anybody may have made this name before us.
    if !metadata.is_dir() || ![0, user.uid].contains(&metadata.uid()) {
        bail!("{} belongs to somebody else; remove it", folder.display());
    }
    chown(folder, Some(user.uid), Some(user.gid))
        .with_context(|| format!("give {} to {}", folder.display(), user.name))
}

async fn init_if_empty(options: &Options, user: Option<&User>, password: &str) -> Result<()> {
    let data = options.folder.join("data");
    if data.join("PG_VERSION").exists() {
        return ensure_same_version(&data, &options.programs);
    }
    // A folder without its version is what an interrupted initdb left.
    if data.exists() {
        fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))?;
    }
    let password_file = options.folder.join("password");
    secret::write_private(&password_file, password)?;
    if let Some(user) = user {
        chown(&password_file, Some(user.uid), Some(user.gid))?;
    }
    let auth = match options.kind {
        Kind::Kept(_) => "scram-sha-256",
        Kind::Throwaway => "trust",
    };
    let made = Launch::new("initdb", options.programs.path("initdb"), &options.log)
        .args(["--username", ADMIN, "--auth", auth, "--encoding", "UTF8"])
        .args(LOCALE)
        // The first checkpoint flushes what matters; an interrupted one is made anew.
        .args(["--no-sync", "--no-instructions"])
        .arg_path("--pwfile", &password_file)
        .arg_path("--pgdata", &data)
        .env(options.programs.env())
        .folder(&options.folder)
        .user(user.cloned())
        .run(INIT_TIMEOUT)
        .await;
    fs::remove_file(&password_file)?;
    made
}

/// Data of another major version cannot be read; say so before Postgres does.
fn ensure_same_version(data: &Path, programs: &PostgresPrograms) -> Result<()> {
    let version = fs::read_to_string(data.join("PG_VERSION"))?;
    if version.trim() != programs.major.to_string() {
        bail!(
            "{} was made by Postgres {}, and {} is {}; `cargo xtask down --wipe` removes it",
            data.display(),
            version.trim(),
            programs.path("postgres").display(),
            programs.major,
        );
    }
    Ok(())
}

fn launch(options: &Options, user: Option<User>) -> Launch {
    let mut settings = vec![
        format!("port={}", options.port),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={CONNECTIONS_MAX}"),
        "shared_buffers=256MB".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "jit=off".to_owned(),
        "timezone=UTC".to_owned(),
    ];
    if matches!(options.kind, Kind::Throwaway) {
        // A commit still survives kill -9 of Postgres, which tests do; only not a power cut.
        settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
    }
    let settings = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
    Launch::new("postgres", options.programs.path("postgres"), &options.log)
        .arg_path("-D", &options.folder.join("data"))
        .args(settings)
        .env(options.programs.env())
        .folder(&options.folder)
        .user(user)
        // With QUIT it leaves no shared memory behind, and recovers on the next start.
        .death_signal("QUIT")
}

async fn wait_until_ready(runner: &Runner, admin_url: &str) -> Result<()> {
    let started = Instant::now();
    let url = format!("{admin_url}/postgres");
    loop {
        runner.ensure_running().await?;
        match sqlx::PgConnection::connect(&url).await {
            Ok(connection) => return Ok(connection.close().await?),
            Err(error) if started.elapsed() > START_TIMEOUT || !is_starting(&error) => {
                bail!("postgres does not let us in: {error}{}", runner.log_tail());
            }
            Err(_) => tokio::time::sleep(START_POLL).await,
        }
    }
}

/// Nobody listens yet, or recovery is under way; any other answer would stay the same.
fn is_starting(error: &sqlx::Error) -> bool {
    const CANNOT_CONNECT_NOW: &str = "57P03";
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == CANNOT_CONNECT_NOW),
        _ => true,
    }
}
