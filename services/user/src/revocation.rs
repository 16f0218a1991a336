//! Revocations that matter no more are forgotten.

use std::time::Duration;

use firstcome_mesh::Shutdown;

use crate::store::Store;

/// They are few, and what is forgotten late harms nobody.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Forgets those that were kept for so long, until the process stops.
pub async fn forget(store: Store, keep: Duration, shutdown: Shutdown) {
    while shutdown.sleep(FORGET_EVERY).await {
        // A fault is logged in the store; the next look is as good.
        let _ = store.forget_revocations(keep).await;
    }
}
