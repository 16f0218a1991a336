//! Users in bulk, for a rush: verified, with one password for all, and their tokens in a file.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use firstcome_proto::UserId;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    account::{Email, Password, Role},
    config::Seed,
    password::Hasher,
    session,
    store::{Seeded, Store},
    token::Signer,
};

/// A reserved domain: nobody's mailbox.
const DOMAIN: &str = "seed.firstcome.example";
/// The namespace of seeded users' ids; any constant would do.
const SEED_NAMESPACE: Uuid = Uuid::from_u128(0x0d8e_1f62_5c37_4a90_b3d1_7e44_2f90_a6b8);

/// One line of the file.
#[derive(Serialize)]
struct Line<'a> {
    user_id: String,
    email: &'a str,
    access_token: String,
}

/// Makes the users, unless only tokens are wanted, and writes a token for each.
pub async fn run(wanted: &Seed) -> anyhow::Result<()> {
    let started = Instant::now();
    let url = &wanted.database.database_url;
    let store = Store::connect(url, &wanted.keys, 1).await.context("database")?;
    let users: Vec<Seeded> = (0..wanted.count).map(|n| user(&wanted.prefix, n)).collect();
    if wanted.sign_only {
        let there = store.count_seeded(&users).await?;
        ensure!(there == users.len(), "only {there} of {} users are there", users.len());
    } else {
        let password = Password::new("password", wanted.password.clone());
        let password = password.expect("the configuration was checked");
        let password_hash = Hasher::start().hash(password).await?;
        store.seed(&users, &password_hash, wanted.token_ttl).await?;
    }
    let key = store.signing_key().await?;
    let signer = Signer::new(&key, wanted.token_ttl);
    write(&users, &signer, wanted).with_context(|| format!("write {}", wanted.out.display()))?;
    store.close().await;
    let took = started.elapsed();
    tracing::info!(users = users.len(), out = %wanted.out.display(), ?took, "seeded");
    Ok(())
}

/// The same number is the same user, always.
fn user(prefix: &str, number: u32) -> Seeded {
    let email = format!("{prefix}-{number}@{DOMAIN}");
    let user = UserId(Uuid::new_v5(&SEED_NAMESPACE, email.as_bytes()));
    let email = Email::from_field("email", &email).expect("the prefix was checked");
    Seeded { user, session: session::id_of(user, "seed"), email }
}

/// The tokens let anybody in who reads the file, so only its owner can.
fn write(users: &[Seeded], signer: &Signer, wanted: &Seed) -> anyhow::Result<()> {
    let mut options = File::options();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(&wanted.out)?;
    let mut lines = BufWriter::new(file);
    for Seeded { user, email, session } in users {
        let access_token = signer.sign(*user, *session, Role::User)?;
        let line = Line { user_id: user.to_string(), email: email.as_str(), access_token };
        serde_json::to_writer(&mut lines, &line)?;
        lines.write_all(b"\n")?;
    }
    lines.flush()?;
    Ok(())
}
