//! The codes that prove an address: six digits in Redis, for three minutes, for five wrong tries.

use std::{fmt, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use firstcome_proto::Refusal;
use firstcome_redis::RedisPool;
use firstcome_vault::Index;
use rand::RngExt as _;
use uuid::Uuid;

use crate::{account::Email, error::Error};

/// The functions that keep and check codes.
const LIBRARY: &str = include_str!("code/library.lua");
/// Wrong tries that burn a code: one in 200 000 guesses it.
const WRONG_TRIES_MAX: &str = "5";
/// Mails that sign-ups may send to one address before it is left alone for the cooldown: whoever
/// mistyped a name, or lost an answer, signs up again at once; whoever bombs a mailbox does not.
const SIGN_UP_MAILS_MAX: u32 = 3;
/// Mails that an address may be sent on demand, before it is left alone for the cooldown.
const DEMANDED_MAILS_MAX: u32 = 1;
/// Mails of codes that an address may be sent in a day, whatever for: more than anybody needs who
/// has forgotten a password and then mistyped it, and few enough that nobody's mailbox is filled.
const DAILY_MAILS_MAX: u32 = 20;
/// A day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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

/// What a code is good for, and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To activate a sign-up.
    Verify,
    /// To replace a forgotten password.
    Reset,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Reset => "reset",
        }
    }
}

/// Who wants a code to be mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A sign-up.
    SignUp,
    /// Somebody who waits for a code.
    Reader,
}

/// What a right code proves, and since when that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The sign-up, or the password that a new one may replace.
    pub id: Uuid,
    /// Counts up: a code of an older subject never takes the place of a newer one's.
    pub since: i64,
}

impl Subject {
    /// Of an address without an account: nothing is proved by its code, which nobody is mailed.
    pub fn nothing() -> Self {
        Self { id: Uuid::new_v4(), since: 0 }
    }
}

/// All codes that are out.
#[derive(Clone)]
pub struct Codes {
    redis: RedisPool,
    index: Index,
    ttl: Duration,
    cooldown: Duration,
}

impl Codes {
    /// In this Redis; each code lives that long, and an address is mailed the next one only after
    /// the cooldown.
    pub async fn new(
        redis: &RedisPool,
        index: Index,
        ttl: Duration,
        cooldown: Duration,
    ) -> Result<Self, firstcome_redis::Error> {
        let redis = redis.with_library(LIBRARY);
        redis.load_library().await?;
        Ok(Self { redis, index, ttl, cooldown })
    }

    /// How long a code lives.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Takes one of the mails that an address may be sent, whether or not it has an account.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when none is left.
    pub async fn pace(&self, purpose: Purpose, email: &Email, demand: Demand) -> Result<(), Error> {
        let mails_max = match demand {
            Demand::SignUp => SIGN_UP_MAILS_MAX,
            Demand::Reader => DEMANDED_MAILS_MAX,
        };
        let args = vec![
            number(mails_max),
            number(self.cooldown.as_millis()),
            number(DAILY_MAILS_MAX),
            number(DAY.as_millis()),
        ];
        let lately = format!("{}:pace", self.key(purpose, email));
        let in_a_day = format!("{}:day", self.prefix(email));
        let wait = self.redis.fcall("code_pace_3", vec![lately, in_a_day], args).await?;
        match wait.as_u64() {
            Some(0) => Ok(()),
            Some(wait_ms) => Err(Error::RateLimited(Duration::from_millis(wait_ms))),
            None => Err(Error::internal("read how long to wait for a code", "no number")),
        }
    }

    /// Keeps a code, in place of the address's last one of this purpose.
    pub async fn put(
        &self,
        purpose: Purpose,
        email: &Email,
        code: &Code,
        subject: Subject,
    ) -> Result<(), Error> {
        let args = vec![
            Bytes::from(code.0.clone()),
            Bytes::from(subject.id.to_string()),
            number(subject.since),
            number(self.ttl.as_millis()),
        ];
        self.redis.fcall("code_put_3", vec![self.key(purpose, email)], args).await?;
        Ok(())
    }

    /// The subject that this code was mailed for; `None` for a wrong, burned or old one.
    pub async fn check(
        &self,
        purpose: Purpose,
        email: &Email,
        code: &Code,
    ) -> Result<Option<Uuid>, Error> {
        let args =
            vec![Bytes::from(code.0.clone()), Bytes::from_static(WRONG_TRIES_MAX.as_bytes())];
        let answer = self.redis.fcall("code_try_3", vec![self.key(purpose, email)], args).await?;
        let Some(subject) = answer.as_string() else { return Ok(None) };
        let subject = Uuid::try_parse(&subject)
            .map_err(|error| Error::internal("read a code's subject", error))?;
        Ok(Some(subject))
    }

    /// Takes a code away that was used for what it is not good for.
    pub async fn burn(&self, purpose: Purpose, email: &Email, code: &Code) -> Result<(), Error> {
        let args = vec![Bytes::from(code.0.clone())];
        self.redis.fcall("code_burn_3", vec![self.key(purpose, email)], args).await?;
        Ok(())
    }

    /// The address itself is personal and stays out of Redis; so does its place in Postgres's
    /// index, so that the two cannot be laid side by side.
    fn prefix(&self, email: &Email) -> String {
        let index = BASE64_URL_SAFE_NO_PAD.encode(self.index.of("codes.email", email.as_str()));
        format!("fc:code:{{{index}}}")
    }

    fn key(&self, purpose: Purpose, email: &Email) -> String {
        format!("{}:{}", self.prefix(email), purpose.word())
    }
}

fn number(number: impl ToString) -> Bytes {
    Bytes::from(number.to_string())
}
