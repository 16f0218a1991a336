//! The keys that sign tokens: sealed where they lie, and followed by others while everybody serves.

use std::{borrow::Cow, sync::LazyLock, time::Duration};

use firstcome_proto::user_v1::{ListRevocationsRequest, ListTokenKeysRequest};
use firstcome_testkit::{TestDatabase, eventually, stores};
use firstcome_user::{app::MIGRATIONS, session::RefreshSecret, store::Rotation, token::KeyPair};
use futures::future::join_all;
use sqlx::migrate::Migrator;
use tokio::sync::Mutex;

use super::{
    commands::user,
    harness::{DATA_KEYS, PASSWORD, Shop, address, store, store_under},
};

/// The schema of the release before keys were sealed.
static BEFORE: LazyLock<Migrator> = LazyLock::new(|| {
    let before = MIGRATIONS.iter().filter(|migration| migration.version <= 2);
    Migrator { migrations: Cow::Owned(before.cloned().collect()), ..Migrator::DEFAULT }
});

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).expect("a JWT").kid.expect("a key's id")
}

async fn listed(shop: &Shop) -> Vec<String> {
    let keys = shop.keys.clone().list_token_keys(ListTokenKeysRequest {}).await.expect("the keys");
    keys.into_inner().keys.into_iter().map(|key| key.key_id).collect()
}

fn again(database: &TestDatabase) -> TestDatabase {
    TestDatabase { pool: database.pool.clone(), url: database.url.clone() }
}

async fn execute(database: &TestDatabase, statement: &'static str) {
    sqlx::query(statement).execute(&database.pool).await.expect(statement);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_listed_at_once_signs_later_and_outlives_no_token() {
    let shop = Shop::open().await;
    let tokens = shop.member(&address()).await;
    let old = kid(&tokens.access_token);
    let rotated = user(&shop.database, &["rotate-signing-key"]);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    let new = String::from_utf8(rotated.stdout).expect("an id").trim().to_owned();

    assert_eq!(listed(&shop).await, [&*new, &*old]);
    let request = ListRevocationsRequest { cursor: 0 };
    let news = shop.revocations.clone().list_revocations(request).await.expect("an answer");
    assert_eq!(news.into_inner().newest_key_id, new, "the edges hear of it");
    let tokens = shop.refresh(&tokens).await.expect("the next tokens");
    assert_eq!(kid(&tokens.access_token), old, "no token before every edge knows the key");

    // The ten seconds pass.
    execute(
        &shop.database,
        "update signing_keys set signs_from = clock_timestamp() where rotation = 2",
    )
    .await;
    let tokens = Mutex::new(tokens);
    eventually(Duration::from_secs(10), || async {
        let mut tokens = tokens.lock().await;
        *tokens = shop.refresh(&tokens).await.expect("a rotation logs nobody out");
        shop.claims(&tokens.access_token).await;
        kid(&tokens.access_token) == new
    })
    .await;
    assert_eq!(listed(&shop).await, [&*new, &*old], "its tokens live on");
    execute(
        &shop.database,
        "update signing_keys set signs_from = clock_timestamp() - interval '3655 s'
         where rotation = 2",
    )
    .await;
    assert_eq!(listed(&shop).await, [&*new, &*old]);
    execute(
        &shop.database,
        "update signing_keys set signs_from = signs_from - interval '6 s' where rotation = 2",
    )
    .await;
    assert_eq!(listed(&shop).await, [new], "its last token has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ins_go_on_through_rotations() {
    let shop = Shop::open().await;
    let mut tokens = shop.member(&address()).await;
    for _ in 0..3 {
        assert!(user(&shop.database, &["rotate-signing-key"]).status.success());
        execute(&shop.database, "update signing_keys set signs_from = clock_timestamp()").await;
        for _ in 0..20 {
            tokens = shop.refresh(&tokens).await.expect("the next tokens");
            shop.claims(&tokens.access_token).await;
        }
    }
    assert_eq!(listed(&shop).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rotations_at_one_moment_each_makes_its_own_key_or_none() {
    let shop = Shop::open().await;
    let store = store(&shop.database).await;
    let rotations = (0..8).map(|_| store.rotate_signing_key(Duration::from_secs(10)));
    let made: Vec<Rotation> = join_all(rotations)
        .await
        .into_iter()
        .filter_map(|made| made.expect("no fault, only somebody who was faster"))
        .collect();
    assert!(!made.is_empty());
    let mut numbers: Vec<i32> = made.iter().map(|made| made.number).collect();
    numbers.sort_unstable();
    let following: Vec<i32> = (2..).take(made.len()).collect();
    assert_eq!(numbers, following, "without a gap, and none twice");
    assert_eq!(listed(&shop).await.len(), made.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_signs_lies_in_the_clear_and_a_seal_opens_nowhere_else() {
    let shop = Shop::open().await;
    shop.member(&address()).await;
    let clear: (i64, i64) = sqlx::query_as(
        "select (select count(*) from signing_keys where private_key is not null),
                (select count(*) from secrets where value is not null)",
    )
    .fetch_one(&shop.database.pool)
    .await
    .expect("counts");
    assert_eq!(clear, (0, 0));
    let sealed: Vec<u8> = sqlx::query_scalar("select private_key_sealed from signing_keys")
        .fetch_one(&shop.database.pool)
        .await
        .expect("a key");
    let pair = KeyPair::generate();
    let front = &pair.private_key[..16];
    assert!(!sealed.windows(front.len()).any(|part| part == front), "no PKCS #8 in it");

    // Another key's name over the sealed bytes, as a forger with the database would write it.
    execute(&shop.database, "update signing_keys set key_id = 'forged'").await;
    let rotated = user(&shop.database, &["rotate-signing-key"]);
    assert!(!rotated.status.success());
    let complaint = String::from_utf8_lossy(&rotated.stdout).into_owned()
        + &String::from_utf8_lossy(&rotated.stderr);
    assert!(!complaint.contains(DATA_KEYS), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_secrets_move_to_a_new_data_key() {
    const NEW: &str = "2:0202020202020202020202020202020202020202020202020202020202020202";
    let shop = Shop::open().await;
    let tokens = shop.member(&address()).await;
    let new = store_under(&shop.database, NEW).await;
    new.newer_signing_key("").await.err().expect("it is under the old key");

    let both = store_under(&shop.database, &format!("{NEW},{DATA_KEYS}")).await;
    assert_eq!(both.seal_keys().await.expect("sealed"), 2);
    assert_eq!(both.seal_keys().await.expect("sealed"), 0, "once");
    let key = new.newer_signing_key("").await.expect("it opens").expect("a key");
    assert_eq!(key.key_id, kid(&tokens.access_token));
    let secret = new.refresh_secret().await.expect("it opens");
    let read = RefreshSecret::new(secret.to_vec()).read(&tokens.refresh_token);
    assert!(read.is_some(), "the same secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_seals_the_keys_of_the_release_before() {
    let database = stores().await.database("fc_user", &BEFORE).await;
    let pair = KeyPair::generate();
    sqlx::query(
        "insert into signing_keys (key_id, rotation, private_key, public_key)
         values ($1, 1, $2, $3)",
    )
    .bind(&pair.key_id)
    .bind(pair.private_key.as_slice())
    .bind(&pair.public_key)
    .execute(&database.pool)
    .await
    .expect("a key as it was");
    sqlx::query("insert into secrets (name, value) values ('refresh', $1)")
        .bind([7_u8; 32].as_slice())
        .execute(&database.pool)
        .await
        .expect("a secret as it was");
    for _ in 0..2 {
        let migrated = user(&database, &["migrate"]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    }
    let sealed: (bool, bool) = sqlx::query_as(
        "select (select private_key is null and private_key_sealed is not null from signing_keys),
                (select value is null and value_sealed is not null from secrets)",
    )
    .fetch_one(&database.pool)
    .await
    .expect("rows");
    assert_eq!(sealed, (true, true));

    let shop = Shop::open_on(again(&database), &[]).await;
    let email = address();
    let tokens = shop.member(&email).await;
    assert_eq!(kid(&tokens.access_token), pair.key_id, "the same key signs on");
    let session = shop.claims(&tokens.access_token).await.sid;
    let secret = RefreshSecret::new(vec![7; 32]);
    let read = secret.read(&tokens.refresh_token).expect("the same secret makes refresh tokens");
    assert_eq!(read.session.to_string(), session);
    shop.log_in(&email, PASSWORD, "again").await.expect("a log-in");
}
