//! Access tokens: who made them, whether they still live, whether their session does, and whom they
//! name. A token that was seen before costs one hash and one look-up.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use firstcome_mesh::{Identity, identity};
use firstcome_proto::{Reason, Refusal, SessionId, UserId, access::Role};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, Validation};
use quick_cache::sync::Cache;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;

pub mod keys;
pub mod revocations;

use keys::Keys;
use revocations::Revocations;

/// Who makes our tokens, and for whom.
const ISSUER: &str = "firstcome";
/// Ours are about 400 bytes; hashing and decoding more is a stranger's wish.
const TOKEN_BYTES_MAX: usize = 4096;
/// A token made on a machine whose clock is a little ahead. Its end has no such leeway: an ended
/// token is refreshed, a fresh one that is refused is a riddle.
const NOT_BEFORE_LEEWAY_S: u64 = 5;
/// Verified tokens that are remembered, about 250 bytes each.
const CACHED_MAX: usize = 100_000;
/// Nothing is remembered longer, whatever the token says.
const CACHED_FOR_S: u64 = 3600;

/// A caller whose token verified.
#[derive(Debug)]
pub struct Verified {
    /// Who.
    pub identity: Identity,
    /// The same, as the services read it: `fc-identity-bin`.
    pub header: HeaderValue,
    /// When the token ends, in seconds since 1970.
    expires_at_s: u64,
    /// When it must be looked at again, in seconds since 1970.
    remembered_until_s: u64,
}

/// The claims of an access token; `iss` and `aud` are checked before it is made.
#[derive(Deserialize)]
struct Claims {
    sub: UuidText,
    sid: UuidText,
    role: RoleName,
    nbf: u64,
    exp: u64,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct UuidText(uuid::Uuid);

impl TryFrom<String> for UuidText {
    type Error = uuid::Error;
    fn try_from(text: String) -> Result<Self, uuid::Error> {
        uuid::Uuid::try_parse(&text).map(Self)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    User,
    Admin,
}

/// Checks tokens. Clones share keys and memory.
#[derive(Clone)]
pub struct Verifier {
    keys: Keys,
    revocations: Revocations,
    seen: Arc<Cache<[u8; 32], Arc<Verified>>>,
    validation: Arc<Validation>,
}

impl Verifier {
    /// A verifier that trusts these keys, but not for these sessions.
    pub fn new(keys: Keys, revocations: Revocations) -> Self {
        // Only EdDSA: a token must not choose how it is checked.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // The clock is looked at in one place, for cached tokens too: see `alive`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let seen = Arc::new(Cache::new(CACHED_MAX));
        Self { keys, revocations, seen, validation: Arc::new(validation) }
    }

    /// The token of a call: `None` without one, a refusal when it cannot be one.
    pub fn token_of(headers: &HeaderMap) -> Option<Result<&str, Refusal>> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next()?;
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        Some(match (token, values.next()) {
            (Some((scheme, token)), None)
                if scheme.eq_ignore_ascii_case("bearer") && token.len() <= TOKEN_BYTES_MAX =>
            {
                Ok(token.trim_ascii_start())
            }
            _ => Err(invalid("want one `authorization: Bearer` header")),
        })
    }

    /// A token that was verified before; `None` when it must be looked at.
    pub fn recall(&self, token: &str) -> Option<Result<Arc<Verified>, Refusal>> {
        let verified = self.seen.get(&digest(token))?;
        let now_s = now_s();
        if now_s >= verified.expires_at_s {
            return Some(Err(expired()));
        }
        if now_s >= verified.remembered_until_s {
            return None;
        }
        Some(self.admit(verified))
    }

    /// Verifies a token, and remembers it. Asks for newer keys when it names one that is unknown.
    pub async fn verify(&self, token: &str) -> Result<Arc<Verified>, Refusal> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| invalid("the access token is not a JWT of ours"))?;
        if header.alg != Algorithm::EdDSA {
            return Err(invalid("the access token is not signed with EdDSA"));
        }
        let key_id = header.kid.ok_or_else(|| invalid("the access token names no key"))?;
        let key = self.keys.find(&key_id).await?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &self.validation)
            .map_err(|_| invalid("the access token does not verify"))?
            .claims;
        alive(&claims)?;

        let verified = Arc::new(Verified::from(claims));
        self.seen.insert(digest(token), Arc::clone(&verified));
        self.admit(verified)
    }

    /// The last question to a token that is good by itself.
    fn admit(&self, verified: Arc<Verified>) -> Result<Arc<Verified>, Refusal> {
        self.revocations.check(verified.identity.session).map(|()| verified)
    }
}

impl Verified {
    /// A caller whose token ends then, in seconds since 1970.
    pub fn new(identity: Identity, expires_at_s: u64) -> Self {
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(identity::HEADER, identity.to_header());
        let header = metadata.into_headers().remove(identity::HEADER);
        let header = header.expect("it was put there a line ago");
        let remembered_until_s = now_s().saturating_add(CACHED_FOR_S);
        Self { identity, header, expires_at_s, remembered_until_s }
    }
}

impl From<Claims> for Verified {
    fn from(claims: Claims) -> Self {
        let identity = Identity {
            user: UserId(claims.sub.0),
            session: SessionId(claims.sid.0),
            role: match claims.role {
                RoleName::User => Role::User,
                RoleName::Admin => Role::Admin,
            },
        };
        Self::new(identity, claims.exp)
    }
}

fn alive(claims: &Claims) -> Result<(), Refusal> {
    let now_s = now_s();
    if claims.exp <= now_s {
        return Err(expired());
    }
    if claims.nbf > now_s + NOT_BEFORE_LEEWAY_S {
        return Err(invalid("the access token is not valid yet"));
    }
    Ok(())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The refusal of a call that needs a token and has none, or a wrong one.
pub fn invalid(message: &str) -> Refusal {
    Refusal::because(Reason::TokenInvalid, message)
}

fn expired() -> Refusal {
    Refusal::because(Reason::TokenExpired, "the access token has ended; refresh the session")
}
