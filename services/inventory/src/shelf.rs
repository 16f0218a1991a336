//! Products as visitors see them: kept until one hears that they were changed, so that a crowd that
//! looks at what it has seen before asks Postgres nothing.
//!
//! Each replica asks twice a second what was changed, by itself or by others, and forgets it. While
//! it cannot ask, it shows what it has for 30 s and then nothing that it has not just read. What is
//! not kept is read from Postgres by few at once.
//!
//! Nothing is decided by it: admission reads [`crate::live`], changes read the ledger.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use firstcome_mesh::{Shutdown, page};
use firstcome_proto::{ProductId, Refusal};
use moka::sync::Cache;
use parking_lot::RwLock;
use tokio::sync::OnceCell;

use crate::{
    catalog::{Listing, Product, Sku},
    error,
    store::{
        Store,
        edits::{CHANGES_MAX, Changes},
    },
    turn::Turns,
};

/// A change is seen everywhere within a second: this pause, the question, and what it forgets.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long what is kept is shown while nobody can say whether it has changed: a restart of
/// Postgres passes unnoticed, and a page is never older than this.
const UNTOLD_MAX: Duration = Duration::from_secs(30);
/// Against what nobody thought of, everything is read anew once in this time.
const KEPT_MAX: Duration = Duration::from_secs(600);
/// Bytes of products kept. Most have 1 to 2 KiB, so tens of thousands fit; the largest, of 100 SKUs
/// and a long description, may have 100 KiB.
const KEPT_BYTES_MAX: u64 = 64 << 20;
/// Products being read at once that callers find each other at; beyond it some are read twice.
const READINGS_MAX: u64 = 10_000;
/// A reading ends sooner, one way or the other; one that every caller left is dropped after this.
const READING_MAX: Duration = Duration::from_secs(10);
/// Lists read at once: a search takes Postgres much longer than a step of a purchase, and all of
/// them use the same 16 connections.
const LISTS_AT_ONCE: usize = 3;
/// Lists that may wait: at up to 20 ms each, the last one's turn comes within a second.
const LISTS_WAITING_MAX: usize = 128;

/// Products in the order in which they are shown.
type Page = Vec<Arc<Product>>;
/// What reading a product came to.
type Reading = Result<Option<Arc<Product>>, Refusal>;

/// The products looked at lately. Clones share them.
#[derive(Clone)]
pub struct Shelf {
    store: Store,
    seen: Cache<ProductId, Arc<Product>>,
    /// One reading for everybody who comes while it is under way.
    readings: Cache<ProductId, Arc<OnceCell<Reading>>>,
    lists: Turns,
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
    /// The first and longest page of all products, newest first: what most visitors see. News put
    /// an empty one in its place; those who still read the old one do not keep it.
    front: Arc<OnceCell<Result<Page, Refusal>>>,
}

impl Shelf {
    /// In front of this store; it keeps nothing before [`Self::start`].
    pub fn new(store: Store) -> Self {
        let seen = Cache::builder()
            .weigher(|_, product: &Arc<Product>| bytes_of(product))
            .max_capacity(KEPT_BYTES_MAX)
            .time_to_live(KEPT_MAX)
            .build();
        let readings = Cache::builder().max_capacity(READINGS_MAX).time_to_live(READING_MAX);
        let lists = Turns::new(LISTS_AT_ONCE, LISTS_WAITING_MAX);
        let (readings, told) = (readings.build(), Arc::default());
        Self { store, seen, readings, lists, told, untold_max: UNTOLD_MAX }
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
    /// Those who ask while it is being read share one reading, and its fault if it has one.
    pub async fn product(&self, id: ProductId) -> Result<Option<Arc<Product>>, Refusal> {
        let (reading, generation) = {
            let told = self.told.read();
            if self.is_current(&told) {
                if let Some(product) = self.seen.get(&id) {
                    return Ok(Some(product));
                }
            }
            // Under the lock: whoever comes after news joins no reading that began before them.
            (self.readings.get_with(id, Arc::default), told.generation)
        };
        reading.get_or_init(|| self.read(id, generation)).await.clone()
    }

    async fn read(&self, id: ProductId, generation: u64) -> Reading {
        let product = self.store.product(id).await.map_err(|fault| error::database(&fault));
        // Whoever comes from here on looks at what is kept, or reads anew.
        self.readings.invalidate(&id);
        let product = product?.map(Arc::new);
        if let Some(product) = &product {
            // Under the lock: news come before this, and are noticed, or after, and forget it.
            let told = self.told.read();
            if self.is_current(&told) && told.generation == generation {
                self.seen.insert(id, Arc::clone(product));
            }
        }
        Ok(product)
    }

    /// A page of products; the first one of all products is kept, and read once for everybody who
    /// comes meanwhile. Other pages wait for their turn; OVERLOADED when too many do.
    pub async fn page(&self, listing: &Listing) -> Result<Page, Refusal> {
        let front = {
            let told = self.told.read();
            let is_kept = listing.is_front() && self.is_current(&told);
            is_kept.then(|| Arc::clone(&told.front))
        };
        let Some(front) = front else {
            let (store, listing) = (self.store.clone(), listing.clone());
            return self.lists.run(async move { read_page(&store, &listing).await }).await?;
        };
        let wanted = usize::try_from(listing.page.size).expect("a page's size was checked");
        let mut whole = listing.clone();
        whole.page.size = i64::from(page::SIZE_MAX);
        match front.get_or_init(|| read_page(&self.store, &whole)).await {
            Ok(page) => Ok(page.iter().take(wanted).cloned().collect()),
            Err(refusal) => {
                // A fault is told to those who waited for it, and to nobody else.
                let mut told = self.told.write();
                if Arc::ptr_eq(&told.front, &front) {
                    told.front = Arc::default();
                }
                Err(refusal.clone())
            }
        }
    }

    /// Looks again next time, so that whoever changed it here sees the change.
    pub fn forget(&self, id: ProductId) {
        let mut told = self.told.write();
        told.generation += 1;
        told.front = Arc::default();
        self.readings.invalidate(&id);
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
            self.readings.invalidate_all();
            self.seen.invalidate_all();
        }
        for (product, changed_in) in &products {
            if told.last.get(product) != Some(changed_in) {
                is_news = true;
                self.readings.invalidate(product);
                self.seen.invalidate(product);
            }
        }
        if is_news {
            told.generation += 1;
            told.front = Arc::default();
        }
        told.last = products;
        told.horizon = Some(changes.horizon);
        told.at = Some(asked_at);
    }
}

async fn read_page(store: &Store, listing: &Listing) -> Result<Page, Refusal> {
    let page = store.products(listing).await.map_err(|fault| error::database(&fault))?;
    Ok(page.into_iter().map(Arc::new).collect())
}

/// About what a product takes in memory.
fn bytes_of(product: &Product) -> u32 {
    let own = product.name.len() + product.description.len() + product.category.len();
    let texts = |sku: &Sku| sku.label.len() + sku.color.len() + sku.size.len();
    let skus: usize = product.skus.iter().map(|sku| size_of::<Sku>() + texts(sku)).sum();
    let bytes = size_of::<Product>() + own + skus;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
