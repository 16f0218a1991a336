//! Address books. What somebody lives at is sealed before it comes here.

use std::time::Duration;

use firstcome_postgres::broken_constraint;
use firstcome_proto::{AddressId, UserId};
use firstcome_vault::Sealed;
use sqlx::{Connection as _, PgConnection, PgExecutor};

use super::{Store, interval};
use crate::error::Error;

/// The constraint that a book's default is one of its addresses.
const DEFAULT_IS_THERE: &str = "address_books_default_is_there";
/// How long a key is known after its address has gone: longer than anybody retries.
pub const ADDRESS_KEYS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How soon a key is deleted when its time is over.
const KEYS_SWEPT_WITHIN: Duration = Duration::from_secs(60);
/// Keys of one book, those included whose addresses have gone: nobody moves 180 times a day.
const KEYS_MAX: i64 = 200;

/// An entry of an address book.
pub struct Entry {
    /// Its id.
    pub id: AddressId,
    /// Its contents.
    pub sealed: Sealed,
    /// True for one of a book's entries.
    pub is_default: bool,
}

/// An address to be added.
pub struct NewAddress {
    /// Made from the user and the key.
    pub id: AddressId,
    /// Whose.
    pub user: UserId,
    /// Its contents.
    pub sealed: Sealed,
    /// What tells a retry from another use of the key.
    pub fingerprint: [u8; 32],
}

impl Store {
    /// Adds an address, once for each key: a retry gets the entry as it is now.
    pub async fn add_address(&self, new: &NewAddress) -> Result<Entry, Error> {
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        let default = open_book(&mut transaction, new).await?;
        let sealed = if use_key(&mut transaction, new).await? {
            write_address(&mut transaction, new).await?;
            new.sealed.clone()
        } else {
            added_before(&mut transaction, new).await?
        };
        transaction.commit().await?;
        lent.give_back();
        Ok(Entry { id: new.id, sealed, is_default: default == new.id })
    }

    /// The whole book, the default first, then oldest first.
    pub async fn addresses(&self, user: UserId) -> Result<Vec<Entry>, Error> {
        let rows = sqlx::query!(
            r#"select address_id, address_sealed, address_id = default_address_id as "is_default!"
               from address_books join addresses on addresses.user_id = address_books.user_id
               where address_books.user_id = $1
               order by address_id = default_address_id desc, addresses.created_at, address_id"#,
            user.0
        )
        .fetch_all(&self.pool)
        .await?;
        let entries = rows.into_iter().map(|row| Entry {
            id: AddressId(row.address_id),
            sealed: row.address_sealed,
            is_default: row.is_default,
        });
        Ok(entries.collect())
    }

    /// One address of this user's book, if it is there.
    pub async fn address(&self, user: UserId, id: AddressId) -> Result<Option<Sealed>, Error> {
        let sealed = sqlx::query_scalar!(
            "select address_sealed from addresses where address_id = $1 and user_id = $2",
            id.0,
            user.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(sealed)
    }

    /// Replaces an address.
    pub async fn replace_address(
        &self,
        user: UserId,
        id: AddressId,
        sealed: Sealed,
    ) -> Result<Entry, Error> {
        let is_default = sqlx::query_scalar!(
            r#"update addresses set address_sealed = $3, updated_at = clock_timestamp()
               from address_books
               where address_id = $1 and addresses.user_id = $2
                 and address_books.user_id = addresses.user_id
               returning address_id = default_address_id as "is_default!""#,
            id.0,
            user.0,
            &sealed
        )
        .fetch_optional(&self.pool)
        .await?;
        let is_default = is_default.ok_or(Error::NotFound("address"))?;
        Ok(Entry { id, sealed, is_default })
    }

    /// Makes an address the default in place of the old one. One that is deleted in the same
    /// moment breaks the constraint that is there for it.
    pub async fn set_default_address(&self, user: UserId, id: AddressId) -> Result<Entry, Error> {
        let sealed = sqlx::query_scalar!(
            "update address_books set default_address_id = address_id
             from addresses
             where address_id = $1 and addresses.user_id = $2
               and address_books.user_id = addresses.user_id
             returning address_sealed",
            id.0,
            user.0
        )
        .fetch_optional(&self.pool)
        .await;
        match sealed {
            Ok(Some(sealed)) => Ok(Entry { id, sealed, is_default: true }),
            Ok(None) => Err(Error::NotFound("address")),
            Err(error) if broken_constraint(&error) == Some(DEFAULT_IS_THERE) => {
                Err(Error::NotFound("address"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an address; one that is gone is gone. Its key is known for a while yet. The default
    /// breaks the constraint. The book is locked first, as everywhere: who erases it goes on to its
    /// addresses.
    pub async fn delete_address(&self, user: UserId, id: AddressId) -> Result<(), Error> {
        let deleted = sqlx::query!(
            "with book as materialized (
                 select user_id from address_books where user_id = $2 for key share
             ), deleted as (
                 delete from addresses using book
                 where address_id = $1 and addresses.user_id = book.user_id
                 returning addresses.user_id, address_id
             )
             update address_keys set gone_at = clock_timestamp()
             from deleted
             where address_keys.user_id = deleted.user_id
               and address_keys.address_id = deleted.address_id",
            id.0,
            user.0
        )
        .execute(&self.pool)
        .await;
        match deleted {
            Err(error) if broken_constraint(&error) == Some(DEFAULT_IS_THERE) => {
                Err(Error::DefaultAddress)
            }
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// Forgets keys whose addresses have been gone for so long, at most this many; gives how many.
    pub async fn forget_address_keys(
        &self,
        gone_for: Duration,
        count_max: i64,
    ) -> Result<u64, Error> {
        let forgotten = sqlx::query!(
            "with gone as materialized (
                 select user_id, address_id from address_keys
                 where gone_at < clock_timestamp() - $1::interval
                 order by gone_at limit $2 for update skip locked
             )
             delete from address_keys using gone
             where address_keys.user_id = gone.user_id
               and address_keys.address_id = gone.address_id",
            interval(gone_for),
            count_max
        )
        .execute(&self.pool)
        .await?;
        Ok(forgotten.rows_affected())
    }

    /// Erases a user's whole book, default and all. For whoever closes the account, who must have
    /// written the account's row before, in the same transaction: an address that is being added
    /// meanwhile waits for that row, and then finds the account closed.
    pub async fn erase_addresses(
        &self,
        executor: impl PgExecutor<'_>,
        user: UserId,
    ) -> Result<(), Error> {
        sqlx::query!("delete from address_books where user_id = $1", user.0)
            .execute(executor)
            .await?;
        Ok(())
    }
}

/// Takes the user's book for this transaction alone, or begins it with this address as its
/// default; gives the default. The account's row is looked at under a lock, so that nothing is
/// added to one that is being closed.
async fn open_book(tx: &mut PgConnection, new: &NewAddress) -> Result<AddressId, Error> {
    sqlx::query!(
        "insert into address_books (user_id, default_address_id)
         select user_id, $2 from users where user_id = $1 and state <> 'DELETED' for share
         on conflict (user_id) do nothing",
        new.user.0,
        new.id.0
    )
    .execute(&mut *tx)
    .await?;
    let default = sqlx::query_scalar!(
        "select default_address_id from address_books where user_id = $1 for no key update",
        new.user.0
    )
    .fetch_optional(tx)
    .await?;
    // Whoever still has a token of an account that is gone.
    default.map(AddressId).ok_or(Error::TokenRevoked)
}

/// Puts the key down as used; false when it was used before. The book is this transaction's alone,
/// so nobody else counts at the same time.
async fn use_key(tx: &mut PgConnection, new: &NewAddress) -> Result<bool, Error> {
    let used = sqlx::query!(
        "insert into address_keys (user_id, address_id, fingerprint) values ($1, $2, $3)
         on conflict (user_id, address_id) do nothing",
        new.user.0,
        new.id.0,
        new.fingerprint.as_slice()
    )
    .execute(&mut *tx)
    .await?;
    if used.rows_affected() == 0 {
        return Ok(false);
    }
    // There is room again when the sweep has taken the key that has been out of use for longest.
    let keys = sqlx::query!(
        r#"select count(*) as "count!",
                  coalesce(extract(epoch from min(gone_at) + $2::interval - clock_timestamp()), 0)
                      ::bigint as "wait_s!"
           from address_keys where user_id = $1"#,
        new.user.0,
        interval(ADDRESS_KEYS_KEPT)
    )
    .fetch_one(tx)
    .await?;
    if keys.count > KEYS_MAX {
        let wait_s = u64::try_from(keys.wait_s).unwrap_or_default();
        return Err(Error::RateLimited(Duration::from_secs(wait_s) + KEYS_SWEPT_WITHIN));
    }
    Ok(true)
}

/// What the key added, as it is now.
async fn added_before(tx: &mut PgConnection, new: &NewAddress) -> Result<Sealed, Error> {
    let row = sqlx::query!(
        r#"select fingerprint = $3 as "is_same!", address_sealed as "sealed?"
           from address_keys
           left join addresses on addresses.address_id = address_keys.address_id
           where address_keys.user_id = $1 and address_keys.address_id = $2"#,
        new.user.0,
        new.id.0,
        new.fingerprint.as_slice()
    )
    .fetch_one(tx)
    .await?;
    match row.sealed {
        _ if !row.is_same => Err(Error::KeyReused),
        Some(sealed) => Ok(sealed),
        None => Err(Error::NotFound("address")),
    }
}

/// Writes the address in the first free place of its book.
async fn write_address(tx: &mut PgConnection, new: &NewAddress) -> Result<(), Error> {
    let written = sqlx::query!(
        "insert into addresses (address_id, user_id, place, address_sealed)
         select $1, $2, free.place, $3 from generate_series(1, 20) as free (place)
         where not exists (
             select from addresses where user_id = $2 and addresses.place = free.place
         )
         order by free.place limit 1",
        new.id.0,
        new.user.0,
        &new.sealed
    )
    .execute(tx)
    .await?;
    if written.rows_affected() == 1 { Ok(()) } else { Err(Error::AddressBookFull) }
}
