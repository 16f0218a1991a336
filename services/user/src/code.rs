//! The codes that prove an address: six digits in Redis, for three minutes, for five wrong tries.

use std::{fmt, time::Duration};

use bytes::Bytes;
use firstcome_proto::Refusal;
use firstcome_redis::RedisPool;
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    account::{Email, SignUpId},
    error::Error,
};

/// The functions that keep and check codes.
const LIBRARY: &str = include_str!("code/library.lua");
/// Wrong tries that burn a code: one in 200 000 guesses it.
const WRONG_TRIES_MAX: &str = "5";

/// Six digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// A new one.
    pub fn generate() -> Self {
        Self(format!("{:06}", rand::rng().random_range(0..1_000_000)))
    }

    /// Reads and checks a field.
    pub fn from_field(field: &str, text: &str) -> Result<Self, Refusal> {
        if text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::invalid(field, "want six digits"))
        }
    }

    /// For the mail, and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(***)")
    }
}

/// All codes that are out.
#[derive(Clone)]
pub struct Codes {
    redis: RedisPool,
    ttl: Duration,
}

impl Codes {
    /// In this Redis; each code lives that long.
    pub async fn new(redis: &RedisPool, ttl: Duration) -> Result<Self, firstcome_redis::Error> {
        let redis = redis.with_library(LIBRARY);
        redis.load_library().await?;
        Ok(Self { redis, ttl })
    }

    /// How long a code lives.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Keeps a code for a sign-up, in place of the address's last one.
    pub async fn put(&self, email: &Email, code: &Code, signup: SignUpId) -> Result<(), Error> {
        let args = vec![
            Bytes::from(code.0.clone()),
            Bytes::from(signup.0.to_string()),
            Bytes::from(self.ttl.as_millis().to_string()),
        ];
        self.redis.fcall("code_put_1", vec![key(email)], args).await?;
        Ok(())
    }

    /// The sign-up that this code was mailed for; `None` for a wrong, burned or old one.
    pub async fn check(&self, email: &Email, code: &Code) -> Result<Option<SignUpId>, Error> {
        let args =
            vec![Bytes::from(code.0.clone()), Bytes::from_static(WRONG_TRIES_MAX.as_bytes())];
        let answer = self.redis.fcall("code_try_1", vec![key(email)], args).await?;
        let Some(signup) = answer.as_string() else { return Ok(None) };
        let signup = Uuid::try_parse(&signup)
            .map_err(|error| Error::internal("read a sign-up's id", error))?;
        Ok(Some(SignUpId(signup)))
    }
}

/// The address itself is personal and stays out of Redis.
fn key(email: &Email) -> String {
    let digest = Sha256::digest(email.as_str().as_bytes());
    let digest: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("fc:code:{{{digest}}}")
}
