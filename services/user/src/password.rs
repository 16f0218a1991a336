//! Password hashing: argon2id, never on a runtime thread, never on all cores at once.

use std::{sync::Arc, thread::available_parallelism};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{account::Password, error::Error};

/// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Passwords that may wait for a core. At 20 ms each, the last waits a second or so.
const QUEUE_MAX: usize = 64;

/// Hashes and verifies passwords. Clones share the cores and the queue.
#[derive(Clone)]
pub struct Hasher {
    cores: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// Of no password at all: what an unknown address is checked against.
    decoy: Arc<str>,
}

impl Hasher {
    /// On all cores but one: the runtime needs that.
    pub fn start() -> Self {
        let cores = available_parallelism().map_or(1, |cores| cores.get() - 1).max(1);
        Self {
            cores: Arc::new(Semaphore::new(cores)),
            room: Arc::new(Semaphore::new(cores + QUEUE_MAX)),
            decoy: decoy().into(),
        }
    }

    /// The PHC string of a password under a new salt.
    pub async fn hash(&self, password: Password) -> Result<String, Error> {
        self.run(move || {
            let salt = rand::random::<[u8; 16]>();
            let hash = argon2().hash_password_with_salt(password.expose(), &salt);
            hash.map(|hash| hash.to_string())
                .map_err(|error| Error::internal("hash a password", error))
        })
        .await?
    }

    /// True when the password is the one behind this PHC string; takes as long without one.
    pub async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool, Error> {
        let known = hash.is_some();
        let hash: Arc<str> = hash.map_or_else(|| Arc::clone(&self.decoy), Arc::from);
        self.run(move || {
            let hash = PasswordHash::new(&hash)
                .map_err(|error| Error::internal("read a password's hash", error))?;
            let matches = argon2().verify_password(password.expose(), &hash).is_ok();
            Ok(matches && known)
        })
        .await?
    }

    /// Runs on a blocking thread, once a core is free. The permits go along: a caller that leaves
    /// gives no core back that is still busy.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let room: OwnedSemaphorePermit =
            Arc::clone(&self.room).try_acquire_owned().map_err(|_| Error::Overloaded)?;
        let core = Arc::clone(&self.cores).acquire_owned().await;
        let core = core.expect("the semaphore is never closed");
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((core, room));
            done
        });
        done.await.map_err(|error| Error::internal("hash a password", error))
    }
}

/// A PHC string with our parameters that no password has. Its bytes are random and not hashed: a
/// service that nobody has called yet need not take 19 MiB.
fn decoy() -> String {
    let random = || STANDARD_NO_PAD.encode(rand::random::<[u8; 32]>());
    let (salt, hash) = (random(), random());
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}")
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("OWASP's parameters hold");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::attempt("password", text.into()).expect("a password")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_the_password_itself_matches() {
        let hasher = Hasher::start();
        let hash = hasher.hash(password("passw0rd!")).await.expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(password("passw0rd!"), Some(hash.clone())).await.expect("an answer"));
        assert!(!hasher.verify(password("passw0rd?"), Some(hash)).await.expect("an answer"));
        assert!(!hasher.verify(password("passw0rd!"), None).await.expect("an answer"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_queue_refuses_at_once() {
        let hasher = Hasher::start();
        let busy = hasher.cores.available_permits() as u32;
        let cores = Arc::clone(&hasher.cores).acquire_many_owned(busy).await.expect("all cores");
        let room = hasher.room.available_permits();
        let waiting: Vec<_> = (0..room)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.verify(password("x"), None).await })
            })
            .collect();
        while hasher.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(hasher.verify(password("x"), None).await, Err(Error::Overloaded)));
        for task in &waiting {
            task.abort();
        }
        drop(cores);
    }
}
