//! What is left, as people see it: read from the gate, shared by all who watch.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use firstcome_mesh::Shutdown;
use firstcome_proto::{
    ProductId, Refusal,
    inventory_v1::{ProductStock, SaleState, SkuStock, StockBadge},
    timestamp,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    catalog::Product,
    error,
    gate::{Fault, Gate, Snapshot},
    live::Live,
    store::catalog::Books,
};

/// Watchers hear of changes at most this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reads live stock and lets it be watched.
#[derive(Clone)]
pub struct Stock {
    live: Live,
    gate: Gate,
    shutdown: Shutdown,
    watched: Arc<Mutex<HashMap<ProductId, Weak<Newest>>>>,
}

/// Where the newest stock of a product stands; `None` until it was read.
type Newest = watch::Sender<Option<ProductStock>>;

/// Somebody's view of a product's stock; the product is polled while views of it live.
pub struct View {
    stock: watch::Receiver<Option<ProductStock>>,
    is_new: bool,
    shutdown: Shutdown,
    _keeps_polling: Arc<Newest>,
}

impl View {
    fn of(sender: Arc<Newest>, shutdown: Shutdown) -> Self {
        Self { stock: sender.subscribe(), is_new: true, shutdown, _keeps_polling: sender }
    }

    /// The stock now, for the first call; then each change. A slow reader sees the newest only.
    /// `None` when the process ends.
    pub async fn next(&mut self) -> Option<ProductStock> {
        loop {
            if !std::mem::take(&mut self.is_new) {
                tokio::select! {
                    changed = self.stock.changed() => changed.ok()?,
                    () = self.shutdown.begun() => return None,
                }
            }
            let now = self.stock.borrow_and_update().clone();
            if now.is_some() {
                return now;
            }
        }
    }
}

impl Stock {
    /// Nobody watches yet.
    pub fn new(live: Live, gate: Gate, shutdown: Shutdown) -> Self {
        Self { live, gate, shutdown, watched: Arc::default() }
    }

    /// Reads what the gate says now. `None` when nothing is scheduled: then there may be no gate.
    pub async fn snapshot(
        &self,
        product: ProductId,
    ) -> Result<(Arc<Product>, Option<Snapshot>), Refusal> {
        let open = self.live.open(product).await?;
        if open.drop.is_none() {
            return Ok((open, None));
        }
        let snapshot = match self.gate.snapshot(product).await {
            Ok(snapshot) if snapshot.epoch != open.epoch => Err(Fault::OtherEpoch(snapshot.epoch)),
            Ok(snapshot) if !snapshot.is_open => Err(Fault::Loading(snapshot.epoch)),
            read => read,
        };
        match snapshot {
            Ok(snapshot) => Ok((open, Some(snapshot))),
            Err(fault) => Err(self.live.report(product, open.epoch, &fault).await),
        }
    }

    /// Reads the stock now.
    pub async fn read(&self, product: ProductId) -> Result<ProductStock, Refusal> {
        let (open, snapshot) = self.snapshot(product).await?;
        let Some(snapshot) = snapshot else {
            let books = self.live.books(product).await?;
            if books.epoch > open.epoch {
                // Another replica has scheduled it, and no gate was asked that would say so.
                let newer = Fault::OtherEpoch(books.epoch);
                return Err(self.live.report(product, open.epoch, &newer).await);
            }
            return Ok(unscheduled(&open, &books));
        };
        let books = self.live.books(product).await?;
        Ok(stock_of(&open, &snapshot, &books))
    }

    /// Watches a product; NOT_FOUND when there is none.
    pub async fn watch(&self, product: ProductId) -> Result<View, Refusal> {
        match self.live.open(product).await {
            Err(refusal) if refusal != error::fenced() => return Err(refusal),
            _ => {}
        }
        let mut watched = self.watched.lock();
        if let Some(sender) = watched.get(&product).and_then(Weak::upgrade) {
            return Ok(View::of(sender, self.shutdown.clone()));
        }
        let sender = Arc::new(watch::Sender::new(None));
        watched.insert(product, Arc::downgrade(&sender));
        self.shutdown.spawn(self.clone().poll(product, Arc::downgrade(&sender)));
        Ok(View::of(sender, self.shutdown.clone()))
    }

    /// Looks as long as somebody watches; what differs in nothing but the clock is no change.
    async fn poll(self, product: ProductId, sender: Weak<Newest>) {
        loop {
            let Some(views) = sender.upgrade() else { break };
            if let Ok(stock) = self.read(product).await {
                views.send_if_modified(|last| {
                    let same = last.as_ref().is_some_and(|last| {
                        last.skus == stock.skus
                            && last.state == stock.state
                            && last.opens_at == stock.opens_at
                    });
                    if !same {
                        *last = Some(stock);
                    }
                    !same
                });
            }
            drop(views);
            if !self.shutdown.sleep(LOOK_EVERY).await {
                return;
            }
        }
        let mut watched = self.watched.lock();
        if watched.get(&product).is_some_and(|sender| sender.strong_count() == 0) {
            watched.remove(&product);
        }
    }
}

/// Where the window stands by the shard's clock.
pub fn state_of(snapshot: &Snapshot) -> SaleState {
    match (snapshot.opens_ms, snapshot.closes_ms) {
        (0, _) => SaleState::Unscheduled,
        (opens, _) if snapshot.now_ms < opens => SaleState::NotOpen,
        (_, closes) if closes != 0 && snapshot.now_ms >= closes => SaleState::Closed,
        _ => SaleState::Open,
    }
}

/// What so many available units look like on a page.
pub fn badge_of(available: i64) -> StockBadge {
    match available {
        ..=0 => StockBadge::SoldOut,
        1..10 => StockBadge::UnderTen,
        10.. => StockBadge::TenOrMore,
    }
}

fn stock_of(product: &Product, snapshot: &Snapshot, books: &Books) -> ProductStock {
    let skus = product.skus.iter().map(|sku| {
        let available = snapshot.available.get(&sku.id).copied().unwrap_or(0);
        let settled = books.skus.get(&sku.id).map_or(0, |counters| counters.settled);
        SkuStock {
            sku_id: sku.id.to_string(),
            available,
            holds_open: (sku.total - available - settled).max(0),
            total: sku.total,
            badge: badge_of(available.into()) as i32,
        }
    });
    let skus: Vec<SkuStock> = skus.collect();
    ProductStock {
        product_id: product.id.to_string(),
        state: state_of(snapshot) as i32,
        badge: badge_of_all(&skus) as i32,
        skus,
        opens_at: product.drop.map(|drop| timestamp::to_wire(drop.opens_at)),
        read_time: timestamp::from_unix_ms(snapshot.now_ms).map(timestamp::to_wire),
    }
}

fn unscheduled(product: &Product, books: &Books) -> ProductStock {
    let skus = product.skus.iter().map(|sku| {
        let counters = books.skus.get(&sku.id);
        let available = counters.map_or(0, |counters| counters.available());
        SkuStock {
            sku_id: sku.id.to_string(),
            available,
            holds_open: counters.map_or(0, |counters| counters.held),
            total: sku.total,
            badge: badge_of(available.into()) as i32,
        }
    });
    let skus: Vec<SkuStock> = skus.collect();
    ProductStock {
        product_id: product.id.to_string(),
        state: SaleState::Unscheduled as i32,
        badge: badge_of_all(&skus) as i32,
        skus,
        opens_at: None,
        read_time: Some(timestamp::to_wire(time::OffsetDateTime::now_utc())),
    }
}

fn badge_of_all(skus: &[SkuStock]) -> StockBadge {
    badge_of(skus.iter().map(|sku| i64::from(sku.available)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_says_none_some_or_enough() {
        for (available, badge) in [
            (-1, StockBadge::SoldOut),
            (0, StockBadge::SoldOut),
            (1, StockBadge::UnderTen),
            (9, StockBadge::UnderTen),
            (10, StockBadge::TenOrMore),
            (i64::MAX, StockBadge::TenOrMore),
        ] {
            assert_eq!(badge_of(available), badge, "{available}");
        }
    }
}
