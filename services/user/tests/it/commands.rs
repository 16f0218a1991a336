//! The binary's other commands.

use std::{
    collections::HashSet,
    path::Path,
    process::{Command, Output},
};

use firstcome_proto::Reason;
use firstcome_testkit::{TestDatabase, stores};
use firstcome_user::app::MIGRATIONS;
use serde_json::Value;
use sqlx::migrate::Migrator;

use super::harness::{DATA_KEYS, INDEX_KEY, Shop, address, assert_refused};

pub fn user(database: &TestDatabase, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firstcome-user"))
        .args(arguments)
        .env("FIRSTCOME_DATABASE_URL", &database.url)
        .env("FIRSTCOME_DATA_KEYS", DATA_KEYS)
        .env("FIRSTCOME_INDEX_KEY", INDEX_KEY)
        .env_remove("FIRSTCOME_DEVELOPMENT")
        .output()
        .expect("the binary runs")
}

fn lines(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out).expect("the file");
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn seeded_users_have_tokens_that_verify() {
    let shop = Shop::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("buyers.jsonl");
    let seed = |more: &[&str]| {
        let out = format!("--out={}", out.display());
        let mut arguments = vec!["seed", "--count=1200", "--development", "--prefix=rush", &out];
        arguments.extend(more);
        user(&shop.database, &arguments)
    };
    let too_early = seed(&["--sign-only"]);
    assert!(!too_early.status.success());

    let made = seed(&[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let buyers = lines(&out);
    let ids: HashSet<_> = buyers.iter().map(|buyer| buyer["user_id"].to_string()).collect();
    assert_eq!((buyers.len(), ids.len()), (1200, 1200));
    let claims = shop.claims(buyers[7]["access_token"].as_str().expect("a token")).await;
    assert_eq!(
        (claims.sub.as_str(), claims.role.as_str()),
        (buyers[7]["user_id"].as_str().unwrap(), "user")
    );
    let email = buyers[7]["email"].as_str().expect("an address");
    assert_eq!(email, "rush-7@seed.firstcome.example");
    shop.log_in(email, "Seeded-buyer-1", "k").await.expect("a seeded user logs in");

    let again = seed(&["--sign-only", "--token-ttl=5m"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let signed = lines(&out);
    assert_eq!(signed[7]["user_id"], buyers[7]["user_id"]);
    let claims = shop.claims(signed[7]["access_token"].as_str().expect("a token")).await;
    assert_eq!(claims.exp - claims.iat, 300);
    assert!(seed(&[]).status.success(), "seeding twice makes nobody twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_seeded_outside_development() {
    let database = stores().await.database("fc_user", &MIGRATIONS).await;
    let refused = user(&database, &["seed", "--count=1", "--out=/dev/null"]);
    assert_eq!(refused.status.code(), Some(64));
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert!(complaint.contains("FIRSTCOME_DEVELOPMENT=true"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_is_made_once_and_logs_in_as_one() {
    let shop = Shop::open().await;
    let email = address();
    shop.member(&email).await;
    let mut ids = HashSet::new();
    for password in ["0perator's", "an0ther one"] {
        let (email, password) = (format!("--email={email}"), format!("--password={password}"));
        let made = user(&shop.database, &["create-admin", &email, &password]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        ids.insert(String::from_utf8(made.stdout).expect("an id").trim().to_owned());
    }
    let answer = shop.log_in(&email, "an0ther one", "k").await.expect("a log-in");
    assert_eq!(ids, HashSet::from([answer.user_id]));
    let claims = shop.claims(&answer.tokens.expect("tokens").access_token).await;
    assert_eq!(claims.role, "admin");

    let before = shop.log_in(&email, "an0ther one", "before").await.expect("a log-in");
    let (email_flag, password) = (format!("--email={email}"), "--password=an0ther one");
    let again = user(&shop.database, &["create-admin", &email_flag, password]);
    assert!(again.status.success());
    // Whoever was in the account does not become an operator with it.
    let before = shop.refresh(&before.tokens.expect("tokens")).await;
    assert_refused(before, Reason::TokenRevoked);

    let weak = user(&shop.database, &["create-admin", "--email=x", "--password=y"]);
    assert_eq!(weak.status.code(), Some(64));
}

#[test]
fn faulty_keys_are_named_and_not_shown() {
    for command in [vec!["migrate"], vec!["rotate-keys"], vec!["create-admin", "--email=a@b.c"]] {
        let refused = Command::new(env!("CARGO_BIN_EXE_firstcome-user"))
            .args(command)
            .env("FIRSTCOME_DATABASE_URL", "postgres://fc_user@127.0.0.1/firstcome")
            .env("FIRSTCOME_DATA_KEYS", "1:5ecre7")
            .env("FIRSTCOME_INDEX_KEY", "5ecre7")
            .env("FIRSTCOME_ADMIN_PASSWORD", "0perator's")
            .output()
            .expect("the binary runs");
        assert_eq!(refused.status.code(), Some(64));
        let complaint = String::from_utf8_lossy(&refused.stderr);
        assert!(complaint.contains("--data-keys"), "{complaint}");
        assert!(complaint.contains("--index-key"), "{complaint}");
        assert!(!complaint.contains("5ecre7"), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_is_migrating_once() {
    static NOTHING: Migrator = Migrator::DEFAULT;
    let database = stores().await.database("fc_user", &NOTHING).await;
    for _ in 0..2 {
        let migrated = user(&database, &["migrate"]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    }
    let users = sqlx::query_scalar::<_, i64>("select count(*) from fc_user.users");
    assert_eq!(users.fetch_one(&database.pool).await.expect("the table is there"), 0);
}
