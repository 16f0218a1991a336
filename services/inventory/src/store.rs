//! All SQL of inventory. Conditional changes are one statement; what spans rows is one
//! transaction; rows that are waited for are locked in one order everywhere: the product, holds by
//! id, then stock by SKU. Duties that claim rows of any product skip what is locked.

pub mod catalog;
pub mod edits;
mod likes;
mod lists;

pub mod epoch;
pub mod freeing;
pub mod ledger;
pub mod standing;

use std::time::Duration;

use firstcome_postgres::{Pool, Settings};
use secrecy::SecretString;
use sqlx::migrate::{MigrateError, Migrator};

/// A statement that waits longer is in the way of a whole product, or of every product's expiry:
/// it fails as passing and comes again. Migrations may take longer.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The schema, step by step.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The ledger and the catalogue.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// Connects, with at most this many connections.
    pub async fn connect(url: &SecretString, connections_max: u32) -> Result<Self, sqlx::Error> {
        let settings = Settings { connections_max, statement_timeout: STATEMENT_TIMEOUT };
        Ok(Self { pool: Pool::connect(url, settings).await? })
    }

    /// Brings the schema up to this binary's version, however long that takes.
    pub async fn migrate(url: &SecretString) -> Result<(), MigrateError> {
        Pool::migrate(url, &MIGRATIONS).await
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
