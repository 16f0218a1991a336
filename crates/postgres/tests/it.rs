//! Which connection a statement gets, and what becomes of those that end badly.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use firstcome_postgres::{Pool, Settings, Trouble};
use firstcome_testkit::{TestDatabase, eventually, stores};
use sqlx::Connection as _;
use tokio::net::{TcpListener, TcpStream};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("tests/migrations");

/// Much longer than any statement here takes, and shorter than what is left hanging.
const SOON: Duration = Duration::from_secs(10);

async fn pool(connections_max: u32) -> (TestDatabase, Pool) {
    let database = stores().await.database("fc_order", &MIGRATIONS).await;
    let settings = Settings { connections_max, statement_timeout: Duration::from_secs(60) };
    let pool = Pool::connect(&database.url.clone().into(), settings).await.unwrap();
    (database, pool)
}

/// The process in Postgres that serves the next statement.
async fn backend(pool: &Pool) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(pool).await
}

/// Ends that process, from outside.
async fn terminate(database: &TestDatabase, backend: i32) {
    let gone = sqlx::query_scalar("select pg_terminate_backend($1, 5000)").bind(backend);
    let gone: bool = gone.fetch_one(&database.pool).await.unwrap();
    assert!(gone, "the process ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_does_what_is_asked_in_turn() {
    let (_database, pool) = pool(8).await;
    let first = backend(&pool).await.unwrap();
    for _ in 0..20 {
        assert_eq!(backend(&pool).await.unwrap(), first);
    }
    let rows = sqlx::query("select generate_series(1, 3)").fetch_all(&pool).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(backend(&pool).await.unwrap(), first, "also after many rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_statement_harms_no_other() {
    let (_database, pool) = pool(1).await;
    let again = sqlx::query("insert into things values ('the one', 1)").execute(&pool).await;
    let refused = again.unwrap_err();
    assert_eq!(Trouble::of(&refused), Trouble::Data);
    assert_eq!(firstcome_postgres::broken_constraint(&refused), Some("things_pkey"));
    backend(&pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_statement_that_its_caller_left() {
    let (database, pool) = pool(2).await;
    let sleeper = backend(&pool).await.unwrap();
    let left = tokio::spawn({
        let pool = pool.clone();
        async move { sqlx::query("select pg_sleep(30)").execute(&pool).await }
    });
    let sleeps = || async {
        let state = "select wait_event = 'PgSleep' from pg_stat_activity where pid = $1";
        let state = sqlx::query_scalar(state).bind(sleeper).fetch_one(&database.pool).await;
        state.unwrap_or(None::<bool>) == Some(true)
    };
    eventually(SOON, sleeps).await;
    left.abort();
    let next = tokio::time::timeout(SOON, backend(&pool)).await.expect("somebody else answers");
    assert_ne!(next.unwrap(), sleeper);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_is_told_as_passing_and_replaced() {
    let (database, pool) = pool(2).await;
    let first = backend(&pool).await.unwrap();
    terminate(&database, first).await;
    let told = backend(&pool).await.unwrap_err();
    assert_eq!(Trouble::of(&told), Trouble::Passing, "{told}");
    assert_ne!(backend(&pool).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_while_it_rested_is_told_to_nobody() {
    let (database, pool) = pool(2).await;
    let first = backend(&pool).await.unwrap();
    terminate(&database, first).await;
    // A connection that rested for a second is asked whether it lives.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_ne!(backend(&pool).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_without_its_end_gives_its_locks_back() {
    let (_database, pool) = pool(2).await;
    let touch = "update things set number = number + 1 where name = 'the one'";
    {
        let mut lent = pool.acquire().await.unwrap();
        let mut transaction = lent.begin().await.unwrap();
        sqlx::query(touch).execute(&mut *transaction).await.unwrap();
    }
    let touched = tokio::time::timeout(SOON, sqlx::query(touch).execute(&pool)).await;
    touched.expect("the lock is free").unwrap();
    let number: i32 =
        sqlx::query_scalar("select number from things").fetch_one(&pool).await.unwrap();
    assert_eq!(number, 1, "what was not committed was not done");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_behind_a_statement_that_was_left_gets_what_is_given_back() {
    let (_database, pool) = pool(2).await;
    let lent = pool.acquire().await.unwrap();
    let left = sqlx::query("select pg_sleep(30)").execute(&pool);
    let left = tokio::time::timeout(Duration::from_millis(300), left).await;
    assert!(left.is_err(), "its caller leaves");

    // One connection sleeps on, the other is lent: who comes now waits for either.
    let (waits, ()) = futures::join!(backend(&pool), async {
        tokio::task::yield_now().await;
        lent.give_back();
    });
    waits.expect("what was given back answers");
}

#[test]
fn a_pool_may_outlive_its_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_database, pool) = runtime.block_on(async {
        let (database, pool) = pool(2).await;
        backend(&pool).await.unwrap();
        (database, pool)
    });
    drop(runtime);
    drop(pool);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_lent_than_there_are_and_who_waits_gets_the_next() {
    let (_database, pool) = pool(1).await;
    let lent = pool.acquire().await.unwrap();
    let refused = backend(&pool).await.unwrap_err();
    assert!(matches!(refused, sqlx::Error::PoolTimedOut), "{refused}");
    assert_eq!(Trouble::of(&refused), Trouble::Passing);

    let (waits, ()) = futures::join!(backend(&pool), async { lent.give_back() });
    waits.unwrap();
    pool.close().await;
    assert!(matches!(backend(&pool).await.unwrap_err(), sqlx::Error::PoolClosed));
}

/// A way to Postgres on which every connection but the first takes its time to be made. The number
/// counts how many were begun.
async fn slow_to_connect(database: &TestDatabase) -> (String, Arc<AtomicUsize>) {
    let mut url = url::Url::parse(&database.url).unwrap();
    let postgres = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
            let postgres = postgres.clone();
            tokio::spawn(async move {
                if !is_first {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                let mut server = TcpStream::connect(postgres).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (url.into(), begun)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pool_gives_up_no_connection_that_is_being_made() {
    const CONNECTIONS_MAX: u32 = 4;
    let database = stores().await.database("fc_order", &MIGRATIONS).await;
    let (url, begun) = slow_to_connect(&database).await;
    let timeout = Duration::from_secs(60);
    let settings = Settings { connections_max: CONNECTIONS_MAX, statement_timeout: timeout };
    let pool = Pool::connect(&url.into(), settings).await.unwrap();
    // Many who wait, and one connection that is given back again and again meanwhile.
    let busy = (0..8).map(|_| async {
        for _ in 0..50 {
            backend(&pool).await.unwrap();
        }
    });
    futures::future::join_all(busy).await;
    let begun = begun.load(Ordering::Relaxed);
    assert!(begun <= CONNECTIONS_MAX as usize, "{begun} were begun");
}
