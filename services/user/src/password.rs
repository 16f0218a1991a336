//! Password hashing: argon2id on threads of its own, never on a runtime thread, never on all cores
//! at once, and the less the more others want the cores: a thousand log-ins at the opening of a drop
//! must not slow those who are already in, and must come in all the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, available_parallelism},
    time::{Duration, Instant},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use crate::{account::Password, error::Error, metrics::METRICS};

/// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Passwords that may wait for a core. At 20 ms each, the last waits a second or so on a machine
/// that has time.
const QUEUE_MAX: usize = 64;
/// How far hashing stands back: a thread gets a quarter of a core that another wants too, and all of
/// one that nobody wants. Further back, or at SCHED_IDLE, a password that has begun would not end
/// while the machine is busy.
const NICENESS: i32 = 5;
/// After a password a thread rests so many times as long as others had its core meanwhile: not at all
/// on a machine that has time.
const RESTS: u32 = 4;
/// And so long at most: a machine without a free moment still lets people in.
const REST_MAX: Duration = Duration::from_millis(250);

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and verifies passwords. Clones share the threads and the queue.
#[derive(Clone)]
pub struct Hasher {
    jobs: SyncSender<Job>,
    /// Of no password at all: what an unknown address is checked against.
    decoy: Arc<str>,
    hashed: Arc<AtomicU64>,
}

impl Hasher {
    /// On all cores but one: the runtime needs that.
    pub fn start() -> Self {
        let (jobs, waiting) = sync_channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for core in 0..cores() {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new()
                .name(format!("hash-{core}"))
                .spawn(move || hash_until_dropped(&waiting))
                .expect("a process that starts has room for a thread");
        }
        Self { jobs, decoy: decoy().into(), hashed: Arc::default() }
    }

    /// How many passwords were hashed or verified so far: what an answer cost.
    pub fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
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

    /// Runs on a hashing thread, when it is its turn. Whoever has left by then is passed over.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            METRICS.hashes_waiting.dec();
            if !done.is_closed() {
                let began = Instant::now();
                // Whoever leaves now does not want it any more.
                let _ = done.send(work());
                METRICS.hash_seconds.observe(began.elapsed().as_secs_f64());
            }
        });
        METRICS.hashes_waiting.inc();
        self.jobs.try_send(job).map_err(|refused| {
            METRICS.hashes_waiting.dec();
            METRICS.hashes_refused.inc();
            match refused {
                TrySendError::Full(_) => Error::Overloaded,
                TrySendError::Disconnected(_) => {
                    Error::internal("hash a password", "no thread left")
                }
            }
        })?;
        let result = result.await.map_err(|error| Error::internal("hash a password", error))?;
        self.hashed.fetch_add(1, Ordering::Relaxed);
        Ok(result)
    }
}

/// All but one, and one at least.
fn cores() -> usize {
    available_parallelism().map_or(1, |cores| cores.get() - 1).max(1)
}

/// The life of a hashing thread: until the last [`Hasher`] is gone.
fn hash_until_dropped(waiting: &Mutex<Receiver<Job>>) {
    // On Linux this is the thread's, not the process's.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "hash passwords at the priority of everything else");
    }
    loop {
        // One thread waits at the queue, the others behind it.
        let job = waiting.lock().recv();
        let Ok(job) = job else { return };
        let (began, used) = (Instant::now(), processor_time());
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        if ran.is_err() {
            tracing::error!("hashing panicked");
        }
        let others = began.elapsed().saturating_sub(processor_time().saturating_sub(used));
        let rest = (others * RESTS).min(REST_MAX);
        METRICS.rest_seconds.inc_by(rest.as_secs_f64());
        thread::sleep(rest);
    }
}

/// What this thread has used so far.
fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(used).expect("a thread's processor time is no time before it began")
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
        // As many as there can be threads are kept busy until we say so.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let mut busy = 0;
        loop {
            let held = Arc::clone(&held);
            let wait = move || {
                let _ = held.lock().recv();
            };
            match hasher.jobs.try_send(Box::new(wait)) {
                Ok(()) => busy += 1,
                // The threads have taken theirs, and the queue is full behind them.
                Err(TrySendError::Full(_)) if busy == cores() + QUEUE_MAX => break,
                Err(_) => tokio::task::yield_now().await,
            }
        }
        assert!(matches!(hasher.verify(password("x"), None).await, Err(Error::Overloaded)));
        drop(release);
        let answer = async {
            loop {
                match hasher.verify(password("x"), None).await {
                    Err(Error::Overloaded) => tokio::task::yield_now().await,
                    answer => break answer,
                }
            }
        };
        assert!(!answer.await.expect("an answer"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_costs_one_answer_and_no_thread() {
        let hasher = Hasher::start();
        let panics: Result<(), Error> = hasher.run(|| panic!("at the disco")).await;
        assert!(matches!(panics, Err(Error::Internal)));
        assert!(hasher.hash(password("passw0rd!")).await.is_ok());
    }
}
