//! What `migrate` does with rows that the last release wrote in the clear: it seals them.
//!
//! While both releases serve, the last one may write an account in the clear whose address is
//! sealed in another row already: it looks for addresses among the clear ones alone. One of the two
//! has the address then, see [`Claim`].

use std::collections::HashMap;

use firstcome_vault::Sealed;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{
    Store,
    sealing::{EMAIL, NAME, PHONE},
    state,
};
use crate::{account::State, error::Error};

/// Rows of one transaction: their owners wait for milliseconds at most.
const ROWS_MAX: i64 = 256;

/// A batch of clear rows that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// How many were sealed.
    pub sealed: usize,
    /// Sign-ups that were deleted, because somebody else's account has their address.
    pub deleted: usize,
    /// Accounts that were left as they are, because another has their address.
    pub left: Vec<Uuid>,
    /// The last one looked at.
    pub last: Uuid,
}

/// A row that is to be sealed.
struct ClearRow {
    user_id: Uuid,
    email: String,
    name: String,
    phone: Option<String>,
    state: String,
}

/// Whose an address is that two rows have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// The sealed one's; nobody has verified the clear one, which is deleted.
    Sealed,
    /// The clear one's; nobody has verified the sealed one, which is deleted.
    Clear,
    /// The sealed one's, though both are verified: it is the one that people have come into since
    /// this release serves, and mostly the older one. The clear one has orders, perhaps, and is
    /// left to an operator.
    Both,
}

impl Claim {
    /// Who has verified an address has it, and of two that nobody verified, the sealed one.
    fn of(sealed: State, clear: State) -> Self {
        match (sealed.is_verified(), clear.is_verified()) {
            (true, true) => Self::Both,
            (false, true) => Self::Clear,
            (true | false, false) => Self::Sealed,
        }
    }
}

impl Store {
    /// Of accounts that were deleted in the last release nothing is kept.
    pub async fn erase_clear(&self) -> Result<(), Error> {
        sqlx::query!(
            "update users set email = null, name = null, phone = null
             where state = 'DELETED' and email is not null"
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Seals rows that the last release wrote in the clear, at most a batch of those that follow
    /// `after`; `None` when none follows.
    pub async fn seal_clear(&self, after: Uuid) -> Result<Option<Cleared>, Error> {
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        // Nobody signs up under one of these addresses until it is decided whose it is.
        sqlx::query!("lock table users in share row exclusive mode")
            .execute(&mut *transaction)
            .await?;
        let rows = sqlx::query_as!(
            ClearRow,
            r#"select user_id, email as "email!", name as "name!", phone, state from users
               where email is not null and state <> 'DELETED' and user_id > $1
               order by user_id limit $2"#,
            after,
            ROWS_MAX
        )
        .fetch_all(&mut *transaction)
        .await?;
        let Some(last) = rows.last().map(|row| row.user_id) else {
            transaction.rollback().await?;
            lent.give_back();
            return Ok(None);
        };
        let twins = self.twins(&mut transaction, &rows).await?;
        let (mut wanted, mut given_up, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let twin = twins.get(&self.clear_index(&row));
            let clear = state(&row.state)?;
            match twin.map(|twin| Claim::of(twin.1, clear)) {
                None => wanted.push(row),
                Some(Claim::Clear) => {
                    given_up.extend(twin.map(|twin| twin.0));
                    wanted.push(row);
                }
                Some(Claim::Sealed) => given_up.push(row.user_id),
                Some(Claim::Both) => left.push(row.user_id),
            }
        }
        // Nothing refers to an account that nobody has verified.
        sqlx::query!("delete from users where user_id = any($1) and state = 'INACTIVE'", &given_up)
            .execute(&mut *transaction)
            .await?;
        self.seal_rows(&mut transaction, &wanted).await?;
        transaction.commit().await?;
        lent.give_back();
        let (sealed, deleted) = (wanted.len(), given_up.len());
        Ok(Some(Cleared { sealed, deleted, left, last }))
    }

    /// As the address stands: what the last release found an account by.
    fn clear_index(&self, row: &ClearRow) -> Vec<u8> {
        self.index.of(EMAIL, &row.email).to_vec()
    }

    /// The sealed rows that have the addresses of these, by their place in the index.
    async fn twins(
        &self,
        transaction: &mut PgConnection,
        rows: &[ClearRow],
    ) -> Result<HashMap<Vec<u8>, (Uuid, State)>, Error> {
        let indexes: Vec<Vec<u8>> = rows.iter().map(|row| self.clear_index(row)).collect();
        let twins = sqlx::query!(
            r#"select user_id, email_index as "email_index!", state from users
               where email_index = any($1)"#,
            &indexes
        )
        .fetch_all(transaction)
        .await?;
        let twins = twins.into_iter();
        twins.map(|row| Ok((row.email_index, (row.user_id, state(&row.state)?)))).collect()
    }

    async fn seal_rows(
        &self,
        transaction: &mut PgConnection,
        rows: &[ClearRow],
    ) -> Result<(), Error> {
        let users: Vec<Uuid> = rows.iter().map(|row| row.user_id).collect();
        let of = |column, row: Uuid, text: &str| self.seal(column, row, text);
        let emails: Vec<Sealed> =
            rows.iter().map(|row| of(EMAIL, row.user_id, &row.email)).collect();
        let indexes: Vec<Vec<u8>> = rows.iter().map(|row| self.clear_index(row)).collect();
        let names: Vec<Sealed> = rows.iter().map(|row| of(NAME, row.user_id, &row.name)).collect();
        let phones: Vec<Option<Sealed>> = rows
            .iter()
            .map(|row| row.phone.as_ref().map(|phone| of(PHONE, row.user_id, phone)))
            .collect();
        sqlx::query!(
            "update users
             set email_sealed = sealed.email, email_index = sealed.email_index,
                 name_sealed = sealed.name, phone_sealed = sealed.phone,
                 email = null, name = null, phone = null
             from unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[])
                 as sealed (user_id, email, email_index, name, phone)
             where users.user_id = sealed.user_id",
            &users,
            &emails,
            &indexes,
            &names,
            &phones as &[Option<Sealed>]
        )
        .execute(transaction)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_whose_owner_has_verified_it() {
        use State::{Active, Banned, Dormant, Inactive};
        for verified in [Active, Dormant, Banned] {
            assert_eq!(Claim::of(verified, Inactive), Claim::Sealed);
            assert_eq!(Claim::of(Inactive, verified), Claim::Clear);
            assert_eq!(Claim::of(verified, Active), Claim::Both);
        }
        assert_eq!(Claim::of(Inactive, Inactive), Claim::Sealed);
    }
}
