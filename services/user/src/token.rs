//! Access tokens: JWTs signed with Ed25519, which the edge verifies without asking us. No I/O.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey as _};
use firstcome_proto::{SessionId, UserId};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{account::Role, error::Error};

/// Who issues the tokens, and whom they are for: this shop.
pub const ISSUER: &str = "firstcome";
/// What clocks differ by, and a replica needs to hear of a new key.
const LEEWAY: Duration = Duration::from_secs(60);

/// Tokens that were made before their life was configured shorter, and those of seeded users, live
/// for an hour at most.
const TTL_BEFORE_MAX: Duration = Duration::from_secs(60 * 60);

/// How long a token may matter after the last moment at which it could be made. What matters is the
/// longest life that a token may have that is out, not the life of today's.
pub fn outlived_after(ttl: Duration) -> Duration {
    ttl.max(TTL_BEFORE_MAX).saturating_add(LEEWAY)
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// `firstcome`.
    pub iss: String,
    /// `firstcome`.
    pub aud: String,
    /// The user's id.
    pub sub: String,
    /// The session's id.
    pub sid: String,
    /// `user` or `admin`.
    pub role: String,
    /// Seconds since 1970: made at,
    pub iat: u64,
    /// good from,
    pub nbf: u64,
    /// good until.
    pub exp: u64,
}

/// A key pair as it is stored.
pub struct KeyPair {
    /// The `kid` of its tokens: the start of the public key's SHA-256.
    pub key_id: String,
    /// PKCS #8.
    pub private_key: Zeroizing<Vec<u8>>,
    /// 32 raw bytes.
    pub public_key: Vec<u8>,
}

impl KeyPair {
    /// A new one.
    pub fn generate() -> Self {
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        let key = SigningKey::from_bytes(&seed);
        let public_key = key.verifying_key().to_bytes();
        let key_id = Sha256::digest(public_key)[..8].iter().map(|b| format!("{b:02x}")).collect();
        let private_key = key.to_pkcs8_der().expect("an Ed25519 key has a PKCS #8 form");
        Self {
            key_id,
            private_key: Zeroizing::new(private_key.as_bytes().to_vec()),
            public_key: public_key.to_vec(),
        }
    }
}

/// Signs with one key at a time. Clones share it.
#[derive(Clone)]
pub struct Signer {
    current: Arc<RwLock<Arc<Current>>>,
    ttl: Duration,
}

/// The key that signs now.
struct Current {
    key_id: String,
    header: Header,
    key: EncodingKey,
}

impl From<&KeyPair> for Current {
    fn from(pair: &KeyPair) -> Self {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(pair.key_id.clone());
        let key = EncodingKey::from_ed_der(&pair.private_key);
        Self { key_id: pair.key_id.clone(), header, key }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.key_id()).finish_non_exhaustive()
    }
}

impl Signer {
    /// With this key; its tokens live that long.
    pub fn new(key: &KeyPair, ttl: Duration) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(key.into()))), ttl }
    }

    /// With another key from now on.
    pub fn replace(&self, key: &KeyPair) {
        *self.current.write() = Arc::new(key.into());
    }

    /// The `kid` of the tokens that it makes now.
    pub fn key_id(&self) -> String {
        self.current.read().key_id.clone()
    }

    /// How long a token lives.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A token for this session, good from now.
    pub fn sign(&self, user: UserId, session: SessionId, role: Role) -> Result<String, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: user.to_string(),
            sid: session.to_string(),
            role: role.claim().to_owned(),
            iat: now.as_secs(),
            nbf: now.as_secs(),
            exp: (now + self.ttl).as_secs(),
        };
        let current = Arc::clone(&self.current.read());
        jsonwebtoken::encode(&current.header, &claims, &current.key)
            .map_err(|error| Error::internal("sign a token", error))
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    use jsonwebtoken::{DecodingKey, Validation};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_shorter_life_of_new_tokens_lets_no_older_one_outlive_its_end() {
        let check = |ttl_s, want_s| {
            let outlived_after = outlived_after(Duration::from_secs(ttl_s));
            assert_eq!(outlived_after, Duration::from_secs(want_s), "{ttl_s}");
        };
        check(60, 61 * 60);
        check(10 * 60, 61 * 60);
        check(60 * 60, 61 * 60);
        check(2 * 60 * 60, 121 * 60);
        assert_eq!(outlived_after(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn a_token_verifies_with_the_public_key_alone() {
        let pair = KeyPair::generate();
        let signer = Signer::new(&pair, Duration::from_secs(60));
        let (user, session) = (UserId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
        let token = signer.sign(user, session, Role::Admin).expect("a token");

        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[ISSUER]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        let key = |public: &[u8]| {
            DecodingKey::from_ed_components(&BASE64_URL_SAFE_NO_PAD.encode(public)).expect("a key")
        };
        let read = jsonwebtoken::decode::<Claims>(&token, &key(&pair.public_key), &validation)
            .expect("ours");
        assert_eq!(read.header.kid.as_deref(), Some(pair.key_id.as_str()));
        assert_eq!((read.claims.sub, read.claims.sid), (user.to_string(), session.to_string()));
        assert_eq!((read.claims.role.as_str(), read.claims.exp - read.claims.iat), ("admin", 60));

        let next = KeyPair::generate();
        let other = key(&next.public_key);
        assert!(jsonwebtoken::decode::<Claims>(&token, &other, &validation).is_err());

        let replica = signer.clone();
        signer.replace(&next);
        let token = replica.sign(user, session, Role::User).expect("a token");
        let read = jsonwebtoken::decode::<Claims>(&token, &other, &validation).expect("the next's");
        assert_eq!(read.header.kid, Some(next.key_id));
    }
}
