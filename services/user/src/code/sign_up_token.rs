//! The token of a sign-up: what tells whoever signed up from whoever else did so in the same name.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use firstcome_proto::Refusal;
use firstcome_vault::Index;

use crate::account::SignUpId;

/// As many as an HMAC has: nobody guesses them.
const TOKEN_BYTES: usize = 32;

/// Only who signed up has it. A mailed code proves the address, this the password that stands
/// there: without it, the owner of a mailbox would activate what a stranger signed up in their
/// name, and the stranger's password with it.
///
/// It is made from the sign-up's id under the index key and stands nowhere, so none is read in a
/// dump.
#[derive(Clone, PartialEq, Eq)]
pub struct SignUpToken([u8; TOKEN_BYTES]);

impl SignUpToken {
    /// That of a sign-up.
    pub fn of(index: &Index, id: SignUpId) -> Self {
        Self(index.of("sign_ups.token", &id.0.to_string()))
    }

    /// Reads and checks a field.
    pub fn from_field(field: &str, text: &str) -> Result<Self, Refusal> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| Refusal::invalid(field, "want the token of a SignUpResponse"))
    }

    /// For the answer, in letters and digits that stand in any URL.
    pub fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for SignUpToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignUpToken(***)")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_sign_up_has_a_token_of_its_own_that_is_read_back() {
        let index = Index::new(&"0a".repeat(32).into()).expect("a key");
        let of = |number| SignUpToken::of(&index, SignUpId(Uuid::from_u128(number)));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let text = of(1).to_text();
        assert_eq!(text.len(), 43);
        assert_eq!(SignUpToken::from_field("sign_up_token", &text).ok(), Some(of(1)));
        for wrong in ["", "a\0", &text[1..], &format!("{text}A"), &"x".repeat(10_000)] {
            assert!(SignUpToken::from_field("sign_up_token", wrong).is_err(), "{wrong:?}");
        }
    }
}
