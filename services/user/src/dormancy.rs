//! Accounts that nobody has used for long become dormant. They lose nothing: a log-in wakes them.

use std::time::Duration;

use firstcome_mesh::Shutdown;

use crate::store::Store;

/// How often accounts are looked at: a year is not over to the minute.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Accounts of one statement, which locks them against log-ins for milliseconds.
const ACCOUNTS_MAX: i64 = 200;

/// Looks now, and then every now and then, until the end begins.
pub fn start(store: Store, unused_for: Duration, shutdown: &Shutdown) {
    shutdown.spawn(look(store, unused_for, shutdown.clone()));
}

async fn look(store: Store, unused_for: Duration, shutdown: Shutdown) {
    loop {
        // A fault is logged in the store; the next look is as good.
        while store.put_to_sleep(unused_for, ACCOUNTS_MAX).await.is_ok_and(|accounts| accounts > 0)
        {
            if shutdown.has_begun() {
                break;
            }
        }
        if !shutdown.sleep(LOOK_EVERY).await {
            break;
        }
    }
}
