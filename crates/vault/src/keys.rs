//! The keys, as an operator gives them.

use std::{fmt, str::FromStr, sync::Arc};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// AES-256.
pub(crate) const KEY_BYTES: usize = 32;

/// Where a process is told its data keys.
#[derive(Args, Clone, Debug)]
pub struct DataKeys {
    /// What personal data is sealed with, as `2:<64 hex digits>,1:<64 hex digits>`. The first key
    /// seals; all of them open. Numbers never come back with another key. `openssl rand -hex 32`
    /// makes one.
    #[arg(long, env = "FIRSTCOME_DATA_KEYS", hide_env_values = true)]
    pub data_keys: SecretString,
}

impl DataKeys {
    /// The keyring, or what is wrong with it; says nothing of the keys themselves.
    pub fn keyring(&self) -> Result<Keyring, KeyFault> {
        self.data_keys.expose_secret().parse()
    }

    /// What is wrong, for a list of faults.
    pub fn faults(&self) -> Vec<String> {
        self.keyring().err().map(|fault| format!("--data-keys: {fault}")).into_iter().collect()
    }
}

/// Why a text is no key, or no ring of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// There is none at all.
    #[error("want at least one key")]
    Empty,
    /// It is not in the form.
    #[error("want keys as `1:<64 hex digits>`, separated by commas")]
    Form,
    /// Two keys have one number.
    #[error("two keys have the number {0}")]
    Twice(u32),
    /// It is not 32 bytes in hexadecimal.
    #[error("want 64 hex digits")]
    NoKey,
}

/// One key with its number. The number stands in front of all that it sealed.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) number: u32,
    pub(crate) bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// All keys that may have sealed something; the first one seals. Clones share them.
#[derive(Clone)]
pub struct Keyring {
    pub(crate) keys: Arc<[Key]>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(***)")
    }
}

impl FromStr for Keyring {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        let mut keys: Vec<Key> = Vec::new();
        for key in text.split(',').map(str::trim).filter(|key| !key.is_empty()) {
            let (number, digits) = key.split_once(':').ok_or(KeyFault::Form)?;
            let number: u32 = number.parse().map_err(|_| KeyFault::Form)?;
            if keys.iter().any(|key| key.number == number) {
                return Err(KeyFault::Twice(number));
            }
            let bytes = key_bytes(digits).map_err(|_| KeyFault::Form)?;
            keys.push(Key { number, bytes });
        }
        if keys.is_empty() {
            return Err(KeyFault::Empty);
        }
        Ok(Self { keys: keys.into() })
    }
}

/// Reads 64 hex digits.
pub(crate) fn key_bytes(digits: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyFault> {
    let digits = digits.as_bytes();
    if digits.len() != KEY_BYTES * 2 {
        return Err(KeyFault::NoKey);
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(KeyFault::NoKey);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_reads_its_keys_in_order_and_names_its_faults() {
        let (one, two) = ("ab".repeat(32), "CD".repeat(32));
        let ring: Keyring = format!("2:{two}, 1:{one}").parse().expect("two keys");
        let numbers: Vec<u32> = ring.keys.iter().map(|key| key.number).collect();
        assert_eq!(numbers, [2, 1]);
        assert_eq!(*ring.keys[0].bytes, [0xcd; 32]);

        let fault = |text: &str| text.parse::<Keyring>().expect_err(text);
        assert_eq!(fault(" , "), KeyFault::Empty);
        assert_eq!(fault(&one), KeyFault::Form);
        assert_eq!(fault(&format!("x:{one}")), KeyFault::Form);
        assert_eq!(fault("1:abcd"), KeyFault::Form);
        assert_eq!(fault(&format!("1:{}", "xy".repeat(32))), KeyFault::Form);
        assert_eq!(fault(&format!("1:{one},1:{two}")), KeyFault::Twice(1));
    }
}
