//! Accounts: how their owners prove themselves, where they stand.

use std::time::Duration;

use firstcome_proto::UserId;
use sqlx::Connection as _;
use uuid::Uuid;

use super::{
    Store, interval, language,
    letters::save_with,
    role, sealing,
    sessions::{Ending, end_sessions},
    state,
};
use crate::{
    account::{Account, Email, State},
    error::Error,
    outbox::Sealed,
};

impl Store {
    /// Reads the account of an address.
    pub async fn account(&self, email: &Email) -> Result<Option<Account>, Error> {
        let row = sqlx::query!(
            "select user_id, password_hash, state, role, language
             from users where email_index = $1",
            self.email_index(email)
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Account {
            id: UserId(row.user_id),
            email: email.clone(),
            password_hash: row.password_hash,
            state: state(&row.state)?,
            role: role(&row.role)?,
            language: language(&row.language)?,
        }))
    }

    /// Reads an account that is still there.
    pub async fn account_of(&self, user: UserId) -> Result<Option<Account>, Error> {
        let row = sqlx::query!(
            r#"select email_sealed as "email_sealed!", password_hash, state, role, language
               from users
               where user_id = $1 and state <> 'DELETED' and email_sealed is not null"#,
            user.0
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Account {
            id: user,
            email: self.open_email(user.0, &row.email_sealed)?,
            password_hash: row.password_hash,
            state: state(&row.state)?,
            role: role(&row.role)?,
            language: language(&row.language)?,
        }))
    }

    /// Puts a password in the place of one that was looked at, ends sessions, and posts the letter
    /// that tells of it; false when another has come meanwhile, or the account is gone.
    pub async fn set_password(
        &self,
        user: UserId,
        replaced_hash: &str,
        password_hash: &str,
        ending: Ending,
        letter: &Sealed,
    ) -> Result<bool, Error> {
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        let set = sqlx::query!(
            "update users set password_hash = $3, updated_at = clock_timestamp()
             where user_id = $1 and password_hash = $2 and state <> 'DELETED'",
            user.0,
            replaced_hash,
            password_hash
        )
        .execute(&mut *transaction)
        .await?;
        let is_set = set.rows_affected() == 1;
        if is_set {
            // A statement of its own: it sees the session of a log-in that the first waited for.
            end_sessions(&mut transaction, user, ending).await?;
            save_with(&mut transaction, std::slice::from_ref(letter)).await?;
        }
        transaction.commit().await?;
        lent.give_back();
        Ok(is_set)
    }

    /// Bans an account, which ends its sessions, or lets it in again.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::WrongState`] for one that is not verified or is deleted.
    pub async fn set_state(&self, user: UserId, wanted: State) -> Result<(), Error> {
        assert!(matches!(wanted, State::Active | State::Banned), "an operator sets these two");
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        let set = sqlx::query!(
            "update users set state = $2, updated_at = clock_timestamp()
             where user_id = $1 and state in ('ACTIVE', 'DORMANT', 'BANNED')",
            user.0,
            wanted.name()
        )
        .execute(&mut *transaction)
        .await?;
        if set.rows_affected() == 0 {
            let found = sqlx::query_scalar!("select state from users where user_id = $1", user.0)
                .fetch_optional(&mut *transaction)
                .await?;
            transaction.rollback().await?;
            lent.give_back();
            return Err(match found {
                Some(found) => Error::WrongState(state(&found)?),
                None => Error::NotFound("account"),
            });
        }
        if wanted == State::Banned {
            end_sessions(&mut transaction, user, Ending::All).await?;
        }
        transaction.commit().await?;
        lent.give_back();
        Ok(())
    }

    /// Erases an account whose password was looked at; false when another password has come
    /// meanwhile. One that is gone stays so. The row remains, for what refers to it.
    pub async fn delete(&self, user: UserId, password_hash: &str) -> Result<bool, Error> {
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        // Before the row loses its index: somebody may have signed up in its name. What they are
        // told of it afterwards is what they are told when somebody else has signed up since.
        sqlx::query!(
            "delete from decoy_sign_ups using users
             where users.user_id = $1 and users.password_hash = $2
               and decoy_sign_ups.email_index = users.email_index",
            user.0,
            password_hash
        )
        .execute(&mut *transaction)
        .await?;
        // `!` is the hash of no password.
        let deleted = sqlx::query!(
            "update users
             set state = 'DELETED', password_hash = '!', email = null, name = null, phone = null,
                 email_sealed = null, email_index = null, name_sealed = null, phone_sealed = null,
                 greeting_sealed = null, image_url_sealed = null, language = 'en',
                 updated_at = clock_timestamp()
             where user_id = $1 and password_hash = $2 and state <> 'DELETED'",
            user.0,
            password_hash
        )
        .execute(&mut *transaction)
        .await?;
        let is_deleted = deleted.rows_affected() == 1;
        if is_deleted {
            // Each table that keeps something personal of its owner is emptied here; the end of a
            // session erases what it tells of its device.
            end_sessions(&mut transaction, user, Ending::All).await?;
            self.erase_addresses(&mut *transaction, user).await?;
        }
        transaction.commit().await?;
        lent.give_back();
        Ok(is_deleted)
    }

    /// Makes accounts dormant that nobody has used for long, at most this many, and moves on those
    /// whose last log-in is as old although a session of theirs is in use; gives how many it looked
    /// at. What another replica looks at, or a log-in changes, is skipped.
    pub async fn put_to_sleep(&self, unused_for: Duration, count_max: i64) -> Result<u64, Error> {
        let looked_at = sqlx::query!(
            "with unused as materialized (
                 select user_id from users
                 where state = 'ACTIVE'
                   and coalesce(last_login_at, created_at) < clock_timestamp() - $1::interval
                 order by coalesce(last_login_at, created_at) limit $2
                 for update skip locked
             ), used as materialized (
                 select unused.user_id, max(sessions.last_used_at) as last_used_at
                 from unused left join sessions on sessions.user_id = unused.user_id
                 group by unused.user_id
             )
             update users
             set state = case when used.last_used_at >= clock_timestamp() - $1::interval
                     then 'ACTIVE' else 'DORMANT' end,
                 last_login_at = greatest(users.last_login_at, used.last_used_at),
                 updated_at = clock_timestamp()
             from used where users.user_id = used.user_id",
            interval(unused_for),
            count_max
        )
        .execute(&self.pool)
        .await?;
        Ok(looked_at.rows_affected())
    }

    /// Makes an active operator's account, or makes an account one; whoever was in it must come in
    /// again, with the operator's password.
    pub async fn create_admin(&self, email: &Email, password_hash: &str) -> Result<UserId, Error> {
        let new = Uuid::new_v4();
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        let id = sqlx::query_scalar!(
            "insert into users (user_id, email_sealed, email_index, name_sealed, password_hash,
                                state, role, signup_id)
             values ($1, $2, $3, $4, $5, 'ACTIVE', 'ADMIN', $1)
             on conflict (email_index) do update
                 set password_hash = excluded.password_hash, state = 'ACTIVE', role = 'ADMIN',
                     signup_id = excluded.signup_id, updated_at = clock_timestamp()
             returning user_id",
            new,
            self.seal(sealing::EMAIL, new, email.as_str()),
            self.email_index(email),
            self.seal(sealing::NAME, new, "Operator"),
            password_hash
        )
        .fetch_one(&mut *transaction)
        .await?;
        end_sessions(&mut transaction, UserId(id), Ending::All).await?;
        transaction.commit().await?;
        lent.give_back();
        Ok(UserId(id))
    }
}
