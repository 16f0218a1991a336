//! Products as visitors see them: kept until one hears that they were changed, so that a crowd that
//! looks at what it has seen before asks Postgres nothing.
//!
//! Each replica asks twice a second what was changed, by itself or by others, and forgets it. While
//! it cannot ask, it shows what it has for 30 s and then nothing that it has not just read. Nothing is decided by it: admission reads [`crate::live`], changes read the ledger.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use firstcome_mesh::{Shutdown, page};
use firstcome_proto::ProductId;
use moka::sync::Cache;
use parking_lot::RwLock;

use crate::{
    catalog::{Listing, Product},
    store::{
        Store,
        edits::{CHANGES_MAX, Changes},
    },
};

/// A change is seen everywhere within a second: this pause, the question, and what it forgets.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long what is kept is shown while nobody can say whether it has changed: a restart of
/// Postgres passes unnoticed, and a page is never older than this.
const UNTOLD_MAX: Duration = Duration::from_secs(30);
/// Against what nobody thought of, everything is read anew once in this time.
const KEPT_MAX: Duration = Duration::from_secs(600);
/// Products kept; 1 to 40 KiB each.
const PRODUCTS_MAX: u64 = 10_000;

/// The products looked at lately. Clones share them.
#[derive(Clone)]
pub struct Shelf {
    store: Store,
    seen: Cache<ProductId, Arc<Product>>,
    told: Arc<RwLock<Told>>,
    /// See [`UNTOLD_MAX`].
    pub untold_max: Duration,
}

/// What this replica has heard of changes.
#[derive(Default)]
struct Told {
    /// When it last asked and was answered.
    at: Option<Instant>,
    /// Where to ask from next time.
    horizon: Option<i64>,
    /// The last answer; what is in it again is no news.
    last: HashMap<ProductId, i64>,
    /// Counts news. What was read before the news came must not be kept after it.
    generation: u64,
    /// The first and longest page of all products, newest first: what most visitors see.
    front: Option<Arc<Vec<Arc<Product>>>>,
}

impl Shelf {
    /// In front of this store; it keeps nothing before [`Self::start`].
    pub fn new(store: Store) -> Self {
        let seen = Cache::builder().max_capacity(PRODUCTS_MAX).time_to_live(KEPT_MAX).build();
        Self { store, seen, told: Arc::default(), untold_max: UNTOLD_MAX }
    }

    /// Asks for changes until the process ends.
    pub fn start(&self, shutdown: &Shutdown) {
        let (shelf, stop) = (self.clone(), shutdown.clone());
        shutdown.spawn(async move {
            loop {
                shelf.ask().await;
                if !stop.sleep(ASK_EVERY).await {
                    return;
                }
            }
        });
    }

    /// A product, if there is one. What is not there is asked for each time: it may be made now.
    pub async fn product(&self, id: ProductId) -> Result<Option<Arc<Product>>, sqlx::Error> {
        let generation = {
            let told = self.told.read();
            if self.is_current(&told) {
                if let Some(product) = self.seen.get(&id) {
                    return Ok(Some(product));
                }
            }
            told.generation
        };
        let product = self.store.product(id).await?.map(Arc::new);
        if let Some(product) = &product {
            // Under the lock: news come before this, and are noticed, or after, and forget it.
            let told = self.told.read();
            if self.is_current(&told) && told.generation == generation {
                self.seen.insert(id, Arc::clone(product));
            }
        }
        Ok(product)
    }

    /// A page of products; the first one of all products is kept.
    pub async fn page(&self, listing: &Listing) -> Result<Vec<Arc<Product>>, sqlx::Error> {
        if !listing.is_front() {
            let page = self.store.products(listing).await?;
            return Ok(page.into_iter().map(Arc::new).collect());
        }
        let wanted = usize::try_from(listing.page.size).expect("a page's size was checked");
        let generation = {
            let told = self.told.read();
            if let Some(front) = told.front.as_ref().filter(|_| self.is_current(&told)) {
                return Ok(front.iter().take(wanted).cloned().collect());
            }
            told.generation
        };
        let mut whole = listing.clone();
        whole.page.size = i64::from(page::SIZE_MAX);
        let front = self.store.products(&whole).await?;
        let front: Vec<_> = front.into_iter().map(Arc::new).collect();
        let page = front.iter().take(wanted).cloned().collect();
        let mut told = self.told.write();
        if self.is_current(&told) && told.generation == generation {
            told.front = Some(Arc::new(front));
        }
        Ok(page)
    }

    /// Looks again next time, so that whoever changed it here sees the change.
    pub fn forget(&self, id: ProductId) {
        let mut told = self.told.write();
        told.generation += 1;
        told.front = None;
        self.seen.invalidate(&id);
    }

    /// What is kept may be shown.
    fn is_current(&self, told: &Told) -> bool {
        told.at.is_some_and(|at| at.elapsed() < self.untold_max)
    }

    /// Asks once what was changed, and forgets it.
    async fn ask(&self) {
        let asked_at = Instant::now();
        let horizon = self.told.read().horizon;
        match self.store.changes(horizon).await {
            Ok(changes) => self.hear(asked_at, changes),
            Err(error) => tracing::warn!(%error, "ask for changed products later"),
        }
    }

    fn hear(&self, asked_at: Instant, changes: Changes) {
        let told = &mut *self.told.write();
        // At the beginning; on a server that counts from elsewhere; after more than was told.
        let knows_nothing = told.horizon.is_none_or(|horizon| changes.horizon < horizon)
            || changes.products.len() >= CHANGES_MAX;
        let products: HashMap<ProductId, i64> = changes.products.into_iter().collect();
        let mut is_news = knows_nothing;
        if knows_nothing {
            self.seen.invalidate_all();
        }
        for (product, changed_in) in &products {
            if told.last.get(product) != Some(changed_in) {
                is_news = true;
                self.seen.invalidate(product);
            }
        }
        if is_news {
            told.generation += 1;
            told.front = None;
        }
        told.last = products;
        told.horizon = Some(changes.horizon);
        told.at = Some(asked_at);
    }
}
