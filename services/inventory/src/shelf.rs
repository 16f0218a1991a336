//! Products as visitors see them: what changes by hand may be a second old, so that a crowd that
//! looks at one page asks Postgres about once a second, and not once a visitor. (Visitors who come
//! while the answer is on its way ask too.)
//!
//! Nothing is decided by it: admission reads [`crate::live`], changes read the ledger.

use std::{sync::Arc, time::Duration};

use firstcome_proto::ProductId;
use moka::sync::Cache;

use crate::{catalog::Product, store::Store};

/// How old a product may be that another replica has changed.
const FRESH: Duration = Duration::from_secs(1);
/// Products kept; about 1 KiB each.
const PRODUCTS_MAX: u64 = 10_000;

/// The products looked at lately. Clones share them.
#[derive(Clone)]
pub struct Shelf {
    store: Store,
    seen: Cache<ProductId, Arc<Product>>,
}

impl Shelf {
    /// In front of this store.
    pub fn new(store: Store) -> Self {
        let seen = Cache::builder().max_capacity(PRODUCTS_MAX).time_to_live(FRESH).build();
        Self { store, seen }
    }

    /// A product, if there is one. What is not there is asked for each time: it may be made now.
    pub async fn product(&self, id: ProductId) -> Result<Option<Arc<Product>>, sqlx::Error> {
        if let Some(product) = self.seen.get(&id) {
            return Ok(Some(product));
        }
        let product = self.store.product(id).await?.map(Arc::new);
        if let Some(product) = &product {
            self.seen.insert(id, Arc::clone(product));
        }
        Ok(product)
    }

    /// Looks again next time, so that whoever changed it here sees the change.
    pub fn forget(&self, id: ProductId) {
        self.seen.invalidate(&id);
    }
}
