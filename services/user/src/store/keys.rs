//! Signing keys and secrets, sealed. Their rows have names; the id that a seal is bound to is made
//! from the name.

use std::time::Duration;

use firstcome_vault::{Place, Unopened, Vault};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Store, interval};
use crate::{error::Error, token::KeyPair};

/// The name of the secret that refresh tokens are derived from.
const REFRESH_SECRET: &str = "refresh";
/// The namespace of the ids that seals are bound to; any constant would do, for ever.
const NAMES: Uuid = Uuid::from_u128(0x5a07_be31_6c2d_4e98_8f41_d3b6_09ea_7c52);

/// A key that was made to follow the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The `kid` of its tokens.
    pub key_id: String,
    /// Counts from 1.
    pub number: i32,
}

impl Store {
    /// The key that signs now; makes the first where there is none. Of replicas that start at
    /// once, one makes it and all read it.
    pub async fn signing_key(&self) -> Result<KeyPair, Error> {
        if let Some(key) = self.newer_signing_key("").await? {
            return Ok(key);
        }
        let first = KeyPair::generate();
        let sealed = self.vault.seal(place_of_key(&first.key_id), &first.private_key);
        sqlx::query!(
            "insert into signing_keys (key_id, rotation, private_key_sealed, public_key)
             values ($1, 1, $2, $3)
             on conflict (rotation) do nothing",
            first.key_id,
            sealed,
            first.public_key
        )
        .execute(&self.pool)
        .await?;
        self.newer_signing_key("").await?.ok_or(Error::Internal)
    }

    /// The key that signs now, unless it is the one of this id.
    pub async fn newer_signing_key(&self, known: &str) -> Result<Option<KeyPair>, Error> {
        let row = sqlx::query!(
            "select key_id, private_key, private_key_sealed, public_key from signing_keys
             where signs_from <= clock_timestamp()
             order by rotation desc limit 1"
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row.filter(|row| row.key_id != known) else { return Ok(None) };
        let private_key = open(
            &self.vault,
            place_of_key(&row.key_id),
            row.private_key.map(Zeroizing::new),
            row.private_key_sealed,
        )?;
        Ok(Some(KeyPair { key_id: row.key_id, private_key, public_key: row.public_key }))
    }

    /// Makes the key after the newest, which signs from so much later. `None` when another was made
    /// at this moment, or there is none to follow.
    pub async fn rotate_signing_key(&self, signs_in: Duration) -> Result<Option<Rotation>, Error> {
        let next = KeyPair::generate();
        let sealed = self.vault.seal(place_of_key(&next.key_id), &next.private_key);
        let number = sqlx::query_scalar!(
            "insert into signing_keys
                 (key_id, rotation, private_key_sealed, public_key, signs_from)
             select $1, newest.rotation + 1, $2, $3, clock_timestamp() + $4::interval
             from (select rotation from signing_keys order by rotation desc limit 1) as newest
             on conflict (rotation) do nothing
             returning rotation",
            next.key_id,
            sealed,
            next.public_key,
            interval(signs_in)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(number.map(|number| Rotation { key_id: next.key_id, number }))
    }

    /// Every public key whose tokens may live, with its id, newest first: tokens live that long
    /// after the next key has begun to sign.
    pub async fn public_keys(&self, keep: Duration) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let rows = sqlx::query!(
            "select key_id, public_key
             from (select key_id, public_key, rotation,
                          lead(signs_from) over (order by rotation) as followed_from
                   from signing_keys) as listed
             where followed_from is null or followed_from > clock_timestamp() - $1::interval
             order by rotation desc",
            interval(keep)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.key_id, row.public_key)).collect())
    }

    /// The id of the newest key, which may not sign yet; empty where there is none.
    pub async fn newest_key_id(&self) -> Result<String, Error> {
        let id =
            sqlx::query_scalar!("select key_id from signing_keys order by rotation desc limit 1")
                .fetch_optional(&self.pool)
                .await?;
        Ok(id.unwrap_or_default())
    }

    /// The secret that refresh tokens are derived from; makes it where there is none.
    pub async fn refresh_secret(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let place = place_of_secret(REFRESH_SECRET);
        let new = Zeroizing::new(rand::random::<[u8; 32]>());
        sqlx::query!(
            "insert into secrets (name, value_sealed) values ($1, $2)
             on conflict (name) do nothing",
            REFRESH_SECRET,
            self.vault.seal(place, new.as_slice())
        )
        .execute(&self.pool)
        .await?;
        let row =
            sqlx::query!("select value, value_sealed from secrets where name = $1", REFRESH_SECRET)
                .fetch_one(&self.pool)
                .await?;
        open(&self.vault, place, row.value.map(Zeroizing::new), row.value_sealed)
    }

    /// Brings every signing key and secret under the current data key: those that the release
    /// before left in the clear, and those under older keys. They are few. Nobody changes them, so
    /// what was read is what is replaced; done twice, it does nothing. Gives how many it sealed.
    pub async fn seal_keys(&self) -> Result<u64, Error> {
        let mut sealed_now = 0;
        let keys = sqlx::query!("select key_id, private_key, private_key_sealed from signing_keys")
            .fetch_all(&self.pool)
            .await?;
        for row in keys {
            let place = place_of_key(&row.key_id);
            let clear = row.private_key.map(Zeroizing::new);
            if let Some(sealed) = reseal(&self.vault, place, clear, row.private_key_sealed)? {
                let update = sqlx::query!(
                    "update signing_keys set private_key_sealed = $2, private_key = null
                     where key_id = $1",
                    row.key_id,
                    sealed
                );
                sealed_now += update.execute(&self.pool).await?.rows_affected();
            }
        }
        let secrets = sqlx::query!("select name, value, value_sealed from secrets")
            .fetch_all(&self.pool)
            .await?;
        for row in secrets {
            let place = place_of_secret(&row.name);
            let clear = row.value.map(Zeroizing::new);
            if let Some(sealed) = reseal(&self.vault, place, clear, row.value_sealed)? {
                let update = sqlx::query!(
                    "update secrets set value_sealed = $2, value = null where name = $1",
                    row.name,
                    sealed
                );
                sealed_now += update.execute(&self.pool).await?.rows_affected();
            }
        }
        Ok(sealed_now)
    }
}

fn place_of_key(key_id: &str) -> Place {
    let row = Uuid::new_v5(&NAMES, key_id.as_bytes());
    Place { column: "signing_keys.private_key", row }
}

fn place_of_secret(name: &str) -> Place {
    Place { column: "secrets.value", row: Uuid::new_v5(&NAMES, name.as_bytes()) }
}

/// Opens what is sealed; what a replica of the release before wrote meanwhile is in the clear.
fn open(
    vault: &Vault,
    place: Place,
    clear: Option<Zeroizing<Vec<u8>>>,
    sealed: Option<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    match (clear, sealed) {
        (Some(clear), None) => Ok(clear),
        (None, Some(sealed)) => vault.open(place, &sealed).map_err(|fault| unopened(&fault)),
        _ => Err(Error::internal("open a key", "there is not exactly one form of it")),
    }
}

/// The form under the current data key; `None` when it is that already.
fn reseal(
    vault: &Vault,
    place: Place,
    clear: Option<Zeroizing<Vec<u8>>>,
    sealed: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Error> {
    match (clear, sealed) {
        (None, Some(sealed)) => vault.reseal(place, &sealed).map_err(|fault| unopened(&fault)),
        (clear, sealed) => Ok(Some(vault.seal(place, &open(vault, place, clear, sealed)?))),
    }
}

fn unopened(fault: &Unopened) -> Error {
    Error::internal("open a key with --data-keys", fault)
}
