//! All SQL of this service. Each change is one statement that names the state it starts from, or
//! one transaction where several tables change together.

mod address;
mod attempt;
mod basket;
mod intake;
mod outbox;
mod reads;
mod row;
mod saga;
mod waiting;

use std::time::Duration;

use firstcome_postgres::{Pool, Settings, Trouble, broken_constraint};
use firstcome_vault::Vault;
use secrecy::SecretString;

pub use address::Resealed;
pub use attempt::{Begun, Finished, Placing};
pub use basket::Added;
pub use saga::Move;
pub use waiting::Waiting;

/// No statement here takes longer, unless it waits for a lock that nobody will give back.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The constraint that allows one payment per buyer at a time.
const ONE_PAYMENT_PER_USER: &str = "orders_one_payment_per_user";

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value, or a combination of them, that the schema does not take; the same statement
    /// without it may pass.
    #[error("postgres does not take a value: {0}")]
    Data(sqlx::Error),
    /// Postgres cannot be reached, is stopping, or lost this one to another transaction; the same
    /// statement may pass later.
    #[error("postgres is unavailable: {0}")]
    Unavailable(sqlx::Error),
    /// Anything else.
    #[error("postgres failed: {0}")]
    Fault(sqlx::Error),
}

impl Error {
    /// True when the buyer's other payment is in the way, which began in the same moment.
    pub fn is_another_payment(&self) -> bool {
        self.broke(ONE_PAYMENT_PER_USER)
    }

    /// True when a value was refused by this constraint.
    fn broke(&self, constraint: &str) -> bool {
        matches!(self, Self::Data(error) if broken_constraint(error) == Some(constraint))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match Trouble::of(&error) {
            Trouble::Data => Self::Data(error),
            Trouble::Passing => Self::Unavailable(error),
            Trouble::Fault => Self::Fault(error),
        }
    }
}

/// The rows of this service in Postgres. Clones share one pool.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    vault: Vault,
}

impl Store {
    /// Connects, with at most this many connections; personal data goes through the vault.
    pub async fn connect(
        url: &SecretString,
        connections_max: u32,
        vault: Vault,
    ) -> Result<Self, sqlx::Error> {
        let settings = Settings { connections_max, statement_timeout: STATEMENT_TIMEOUT };
        Ok(Self { pool: Pool::connect(url, settings).await?, vault })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
