//! The codes that prove an address: in Redis, for three minutes, for five wrong tries. What is kept
//! there of a code is an HMAC: whoever reads Redis cannot use it.

mod sign_up_token;

use std::{fmt, net::IpAddr, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use firstcome_proto::Refusal;
use firstcome_redis::RedisPool;
use firstcome_vault::Index;
use rand::RngExt as _;
use uuid::Uuid;

use crate::{
    account::{Email, SignUpId},
    customer::customer,
    error::Error,
};

pub use sign_up_token::SignUpToken;

/// The functions that keep and check codes.
const LIBRARY: &str = include_str!("code/library.lua");
/// Digits of a code that verifies a sign-up: few, because whoever guesses one has only an account
/// that is their own in somebody else's name, and must have signed up for it.
const VERIFY_DIGITS: usize = 6;
/// Characters of a code that sets a new password: whoever guesses one has somebody's account, and
/// may ask for codes of all accounts there are. These are 36 bits.
const RESET_CHARS: usize = 8;
/// What those are made of: nothing that looks like something else, and no vowels, so that no code
/// is a word.
const RESET_ALPHABET: &[u8] = b"346789CDFGHJKMNPQRTVWXY";
/// Wrong tries that burn a code: one in 200 000 guesses six digits.
const WRONG_TRIES_MAX: &str = "5";
/// Mails that sign-ups may send to one address before it is left alone for the cooldown: whoever
/// mistyped a name, or lost an answer, signs up again at once; whoever bombs a mailbox does not.
const SIGN_UP_MAILS_MAX: u32 = 3;
/// Mails that an address may be sent on demand, before it is left alone for the cooldown.
const DEMANDED_MAILS_MAX: u32 = 1;
/// Mails of codes that an address may be sent in a day for what one client network asks, whatever
/// for: more than anybody needs who has forgotten a password and then mistyped it.
const DAILY_MAILS_FROM_ONE_MAX: u32 = 20;
/// Mails of codes that an address may be sent in a day whoever asks: a stranger who wants to use up
/// an owner's needs five networks, and nobody's mailbox is filled by a thousand.
const DAILY_MAILS_MAX: u32 = 100;
/// A day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is mailed: six digits, or eight letters and digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// A new one.
    pub fn generate(purpose: Purpose) -> Self {
        let (alphabet, length): (&[u8], _) = match purpose {
            Purpose::Verify => (b"0123456789", VERIFY_DIGITS),
            Purpose::Reset => (RESET_ALPHABET, RESET_CHARS),
        };
        let mut random = rand::rng();
        let character = |_| char::from(alphabet[random.random_range(0..alphabet.len())]);
        Self((0..length).map(character).collect())
    }

    /// Reads and checks a field. Letters count in either case.
    pub fn from_field(purpose: Purpose, field: &str, text: &str) -> Result<Self, Refusal> {
        let (length, fits, want): (_, fn(&u8) -> bool, _) = match purpose {
            Purpose::Verify => (VERIFY_DIGITS, |byte| byte.is_ascii_digit(), "want six digits"),
            Purpose::Reset => (
                RESET_CHARS,
                |byte| RESET_ALPHABET.contains(&byte.to_ascii_uppercase()),
                "want eight letters and digits, as they were mailed",
            ),
        };
        if text.len() == length && text.as_bytes().iter().all(fits) {
            Ok(Self(text.to_ascii_uppercase()))
        } else {
            Err(Refusal::invalid(field, want))
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

    /// What a sign-up is answered with, and only that sign-up is verified with.
    pub fn sign_up_token(&self, id: SignUpId) -> SignUpToken {
        SignUpToken::of(&self.index, id)
    }

    /// Takes one of the mails that an address may be sent, whether or not it has an account.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when none is left.
    pub async fn pace(
        &self,
        purpose: Purpose,
        email: &Email,
        demand: Demand,
        from: Option<IpAddr>,
    ) -> Result<(), Error> {
        let mails_max = match demand {
            Demand::SignUp => SIGN_UP_MAILS_MAX,
            Demand::Reader => DEMANDED_MAILS_MAX,
        };
        let args = vec![
            number(mails_max),
            number(self.cooldown.as_millis()),
            number(DAILY_MAILS_FROM_ONE_MAX),
            number(DAILY_MAILS_MAX),
            number(DAY.as_millis()),
        ];
        let from = from.map_or_else(String::new, |from| customer(from).to_string());
        let from = BASE64_URL_SAFE_NO_PAD.encode(self.index.of("codes.from", &from));
        let in_a_day = format!("{}:day", self.prefix(email));
        let keys = vec![
            format!("{}:pace", self.key(purpose, email)),
            format!("{in_a_day}:{from}"),
            in_a_day,
        ];
        let wait = self.redis.fcall("code_pace_4", keys, args).await?;
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
        // A sign-up's token is made from its id, so that a code that is sent again goes with it
        // too.
        let token = match purpose {
            Purpose::Verify => Some(self.sign_up_token(SignUpId(subject.id))),
            Purpose::Reset => None,
        };
        let args = vec![
            self.kept(purpose, email, code),
            self.kept_token(token.as_ref()),
            Bytes::from(subject.id.to_string()),
            number(subject.since),
            number(self.ttl.as_millis()),
        ];
        self.redis.fcall("code_put_4", vec![self.key(purpose, email)], args).await?;
        Ok(())
    }

    /// The subject that this code was mailed for; `None` for a wrong, burned or old one. A code
    /// that verifies wants its sign-up's token as well.
    ///
    /// With another token nothing is looked at and nothing counted: whoever comes with one learns
    /// nothing of the code, and does not burn it for whoever has the right one. Who signed up in
    /// somebody's name has a token of an older sign-up, at best, once the owner has signed up too.
    pub async fn check(
        &self,
        purpose: Purpose,
        email: &Email,
        code: &Code,
        token: Option<&SignUpToken>,
    ) -> Result<Option<Uuid>, Error> {
        let args = vec![
            self.kept(purpose, email, code),
            self.kept_token(token),
            Bytes::from_static(WRONG_TRIES_MAX.as_bytes()),
        ];
        let answer = self.redis.fcall("code_try_4", vec![self.key(purpose, email)], args).await?;
        let Some(subject) = answer.as_string() else { return Ok(None) };
        let subject = Uuid::try_parse(&subject)
            .map_err(|error| Error::internal("read a code's subject", error))?;
        Ok(Some(subject))
    }

    /// Takes a code away that was used for what it is not good for.
    pub async fn burn(&self, purpose: Purpose, email: &Email, code: &Code) -> Result<(), Error> {
        let args = vec![self.kept(purpose, email, code)];
        self.redis.fcall("code_burn_4", vec![self.key(purpose, email)], args).await?;
        Ok(())
    }

    /// What is kept of a code: good for its purpose and address alone, and no way back to its few
    /// digits without the key.
    fn kept(&self, purpose: Purpose, email: &Email, code: &Code) -> Bytes {
        let code = format!("{}\0{}\0{}", purpose.word(), email.as_str(), code.0);
        Bytes::from(BASE64_URL_SAFE_NO_PAD.encode(self.index.of("codes.code", &code)))
    }

    /// What is kept of a token; nothing where there is none to show.
    fn kept_token(&self, token: Option<&SignUpToken>) -> Bytes {
        let token = token.map(|token| self.index.of("codes.token", &token.to_text()));
        token.map_or_else(Bytes::new, |kept| Bytes::from(BASE64_URL_SAFE_NO_PAD.encode(kept)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_was_mailed() {
        for purpose in [Purpose::Verify, Purpose::Reset] {
            let code = Code::generate(purpose);
            assert_eq!(Code::from_field(purpose, "code", code.expose()).ok(), Some(code.clone()));
            let lower = code.expose().to_ascii_lowercase();
            assert_eq!(Code::from_field(purpose, "code", &lower).ok(), Some(code));
        }
        for (purpose, wrong) in [
            (Purpose::Verify, "12345"),
            (Purpose::Verify, "12345a"),
            (Purpose::Verify, "1234567"),
            (Purpose::Reset, "123456"),
            (Purpose::Reset, "CDFG346"),
            (Purpose::Reset, "CDFG346O"),
            (Purpose::Reset, "CDFG346\0"),
            (Purpose::Reset, "ＣDFG34"),
        ] {
            let refusal = Code::from_field(purpose, "code", wrong).expect_err(wrong);
            assert_eq!(refusal.violations[0].field, "code");
        }
    }
}
