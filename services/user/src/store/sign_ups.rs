//! Sign-ups, until they are verified, and what is kept for those that never can be.

use std::time::Duration;

use firstcome_proto::UserId;
use uuid::Uuid;

use super::{Store, interval, language, role, sealing, state};
use crate::{
    account::{Account, Email, SignUp, SignUpId, State},
    code::Subject,
    error::Error,
    language::Language,
};

/// What a log-in may turn out to be.
pub struct Credentials {
    /// The verified account of the address.
    pub account: Option<Account>,
    /// The hash of the password of a sign-up that waits for its code, or of a decoy.
    pub unverified_hash: Option<String>,
}

/// A sign-up that is saved.
pub struct SignedUp {
    /// What its code is mailed for.
    pub subject: Subject,
    /// What the owner of the address speaks, where it is taken for good: then this is a decoy.
    pub owner: Option<Language>,
}

impl Store {
    /// Saves a sign-up, in place of an unverified one; of an address that is taken for good, as a
    /// decoy. Either way it is one statement that writes one row.
    ///
    /// The newer of two takes the other's row with an id of its own, which its fields are sealed
    /// for. So nothing may refer to an account that nobody has verified; nothing can, since nobody
    /// is let in there.
    pub async fn sign_up(
        &self,
        id: SignUpId,
        signup: &SignUp,
        password_hash: &str,
    ) -> Result<SignedUp, Error> {
        let user = Uuid::new_v4();
        let row = sqlx::query!(
            r#"with stands as (
                 insert into users (user_id, email_sealed, email_index, name_sealed, phone_sealed,
                                    password_hash, state, role, signup_id, language)
                 values ($1, $2, $3, $4, $5, $6, 'INACTIVE', 'USER', $7, $8)
                 on conflict (email_index) do update
                     set user_id = excluded.user_id, email_sealed = excluded.email_sealed,
                         name_sealed = excluded.name_sealed, phone_sealed = excluded.phone_sealed,
                         password_hash = excluded.password_hash, signup_id = excluded.signup_id,
                         language = excluded.language,
                         created_at = clock_timestamp(), updated_at = clock_timestamp()
                     where users.state = 'INACTIVE'
                 returning updated_at
             ), decoy as (
                 insert into decoy_sign_ups (email_index, signup_id, password_hash)
                 select $3, $7, $6 where not exists (select from stands)
                 on conflict (email_index) do update
                     set signup_id = excluded.signup_id, password_hash = excluded.password_hash,
                         created_at = clock_timestamp()
                 returning created_at
             ), saved as (
                 select updated_at as since, null as owner from stands
                 union all
                 -- An operator may have taken the address since this statement began.
                 select created_at, coalesce(
                     (select language from users where email_index = $3), $8) from decoy
             )
             select (extract(epoch from since) * 1000000)::bigint as "since!", owner from saved"#,
            user,
            self.seal(sealing::EMAIL, user, signup.email.as_str()),
            self.email_index(&signup.email),
            self.seal(sealing::NAME, user, signup.name.as_str()),
            self.seal(sealing::PHONE, user, signup.phone.as_str()),
            password_hash,
            id.0,
            signup.language.word()
        )
        .fetch_one(&self.pool)
        .await?;
        let owner = row.owner.as_deref().map(language).transpose()?;
        Ok(SignedUp { subject: Subject { id: id.0, since: row.since }, owner })
    }

    /// The sign-up that waits for its code, and the language of its letters; a decoy has none.
    pub async fn unverified(
        &self,
        email: &Email,
    ) -> Result<Option<(Subject, Option<Language>)>, Error> {
        let row = sqlx::query!(
            r#"with waiting as (
                 select signup_id, language from users
                 where email_index = $1 and state = 'INACTIVE'
                 union all
                 select signup_id, null from decoy_sign_ups where email_index = $1
             )
             select signup_id as "signup_id!", language,
                    (extract(epoch from clock_timestamp()) * 1000000)::bigint as "since!"
             from waiting order by language nulls last limit 1"#,
            self.email_index(email)
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let subject = Subject { id: row.signup_id, since: row.since };
        Ok(Some((subject, row.language.as_deref().map(language).transpose()?)))
    }

    /// Activates the account of a sign-up, once or again; false when another sign-up stands there.
    pub async fn activate(&self, email: &Email, id: SignUpId) -> Result<bool, Error> {
        let active = sqlx::query!(
            "update users set state = 'ACTIVE', updated_at = clock_timestamp()
             where email_index = $1 and signup_id = $2 and state in ('INACTIVE', 'ACTIVE')",
            self.email_index(email),
            id.0
        )
        .execute(&self.pool)
        .await?;
        Ok(active.rows_affected() == 1)
    }

    /// What a password for an address may be right for. Every address has one row here.
    pub async fn credentials(&self, email: &Email) -> Result<Credentials, Error> {
        let row = sqlx::query!(
            r#"select user_id as "user_id?", users.password_hash as "password_hash?",
                      state as "state?", role as "role?", language as "language?",
                      decoy.password_hash as "decoy_hash?"
               from (select $1::bytea as email_index) as wanted
               left join users on users.email_index = wanted.email_index
               left join decoy_sign_ups as decoy on decoy.email_index = wanted.email_index"#,
            self.email_index(email)
        )
        .fetch_one(&self.pool)
        .await?;
        let of_users = (row.user_id, row.password_hash, row.state, row.role, row.language);
        let (Some(id), Some(password_hash), Some(stands), Some(of), Some(word)) = of_users else {
            return Ok(Credentials { account: None, unverified_hash: row.decoy_hash });
        };
        let account = Account {
            id: UserId(id),
            email: email.clone(),
            password_hash,
            state: state(&stands)?,
            role: role(&of)?,
            language: language(&word)?,
        };
        Ok(if account.state == State::Inactive {
            Credentials { account: None, unverified_hash: Some(account.password_hash) }
        } else {
            Credentials { account: Some(account), unverified_hash: row.decoy_hash }
        })
    }

    /// Deletes sign-ups that nobody has verified for so long, at most this many; gives how many.
    /// Nothing refers to them, since nobody is let in there. What is being verified is skipped.
    pub async fn delete_unverified(
        &self,
        unverified_for: Duration,
        count_max: i64,
    ) -> Result<u64, Error> {
        let deleted = sqlx::query!(
            "with unverified as materialized (
                 select user_id from users
                 where state = 'INACTIVE' and created_at < clock_timestamp() - $1::interval
                 order by created_at limit $2 for update skip locked
             )
             delete from users using unverified where users.user_id = unverified.user_id",
            interval(unverified_for),
            count_max
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes decoys that are so old, at most this many; gives how many.
    pub async fn delete_decoys(&self, kept_for: Duration, count_max: i64) -> Result<u64, Error> {
        let deleted = sqlx::query!(
            "with old as materialized (
                 select email_index from decoy_sign_ups
                 where created_at < clock_timestamp() - $1::interval
                 order by created_at limit $2 for update skip locked
             )
             delete from decoy_sign_ups using old
             where decoy_sign_ups.email_index = old.email_index",
            interval(kept_for),
            count_max
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}
