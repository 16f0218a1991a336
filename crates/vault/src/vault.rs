//! Sealing and opening.

use std::{fmt, sync::Arc};

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead as _, KeyInit as _, Payload},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::keys::Keyring;

/// The key's number in front of what it sealed, so that it is found by any eye.
const NUMBER_BYTES: usize = 4;
/// GCM's own size. Drawn at random: one key may seal some four thousand million fields.
const NONCE_BYTES: usize = 12;
const FRONT_BYTES: usize = NUMBER_BYTES + NONCE_BYTES;

/// Where a field is kept, and the only place where it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// As in `users.email`.
    pub column: &'static str,
    /// The row's id.
    pub row: Uuid,
}

/// A sealed field, as it is stored: the key's number (4 bytes, big-endian), the nonce, the
/// ciphertext with its tag.
pub type Sealed = Vec<u8>;

/// Why a field does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It was never sealed, or was cut.
    #[error("too short for a sealed field")]
    Short,
    /// It is under a key that this process was not given.
    #[error("sealed under key {0}, which is not on the ring")]
    UnknownKey(u32),
    /// It was changed, or sealed in another place, or under another key of that number.
    #[error("does not verify in {0}")]
    Forged(&'static str),
}

/// Seals and opens. Clones share the keys.
#[derive(Clone)]
pub struct Vault {
    ciphers: Arc<[(u32, Aes256Gcm)]>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(***)")
    }
}

impl Vault {
    /// With these keys.
    pub fn new(ring: &Keyring) -> Self {
        let cipher = |bytes: &[u8]| Aes256Gcm::new_from_slice(bytes).expect("32 bytes are a key");
        let ciphers =
            ring.keys.iter().map(|key| (key.number, cipher(key.bytes.as_slice()))).collect();
        Self { ciphers }
    }

    /// The number of the key that seals.
    pub fn current_key(&self) -> u32 {
        self.ciphers[0].0
    }

    /// The bytes in front of all that the current key sealed: what a statement compares to find
    /// fields under older ones.
    pub fn current_front(&self) -> [u8; NUMBER_BYTES] {
        self.current_key().to_be_bytes()
    }

    /// Seals a field for its place.
    pub fn seal(&self, place: Place, plain: &[u8]) -> Sealed {
        let (number, cipher) = &self.ciphers[0];
        let nonce = rand::random::<[u8; NONCE_BYTES]>();
        let aad = aad(place);
        let ciphertext = cipher
            .encrypt(&nonce.into(), Payload { msg: plain, aad: &aad })
            .expect("a field is far below GCM's 64 GiB");
        let mut sealed = Vec::with_capacity(FRONT_BYTES + ciphertext.len());
        sealed.extend_from_slice(&number.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// Opens a field in its place.
    pub fn open(&self, place: Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let (front, ciphertext) = sealed.split_at_checked(FRONT_BYTES).ok_or(Unopened::Short)?;
        let (number, nonce) = front.split_at(NUMBER_BYTES);
        let number = u32::from_be_bytes(number.try_into().expect("four bytes were split off"));
        let cipher = self.ciphers.iter().find(|(of, _)| *of == number);
        let (_, cipher) = cipher.ok_or(Unopened::UnknownKey(number))?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().expect("twelve bytes were split off");
        let aad = aad(place);
        cipher
            .decrypt(&nonce.into(), Payload { msg: ciphertext, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| Unopened::Forged(place.column))
    }

    /// Opens a field that was sealed from text.
    pub fn open_text(&self, place: Place, sealed: &[u8]) -> Result<Zeroizing<String>, Unopened> {
        let plain = self.open(place, sealed)?;
        let text = std::str::from_utf8(&plain).map_err(|_| Unopened::Forged(place.column))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Seals a field anew, under the current key; `None` when it is under it already.
    pub fn reseal(&self, place: Place, sealed: &[u8]) -> Result<Option<Sealed>, Unopened> {
        if sealed.starts_with(&self.current_front()) {
            return Ok(None);
        }
        Ok(Some(self.seal(place, &self.open(place, sealed)?)))
    }
}

/// Column, a byte that no column's name has, row.
fn aad(place: Place) -> Vec<u8> {
    let mut aad = Vec::with_capacity(place.column.len() + 17);
    aad.extend_from_slice(place.column.as_bytes());
    aad.push(0);
    aad.extend_from_slice(place.row.as_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1:0101010101010101010101010101010101010101010101010101010101010101";
    const NEW: &str = "2:0202020202020202020202020202020202020202020202020202020202020202";
    const PLACE: Place = Place { column: "users.email", row: Uuid::from_u128(7) };

    fn vault(ring: &str) -> Vault {
        Vault::new(&ring.parse().expect("a ring"))
    }

    #[test]
    fn a_field_opens_in_its_place_and_nowhere_else() {
        let vault = vault(OLD);
        let sealed = vault.seal(PLACE, b"ann@example.com");
        assert_eq!(vault.open(PLACE, &sealed).expect("ours").as_slice(), b"ann@example.com");
        assert_ne!(sealed, vault.seal(PLACE, b"ann@example.com"), "equal fields look different");

        let elsewhere = Place { row: Uuid::from_u128(8), ..PLACE };
        let other_column = Place { column: "users.name", ..PLACE };
        for place in [elsewhere, other_column] {
            assert_eq!(vault.open(place, &sealed).err(), Some(Unopened::Forged(place.column)));
        }
        for byte in [4, 16, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert_eq!(vault.open(PLACE, &changed).err(), Some(Unopened::Forged("users.email")));
        }
        assert_eq!(vault.open(PLACE, &sealed[..15]).err(), Some(Unopened::Short));
    }

    #[test]
    fn keys_change_while_old_fields_still_open() {
        let old = vault(OLD);
        let sealed = old.seal(PLACE, b"ann");
        let both = vault(&format!("{NEW},{OLD}"));
        assert_eq!(both.current_key(), 2);
        assert_eq!(both.open(PLACE, &sealed).expect("the old key is there").as_slice(), b"ann");

        let resealed = both.reseal(PLACE, &sealed).expect("it opens").expect("it is old");
        assert!(resealed.starts_with(&both.current_front()));
        assert_eq!(both.reseal(PLACE, &resealed), Ok(None));

        let new = vault(NEW);
        assert_eq!(new.open(PLACE, &resealed).expect("the new key").as_slice(), b"ann");
        assert_eq!(new.open(PLACE, &sealed).err(), Some(Unopened::UnknownKey(1)));
    }
}
