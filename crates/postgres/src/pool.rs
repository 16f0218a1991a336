//! Connections that stay at hand.
//!
//! sqlx asks a connection whether it lives each time it is taken and again each time it is given
//! back: two round trips for each statement. In front of its pool stand the connections that did
//! their last statement well; the next statement has them without a question. What ended in any
//! other way (an error, a caller who left, a transaction without its end) goes back to sqlx, which
//! finishes, tests or replaces it.

use std::{
    collections::VecDeque,
    fmt,
    ops::{Deref, DerefMut},
    str::FromStr as _,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use firstcome_mesh::telemetry::traces::Span;
use futures::{
    FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    Connection as _, Either, Execute, Executor, PgPool, Postgres, SqlStr,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    postgres::{
        PgConnectOptions, PgConnection, PgPoolOptions, PgQueryResult, PgRow, PgStatement,
        PgTypeInfo,
    },
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{sleep, timeout},
};

use crate::{
    Trouble,
    named::Named,
    usage::{Usage, Used},
};

/// A database that gives no connection in this time counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Whoever begins while Postgres restarts, or while everybody else connects too, waits this long for
/// the first connection. Less than a start probe gives.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries.
const START_PAUSE: Duration = Duration::from_millis(200);
/// A connection that does not answer within this time is as good as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that rested longer is asked whether it lives: under load nobody waits for that,
/// and nobody is handed what a restart broke an hour ago.
const RESTED_MAX: Duration = Duration::from_secs(1);
/// At hand longest without a look by sqlx, which closes what has lived too long.
const AT_HAND_MAX: Duration = Duration::from_secs(60);

/// Statements here look rows up by key, a batch at a time, and are right to walk indexes however
/// small or new a table is. The planner cannot know: what it learnt of a table is a minute old, a
/// drop's rows are younger, and a plan that is prepared while a table is empty reads all of it
/// when it is full. So the ways that read whole tables are taken last; and since every plan is
/// then the same, each connection plans a statement once, and not once for each small batch.
const LOOKS_UP_BY_KEY: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// How a service uses its database.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Connections at most.
    pub connections_max: u32,
    /// A statement that takes longer fails as passing: it waits for a lock that nobody will give
    /// back.
    pub statement_timeout: Duration,
}

/// A service's connections. Clones share them.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    sqlx: PgPool,
    usage: Usage,
    /// One for each connection that may be lent at once. sqlx has as many, so whoever has a permit
    /// waits there for nothing but a connection that is being tested or made.
    permits: Arc<Semaphore>,
    /// The last one given back is the first one taken: few connections do most of the work, and
    /// know their statements.
    at_hand: Mutex<VecDeque<AtHand>>,
    /// As many connections may be tested or made at once.
    makers: Arc<Semaphore>,
    /// For whoever waits for sqlx.
    given_back: Notify,
}

/// A connection that sqlx tested or made, or why there is none.
type Made = Result<PoolConnection<Postgres>, sqlx::Error>;

struct AtHand {
    connection: PoolConnection<Postgres>,
    /// When sqlx gave it to us.
    since: Instant,
    rests_since: Instant,
}

impl Pool {
    /// Connects, with patience: Postgres may be about to start.
    ///
    /// # Errors
    /// An unreadable URL, a refused log-in, or no connection within 20 seconds.
    pub async fn connect(url: &SecretString, settings: Settings) -> Result<Self, sqlx::Error> {
        let options = PgConnectOptions::from_str(url.expose_secret())?;
        let timeout_ms = settings.statement_timeout.as_millis();
        let usage = Usage::of(options.get_username(), settings.connections_max);
        let sqlx = PgPoolOptions::new()
            .max_connections(settings.connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(
                options.options([("statement_timeout", timeout_ms)]).options(LOOKS_UP_BY_KEY),
            );
        drop(patiently(|| sqlx.acquire()).await?);
        let permits = usize::try_from(settings.connections_max).unwrap_or(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits));
        let inner = Arc::new(Inner {
            sqlx,
            usage,
            makers: Arc::new(Semaphore::new(permits.available_permits())),
            permits,
            at_hand: Mutex::default(),
            given_back: Notify::new(),
        });
        tokio::spawn(Inner::let_go_of_surplus(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Brings a schema up to date, however long that takes.
    ///
    /// # Errors
    /// Those of [`Pool::connect`], and of the migrations.
    pub async fn migrate(url: &SecretString, migrations: &Migrator) -> Result<(), MigrateError> {
        let mut connection = patiently(|| PgConnection::connect(url.expose_secret())).await?;
        migrations.run(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Lends one connection, for what takes several statements.
    ///
    /// # Errors
    /// [`sqlx::Error::PoolTimedOut`] when none is free within three seconds, and whatever
    /// connecting says.
    pub async fn acquire(&self) -> Result<Lent, sqlx::Error> {
        let waiting = self.inner.usage.wait();
        let lent = timeout(ACQUIRE_TIMEOUT, self.wait_for_one()).await;
        drop(waiting);
        lent.map_err(|_| {
            self.inner.usage.gave_up();
            sqlx::Error::PoolTimedOut
        })?
    }

    async fn wait_for_one(&self) -> Result<Lent, sqlx::Error> {
        let permit = Arc::clone(&self.inner.permits).acquire_owned().await;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut made = None;
        let (connection, since) = loop {
            if let Some(AtHand { connection, since, .. }) = self.inner.take().await {
                break (connection, since);
            }
            if made.is_none() {
                made = Inner::make(&self.inner);
            }
            // What sqlx still has to test or make may take long; what is given back meanwhile is
            // as good.
            let made_for_us = async {
                match made.as_mut() {
                    Some(made) => made.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = made_for_us => match answer {
                    Ok(connection) => break (connection?, Instant::now()),
                    Err(_) => made = None, // its maker ended with the runtime
                },
                () = self.inner.given_back.notified() => {}
            }
        };
        let used = self.inner.usage.lend();
        Ok(Lent { pool: self.clone(), connection, since, _permit: permit, _used: used })
    }

    /// Lends no more, waits for what is lent, and closes everything.
    pub async fn close(&self) {
        self.inner.permits.close();
        self.inner.at_hand.lock().clear();
        self.inner.sqlx.close().await;
    }
}

/// The first connection, for which others may have to make room.
async fn patiently<T, F>(mut connect: impl FnMut() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let begun = tokio::time::Instant::now();
    loop {
        let answer = timeout(ACQUIRE_TIMEOUT, connect()).await;
        match answer.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Err(fault) if Trouble::of(&fault) == Trouble::Passing => {
                if begun.elapsed() >= START_PATIENCE {
                    return Err(fault);
                }
                tracing::warn!(%fault, "wait for postgres");
                sleep(START_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

impl Inner {
    /// The connection that was used last, if it lives.
    async fn take(&self) -> Option<AtHand> {
        let mut last = self.at_hand.lock().pop_back()?;
        if last.rests_since.elapsed() <= RESTED_MAX {
            return Some(last);
        }
        // Whoever leaves in the middle, or waits in vain, leaves it to be closed.
        let mut suspect = Suspect(Some(last.connection));
        let answer = timeout(PING_TIMEOUT, suspect.0.as_mut()?.ping()).await;
        if matches!(answer, Ok(Ok(()))) {
            last.connection = suspect.0.take()?;
            return Some(last);
        }
        // What broke this one has broken the others too.
        let others = std::mem::take(&mut *self.at_hand.lock());
        for AtHand { connection, .. } in others {
            drop(Suspect(Some(connection)));
        }
        None
    }

    /// Has sqlx test or make a connection, in a task of its own: were that given up whenever another
    /// is given back first, a busy pool would begin to connect for nearly every statement, and keep
    /// Postgres from doing anything else. For whoever waits; if they have gone, for the next.
    fn make(inner: &Arc<Self>) -> Option<oneshot::Receiver<Made>> {
        let making = Arc::clone(&inner.makers).try_acquire_owned().ok()?;
        let (sender, receiver) = oneshot::channel();
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            let connection = inner.sqlx.acquire().await;
            drop(making);
            if let Err(Ok(unwanted)) = sender.send(connection) {
                inner.keep(unwanted, Instant::now());
            }
            // Also when there is none: whoever waits without a maker may have one now.
            inner.given_back.notify_one();
        });
        Some(receiver)
    }

    /// Keeps a connection at hand.
    fn keep(&self, connection: PoolConnection<Postgres>, since: Instant) {
        let mut at_hand = self.at_hand.lock();
        // Under the lock, because a pool that closes empties it once.
        if since.elapsed() > AT_HAND_MAX || self.permits.is_closed() {
            return; // sqlx looks at it
        }
        at_hand.push_back(AtHand { connection, since, rests_since: Instant::now() });
    }

    /// Lets go, now and then, of what a burst left behind: sqlx closes what stays idle.
    async fn let_go_of_surplus(inner: Weak<Self>) {
        loop {
            tokio::time::sleep(AT_HAND_MAX).await;
            let Some(inner) = inner.upgrade() else { return };
            let mut at_hand = inner.at_hand.lock();
            while at_hand.front().is_some_and(|first| first.rests_since.elapsed() > AT_HAND_MAX) {
                drop(at_hand.pop_front());
            }
        }
    }
}

/// A connection of which nobody knows whether it lives; dropped, it is closed and not tested, which
/// might take until TCP gives up.
struct Suspect(Option<PoolConnection<Postgres>>);

impl Drop for Suspect {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

impl Drop for Inner {
    /// The last handle is gone, and perhaps the runtime with it, which sqlx would need to look at
    /// each connection. They are simply closed.
    fn drop(&mut self) {
        for AtHand { connection, .. } in self.at_hand.get_mut().drain(..) {
            drop(connection.leak());
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_hand = self.inner.at_hand.lock().len();
        f.debug_struct("Pool").field("at_hand", &at_hand).finish_non_exhaustive()
    }
}

/// A connection that is lent. Dropping it, as an error does, lets sqlx see to it; who has read
/// every answer gives it back.
pub struct Lent {
    pool: Pool,
    connection: PoolConnection<Postgres>,
    since: Instant,
    _permit: OwnedSemaphorePermit,
    _used: Used,
}

impl Lent {
    /// Keeps it at hand for the next statement. No transaction may be open.
    pub fn give_back(self) {
        let Self { pool, connection, since, _permit, _used } = self;
        pool.inner.keep(connection, since);
        pool.inner.given_back.notify_one();
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Says of a traced statement that it failed; what Postgres says of it may quote values.
fn failing<T>(span: &Span, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
    answer.inspect_err(|error| span.fail(format!("{:?}", Trouble::of(error))))
}

impl<'p> Executor<'p> for &Pool {
    type Database = Postgres;

    /// Reads the answer whole before it hands out the first row, so that no reader keeps a
    /// connection waiting.
    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let query = Named::of(query);
        let answer = async move {
            let span = query.span();
            let answer = async {
                let mut lent = pool.acquire().await?;
                let answer: Vec<_> = lent.fetch_many(query).try_collect().await?;
                lent.give_back();
                Ok(stream::iter(answer.into_iter().map(Ok)))
            };
            failing(&span, span.run(answer).await)
        };
        answer.try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let query = Named::of(query);
        let answer = async move {
            let span = query.span();
            let answer = async {
                let mut lent = pool.acquire().await?;
                let row = lent.fetch_optional(query).await?;
                lent.give_back();
                Ok(row)
            };
            failing(&span, span.run(answer).await)
        };
        answer.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.prepare_with(sql, parameters).await }.boxed()
    }

    #[doc(hidden)]
    fn describe<'e>(
        self,
        sql: SqlStr,
    ) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.describe(sql).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_what_may_pass_and_for_nothing_else() {
        let mut tries = 0;
        let late = patiently(|| {
            tries += 1;
            let answer = if tries < 4 { Err(sqlx::Error::PoolTimedOut) } else { Ok(tries) };
            std::future::ready(answer)
        });
        assert_eq!(late.await.ok(), Some(4));

        let began = tokio::time::Instant::now();
        let never = patiently(std::future::pending::<Result<(), _>>).await;
        assert!(matches!(never, Err(sqlx::Error::PoolTimedOut)), "{never:?}");
        assert!(began.elapsed() >= START_PATIENCE);

        let mut tries = 0;
        let wrong = patiently(|| {
            tries += 1;
            std::future::ready(Err::<(), _>(sqlx::Error::RowNotFound))
        });
        assert!(wrong.await.is_err());
        assert_eq!(tries, 1);
    }
}
