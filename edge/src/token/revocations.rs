//! Sessions that ended before their access tokens did. `user` knows them; the edge asks it several
//! times a second what is new, and keeps each until the last token of the session has ended.
//!
//! An edge that has not heard for too long may let in whom it must not: then it lets in nobody
//! with a token, and says so, until it hears again. What asks no token goes on.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use firstcome_mesh::{Deadline, Shutdown, upstream::Channel};
use firstcome_proto::{
    Reason, Refusal, SessionId, timestamp,
    user_v1::{
        ListRevocationsRequest, ListRevocationsResponse,
        revocation_service_client::RevocationServiceClient,
    },
};
use parking_lot::RwLock;
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Status};

use crate::{metrics::METRICS, wire};

/// Everybody must be refused within a second of the end of a session: that leaves three quarters of
/// it for the answer.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// An answer takes a millisecond. One that is lost leaves time for the next within the second.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// The first answer, and one after an answer that was lost, may tell of hours.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// Two million sessions that were ended within minutes.
const ANSWER_BYTES_MAX: usize = 40 << 20;
/// What matters no more is thrown away this often.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Nothing was heard yet.
const NEVER: u64 = 0;

/// The sessions whose tokens are refused. Clones share them.
#[derive(Clone)]
pub struct Revocations {
    inner: Arc<Inner>,
}

struct Inner {
    user: RevocationServiceClient<Channel>,
    /// Each ended session, until its last token has ended.
    ended: RwLock<HashMap<SessionId, Instant>>,
    /// How many there are: where nobody has logged out lately, a call takes no lock.
    ended_count: AtomicUsize,
    started: Instant,
    /// When the last question that was answered was asked: one more than the milliseconds since
    /// `started`, or [`NEVER`].
    heard_at_ms: AtomicU64,
    stale_max: Duration,
    /// Told when sessions ended: their streams end too.
    news: watch::Sender<()>,
    /// Told when the edge has heard for the first time.
    has_heard: watch::Sender<bool>,
    /// Told which key is the newest, as often as `user` says it.
    newest_key_id: watch::Sender<String>,
}

impl Revocations {
    /// Nothing is known yet; `user` knows. Nobody is let in who was not vouched for within
    /// `stale_max`.
    pub fn new(user: Channel, stale_max: Duration) -> Self {
        let user = RevocationServiceClient::new(user).max_decoding_message_size(ANSWER_BYTES_MAX);
        let inner = Inner {
            user,
            ended: RwLock::default(),
            ended_count: AtomicUsize::new(0),
            started: Instant::now(),
            heard_at_ms: AtomicU64::new(NEVER),
            stale_max,
            news: watch::Sender::new(()),
            has_heard: watch::Sender::new(false),
            newest_key_id: watch::Sender::new(String::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Refuses a session that has ended, and every session while the edge cannot know.
    ///
    /// A call pays two loads and a look at the clock; while somebody has logged out within the
    /// last minutes, a shared lock and a look into a map as well. Staleness is read off the clock
    /// and not told by the task that asks: if that dies, the edge shuts by itself.
    pub fn check(&self, session: SessionId) -> Result<(), Refusal> {
        if self.is_stale() {
            return Err(wire::upstream_unavailable());
        }
        if self.has_ended(session) { Err(revoked()) } else { Ok(()) }
    }

    /// Waits until the edge knows which sessions have ended.
    pub async fn heard(&self) {
        let mut has_heard = self.inner.has_heard.subscribe();
        let heard = has_heard.wait_for(|has_heard| *has_heard).await;
        heard.expect("we hold the sender");
    }

    /// The newest key's id, each time that `user` names it.
    pub fn newest_key_ids(&self) -> watch::Receiver<String> {
        self.inner.newest_key_id.subscribe()
    }

    /// Waits until a session ends, and gives the refusal that its streams end with.
    pub async fn ended(self, session: SessionId) -> Refusal {
        let mut news = self.inner.news.subscribe();
        while !self.has_ended(session) {
            if news.changed().await.is_err() {
                return std::future::pending().await; // cannot be: we hold the sender
            }
        }
        revoked()
    }

    /// Asks until the process stops.
    pub async fn follow(&self, shutdown: &Shutdown) {
        let mut cursor = 0;
        let mut timeout = CATCH_UP_TIMEOUT;
        let mut swept_at = Instant::now();
        let mut has_complained = false;
        loop {
            let asked_at = Instant::now();
            let answer = self.ask(cursor, timeout).await;
            timeout = if answer.is_ok() { ASK_TIMEOUT } else { CATCH_UP_TIMEOUT };
            match answer {
                Ok(answer) => {
                    cursor = answer.cursor;
                    if has_complained {
                        tracing::info!(silent_for = ?self.silent_for(), "hear revocations again");
                        has_complained = false;
                    }
                    self.hear(asked_at, answer);
                    METRICS.heard(asked_at.elapsed());
                }
                Err(fault) if self.is_stale() && !has_complained => {
                    let (code, silent_for) = (fault.code(), self.silent_for());
                    tracing::warn!(?code, ?silent_for, "hear no revocations, refuse tokens");
                    has_complained = true;
                }
                Err(_) => {} // the next question may do better, in time
            }
            if swept_at.elapsed() >= SWEEP_EVERY {
                self.sweep();
                swept_at = Instant::now();
            }
            if !shutdown.sleep(ASK_EVERY).await {
                return;
            }
        }
    }

    async fn ask(&self, cursor: u64, timeout: Duration) -> Result<ListRevocationsResponse, Status> {
        let request = Deadline::after(timeout).request(ListRevocationsRequest { cursor });
        let mut user = self.inner.user.clone();
        let answer = tokio::time::timeout(timeout, user.list_revocations(request)).await;
        let answer =
            answer.map_err(|_| Status::new(Code::DeadlineExceeded, "no answer in time"))?;
        Ok(answer?.into_inner())
    }

    /// Takes in an answer, and waits for nobody. What it says was so when it was asked, or later.
    fn hear(&self, asked_at: Instant, answer: ListRevocationsResponse) {
        let keep = answer.keep.as_ref().and_then(timestamp::duration_from_wire).unwrap_or_default();
        let forget_at = Instant::now() + keep;
        let has_news = self.remember(&answer, forget_at);
        let heard_at = asked_at.saturating_duration_since(self.inner.started);
        let heard_at_ms = u64::try_from(heard_at.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.inner.heard_at_ms.store(heard_at_ms, Ordering::Release);
        if has_news {
            self.inner.news.send_replace(());
        }
        self.inner.newest_key_id.send_replace(answer.newest_key_id);
        self.inner.has_heard.send_if_modified(|has_heard| !std::mem::replace(has_heard, true));
    }

    fn remember(&self, answer: &ListRevocationsResponse, forget_at: Instant) -> bool {
        if answer.session_ids.is_empty() {
            return false;
        }
        let mut ended = self.inner.ended.write();
        let before = ended.len();
        for id in &answer.session_ids {
            if let Ok(session) = SessionId::from_wire("session_ids", id) {
                ended.insert(session, forget_at);
            }
        }
        self.count(ended.len());
        ended.len() > before
    }

    fn sweep(&self) {
        let now = Instant::now();
        let mut ended = self.inner.ended.write();
        ended.retain(|_, forget_at| *forget_at > now);
        self.count(ended.len());
    }

    fn count(&self, ended: usize) {
        self.inner.ended_count.store(ended, Ordering::Release);
        METRICS.sessions_ended.set(ended as i64);
    }

    fn has_ended(&self, session: SessionId) -> bool {
        self.inner.ended_count.load(Ordering::Acquire) > 0
            && self.inner.ended.read().contains_key(&session)
    }

    fn is_stale(&self) -> bool {
        let heard_at_ms = self.inner.heard_at_ms.load(Ordering::Acquire);
        heard_at_ms == NEVER || self.since(heard_at_ms) > self.inner.stale_max
    }

    /// How long ago the last answered question was asked; since the start, if none was.
    fn silent_for(&self) -> Duration {
        self.since(self.inner.heard_at_ms.load(Ordering::Acquire))
    }

    fn since(&self, heard_at_ms: u64) -> Duration {
        let heard_at = Duration::from_millis(heard_at_ms.saturating_sub(1));
        self.inner.started.elapsed().saturating_sub(heard_at)
    }
}

fn revoked() -> Refusal {
    Refusal::because(Reason::TokenRevoked, "the session was ended; log in")
}

#[cfg(test)]
mod tests {
    use firstcome_mesh::upstream;
    use firstcome_proto::access::Peer;
    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;

    fn revocations(stale_max: Duration) -> Revocations {
        let user = upstream::channel_to(Peer::User, "http://127.0.0.1:1", None);
        Revocations::new(user.expect("an endpoint"), stale_max)
    }

    fn answer(sessions: &[u128], keep: Duration) -> ListRevocationsResponse {
        let id = |number: &u128| SessionId(Uuid::from_u128(*number)).to_wire();
        ListRevocationsResponse {
            session_ids: sessions.iter().map(id).collect(),
            keep: Some(timestamp::duration_to_wire(keep)),
            ..ListRevocationsResponse::default()
        }
    }

    fn reason(revocations: &Revocations, session: u128) -> Option<Reason> {
        let checked = revocations.check(SessionId(Uuid::from_u128(session)));
        checked.err().map(|refusal| refusal.reason())
    }

    #[tokio::test]
    async fn an_ended_session_is_refused_until_its_tokens_have_ended() {
        let revocations = revocations(Duration::from_secs(60));
        assert_eq!(reason(&revocations, 1), Some(Reason::UpstreamUnavailable), "nothing heard yet");
        revocations.hear(Instant::now(), answer(&[1], Duration::from_secs(60)));
        revocations.hear(Instant::now(), answer(&[2], Duration::ZERO));
        let ended = Some(Reason::TokenRevoked);
        assert_eq!([1, 2, 3].map(|id| reason(&revocations, id)), [ended, ended, None]);
        revocations.sweep();
        assert_eq!([1, 2, 3].map(|id| reason(&revocations, id)), [ended, None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_does_not_hear_lets_nobody_in() {
        let revocations = revocations(Duration::from_secs(60));
        let asked_at = Instant::now();
        advance(Duration::from_secs(50)).await;
        revocations.hear(asked_at, answer(&[], Duration::ZERO));
        advance(Duration::from_secs(10)).await;
        assert_eq!(reason(&revocations, 1), None);
        advance(Duration::from_millis(1)).await;
        let stale = reason(&revocations, 1);
        assert_eq!(stale, Some(Reason::UpstreamUnavailable), "it counts from the question");
        revocations.hear(Instant::now(), answer(&[], Duration::ZERO));
        assert_eq!(reason(&revocations, 1), None);
    }
}
