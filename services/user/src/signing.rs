//! The life of a signing key: made by command, listed at once, signing a little later, listed on
//! until the last of its tokens has ended.

use std::time::Duration;

use anyhow::Context as _;
use firstcome_mesh::Shutdown;

use crate::{
    store::{Rotation, Store},
    token::Signer,
};

/// Every edge asks four times a second whether there is a new key: it knows the key before the
/// first token that the key signs, also when it has to ask a few times.
const SIGNS_IN: Duration = Duration::from_secs(10);
/// How soon a replica signs with what was made elsewhere. The key before it stays good for longer
/// than a token lives, so there is no hurry.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes the next key.
///
/// # Errors
/// A database that does not answer, and an operator who does the same at the same moment.
pub async fn rotate(store: &Store) -> anyhow::Result<Rotation> {
    // A shop that never served has no key to follow yet.
    store.signing_key().await?;
    let next = store.rotate_signing_key(SIGNS_IN).await?;
    let next = next.context("somebody else has just made the next key")?;
    tracing::info!(kid = next.key_id, rotation = next.number, signs_in = ?SIGNS_IN, "key made");
    Ok(next)
}

/// Signs with each new key as its time comes, until the process stops.
pub async fn follow(store: Store, signer: Signer, shutdown: Shutdown) {
    while shutdown.sleep(LOOK_EVERY).await {
        // A fault is logged in the store; the key that signs stays good meanwhile.
        let Ok(Some(key)) = store.newer_signing_key(&signer.key_id()).await else {
            continue;
        };
        signer.replace(&key);
        tracing::info!(kid = key.key_id, "sign with another key");
    }
}
