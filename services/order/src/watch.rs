//! WatchOrder: a buyer sees an order change as it happens.
//!
//! Any replica may change an order, so one loop looks for changes of all orders that are watched
//! here, with one statement that probes their rows by id and asks for those that are newer than
//! what was told. It runs while somebody watches. A watcher who does not read fills a queue of its own
//! and is dropped; nobody waits for it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use firstcome_mesh::Shutdown;
use firstcome_proto::{OrderId, Reason, Refusal, UserId};
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::{Notify, mpsc};

use crate::{order::Order, store::Store};

/// Changes are told within two of these and a statement.
const LOOK_EVERY: Duration = Duration::from_millis(80);
/// Watchers of one process: so many rows are probed by one statement in a few milliseconds.
const WATCHERS_MAX: usize = 4096;
/// Watchers of one buyer: every device of a household.
const WATCHERS_OF_USER_MAX: usize = 16;
/// Places for what a watcher has not read: two changes, and why it hears no more. An order changes
/// six times in its life, days apart.
const UNREAD_MAX: usize = 3;
/// When somebody who was turned away may come back.
const RETRY: Duration = Duration::from_secs(1);

/// What a watcher is sent.
pub type Sent = Result<Order, Refusal>;

/// Everybody who watches an order. Clones share them.
#[derive(Clone)]
pub struct Watches {
    store: Store,
    shutdown: Shutdown,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    watchers: Mutex<Vec<Watcher>>,
    somebody_came: Notify,
}

struct Watcher {
    order: OrderId,
    user: UserId,
    /// The change that was told last.
    told: OffsetDateTime,
    changes: mpsc::Sender<Sent>,
}

impl Watches {
    /// Of the orders in this store. [`Watches::run`] tells the watchers.
    pub fn new(store: Store, shutdown: Shutdown) -> Self {
        Self { store, shutdown, shared: Arc::default() }
    }

    /// Watches an order from how it was just read. The first thing sent is that; a final state is
    /// the last.
    pub fn watch(&self, order: Order) -> Result<mpsc::Receiver<Sent>, Refusal> {
        let (changes, receiver) = mpsc::channel(UNREAD_MAX);
        let watcher =
            Watcher { order: order.id, user: order.user, told: order.updated_at, changes };
        let is_final = order.state.is_final();
        watcher.changes.try_send(Ok(order)).expect("a new queue has room");
        if is_final {
            return Ok(receiver);
        }
        let mut watchers = self.shared.watchers.lock();
        // Under the lock, so that nobody comes after all were let go.
        if self.shutdown.has_begun() {
            return Err(stopping());
        }
        let same_user = watchers.iter().filter(|other| other.user == watcher.user).count();
        if watchers.len() >= WATCHERS_MAX || same_user >= WATCHERS_OF_USER_MAX {
            let refusal = Refusal::because(Reason::Overloaded, "too many watch");
            return Err(refusal.retry_after(RETRY));
        }
        watchers.push(watcher);
        drop(watchers);
        self.shared.somebody_came.notify_one();
        Ok(receiver)
    }

    /// Tells the watchers, until the end begins; then it lets them go.
    pub async fn run(self) {
        loop {
            if self.shared.watchers.lock().is_empty() {
                tokio::select! {
                    () = self.shared.somebody_came.notified() => {}
                    () = self.shutdown.begun() => break,
                }
            }
            if !self.shutdown.sleep(LOOK_EVERY).await {
                break;
            }
            self.look().await;
        }
        for watcher in self.shared.watchers.lock().drain(..) {
            // Who has no room for it sees the stream end, and opens it again as well.
            drop(watcher.changes.try_send(Err(stopping())));
        }
    }

    /// Looks once for changes, and tells them.
    async fn look(&self) {
        let watched: Vec<(OrderId, OffsetDateTime)> = {
            let mut watchers = self.shared.watchers.lock();
            watchers.retain(|watcher| !watcher.changes.is_closed());
            let mut oldest = HashMap::with_capacity(watchers.len());
            for Watcher { order, told, .. } in &*watchers {
                let known = oldest.entry(*order).or_insert(*told);
                *known = (*known).min(*told);
            }
            oldest.into_iter().collect()
        };
        if watched.is_empty() {
            return;
        }
        let changed = match self.store.changed_since(&watched).await {
            Ok(changed) => changed,
            Err(fault) => return tracing::warn!(%fault, "cannot look for changes of orders"),
        };
        if changed.is_empty() {
            return;
        }
        let changed: HashMap<OrderId, Order> =
            changed.into_iter().map(|order| (order.id, order)).collect();
        self.shared.watchers.lock().retain_mut(|watcher| match changed.get(&watcher.order) {
            Some(order) if order.updated_at > watcher.told => watcher.tell(order),
            _ => true,
        });
    }
}

impl Watcher {
    /// Tells a change; false when there is nothing more to tell, or nobody who reads.
    fn tell(&mut self, order: &Order) -> bool {
        // The last place of the queue is for saying that it is full.
        if self.changes.capacity() <= 1 {
            drop(self.changes.try_send(Err(too_slow())));
            return false;
        }
        self.told = order.updated_at;
        self.changes.try_send(Ok(order.clone())).is_ok() && !order.state.is_final()
    }
}

fn stopping() -> Refusal {
    Refusal::because(Reason::Overloaded, "the service is stopping").retry_after(RETRY)
}

fn too_slow() -> Refusal {
    Refusal::because(Reason::WatcherTooSlow, "changes were not read").retry_after(RETRY)
}

#[cfg(test)]
mod tests {
    use firstcome_proto::{Money, ProductId, SkuId, money::Currency};
    use uuid::Uuid;

    use super::*;
    use crate::order::{Fingerprint, Line, State, Step};

    fn order(state: State, updated_at: OffsetDateTime) -> Order {
        let money = Money { amount_minor: 1, currency: Currency::parse("KRW").unwrap() };
        let (product, sku) = (ProductId(Uuid::nil()), SkuId(Uuid::nil()));
        let line = Line { product, sku, quantity: 1, unit_price: money, sequence: 1 };
        Order {
            id: OrderId(Uuid::nil()),
            user: UserId(Uuid::nil()),
            fingerprint: Fingerprint([0; 16]),
            product,
            state,
            lines: vec![line],
            total: money,
            sequence: 1,
            pay_by: updated_at,
            attempt: None,
            step: Some(Step::Ship),
            failure: None,
            payment_method: None,
            created_at: updated_at,
            updated_at,
        }
    }

    #[test]
    fn who_does_not_read_is_told_so_and_dropped_and_who_reads_hears_all() {
        let (changes, mut reader) = mpsc::channel(UNREAD_MAX);
        let told = OffsetDateTime::UNIX_EPOCH;
        let mut watcher =
            Watcher { order: OrderId(Uuid::nil()), user: UserId(Uuid::nil()), told, changes };
        let states = [State::Preparing, State::Shipping, State::Delivered];
        for state in states {
            assert!(watcher.tell(&order(state, told)));
            assert_eq!(reader.try_recv().unwrap().unwrap().state, state);
        }
        let unread: Vec<bool> =
            states.iter().map(|state| watcher.tell(&order(*state, told))).collect();
        assert_eq!(unread, [true, true, false], "two may wait, the third is too many");
        let heard: Vec<Sent> = std::iter::from_fn(|| reader.try_recv().ok()).collect();
        let reasons: Vec<_> =
            heard.iter().map(|it| it.as_ref().err().map(Refusal::reason)).collect();
        assert_eq!(reasons, [None, None, Some(Reason::WatcherTooSlow)]);
    }
}
