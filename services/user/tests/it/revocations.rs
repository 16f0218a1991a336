//! What the edges hear of sessions that ended: all of it, whoever ended them and in whatever order
//! their transactions commit.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use firstcome_proto::user_v1::{
    ListRevocationsRequest, ListRevocationsResponse, LogOutRequest, SetUserStateRequest, UserState,
};
use firstcome_testkit::eventually;
use firstcome_user::app::MIGRATIONS;
use rand::RngExt as _;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    commands::user,
    harness::{PASSWORD, Shop, address, carrying, store},
};

/// No access token of the harness lives longer.
const KEEP: Duration = Duration::from_secs(61 * 60);

async fn ask(shop: &Shop, cursor: u64) -> ListRevocationsResponse {
    let request = ListRevocationsRequest { cursor };
    shop.revocations.clone().list_revocations(request).await.expect("an answer").into_inner()
}

fn told(answer: &ListRevocationsResponse) -> HashSet<Uuid> {
    answer.session_ids.iter().map(|id| Uuid::from_slice(id).expect("16 bytes")).collect()
}

/// A member's sessions, that many, which nobody logged in for.
async fn sessions(shop: &Shop, count: i32) -> Vec<Uuid> {
    shop.member(&address()).await;
    sqlx::query_scalar(
        "insert into sessions (session_id, user_id, refresh_hash, expires_at)
         select gen_random_uuid(), user_id, refresh_hash, expires_at
         from sessions, generate_series(1, $1)
         returning session_id",
    )
    .bind(count)
    .fetch_all(&shop.database.pool)
    .await
    .expect("sessions")
}

async fn connect(shop: &Shop) -> PgConnection {
    PgConnection::connect(&shop.database.url).await.expect("a connection")
}

async fn end(connection: &mut PgConnection, session: Uuid) {
    sqlx::query("update sessions set ended_at = clock_timestamp() where session_id = $1")
        .bind(session)
        .execute(connection)
        .await
        .expect("a session ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_in_the_first_answer_that_begins_after_it() {
    let shop = Shop::open().await;
    let email = address();
    let mut cursor = ask(&shop, 0).await.cursor;
    let run = async |statement: String| {
        shop.database.pool.execute(sqlx::AssertSqlSafe(statement)).await.expect("a statement");
    };
    shop.member(&email).await;
    for way in ["log-out", "row", "deleted", "ban", "role"] {
        run("update users set state = 'ACTIVE'".into()).await;
        let tokens = shop.log_in(&email, PASSWORD, way).await.expect("a log-in").tokens;
        let claims = shop.claims(&tokens.expect("tokens").access_token).await;
        match way {
            "log-out" => {
                let request = carrying(&claims, LogOutRequest {});
                shop.accounts.clone().log_out(request).await.expect("logged out");
            }
            "row" => {
                let mut connection = connect(&shop).await;
                end(&mut connection, claims.sid.parse().expect("an id")).await;
            }
            "deleted" => {
                run(format!("delete from sessions where session_id = '{}'", claims.sid)).await;
            }
            "ban" => {
                let (user_id, state) = (claims.sub.clone(), UserState::Banned.into());
                let request = SetUserStateRequest { user_id, state };
                shop.accounts.clone().set_user_state(request).await.expect("banned");
            }
            _ => {
                let (email, password) = (format!("--email={email}"), "--password=0perator's");
                let made = user(&shop.database, &["create-admin", &email, password]);
                assert!(made.status.success());
            }
        }
        let answer = ask(&shop, cursor).await;
        assert!(told(&answer).contains(&claims.sid.parse().expect("an id")), "{way}");
        cursor = answer.cursor;
    }
    let keep: Duration = ask(&shop, cursor).await.keep.expect("a span").try_into().expect("a span");
    assert_eq!(keep, KEEP, "the longest life of a token, and what clocks differ by");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_late_is_told_late_and_not_skipped() {
    let shop = Shop::open().await;
    let [early, late] = sessions(&shop, 2).await[..] else { panic!("two sessions") };
    let (mut first, mut second) = (connect(&shop).await, connect(&shop).await);

    let mut held_open = first.begin().await.expect("a transaction");
    end(&mut held_open, early).await;
    let mut quick = second.begin().await.expect("a transaction");
    end(&mut quick, late).await;
    quick.commit().await.expect("the later one commits first");

    let answer = ask(&shop, 0).await;
    assert_eq!(told(&answer), HashSet::from([late]));
    let answer = ask(&shop, answer.cursor).await;
    assert_eq!(told(&answer), HashSet::from([late]), "told again while the earlier one is open");
    held_open.commit().await.expect("the earlier one commits last");
    let answer = ask(&shop, answer.cursor).await;
    assert_eq!(told(&answer), HashSet::from([early, late]));

    // Transactions of other databases hold the cursor back too, but not for long.
    let cursor = AtomicU64::new(answer.cursor);
    eventually(Duration::from_secs(20), || async {
        let answer = ask(&shop, cursor.load(Ordering::Relaxed)).await;
        cursor.store(answer.cursor, Ordering::Relaxed);
        answer.session_ids.is_empty()
    })
    .await;
    assert_eq!(
        told(&ask(&shop, 0).await),
        HashSet::from([early, late]),
        "everything, for new ones"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_the_cursor_hears_of_every_session_in_whatever_order_they_end() {
    let shop = Shop::open().await;
    let all = sessions(&shop, 160).await;
    let start = ask(&shop, 0).await;
    assert!(start.session_ids.is_empty());
    let mut ending = JoinSet::new();
    for sessions in all.chunks(20).map(<[Uuid]>::to_vec) {
        let mut connection = connect(&shop).await;
        ending.spawn(async move {
            for session in sessions {
                let mut transaction = connection.begin().await.expect("a transaction");
                end(&mut transaction, session).await;
                // So that they commit in another order than they began.
                let pause = rand::rng().random_range(Duration::ZERO..Duration::from_millis(8));
                tokio::time::sleep(pause).await;
                transaction.commit().await.expect("a commit");
            }
        });
    }
    let (mut heard, mut cursor) = (HashSet::new(), start.cursor);
    loop {
        while ending.try_join_next().is_some_and(|ended| ended.map(|()| true).expect("no panic")) {}
        let was_over = ending.is_empty();
        let answer = ask(&shop, cursor).await;
        heard.extend(told(&answer));
        cursor = answer.cursor;
        if was_over {
            break;
        }
    }
    assert_eq!(heard, all.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_from_before_a_restore_is_told_everything() {
    let shop = Shop::open().await;
    let all: HashSet<_> = sessions(&shop, 3).await.into_iter().collect();
    let mut connection = connect(&shop).await;
    for session in &all {
        end(&mut connection, *session).await;
    }
    let cursor = ask(&shop, 0).await.cursor;
    for ahead in [cursor + 1_000_000_000, i64::MAX.unsigned_abs(), u64::MAX] {
        let answer = ask(&shop, ahead).await;
        assert_eq!(told(&answer), all, "{ahead}");
        assert!(answer.cursor < ahead, "and goes on from here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matters_no_more_is_neither_told_nor_kept() {
    let shop = Shop::open().await;
    let [old, young, back] = sessions(&shop, 3).await[..] else { panic!("three sessions") };
    let mut connection = connect(&shop).await;
    for session in [old, young, back] {
        end(&mut connection, session).await;
    }
    for statement in [
        "update revocations set revoked_at = clock_timestamp() - interval '3661 s'
         where session_id = $1",
        // As seeding does.
        "update sessions set ended_at = null where session_id = $1",
    ]
    .into_iter()
    .zip([old, back])
    {
        let (statement, session) = statement;
        sqlx::query(statement).bind(session).execute(&mut connection).await.expect("a row");
    }
    assert_eq!(told(&ask(&shop, 0).await), HashSet::from([young]));

    let store = store(&shop.database).await;
    assert_eq!(store.forget_revocations(KEEP).await.expect("forgotten"), 1);
    let left: Vec<Uuid> = sqlx::query_scalar("select session_id from revocations")
        .fetch_all(&mut connection)
        .await
        .expect("rows");
    assert_eq!(left, [young]);
    assert!(MIGRATIONS.iter().any(|it| it.version == 7), "the triggers are the migration's");
}
