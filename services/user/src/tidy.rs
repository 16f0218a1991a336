//! Rows that nobody needs any more are deleted, batch by batch, in every replica: sessions and
//! sign-ups that came to nothing tell of people who are not here, and keys pile up.

use std::{future::Future, time::Duration};

use firstcome_mesh::Shutdown;

use crate::{
    error::Error,
    store::{ADDRESS_KEYS_KEPT, Store},
};

/// How often rows are looked at: they are kept for days.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Rows of one statement, which locks them for milliseconds.
const ROWS_MAX: i64 = 500;
/// How long a session is kept after its last token: whoever looks for what happened to it, or tries
/// an old log-in again, finds it for a day.
const SESSIONS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a sign-up waits for its code to be asked for again.
const UNVERIFIED_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Looks now, and then every now and then, until the end begins. Access tokens matter for so long
/// after they were made.
pub fn start(store: Store, tokens_matter: Duration, shutdown: &Shutdown) {
    shutdown.spawn(look(store, tokens_matter, shutdown.clone()));
}

async fn look(store: Store, tokens_matter: Duration, shutdown: Shutdown) {
    let sessions_kept = tokens_matter.saturating_add(SESSIONS_KEPT);
    loop {
        sweep(&shutdown, || store.delete_old_sessions(sessions_kept, ROWS_MAX)).await;
        sweep(&shutdown, || store.delete_unverified(UNVERIFIED_KEPT, ROWS_MAX)).await;
        // As long, or their end would tell them from the others.
        sweep(&shutdown, || store.delete_decoys(UNVERIFIED_KEPT, ROWS_MAX)).await;
        sweep(&shutdown, || store.forget_address_keys(ADDRESS_KEYS_KEPT, ROWS_MAX)).await;
        sweep(&shutdown, || store.delete_lost_letters(ROWS_MAX)).await;
        if !shutdown.sleep(LOOK_EVERY).await {
            break;
        }
    }
}

/// Batch by batch, while there are full ones. A fault is logged in the store; the next look is as
/// good.
async fn sweep<Deleting>(shutdown: &Shutdown, delete: impl Fn() -> Deleting)
where
    Deleting: Future<Output = Result<u64, Error>>,
{
    while !shutdown.has_begun() && delete().await.is_ok_and(|rows| rows >= ROWS_MAX.unsigned_abs())
    {
    }
}
