//! How much is left, for pages that show many products: at most a second old, and never from
//! Postgres, so that a crowd that looks at a warm page costs the gate one read a second and the
//! ledger nothing.

use std::{sync::Arc, time::Duration};

use firstcome_proto::{ProductId, inventory_v1::StockBadge};
use futures::future::join_all;
use moka::sync::Cache;
use tokio::{sync::OnceCell, time::timeout};

use crate::{catalog::Product, gate::Gate, stock::badge_of};

/// How old a badge may be.
const FRESH: Duration = Duration::from_secs(1);
/// A badge is not worth a longer wait than this; without one the page is shown as it is.
const PATIENCE: Duration = Duration::from_millis(250);
/// Badges kept.
const BADGES_MAX: u64 = 10_000;

/// The badges seen lately. Clones share them.
#[derive(Clone)]
pub struct Badges {
    gate: Gate,
    /// One reading for everybody who comes while it is under way.
    seen: Cache<ProductId, Arc<OnceCell<StockBadge>>>,
}

impl Badges {
    /// Of this live stock.
    pub fn new(gate: Gate) -> Self {
        let seen = Cache::builder().max_capacity(BADGES_MAX).time_to_live(FRESH).build();
        Self { gate, seen }
    }

    /// A product's badge; unspecified while its gate cannot be read.
    pub async fn of(&self, product: &Product) -> StockBadge {
        if product.drop.is_none() && product.epoch == 0 {
            // It never had a gate, so nobody can have taken anything.
            return badge_of(product.skus.iter().map(|sku| i64::from(sku.total)).sum());
        }
        let badge = self.seen.get_with(product.id, Arc::default);
        *badge.get_or_init(|| self.read(product.id)).await
    }

    /// The badges of a page, in its order; all are asked for at once, so that a Redis that does not
    /// answer costs one wait.
    pub async fn of_all(&self, products: &[Arc<Product>]) -> Vec<StockBadge> {
        join_all(products.iter().map(|product| self.of(product))).await
    }

    /// Looks again next time, so that whoever changed it here sees the change.
    pub fn forget(&self, product: ProductId) {
        self.seen.invalidate(&product);
    }

    /// A gate that is missing or wrong is noticed, and made again, by those who want to buy.
    async fn read(&self, product: ProductId) -> StockBadge {
        match timeout(PATIENCE, self.gate.snapshot(product)).await {
            Ok(Ok(snapshot)) if snapshot.is_open => {
                badge_of(snapshot.available.values().map(|available| i64::from(*available)).sum())
            }
            _ => StockBadge::Unspecified,
        }
    }
}
