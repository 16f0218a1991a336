//! Personal data at rest: sealed on its way from the last release, sealed anew under another key,
//! and readable nowhere.

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use firstcome_proto::{
    Reason,
    user_v1::{
        GetProfileRequest, LogInRequest, Profile, SignUpRequest, TokenPair, UpdateProfileRequest,
    },
};
use firstcome_testkit::{TestDatabase, stores};
use firstcome_user::{account::Password, app::MIGRATIONS, password::Hasher};
use prost_types::FieldMask;
use sqlx::migrate::Migrator;
use tonic::Request;
use uuid::Uuid;

use super::harness::{
    DATA_KEYS, INDEX_KEY, PASSWORD, Shop, address, assert_refused, from, log_in_request, same,
};

const NEW_KEY: &str = "2:0303030303030303030303030303030303030303030303030303030303030303";
/// What the last release knew of the schema.
const LAST_RELEASE: usize = 2;

fn run(database: &TestDatabase, data_keys: &str, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_firstcome-user"))
        .args(arguments)
        .env("FIRSTCOME_DATABASE_URL", &database.url)
        .env("FIRSTCOME_DATA_KEYS", data_keys)
        .env("FIRSTCOME_INDEX_KEY", INDEX_KEY)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

async fn count(database: &TestDatabase, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(&database.pool).await.expect("a count")
}

async fn profile(shop: &Shop, tokens: &TokenPair) -> Profile {
    let request = shop.by(tokens, GetProfileRequest {}).await;
    let answer = shop.profiles.clone().get_profile(request).await.expect("a profile");
    answer.into_inner().profile.expect("a profile")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_release_wrote_is_sealed_by_the_migration() {
    let of_last_release = MIGRATIONS.iter().take(LAST_RELEASE).cloned().collect();
    let of_last_release = Migrator::with_migrations(of_last_release);
    let database = stores().await.database("fc_user", &of_last_release).await;
    let password = Password::attempt("password", PASSWORD.into()).expect("a password");
    let hash = Hasher::start().hash(password).await.expect("a hash");
    let insert = "insert into users (user_id, email, name, phone, password_hash, state, role,
                                     signup_id)
         values ($1, $2, 'Ann', $3, $4, $5, 'USER', $1)";
    let write = async |email: &str, phone: Option<&str>, state: &str| {
        let insert = sqlx::query(insert).bind(Uuid::new_v4()).bind(email).bind(phone);
        insert.bind(&hash).bind(state).execute(&database.pool).await.expect("a row");
    };
    let (ann, operator) = (address(), address());
    write(&ann, Some("+821012345678"), "ACTIVE").await;
    write(&operator, None, "ACTIVE").await;
    write(&address(), Some("+821012345678"), "DELETED").await;
    // More than are sealed in one go.
    for _ in 0..300 {
        write(&address(), Some("+821012345678"), "INACTIVE").await;
    }
    for _ in 0..2 {
        run(&database, DATA_KEYS, &["migrate"]);
    }
    let clear = "select count(*) from users where num_nonnulls(email, name, phone) > 0";
    assert_eq!(count(&database, clear).await, 0);
    let sealed = "select count(*) from users where email_sealed is not null";
    assert_eq!(count(&database, sealed).await, 302, "of a deleted account nothing is kept");

    let shop = Shop::open_on(database, &[]).await;
    for (email, phone) in [(&ann, "+821012345678"), (&operator, "")] {
        let answer = shop.log_in(email, PASSWORD, "k").await.expect("a log-in");
        let profile = profile(&shop, &answer.tokens.expect("tokens")).await;
        assert_eq!((&profile.email, profile.name.as_str()), (email, "Ann"));
        assert_eq!(profile.phone, phone);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_accounts_of_one_address_the_verified_one_is_sealed_and_no_address_is_told() {
    let shop = Shop::open().await;
    let (twice, verified_late, never) = (address(), address(), address());
    // In this release: one is verified, two are not.
    shop.member(&twice).await;
    for email in [&verified_late, &never] {
        shop.sign_up(email, PASSWORD).await.expect("a sign-up");
    }
    // Meanwhile, in the last one.
    let password = Password::attempt("password", "l4st release".into()).expect("a password");
    let hash = Hasher::start().hash(password).await.expect("a hash");
    let write = async |email: &str, state: &str| {
        let insert = sqlx::query(
            "insert into users (user_id, email, name, phone, password_hash, state, role, signup_id)
             values ($1, $2, 'Ann', '+821012345678', $3, $4, 'USER', $1)",
        );
        let user = Uuid::new_v4();
        let insert = insert.bind(user).bind(email).bind(&hash).bind(state);
        insert.execute(&shop.database.pool).await.expect("a row");
        user
    };
    let left = write(&twice, "ACTIVE").await;
    write(&verified_late, "ACTIVE").await;
    write(&never, "INACTIVE").await;
    let alone = address();
    write(&alone, "ACTIVE").await;
    for _ in 0..2 {
        let migrated = Command::new(env!("CARGO_BIN_EXE_firstcome-user"))
            .arg("migrate")
            .env("FIRSTCOME_DATABASE_URL", &shop.database.url)
            .env("FIRSTCOME_DATA_KEYS", DATA_KEYS)
            .env("FIRSTCOME_INDEX_KEY", INDEX_KEY)
            .output()
            .expect("the binary runs");
        assert!(!migrated.status.success(), "an operator must look");
        let complaint = String::from_utf8_lossy(&migrated.stderr);
        assert!(complaint.contains(&left.to_string()), "{complaint}");
        let told = [migrated.stdout.as_slice(), &migrated.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        for email in [&twice, &verified_late, &never] {
            assert!(!told.contains(email.as_str()), "{told}");
        }
    }
    let clear = sqlx::query_scalar::<_, Uuid>("select user_id from users where email is not null");
    assert_eq!(clear.fetch_all(&shop.database.pool).await.expect("rows"), [left]);
    shop.log_in(&twice, PASSWORD, "k").await.expect("the account of this release");
    for email in [&verified_late, &alone] {
        shop.log_in(email, "l4st release", "k").await.expect("the account of the last release");
    }
    assert_refused(shop.log_in(&never, PASSWORD, "k").await, Reason::EmailNotVerified);
    let accounts = "select count(*) from users";
    assert_eq!(count(&shop.database, accounts).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_while_people_come_in_and_edit() {
    let shop = Shop::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let out = format!("--out={}", folder.path().join("buyers.jsonl").display());
    let seed = ["seed", "--count=700", "--development=true", "--prefix=rotate", &out];
    run(&shop.database, DATA_KEYS, &seed);
    let email = |number: u32| format!("rotate-{number}@seed.firstcome.example");

    // The new key seals, both open; whoever serves has been told before the command runs.
    let both = format!("{NEW_KEY},{DATA_KEYS}");
    let flag = format!("--data-keys={both}");
    let serving = Shop::open_on(same(&shop.database), &[&flag]).await;
    let (done, acted) = (AtomicBool::new(false), AtomicU32::new(0));
    let act = async |mut number: u32| {
        while !done.load(Ordering::Relaxed) || acted.load(Ordering::Relaxed) < 8 {
            let email = email(number % 700);
            let client = format!("192.0.2.{}", number % 250);
            let answer = serving.log_in_from(&client, &email, "Seeded-buyer-1").await;
            let tokens = answer.expect("a log-in").tokens.expect("tokens");
            let told = Profile { greeting: format!("hello {number}"), ..Profile::default() };
            let mask = FieldMask { paths: vec!["greeting".into()] };
            let request =
                UpdateProfileRequest { profile: Some(told.clone()), update_mask: Some(mask) };
            let request = serving.by(&tokens, request).await;
            serving.profiles.clone().update_profile(request).await.expect("an edit");
            serving.refresh(&tokens).await.expect("a refresh");
            let profile = profile(&serving, &tokens).await;
            assert_eq!((profile.email, profile.greeting), (email, told.greeting));
            acted.fetch_add(1, Ordering::Relaxed);
            number += 101;
        }
    };
    let rotate = async {
        let database = same(&shop.database);
        let rotated = tokio::task::spawn_blocking(move || run(&database, &both, &["rotate-keys"]));
        let rotated = rotated.await.expect("it runs");
        done.store(true, Ordering::Relaxed);
        String::from_utf8(rotated.stdout).expect("a number").trim().parse::<u32>()
    };
    let (rotated, (), ()) = tokio::join!(rotate, act(0), act(50));
    // Three fields of each, less what the edits had sealed before.
    assert!(rotated.expect("a number") > 2_000);

    // The old key is not needed any more.
    let flag = format!("--data-keys={NEW_KEY}");
    let after = Shop::open_on(same(&shop.database), &[&flag]).await;
    for number in [0, 50, 101, 699] {
        let answer = after.log_in(&email(number), "Seeded-buyer-1", "after").await;
        let tokens = answer.expect("a log-in").tokens.expect("tokens");
        assert_eq!(profile(&after, &tokens).await.name, "Seeded buyer");
    }
    let again = run(&shop.database, NEW_KEY, &["rotate-keys"]);
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_under_a_lost_key_are_left_and_told() {
    let shop = Shop::open().await;
    shop.member(&address()).await;
    let rotated = Command::new(env!("CARGO_BIN_EXE_firstcome-user"))
        .arg("rotate-keys")
        .env("FIRSTCOME_DATABASE_URL", &shop.database.url)
        .env("FIRSTCOME_DATA_KEYS", NEW_KEY)
        .env("FIRSTCOME_INDEX_KEY", INDEX_KEY)
        .output()
        .expect("the binary runs");
    assert!(!rotated.status.success());
    let complaint = String::from_utf8_lossy(&rotated.stderr);
    assert!(complaint.contains("3 fields do not open"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_stays_under_an_older_key_ends_the_command_and_is_named() {
    let shop = Shop::open().await;
    let email = address();
    shop.member(&email).await;
    let request =
        LogInRequest { device: "a phone".into(), ..log_in_request(&email, PASSWORD, "k") };
    shop.accounts.clone().log_in(request).await.expect("a log-in");
    // Somebody who writes it for ever looks like somebody who seals it under the old key again.
    let mut holder = shop.database.pool.begin().await.expect("a transaction");
    sqlx::query("select from sessions for update").execute(&mut *holder).await.expect("held");
    let database = same(&shop.database);
    let rotated = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_firstcome-user"))
            .arg("rotate-keys")
            .env("FIRSTCOME_DATABASE_URL", &database.url)
            .env("FIRSTCOME_DATA_KEYS", format!("{NEW_KEY},{DATA_KEYS}"))
            .env("FIRSTCOME_INDEX_KEY", INDEX_KEY)
            .output()
            .expect("the binary runs")
    });
    let rotated = rotated.await.expect("it ends");
    assert!(!rotated.status.success());
    let complaint = String::from_utf8_lossy(&rotated.stderr);
    assert!(complaint.contains("1 of sessions.device"), "{complaint}");
    // The signing key, the secret of refresh tokens, and the account's three fields.
    assert_eq!(String::from_utf8_lossy(&rotated.stdout).trim(), "5");
}

/// A row as Postgres writes it, and the bytes behind what it writes in hexadecimal.
fn readable(row: &str) -> Vec<u8> {
    let mut bytes = row.as_bytes().to_vec();
    for run in row.split("\\x").skip(1) {
        let digits: Vec<u8> = run.bytes().take_while(u8::is_ascii_hexdigit).collect();
        let pairs = digits.chunks_exact(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        bytes.push(b' ');
        bytes.extend(pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")));
    }
    bytes.to_ascii_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_the_schema_tells_nothing_of_anybody() {
    let shop = Shop::open().await;
    let email = address();
    let request = SignUpRequest {
        name: "Annabelle Lee".into(),
        email: email.clone(),
        password: PASSWORD.into(),
        phone: "+821098765432".into(),
    };
    let answer = shop.accounts.clone().sign_up(request).await.expect("a sign-up");
    let token = answer.into_inner().sign_up_token;
    let code = shop.code(&email, 1).await;
    shop.verify_with(&email, &code, &token).await.expect("the mailed code");
    shop.sign_up(&email, PASSWORD).await.expect("a stranger's");
    let request = LogInRequest {
        device: "Annabelle's telephone".into(),
        ..log_in_request(&email, PASSWORD, "k")
    };
    let request = from("198.51.100.77", Request::new(request));
    let tokens = shop.accounts.clone().log_in(request).await.expect("a log-in").into_inner().tokens;
    let tokens = tokens.expect("tokens");
    let told = Profile {
        greeting: "by the sea".into(),
        image_url: "https://kingdom.example/picture".into(),
        ..Profile::default()
    };
    let mask = FieldMask { paths: vec!["greeting".into(), "image_url".into()] };
    let request = UpdateProfileRequest { profile: Some(told), update_mask: Some(mask) };
    let request = shop.by(&tokens, request).await;
    shop.profiles.clone().update_profile(request).await.expect("an edit");

    let tables = "select table_name::text from information_schema.tables
         where table_schema = 'fc_user'";
    let tables: Vec<String> =
        sqlx::query_scalar(tables).fetch_all(&shop.database.pool).await.expect("the tables");
    let mut dump = Vec::new();
    for table in &tables {
        let rows = format!("select row::text from fc_user.{table} as row");
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
            .fetch_all(&shop.database.pool)
            .await
            .expect("the rows");
        rows.iter().for_each(|row| dump.extend(readable(row)));
    }
    let holds = |needle: &str| {
        let needle = needle.to_ascii_lowercase().into_bytes();
        dump.windows(needle.len()).any(|window| window == needle)
    };
    let user = shop.claims(&tokens.access_token).await.sub;
    assert!(holds(&user) && holds("argon2id"), "the dump is one");
    let (name, _) = email.split_once('@').expect("an address");
    for personal in [
        name,
        "example.com",
        "annabelle",
        "9876543",
        "198.51.100",
        "telephone",
        "the sea",
        "kingdom",
        &token,
    ] {
        assert!(!holds(personal), "{personal}");
    }
}
