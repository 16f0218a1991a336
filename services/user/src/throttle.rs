//! How often a password may be guessed: wrong ones are counted in Redis, for each account from each
//! client address and for each account from everywhere, whether or not there is such an account.
//!
//! Losing Redis loses the counts and keeps nobody out: without it, people still come in, and
//! guesses are held back by the edge's limits for each client address alone.

use std::{net::IpAddr, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use firstcome_redis::RedisPool;
use firstcome_vault::Index;

use crate::{account::Email, customer::customer, error::Error};

/// The functions that count.
const LIBRARY: &str = include_str!("throttle/library.lua");
/// How long a wrong password counts, from the first one of its window.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Wrong passwords of one account from one client address in a window: more than anybody forgets.
const FROM_ONE_ADDRESS_MAX: u32 = 10;
/// Wrong passwords of one account from everywhere in a window: whoever has many addresses to guess
/// from, and none of the owner's, gets some ten thousand guesses a day. It keeps nobody out where
/// they came in before; elsewhere a mailed code lets an owner in.
const FROM_EVERYWHERE_MAX: u32 = 100;
/// How long a client address is known for a right password of an account: a device that is used.
const KNOWN_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The counts. Clones share them.
#[derive(Clone)]
pub struct Throttle {
    redis: RedisPool,
    index: Index,
}

impl Throttle {
    /// In this Redis.
    pub async fn new(redis: &RedisPool, index: Index) -> Result<Self, firstcome_redis::Error> {
        let redis = redis.with_library(LIBRARY);
        redis.load_library().await?;
        Ok(Self { redis, index })
    }

    /// Counts a try as a wrong one until it says otherwise.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when there were too many.
    pub async fn take(&self, email: &Email, from: Option<IpAddr>) -> Result<Try, Error> {
        let keys = self.keys(email, from);
        let args = [FROM_EVERYWHERE_MAX.into(), FROM_ONE_ADDRESS_MAX.into(), WINDOW.as_millis()];
        let args = args.into_iter().map(|number: u128| Bytes::from(number.to_string())).collect();
        let wait_ms = match self.redis.fcall("throttle_take_1", keys.clone(), args).await {
            Ok(wait) => wait.as_u64().unwrap_or_default(),
            Err(error) if error.is_unavailable() => {
                tracing::warn!(%error, "wrong passwords are not counted");
                return Ok(Try { redis: self.redis.clone(), keys: None });
            }
            Err(error) => return Err(error.into()),
        };
        if wait_ms > 0 {
            return Err(Error::RateLimited(Duration::from_millis(wait_ms)));
        }
        Ok(Try { redis: self.redis.clone(), keys: Some(keys) })
    }

    /// Forgets the wrong passwords of an account: its owner has proved the address.
    pub async fn clear(&self, email: &Email, from: Option<IpAddr>) {
        let args = vec![known_for()];
        tell(&self.redis, "throttle_clear_1", self.keys(email, from), args).await;
    }

    /// Neither the address of the account nor the client's stands in Redis.
    fn keys(&self, email: &Email, from: Option<IpAddr>) -> Vec<String> {
        let account = BASE64_URL_SAFE_NO_PAD.encode(self.index.of("tries.email", email.as_str()));
        let from = from.map_or_else(String::new, |from| customer(from).to_string());
        let from = BASE64_URL_SAFE_NO_PAD.encode(self.index.of("tries.from", &from));
        let name = format!("fc:tries:{{{account}}}");
        vec![name.clone(), format!("{name}:{from}"), format!("{name}:{from}:known")]
    }
}

/// A password that is being looked at. Dropped without a verdict, because nobody waits for the
/// answer any more or because there was no time to look, it does not count: nobody has learnt
/// anything.
pub struct Try {
    redis: RedisPool,
    keys: Option<Vec<String>>,
}

impl Try {
    /// It was wrong, and stays counted.
    pub fn was_wrong(mut self) {
        self.keys = None;
    }

    /// It was the password of a sign-up that nobody has verified: it does not count, and nothing is
    /// forgotten for it. Whoever signs up in somebody's name must not guess at the account the
    /// longer.
    pub async fn was_unverified(mut self) {
        if let Some(keys) = self.keys.take() {
            let args = vec![Bytes::from_static(b"undo")];
            tell(&self.redis, "throttle_give_back_1", keys, args).await;
        }
    }

    /// It was right: the account's wrong ones from this client address are forgotten.
    pub async fn was_right(mut self) {
        if let Some(keys) = self.keys.take() {
            let args = vec![Bytes::from_static(b"forget"), known_for()];
            tell(&self.redis, "throttle_give_back_1", keys, args).await;
        }
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        if let Some(keys) = self.keys.take() {
            let redis = self.redis.clone();
            // Lost with the process, it is a count too many.
            tokio::spawn(async move {
                let args = vec![Bytes::from_static(b"undo")];
                tell(&redis, "throttle_give_back_1", keys, args).await;
            });
        }
    }
}

fn known_for() -> Bytes {
    Bytes::from(KNOWN_FOR.as_millis().to_string())
}

/// Nobody is refused because a count cannot be made less.
async fn tell(redis: &RedisPool, function: &'static str, keys: Vec<String>, args: Vec<Bytes>) {
    if let Err(error) = redis.fcall(function, keys, args).await {
        tracing::warn!(%error, "a count of wrong passwords stays as it is");
    }
}
