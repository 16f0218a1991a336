//! Finding a row by a field that is sealed.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keys::{KEY_BYTES, KeyFault, key_bytes};

/// A blind index: HMAC-SHA256 of a field under a key of its own. Equal fields have equal places in
/// it, and nobody without the key can try names. The key cannot be changed without reading every
/// row, so it is not one of the data keys.
#[derive(Clone)]
pub struct Index {
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Index(***)")
    }
}

impl Index {
    /// With this key: 64 hex digits.
    pub fn new(key: &SecretString) -> Result<Self, KeyFault> {
        Ok(Self { key: key_bytes(key.expose_secret())? })
    }

    /// Where a field of this column stands in the index. The field must be in its one spelling.
    pub fn of(&self, column: &'static str, field: &str) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.as_slice()).expect("HMAC takes any key");
        mac.update(column.as_bytes());
        mac.update(&[0]);
        mac.update(field.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_one_place_for_each_key_and_column() {
        let index = |digits: &str| Index::new(&digits.repeat(32).into()).expect("a key");
        let place = index("0a").of("users.email", "ann@example.com");
        assert_eq!(place, index("0a").of("users.email", "ann@example.com"));
        assert_ne!(place, index("0b").of("users.email", "ann@example.com"));
        assert_ne!(place, index("0a").of("users.phone", "ann@example.com"));
        assert_ne!(place, index("0a").of("users.email", "bob@example.com"));
        assert!(Index::new(&"0a".repeat(16).into()).is_err());
    }
}
