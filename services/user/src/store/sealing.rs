//! Personal data on its way in and out, and the command that goes through all of it: `rotate-keys`
//! seals anew what is under an older key.

use std::time::Duration;

use firstcome_vault::{Place, Sealed, Unopened};
use sqlx::{AssertSqlSafe, Connection as _};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Store;
use crate::{account::Email, error::Error};

/// The places of sealed fields. Each is the name of a column, less its ending `_sealed`.
pub const EMAIL: &str = "users.email";
/// See [`EMAIL`].
pub const NAME: &str = "users.name";
/// See [`EMAIL`].
pub const PHONE: &str = "users.phone";
/// See [`EMAIL`].
pub const GREETING: &str = "users.greeting";
/// See [`EMAIL`].
pub const IMAGE_URL: &str = "users.image_url";
/// See [`EMAIL`].
pub const DEVICE: &str = "sessions.device";
/// See [`EMAIL`].
pub const ADDRESS: &str = "sessions.address";
/// See [`EMAIL`].
pub const LETTER: &str = "letters.letter";
/// See [`EMAIL`].
pub const BOOK_ADDRESS: &str = "addresses.address";

/// Every place where something is sealed, with the column of its table's primary key: what
/// `rotate-keys` goes through. Whoever seals something new adds a line.
pub const SEALED: &[(&str, &str)] = &[
    (EMAIL, "user_id"),
    (NAME, "user_id"),
    (PHONE, "user_id"),
    (GREETING, "user_id"),
    (IMAGE_URL, "user_id"),
    (DEVICE, "session_id"),
    (ADDRESS, "session_id"),
    (LETTER, "letter_id"),
    (BOOK_ADDRESS, "address_id"),
];

/// Rows of one transaction: their owners wait for milliseconds at most.
const ROWS_MAX: i64 = 256;
/// Between two looks for fields that somebody else was writing.
const PAUSE: Duration = Duration::from_millis(100);
/// Looks at a place: who writes a row has done so after five seconds, so what is found under an
/// older key again and again is sealed by somebody who has not been told of the current one.
const LOOKS_MAX: usize = 50;

/// What became of the fields of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Sealed anew.
    pub fields: u64,
    /// Left as they are: their key is not on the ring, or they were changed.
    pub unopened: u64,
    /// Under an older key still, or again, because somebody kept writing them so.
    pub older: u64,
}

impl Store {
    /// Where an address stands in the index.
    pub(super) fn email_index(&self, email: &Email) -> Vec<u8> {
        self.index.of(EMAIL, email.as_str()).to_vec()
    }

    pub(super) fn seal(&self, column: &'static str, row: Uuid, text: &str) -> Sealed {
        self.vault.seal(Place { column, row }, text.as_bytes())
    }

    pub(super) fn open(
        &self,
        column: &'static str,
        row: Uuid,
        sealed: &[u8],
    ) -> Result<Zeroizing<String>, Error> {
        let opened = self.vault.open_text(Place { column, row }, sealed);
        opened.map_err(|fault| Error::internal("open a sealed field", fault))
    }

    pub(super) fn open_email(&self, user: Uuid, sealed: &[u8]) -> Result<Email, Error> {
        let email = self.open(EMAIL, user, sealed)?;
        Email::from_store(&email).ok_or_else(|| Error::internal("open an address", "it is none"))
    }

    /// Seals all fields of a place under the current key, batch by batch, while everybody serves.
    /// What somebody is writing at the moment is looked at again, a bounded number of times.
    pub async fn reseal(&self, column: &'static str, key: &str) -> Result<Resealed, Error> {
        let mut all = Resealed::default();
        for look in 0..LOOKS_MAX {
            if look > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let (mut after, mut unopened) = (Uuid::nil(), 0);
            while let Some((last, batch)) = self.reseal_after(column, key, after).await? {
                after = last;
                all.fields += batch.fields;
                unopened += batch.unopened;
            }
            all.unopened = unopened;
            all.older = self.count_older(column).await?.saturating_sub(unopened);
            if all.older == 0 {
                break;
            }
        }
        Ok(all)
    }

    /// Seals a batch of fields anew, of the rows that follow `after`; gives the last of them, or
    /// `None` when none follows.
    async fn reseal_after(
        &self,
        column: &'static str,
        key: &str,
        after: Uuid,
    ) -> Result<Option<(Uuid, Resealed)>, Error> {
        let (table, field) = table_and_field(column);
        // Names of tables and columns are constants of ours.
        let select = AssertSqlSafe(format!(
            "select {key}, {field} from {table}
             where {key} > $1 and {field} is not null and substring({field} from 1 for 4) <> $2
             order by {key} limit $3 for update skip locked"
        ));
        let update = AssertSqlSafe(format!(
            "update {table} set {field} = resealed.field
             from unnest($1::uuid[], $2::bytea[]) as resealed (id, field)
             where {table}.{key} = resealed.id"
        ));
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        let rows: Vec<(Uuid, Sealed)> = sqlx::query_as(select)
            .bind(after)
            .bind(self.vault.current_front())
            .bind(ROWS_MAX)
            .fetch_all(&mut *transaction)
            .await?;
        let mut batch = Resealed::default();
        let (mut ids, mut fields) = (Vec::new(), Vec::new());
        for (row, sealed) in &rows {
            match self.vault.reseal(Place { column, row: *row }, sealed) {
                Ok(resealed) => {
                    ids.push(*row);
                    fields.push(resealed.unwrap_or_else(|| sealed.clone()));
                    batch.fields += 1;
                }
                Err(fault) => {
                    batch.unopened += 1;
                    warn_unopened(*row, fault);
                }
            }
        }
        sqlx::query(update).bind(&ids).bind(&fields).execute(&mut *transaction).await?;
        transaction.commit().await?;
        lent.give_back();
        Ok(rows.last().map(|(last, _)| (*last, batch)))
    }

    /// How many fields of a place are under older keys.
    async fn count_older(&self, column: &'static str) -> Result<u64, Error> {
        let (table, field) = table_and_field(column);
        let count = AssertSqlSafe(format!(
            "select count(*) from {table}
             where {field} is not null and substring({field} from 1 for 4) <> $1"
        ));
        let count: i64 = sqlx::query_scalar(count)
            .bind(self.vault.current_front())
            .fetch_one(&self.pool)
            .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

fn table_and_field(column: &str) -> (&str, String) {
    let (table, field) = column.split_once('.').expect("a place is named table.column");
    (table, format!("{field}_sealed"))
}

fn warn_unopened(row: Uuid, fault: Unopened) {
    tracing::warn!(%row, %fault, "a sealed field is left as it is");
}
