//! Sessions and their refresh tokens: how a token is made, and what becomes of one that is not the
//! newest. No I/O.
//!
//! A refresh token is the session's id, its generation, and an HMAC of both under the server's
//! secret. So the token of any generation can be made again, which is how a lost answer is
//! repeated, and one that was never issued is told from one that was spent.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use firstcome_proto::{SessionId, UserId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::account::{Role, State};

const ID_BYTES: usize = 16;
const GENERATION_BYTES: usize = 8;
const MAC_BYTES: usize = 32;
const TOKEN_BYTES: usize = ID_BYTES + GENERATION_BYTES + MAC_BYTES;
/// What the secret is used for, so that it can never sign anything else.
const PURPOSE: &[u8] = b"firstcome refresh token 1";
/// The namespace of session ids; any constant would do, this one is firstcome's own.
const SESSION_NAMESPACE: Uuid = Uuid::from_u128(0x3b2f_7c0e_91d4_4f6a_a5c8_0d17_62be_4c95);

/// The session that this user's log-in key names.
pub fn id_of(user: UserId, idempotency_key: &str) -> SessionId {
    let mut name = Vec::with_capacity(ID_BYTES + idempotency_key.len());
    name.extend_from_slice(user.0.as_bytes());
    name.extend_from_slice(idempotency_key.as_bytes());
    SessionId(Uuid::new_v5(&SESSION_NAMESPACE, &name))
}

/// The generation that a session begins with: the microseconds since 1970. An old session's row is
/// deleted, and the same key then opens a session of the same id: its tokens are ahead of all that
/// were made before, which stay spent.
pub fn first_generation() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or_default()
}

/// What refresh tokens are derived from.
#[derive(Clone)]
pub struct RefreshSecret(Zeroizing<Vec<u8>>);

impl fmt::Debug for RefreshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshSecret(***)")
    }
}

impl RefreshSecret {
    /// Over these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The one token of a session's generation.
    pub fn token(&self, session: SessionId, generation: i64) -> RefreshToken {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(session.0.as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        let mac = self.mac(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        let text = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(&bytes));
        RefreshToken { session, generation, text }
    }

    /// Reads a token that this secret made; `None` for any other text.
    pub fn read(&self, text: &str) -> Option<RefreshToken> {
        // A longer text cannot be one, and need not be decoded.
        if text.len() > TOKEN_BYTES * 2 {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.len() != TOKEN_BYTES {
            return None;
        }
        let (signed, mac) = bytes.split_at(ID_BYTES + GENERATION_BYTES);
        self.mac(signed).verify_slice(mac).ok()?;
        let (session, generation) = signed.split_at(ID_BYTES);
        Some(RefreshToken {
            session: SessionId(Uuid::from_slice(session).ok()?),
            generation: i64::from_be_bytes(generation.try_into().ok()?),
            text: Zeroizing::new(text.to_owned()),
        })
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(PURPOSE);
        mac.update(bytes);
        mac
    }
}

/// A genuine refresh token, newest or not.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub generation: i64,
    text: Zeroizing<String>,
}

impl RefreshToken {
    /// What the client gets.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What the database gets.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

/// A session, as its row and the database's clock have it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose.
    pub user: UserId,
    /// That user's role.
    pub role: Role,
    /// That user's state.
    pub user_state: State,
    /// Of its newest refresh token.
    pub generation: i64,
    /// The hash of its newest refresh token.
    pub refresh_hash: Vec<u8>,
    /// The hash of the one before.
    pub previous_hash: Option<Vec<u8>>,
    /// It was ended.
    pub ended: bool,
    /// Its newest refresh token is over.
    pub expired: bool,
    /// The last rotation is so fresh that its answer may have been lost.
    pub replayable: bool,
}

/// A session, as its owner is shown it.
#[derive(Clone)]
pub struct Listed {
    /// Names it.
    pub id: SessionId,
    /// As the device named itself; may be empty.
    pub device: Zeroizing<String>,
    /// The client address of its last use; empty when unknown.
    pub address: Zeroizing<String>,
    /// When it logged in.
    pub created_at: OffsetDateTime,
    /// When it logged in or refreshed its tokens the last time.
    pub last_used_at: OffsetDateTime,
    /// When it ends by itself.
    pub expires_at: OffsetDateTime,
}

/// What becomes of a genuine token that could not be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The last answer was lost: the newest token once more.
    Replay,
    /// A spent token came back: somebody else has a copy. The session ends.
    Reused,
    /// The session was ended, or its user may not be let in.
    Revoked,
    /// The session is over.
    Expired,
    /// The session is not that far: the database was restored, or the secret has leaked.
    Unknown,
}

/// Judges a genuine token that is not, or no longer, the one to spend.
pub fn judge(session: &Session, token: &RefreshToken) -> Verdict {
    let admitted = matches!(session.user_state, State::Active | State::Dormant);
    if session.ended || !admitted {
        return Verdict::Revoked;
    }
    if session.expired {
        return Verdict::Expired;
    }
    let is_previous = session.previous_hash.as_deref() == Some(token.hash().as_slice());
    match session.generation - token.generation {
        1 if is_previous && session.replayable => Verdict::Replay,
        behind if behind >= 1 => Verdict::Reused,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> RefreshSecret {
        RefreshSecret::new(vec![7; 32])
    }

    #[test]
    fn a_token_reads_back_and_a_forged_one_does_not() {
        let session = SessionId(Uuid::from_u128(5));
        let token = secret().token(session, 3);
        let read = secret().read(token.expose()).expect("one's own token");
        assert_eq!((read.session, read.generation), (session, 3));
        assert_eq!(read.hash(), token.hash());

        assert!(RefreshSecret::new(vec![8; 32]).read(token.expose()).is_none());
        for place in [0, 20, 40, 70] {
            let mut forged = token.expose().as_bytes().to_vec();
            forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("base64 is text");
            assert!(secret().read(&forged).is_none(), "changed at {place}");
        }
        for rubbish in ["", "x", &"A".repeat(75), &"A".repeat(1 << 20)] {
            assert!(secret().read(rubbish).is_none());
        }
    }

    #[test]
    fn a_log_in_key_names_one_session_of_one_user() {
        let (ann, bob) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        assert_eq!(id_of(ann, "k"), id_of(ann, "k"));
        assert_ne!(id_of(ann, "k"), id_of(bob, "k"));
        assert_ne!(id_of(ann, "k"), id_of(ann, "l"));
    }

    #[test]
    fn a_token_that_is_not_the_newest_is_judged_by_the_table() {
        let id = SessionId(Uuid::from_u128(5));
        let previous = secret().token(id, 6).hash().to_vec();
        let fresh = Session {
            user: UserId(Uuid::from_u128(1)),
            role: Role::User,
            user_state: State::Active,
            generation: 7,
            refresh_hash: secret().token(id, 7).hash().to_vec(),
            previous_hash: Some(previous),
            ended: false,
            expired: false,
            replayable: true,
        };
        let late = Session { replayable: false, ..fresh.clone() };
        let check = |session: &Session, generation: i64, want: Verdict| {
            assert_eq!(judge(session, &secret().token(id, generation)), want, "{generation}");
        };
        check(&fresh, 6, Verdict::Replay);
        check(&late, 6, Verdict::Reused);
        check(&fresh, 5, Verdict::Reused);
        check(&late, 0, Verdict::Reused);
        check(&fresh, 8, Verdict::Unknown);
        check(&Session { ended: true, ..fresh.clone() }, 6, Verdict::Revoked);
        check(&Session { user_state: State::Banned, ..fresh.clone() }, 6, Verdict::Revoked);
        check(&Session { expired: true, ..fresh }, 6, Verdict::Expired);
    }
}
