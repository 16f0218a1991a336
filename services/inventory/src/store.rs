//! All SQL of inventory. Conditional changes are one statement; what spans rows is one
//! transaction; rows that are waited for are locked in one order everywhere: holds by id, then
//! stock by SKU. Duties that claim rows of any product skip what is locked.

pub mod catalog;
pub mod epoch;
pub mod freeing;
pub mod ledger;

use std::time::Duration;

use firstcome_mesh::postgres::LOOKS_UP_BY_KEY;
use sqlx::{
    PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// A connection that is not free within this time means that Postgres is in trouble.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A statement that waits longer is in the way of a whole product, or of every product's expiry:
/// it fails as passing and comes again. Migrations may take longer.
const STATEMENT_TIMEOUT_MS: &str = "5000";

/// The schema, step by step.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The ledger and the catalogue.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// Connects at the first use, with at most this many connections.
    pub fn connect(url: &str, connections_max: u32) -> Result<Self, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(
                options
                    .options([("statement_timeout", STATEMENT_TIMEOUT_MS)])
                    .options(LOOKS_UP_BY_KEY),
            );
        Ok(Self { pool })
    }

    /// Brings the schema up to this binary's version, however long that takes.
    pub async fn migrate(url: &str) -> Result<(), sqlx::migrate::MigrateError> {
        MIGRATIONS.run(&PgPoolOptions::new().max_connections(1).connect(url).await?).await
    }

    /// True when Postgres answers.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query!("select 1 as one").fetch_one(&self.pool).await.map(drop)
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The name of the constraint that a statement broke, if that is why it failed.
fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|error| error.constraint())
}
