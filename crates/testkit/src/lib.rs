//! Real stores for tests: one private Postgres and one private Redis Cluster for each test binary,
//! started by the first test that asks, gone with the process.
//!
//! Tests share the stores and nothing in them: each takes its own database, and its own random
//! product ids in Redis.

use std::{
    collections::HashMap,
    fmt::Write as _,
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use firstcome_local::{self as local, Checkout, Postgres, RedisCluster, Role, checkout};
use sqlx::{
    Connection as _, PgPool,
    migrate::Migrator,
    postgres::{PgConnection, PgPoolOptions},
};
use tokio::sync::{Mutex, OnceCell, oneshot};

/// Enough for a test that commits in parallel, and a hundred such tests fit on one server.
const POOL_CONNECTIONS_MAX: u32 = 8;
/// How often a condition is looked at.
const CONDITION_POLL: Duration = Duration::from_millis(20);

/// How often a race is run: enough to see both ends of it, or as often as the environment says.
pub fn rounds() -> usize {
    const ROUNDS: usize = 20;
    let asked = std::env::var("FIRSTCOME_RACE_ROUNDS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

/// The stores of this test binary.
pub struct Stores {
    local: local::Stores,
    /// Migrated databases to copy, by schema and migrations.
    templates: Mutex<HashMap<String, String>>,
    databases_made: AtomicU32,
}

/// A database that belongs to one test.
pub struct TestDatabase {
    /// Logged in as the schema's owner.
    pub pool: PgPool,
    /// The same, for a program to log in.
    pub url: String,
}

/// The stores, started on first use.
pub async fn stores() -> &'static Stores {
    static STORES: OnceCell<Stores> = OnceCell::const_new();
    STORES.get_or_init(|| async { Stores::start_aside().await.expect("the stores start") }).await
}

/// Waits until a condition holds; fails the test when it does not by the deadline.
#[track_caller]
pub fn eventually<F, Fut>(deadline: Duration, condition: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let caller = std::panic::Location::caller();
    let mut condition = condition;
    async move {
        let started = Instant::now();
        while !condition().await {
            assert!(started.elapsed() < deadline, "not within {deadline:?} at {caller}");
            tokio::time::sleep(CONDITION_POLL).await;
        }
    }
}

impl Stores {
    /// The address of the Redis Cluster, in the form that the services read.
    pub fn redis_url(&self) -> &str {
        self.local.redis_url()
    }

    /// The Redis Cluster, to break it.
    pub fn redis(&self) -> &RedisCluster {
        self.local.redis().expect("the stores of tests are private")
    }

    /// The Postgres server, to break it.
    pub fn postgres(&self) -> &Postgres {
        self.local.postgres().expect("the stores of tests are private")
    }

    /// A fresh database, migrated in the schema of this name, as in `fc_order`. The migrations run
    /// once; each further database of theirs is a copy.
    pub async fn database(&self, schema: &str, migrations: &Migrator) -> TestDatabase {
        let role = Role::named(schema).expect("the schema of a service");
        let made = self.copy_of_template(role, migrations).await;
        let url = made.expect("a database is made and migrated");
        let options = PgPoolOptions::new().max_connections(POOL_CONNECTIONS_MAX);
        let pool = options.connect(&url).await.expect("a database accepts its owner");
        TestDatabase { pool, url }
    }

    /// Starts them on a runtime of their own: the one of the first test ends with that test.
    async fn start_aside() -> Result<Self> {
        let (sender, started) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let started = match runtime {
                Ok(runtime) => runtime.block_on(Self::start()),
                Err(error) => Err(error.into()),
            };
            // The first test may have given up; its stores are dropped, and stop.
            let _ = sender.send(started);
        });
        started.await.context("the thread that starts the stores panicked")?
    }

    async fn start() -> Result<Self> {
        let folder = checkout::create_throwaway_folder()?;
        let local = local::Stores::start_throwaway(&Checkout::here(), &folder, false).await?;
        let templates = Mutex::new(HashMap::new());
        Ok(Self { local, templates, databases_made: AtomicU32::new(0) })
    }

    async fn copy_of_template(&self, role: Role, migrations: &Migrator) -> Result<String> {
        let database = self.local.database();
        let mut server = database.connect_as_admin("postgres").await?;
        let template = self.template(&mut server, role, migrations).await?;
        let name = format!("test_{}", self.databases_made.fetch_add(1, Ordering::Relaxed));
        database.create(&mut server, &name, Some(&template)).await?;
        server.close().await?;
        Ok(database.url_of(role, &name))
    }

    async fn template(
        &self,
        server: &mut PgConnection,
        role: Role,
        migrations: &Migrator,
    ) -> Result<String> {
        let mut key = role.name().to_owned();
        for migration in migrations.iter() {
            write!(key, " {:?}", migration.checksum)?;
        }
        // Held while migrating: a second test that wants the same one waits for it.
        let mut templates = self.templates.lock().await;
        if let Some(name) = templates.get(&key) {
            return Ok(name.clone());
        }
        let name = format!("template_{}", templates.len());
        let database = self.local.database();
        database.create(server, &name, None).await?;
        database.prepare_schemas(&name).await?;
        let mut connection = PgConnection::connect(&database.url_of(role, &name)).await?;
        migrations.run_direct(None, &mut connection, false).await.context("migrate a template")?;
        // Nobody may be connected to a database that is copied.
        connection.close().await?;
        templates.insert(key, name.clone());
        Ok(name)
    }
}
