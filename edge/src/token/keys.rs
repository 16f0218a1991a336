//! The public keys that verify tokens. `user` makes and keeps them; the edge asks for the set
//! before it is ready, every few minutes, when `user` says that there is a new key, and when a token
//! names one that it does not know.

use std::{collections::HashMap, sync::Arc, time::Duration};

use firstcome_mesh::{Deadline, Shutdown, upstream::Channel};
use firstcome_proto::{
    Refusal,
    user_v1::{ListTokenKeysRequest, token_key_service_client::TokenKeyServiceClient},
};
use jsonwebtoken::DecodingKey;
use parking_lot::RwLock;
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use super::invalid;
use crate::wire;

/// The set is asked for this often, so that a key that is listed no more is forgotten. A new one is
/// learned sooner: `user` names it.
const REFRESH_INTERVAL: Duration = Duration::from_secs(120);
/// Unknown keys ask at most this often: anybody can name one.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(5);
/// While there is no set at all, the edge is not ready and asks this often.
const START_INTERVAL: Duration = Duration::from_millis(500);
/// An answer takes a millisecond.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// The key set. Clones share it.
#[derive(Clone)]
pub struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    user: TokenKeyServiceClient<Channel>,
    known: RwLock<HashMap<String, Arc<DecodingKey>>>,
    /// The last time somebody asked, and whether an answer came. Whoever asks holds the lock, so
    /// that the others wait for that answer instead of asking too.
    asked: Mutex<Option<(Instant, bool)>>,
}

impl Keys {
    /// No keys yet; `user` has them.
    pub fn new(user: Channel) -> Self {
        let user = TokenKeyServiceClient::new(user);
        let inner = Inner { user, known: RwLock::default(), asked: Mutex::new(None) };
        Self { inner: Arc::new(inner) }
    }

    /// The key of this name, after asking for newer ones if need be.
    pub async fn find(&self, key_id: &str) -> Result<Arc<DecodingKey>, Refusal> {
        if let Some(key) = self.known(key_id) {
            return Ok(key);
        }
        let mut asked = self.inner.asked.lock().await;
        if let Some(key) = self.known(key_id) {
            return Ok(key); // the answer that was waited for
        }
        let recent = asked.filter(|(at, _)| at.elapsed() < UNKNOWN_INTERVAL);
        let answered = match recent {
            Some((_, answered)) => answered,
            None => {
                let answered = self.fetch().await;
                *asked = Some((Instant::now(), answered));
                answered
            }
        };
        match self.known(key_id) {
            Some(key) => Ok(key),
            None if answered => Err(invalid("the access token is signed with an unknown key")),
            // Nobody could say: the token may be good, and its owner should not be logged out.
            None => Err(wire::upstream_unavailable()),
        }
    }

    /// Learns the newest key each time that `user` names it, for as long as it does. Nobody else can
    /// make us ask so, and it is not asked more often than `user` says it.
    pub async fn learn_each(&self, mut newest: watch::Receiver<String>) {
        while newest.changed().await.is_ok() {
            let key_id = newest.borrow_and_update().clone();
            self.learn(&key_id).await;
        }
    }

    /// Asks for newer keys unless this one is known.
    async fn learn(&self, newest: &str) {
        if newest.is_empty() || self.known(newest).is_some() {
            return;
        }
        let mut asked = self.inner.asked.lock().await;
        if self.known(newest).is_none() {
            let answered = self.fetch().await;
            *asked = Some((Instant::now(), answered));
        }
    }

    /// Asks until there is a set; false when the process stops first.
    pub async fn fetch_first(&self, shutdown: &Shutdown) -> bool {
        while !self.fetch().await {
            if !shutdown.sleep(START_INTERVAL).await {
                return false;
            }
        }
        true
    }

    /// Keeps the set fresh until the process stops.
    pub async fn keep_fresh(&self, shutdown: &Shutdown) {
        while shutdown.sleep(REFRESH_INTERVAL).await {
            self.fetch().await;
        }
    }

    fn known(&self, key_id: &str) -> Option<Arc<DecodingKey>> {
        self.inner.known.read().get(key_id).cloned()
    }

    /// Replaces the set; keeps the old one when there is no answer.
    async fn fetch(&self) -> bool {
        let request = Deadline::after(FETCH_TIMEOUT).request(ListTokenKeysRequest {});
        let mut user = self.inner.user.clone();
        let answer = tokio::time::timeout(FETCH_TIMEOUT, user.list_token_keys(request)).await;
        let keys = match answer {
            Ok(Ok(response)) => response.into_inner().keys,
            Ok(Err(status)) => {
                tracing::warn!(code = ?status.code(), "fetch token keys");
                return false;
            }
            Err(_) => {
                tracing::warn!("fetch token keys: no answer in time");
                return false;
            }
        };
        let keys: HashMap<_, _> = keys
            .into_iter()
            .filter(|key| key.public_key.len() == 32)
            .map(|key| (key.key_id, Arc::new(DecodingKey::from_ed_der(&key.public_key))))
            .collect();
        if keys.is_empty() {
            tracing::warn!("fetch token keys: the set is empty");
            return false;
        }
        *self.inner.known.write() = keys;
        true
    }
}
