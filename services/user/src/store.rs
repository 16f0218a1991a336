//! Accounts, sessions and keys in Postgres: every statement of this service.

mod addresses;
mod keys;
mod letters;
mod mails;
mod revocations;

use std::time::Duration;

use firstcome_postgres::{Pool, Settings};
use firstcome_proto::{SessionId, UserId};
use secrecy::SecretString;
use sqlx::{Connection as _, postgres::types::PgInterval};
use uuid::Uuid;

use crate::{
    account::{Account, Email, Role, SignUp, SignUpId, State},
    error::Error,
    session::{RefreshToken, Session},
};

pub use addresses::{Entry, NewAddress};

/// No statement here takes longer, unless it waits for a lock that nobody will give back.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Users of one statement when seeding: arrays of a few megabytes.
const SEED_ROWS_MAX: usize = 5_000;

pub use keys::Rotation;
pub use revocations::Revoked;

/// The rows. Clones share one pool.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

/// A user made in bulk.
#[derive(Clone, Debug)]
pub struct Seeded {
    /// The user.
    pub user: UserId,
    /// Its address.
    pub email: String,
    /// Its one session, which cannot be refreshed.
    pub session: SessionId,
}

impl Store {
    /// Connects, with at most this many connections.
    pub async fn connect(url: &SecretString, connections_max: u32) -> Result<Self, sqlx::Error> {
        let settings = Settings { connections_max, statement_timeout: STATEMENT_TIMEOUT };
        Ok(Self { pool: Pool::connect(url, settings).await? })
    }

    /// Saves a sign-up in place of an unverified one; false when the address is taken for good.
    pub async fn sign_up(
        &self,
        id: SignUpId,
        signup: &SignUp,
        password_hash: &str,
    ) -> Result<bool, Error> {
        let saved = sqlx::query!(
            "insert into users (user_id, email, name, phone, password_hash, state, role, signup_id)
             values ($1, $2, $3, $4, $5, 'INACTIVE', 'USER', $6)
             on conflict (email) do update
                 set name = excluded.name, phone = excluded.phone,
                     password_hash = excluded.password_hash, signup_id = excluded.signup_id,
                     updated_at = clock_timestamp()
                 where users.state = 'INACTIVE'",
            Uuid::new_v4(),
            signup.email.as_str(),
            signup.name.as_str(),
            signup.phone.as_str(),
            password_hash,
            id.0
        )
        .execute(&self.pool)
        .await?;
        Ok(saved.rows_affected() == 1)
    }

    /// Activates the account of a sign-up, once or again; false when another sign-up stands there.
    pub async fn activate(&self, email: &Email, id: SignUpId) -> Result<bool, Error> {
        let active = sqlx::query!(
            "update users set state = 'ACTIVE', updated_at = clock_timestamp()
             where email = $1 and signup_id = $2 and state in ('INACTIVE', 'ACTIVE')",
            email.as_str(),
            id.0
        )
        .execute(&self.pool)
        .await?;
        Ok(active.rows_affected() == 1)
    }

    /// Reads the account of an address.
    pub async fn account(&self, email: &Email) -> Result<Option<Account>, Error> {
        let row = sqlx::query!(
            "select user_id, password_hash, state, role from users where email = $1",
            email.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Account {
            id: UserId(row.user_id),
            password_hash: row.password_hash,
            state: state(&row.state)?,
            role: role(&row.role)?,
        }))
    }

    /// Makes an active operator's account, or makes an account one.
    pub async fn create_admin(&self, email: &Email, password_hash: &str) -> Result<UserId, Error> {
        let id = sqlx::query_scalar!(
            "insert into users (user_id, email, name, password_hash, state, role, signup_id)
             values ($1, $2, 'Operator', $3, 'ACTIVE', 'ADMIN', $1)
             on conflict (email) do update
                 set password_hash = excluded.password_hash, state = 'ACTIVE', role = 'ADMIN',
                     signup_id = excluded.signup_id, updated_at = clock_timestamp()
             returning user_id",
            Uuid::new_v4(),
            email.as_str(),
            password_hash
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(UserId(id))
    }

    /// Opens a session with its first refresh token; one that is there is left as it is.
    pub async fn open_session(
        &self,
        user: UserId,
        first: &RefreshToken,
        ttl: Duration,
    ) -> Result<(), Error> {
        let hash = first.hash();
        sqlx::query!(
            "insert into sessions (session_id, user_id, generation, refresh_hash, expires_at)
             values ($1, $2, $3, $4, clock_timestamp() + $5)
             on conflict (session_id) do nothing",
            first.session.0,
            user.0,
            first.generation,
            hash.as_slice(),
            interval(ttl)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Reads a session; a rotation within `replay` counts as fresh.
    pub async fn session(&self, id: SessionId, replay: Duration) -> Result<Option<Session>, Error> {
        let row = sqlx::query!(
            r#"select sessions.user_id, users.role, users.state, generation, refresh_hash,
                      previous_hash, ended_at is not null as "ended!",
                      expires_at <= clock_timestamp() as "expired!",
                      coalesce(rotated_at > clock_timestamp() - $2::interval, false)
                          as "replayable!"
               from sessions join users on users.user_id = sessions.user_id
               where session_id = $1"#,
            id.0,
            interval(replay)
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Session {
            user: UserId(row.user_id),
            role: role(&row.role)?,
            user_state: state(&row.state)?,
            generation: row.generation,
            refresh_hash: row.refresh_hash,
            previous_hash: row.previous_hash,
            ended: row.ended,
            expired: row.expired,
            replayable: row.replayable,
        }))
    }

    /// Spends a refresh token for the next one; `None` when it is not, or no longer, the newest of
    /// a living session.
    pub async fn rotate(
        &self,
        spent: &RefreshToken,
        next: &RefreshToken,
        ttl: Duration,
    ) -> Result<Option<(UserId, Role)>, Error> {
        assert_eq!((spent.session, spent.generation + 1), (next.session, next.generation));
        let (spent_hash, next_hash) = (spent.hash(), next.hash());
        let row = sqlx::query!(
            "update sessions
             set generation = generation + 1, previous_hash = refresh_hash, refresh_hash = $4,
                 rotated_at = clock_timestamp(), last_used_at = clock_timestamp(),
                 expires_at = clock_timestamp() + $5
             from users
             where session_id = $1 and generation = $2 and refresh_hash = $3
               and ended_at is null and expires_at > clock_timestamp()
               and users.user_id = sessions.user_id and users.state in ('ACTIVE', 'DORMANT')
             returning sessions.user_id, users.role",
            spent.session.0,
            spent.generation,
            spent_hash.as_slice(),
            next_hash.as_slice(),
            interval(ttl)
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| Ok((UserId(row.user_id), role(&row.role)?))).transpose()
    }

    /// Ends a session whose spent refresh token came back.
    pub async fn end_reused(&self, token: &RefreshToken, replay: Duration) -> Result<bool, Error> {
        let ended = sqlx::query!(
            "update sessions set ended_at = clock_timestamp()
             where session_id = $1 and ended_at is null
               and (generation > $2::bigint + 1
                    or generation = $2 + 1 and rotated_at <= clock_timestamp() - $3::interval)",
            token.session.0,
            token.generation,
            interval(replay)
        )
        .execute(&self.pool)
        .await?;
        Ok(ended.rows_affected() == 1)
    }

    /// Ends a session of this user; one that has ended stays so.
    pub async fn end_session(&self, user: UserId, id: SessionId) -> Result<(), Error> {
        sqlx::query!(
            "update sessions set ended_at = clock_timestamp()
             where session_id = $1 and user_id = $2 and ended_at is null",
            id.0,
            user.0
        )
        .execute(&self.pool)
        .await?;
        Ok(())
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
            let emails: Vec<String> = users.iter().map(|seeded| seeded.email.clone()).collect();
            let sessions: Vec<Uuid> = users.iter().map(|seeded| seeded.session.0).collect();
            let mut lent = self.pool.acquire().await?;
            let mut transaction = lent.begin().await?;
            sqlx::query!(
                "insert into users
                     (user_id, email, name, phone, password_hash, state, role, signup_id)
                 select user_id, email, 'Seeded buyer', '+10000000000', $3, 'ACTIVE', 'USER', user_id
                 from unnest($1::uuid[], $2::text[]) as seeded (user_id, email)
                 on conflict (user_id) do update
                     set password_hash = excluded.password_hash, state = 'ACTIVE',
                         updated_at = clock_timestamp()",
                &ids,
                &emails,
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

fn role(name: &str) -> Result<Role, Error> {
    Role::from_name(name).ok_or_else(|| Error::internal("read an account's role", name))
}
