//! Finishes what time or a dead process left: orders whose time has come to expire, to ship, to be
//! delivered, confirmed or taken back, and steps whose lease is over.
//!
//! Any number of replicas run this. A claim takes rows that nobody else is taking and leases them
//! in the same statement; should two processes drive one order all the same, the saga makes that
//! harmless.

use std::{sync::Arc, time::Duration};

use firstcome_mesh::Shutdown;
use tokio::sync::Semaphore;

use crate::{saga::Saga, store::Store};

/// An order is looked at this soon after it is due. A look is one probe of a partial index.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A claim that took all it could is followed by the next one this soon after so many drivers are
/// free again: fewer would be small batches.
const CLAIM_MIN: usize = 64;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Orders that one replica drives at once: full batches for inventory, and a bounded claim.
const DRIVERS_MAX: usize = 512;
/// Old rows are looked for this often, and deleted so many at a time.
const TIDY_EVERY: Duration = Duration::from_secs(60);
const TIDIED_MAX: i64 = 1000;

/// Looks for due orders until the end begins.
pub async fn run(store: Store, saga: Saga, shutdown: Shutdown, lease: Duration) {
    let drivers = Arc::new(Semaphore::new(DRIVERS_MAX));
    let mut more_is_due = false;
    while shutdown.sleep(if more_is_due { LOOK_AGAIN } else { LOOK_EVERY }).await {
        let wanted = if more_is_due { CLAIM_MIN } else { 1 };
        if drivers.available_permits() < wanted {
            continue;
        }
        let free = i64::try_from(drivers.available_permits()).expect("a few hundred fit");
        let due = match store.claim_due(free, lease).await {
            Ok(due) => due,
            Err(fault) => {
                tracing::warn!(%fault, "cannot look for due orders");
                more_is_due = false;
                continue;
            }
        };
        // After a drop that nobody paid, tens of thousands are due in one second.
        more_is_due = i64::try_from(due.len()).is_ok_and(|count| count == free);
        for order in due {
            let permit = Arc::clone(&drivers).try_acquire_owned();
            let permit = permit.expect("no more orders were claimed than there are drivers");
            let saga = saga.clone();
            shutdown.spawn(async move {
                // Where it stalls, the next look finds it.
                let _ = saga.drive(order).await;
                drop(permit);
            });
        }
    }
}

/// Forgets what nobody asks for any more, until the end begins.
pub async fn tidy(store: Store, shutdown: Shutdown) {
    while shutdown.sleep(TIDY_EVERY).await {
        loop {
            match store.forget_basket_keys(TIDIED_MAX).await {
                Ok(forgotten) if forgotten == TIDIED_MAX.unsigned_abs() => {}
                Ok(_) => break,
                Err(fault) => {
                    tracing::warn!(%fault, "cannot forget old keys of baskets");
                    break;
                }
            }
        }
    }
}
