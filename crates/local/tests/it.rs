//! The stores under the faults that everybody else's tests rely on.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use firstcome_local::{
    Certificates, Checkout, Postgres, Role, Stores, checkout, port, postgres, secret::Secrets,
    tools::Programs,
};
use firstcome_proto::access::Peer;
use sqlx::{Connection as _, PgConnection};

async fn log_in(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the role logs in")
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_come_back_after_being_killed() {
    let folder = checkout::create_throwaway_folder().expect("a folder");
    let checkout = Checkout::here();
    let stores = Stores::start_throwaway(&checkout, &folder, true).await.expect("starts");
    let redis = stores.redis().expect("private");

    // The replica takes over within the node timeout and an election.
    let key = "fc:{2f1d3a52-5f6e-4c8b-9d0a-7b1c2e3f4a5b}:stock";
    let before = redis.node_serving(key).await.expect("served");
    redis.kill9(before).await;
    let promoted = async {
        while redis.node_serving(key).await.ok().is_none_or(|place| place == before) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), promoted).await.expect("a replica takes over");
    redis.start_again(before).await.expect("starts again");
    redis.wait_until_ready().await.expect("whole again");
    redis.flush_all().await.expect("flushes");

    let postgres = stores.postgres().expect("private");
    let url = stores.database_url(Role::Order);
    let mut order = log_in(&url).await;
    sqlx::query("create table kept (n int)").execute(&mut order).await.expect("owns its schema");
    postgres.kill9().await;
    postgres.start_again().await.expect("recovers");
    let mut order = log_in(&url).await;
    sqlx::query("select n from fc_order.kept").execute(&mut order).await.expect("is still there");
    let mut user = log_in(&stores.database_url(Role::User)).await;
    let foreign = sqlx::query("select n from fc_order.kept").execute(&mut user).await;
    foreign.expect_err("one role does not see another's tables");
    stores.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_data_is_continued_and_asks_for_its_password() {
    let folder = checkout::create_throwaway_folder().expect("a folder");
    let secrets = Secrets::open(&folder.join("secrets")).expect("a folder of secrets");
    let options = postgres::Options {
        programs: Programs::find_or_install(&Checkout::here()).expect("programs").postgres,
        folder: folder.join("postgres"),
        port: port::free_row(1).expect("a port")[0],
        log: folder.join("postgres.log"),
        kind: postgres::Kind::Kept(secrets),
    };
    for sql in ["create table kept (n int)", "select n from kept"] {
        let postgres = Postgres::start(options.clone()).await.expect("starts");
        let url = postgres.database().url(Role::User);
        sqlx::query(sql).execute(&mut log_in(&url).await).await.expect("continues");
        let wrong = url.replace("fc_user:", "fc_user:x");
        PgConnection::connect(&wrong).await.expect_err("a wrong password is refused");
        // Letters are more than ASCII, and every role may look for parts of words.
        let parts: Vec<String> = sqlx::query_scalar("select unnest(show_trgm('신발'))")
            .fetch_all(&mut log_in(&url).await)
            .await
            .expect("has the extension");
        assert!(!parts.is_empty(), "Hangul has trigrams");
        postgres.stop().await;
    }
}

#[test]
fn certificates_are_kept_while_they_are_good_and_closed_to_others() {
    let folder = checkout::create_throwaway_folder().expect("a folder").join("certificates");
    let read = |path: &Path| fs::read_to_string(path).expect("is there");
    let edge = || Certificates::at(&folder).files(Peer::Edge);
    Certificates::prepare(&folder).expect("makes all");
    let first = read(&edge().certificate);
    for entry in fs::read_dir(&folder).expect("a folder") {
        let mode = entry.expect("an entry").metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fs::remove_file(Certificates::at(&folder).files(Peer::Order).key).expect("was there");
    let again = Certificates::prepare(&folder).expect("makes what is missing");
    assert_eq!(read(&edge().certificate), first);
    for peer in Peer::ALL {
        again.files(peer).check(std::time::SystemTime::now()).expect("is good");
    }

    fs::remove_file(folder.join("authority.key")).expect("was there");
    let anew = Certificates::prepare(&folder).expect("makes all anew");
    assert_ne!(read(&edge().certificate), first);
    anew.files(Peer::Edge).check(std::time::SystemTime::now()).expect("is good");
}
