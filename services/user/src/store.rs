//! Accounts, sessions and keys in Postgres: every statement of this service. Personal data is
//! sealed on its way in and opened on its way out: letters in `outbox.rs`, addresses of books in
//! `address_book.rs`, everything else here.

mod accounts;
mod addresses;
pub mod backlog;
mod clear;
mod keys;
mod letters;
mod mails;
mod profile;
mod revocations;
mod sealing;
mod sessions;
mod sign_ups;

use std::time::Duration;

use firstcome_postgres::{Pool, Settings};
use firstcome_proto::{SessionId, UserId};
use firstcome_vault::{Index, Vault};
use secrecy::SecretString;
use sqlx::{Connection as _, postgres::types::PgInterval};
use uuid::Uuid;

use crate::{
    account::{Email, Role, State},
    config::Keys,
    error::Error,
    language::Language,
};

pub use addresses::{ADDRESS_KEYS_KEPT, Entry, NewAddress};
pub use keys::Rotation;
pub use revocations::Revoked;
pub use sealing::{BOOK_ADDRESS, LETTER, Resealed, SEALED};
pub use sessions::Ending;
pub use sign_ups::{Credentials, SignedUp};

/// No statement here takes longer, unless it waits for a lock that nobody will give back.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Users of one statement when seeding: arrays of a few megabytes.
const SEED_ROWS_MAX: usize = 5_000;
/// What seeded users are called, and a number that is nobody's.
const SEEDED_NAME: &str = "Seeded buyer";
const SEEDED_PHONE: &str = "+10000000000";

/// The rows. Clones share one pool.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    vault: Vault,
    index: Index,
}

/// A user made in bulk.
#[derive(Clone, Debug)]
pub struct Seeded {
    /// The user.
    pub user: UserId,
    /// Its address.
    pub email: Email,
    /// Its one session, which cannot be refreshed.
    pub session: SessionId,
}

impl Store {
    /// Connects, with at most this many connections.
    pub async fn connect(
        url: &SecretString,
        keys: &Keys,
        connections_max: u32,
    ) -> Result<Self, sqlx::Error> {
        let settings = Settings { connections_max, statement_timeout: STATEMENT_TIMEOUT };
        let pool = Pool::connect(url, settings).await?;
        Ok(Self { pool, vault: keys.vault(), index: keys.index() })
    }

    /// Makes active users and their sessions, or brings them back as they were made.
    pub async fn seed(
        &self,
        users: &[Seeded],
        password_hash: &str,
        session_ttl: Duration,
    ) -> Result<(), Error> {
        for users in users.chunks(SEED_ROWS_MAX) {
            let ids: Vec<Uuid> = users.iter().map(|seeded| seeded.user.0).collect();
            let sealed = |column, text: fn(&Seeded) -> &str| -> Vec<Vec<u8>> {
                users.iter().map(|it| self.seal(column, it.user.0, text(it))).collect()
            };
            let emails = sealed(sealing::EMAIL, |seeded| seeded.email.as_str());
            let names = sealed(sealing::NAME, |_| SEEDED_NAME);
            let phones = sealed(sealing::PHONE, |_| SEEDED_PHONE);
            let indexes: Vec<Vec<u8>> =
                users.iter().map(|seeded| self.email_index(&seeded.email)).collect();
            let sessions: Vec<Uuid> = users.iter().map(|seeded| seeded.session.0).collect();
            let mut lent = self.pool.acquire().await?;
            let mut transaction = lent.begin().await?;
            sqlx::query!(
                "insert into users (user_id, email_sealed, email_index, name_sealed, phone_sealed,
                                    password_hash, state, role, signup_id)
                 select user_id, email, email_index, name, phone, $6, 'ACTIVE', 'USER', user_id
                 from unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[])
                     as seeded (user_id, email, email_index, name, phone)
                 on conflict (user_id) do update
                     set email_sealed = excluded.email_sealed, email_index = excluded.email_index,
                         name_sealed = excluded.name_sealed, phone_sealed = excluded.phone_sealed,
                         email = null, name = null, phone = null,
                         password_hash = excluded.password_hash, state = 'ACTIVE',
                         updated_at = clock_timestamp()",
                &ids,
                &emails,
                &indexes,
                &names,
                &phones,
                password_hash
            )
            .execute(&mut *transaction)
            .await?;
            // No token has this hash: these sessions cannot be refreshed.
            sqlx::query!(
                "insert into sessions (session_id, user_id, refresh_hash, expires_at)
                 select session_id, user_id, decode(repeat('00', 32), 'hex'),
                        clock_timestamp() + $3
                 from unnest($1::uuid[], $2::uuid[]) as seeded (session_id, user_id)
                 on conflict (session_id) do update
                     set expires_at = excluded.expires_at, ended_at = null,
                         last_used_at = clock_timestamp()",
                &sessions,
                &ids,
                interval(session_ttl)
            )
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            lent.give_back();
        }
        Ok(())
    }

    /// How many of these users are there.
    pub async fn count_seeded(&self, users: &[Seeded]) -> Result<usize, Error> {
        let ids: Vec<Uuid> = users.iter().map(|seeded| seeded.user.0).collect();
        let count = sqlx::query_scalar!(
            r#"select count(*) as "count!" from users where user_id = any($1)"#,
            &ids
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Microseconds are Postgres's own resolution. Longer spans than it knows are nobody's intention.
fn interval(span: Duration) -> PgInterval {
    let microseconds = i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 1_000);
    PgInterval { months: 0, days: 0, microseconds }
}

fn state(name: &str) -> Result<State, Error> {
    State::from_name(name).ok_or_else(|| Error::internal("read an account's state", name))
}

fn language(word: &str) -> Result<Language, Error> {
    Language::from_word(word).ok_or_else(|| Error::internal("read an account's language", word))
}

fn role(name: &str) -> Result<Role, Error> {
    Role::from_name(name).ok_or_else(|| Error::internal("read an account's role", name))
}
