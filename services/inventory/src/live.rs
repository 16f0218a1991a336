//! The products as this process knows them: which epoch may admit, who is fenced, and the one
//! path on which a gate is made.
//!
//! A gate that is missing, of another epoch, or in disagreement with the ledger fences its
//! product: calls are told so at once while one task rebuilds. First start, failover, FLUSHALL,
//! a changed total and a moved drop are all this path.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use firstcome_mesh::{Shutdown, failpoint};
use firstcome_proto::{ProductId, Refusal};
use parking_lot::RwLock;

use crate::{
    catalog::Product,
    error,
    gate::{Fault, Gate},
    metrics::METRICS,
    store::{
        Store,
        catalog::Books,
        epoch::{Advance, Change},
    },
};

/// A gate in the making that shows no progress for this long has lost its maker.
const NO_PROGRESS: Duration = Duration::from_secs(2);
/// How often a gate in the making is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Pause after a failed attempt to make a gate; a store that is down is not hammered.
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(200);
/// The ledger's counters may be this old where only a hint is made of them (`holds_open`).
const BOOKS_FRESH: Duration = Duration::from_secs(1);
/// A hint is not worth a longer wait than this.
const BOOKS_PATIENCE: Duration = Duration::from_millis(250);

/// All products that this process has met.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    gate: Gate,
    shutdown: Shutdown,
    products: RwLock<HashMap<ProductId, Arc<Entry>>>,
}

struct Entry {
    id: ProductId,
    state: RwLock<State>,
    /// Held by the one task of this process that makes the gate.
    rebuilding: tokio::sync::Mutex<()>,
    books: tokio::sync::Mutex<Option<(Instant, Arc<Books>)>>,
}

#[derive(Clone)]
enum State {
    /// Admits under the product's epoch.
    Open(Arc<Product>),
    /// Being rebuilt.
    Fenced { _counted: Arc<Fence> },
}

/// A product that is not sold from; counted while it stands.
struct Fence;

impl State {
    fn fenced() -> Self {
        METRICS.fenced.inc();
        Self::Fenced { _counted: Arc::new(Fence) }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        METRICS.fenced.dec();
    }
}

impl Live {
    /// Knows no product yet.
    pub fn new(store: Store, gate: Gate, shutdown: Shutdown) -> Self {
        let products = RwLock::default();
        Self { inner: Arc::new(Inner { store, gate, shutdown, products }) }
    }

    /// The product, when it may be sold from; else NOT_FOUND, FENCED or UNAVAILABLE.
    pub async fn open(&self, product: ProductId) -> Result<Arc<Product>, Refusal> {
        let entry = self.entry(product).await?;
        match &*entry.state.read() {
            State::Open(product) => Ok(Arc::clone(product)),
            State::Fenced { .. } => Err(error::fenced()),
        }
    }

    /// The ledger's counters, at most 1 s old; older when Postgres does not answer.
    pub async fn books(&self, product: ProductId) -> Result<Arc<Books>, Refusal> {
        let entry = self.entry(product).await?;
        let mut kept = entry.books.lock().await;
        if let Some((read_at, books)) = &*kept {
            if read_at.elapsed() < BOOKS_FRESH {
                return Ok(Arc::clone(books));
            }
        }
        let read = tokio::time::timeout(BOOKS_PATIENCE, self.inner.store.books(product)).await;
        let fault = match read {
            Ok(Ok(books)) => {
                let books = Arc::new(books);
                *kept = Some((Instant::now(), Arc::clone(&books)));
                return Ok(books);
            }
            Ok(Err(fault)) => error::database(&fault),
            Err(_) => error::unavailable(),
        };
        match &mut *kept {
            // The next look is a second away: losers do not wait for a ledger in trouble.
            Some((read_at, books)) => {
                *read_at = Instant::now();
                Ok(Arc::clone(books))
            }
            None => Err(fault),
        }
    }

    /// Says that the gate could not serve a call under `epoch`. Fences the product and rebuilds it
    /// unless that happened already, or unless Redis alone is the trouble. Gives what to tell the
    /// caller.
    pub async fn report(&self, product: ProductId, epoch: i64, fault: &Fault) -> Refusal {
        METRICS.failed(fault);
        match fault {
            // Somebody is making the gate of this very epoch: let them, unless they are gone.
            Fault::Loading(_) => self.fence(product, epoch, epoch - 1, "the gate is loading").await,
            Fault::Missing => self.fence(product, epoch, epoch, "the gate is missing").await,
            // The ledger says that somebody is to make the gate of our epoch: let them, too.
            Fault::OtherEpoch(other) if *other < epoch => {
                self.fence(product, epoch, epoch - 1, "the gate is of an older epoch").await;
            }
            Fault::OtherEpoch(_) => {
                self.fence(product, epoch, epoch, "the gate is of a newer epoch").await;
            }
            Fault::OutOfTurn => {
                self.fence(product, epoch, epoch, "another loader is at work").await;
            }
            Fault::Redis(_) | Fault::Unreadable(_) => {}
        }
        error::gate(fault)
    }

    /// Fences the product and rebuilds it, unless it is open under a newer epoch than the one the
    /// caller was `under`. Epochs up to `failed` are of no use any more.
    pub async fn fence(&self, product: ProductId, under: i64, failed: i64, why: &str) {
        let Ok(entry) = self.entry(product).await else { return };
        {
            let mut state = entry.state.write();
            match &*state {
                State::Fenced { .. } => return,
                State::Open(product) if product.epoch > under => return,
                State::Open(_) => *state = State::fenced(),
            }
        }
        METRICS.fences.inc();
        tracing::warn!(%product, epoch = failed, why, "fence product");
        let live = self.clone();
        self.inner.shutdown.clone().spawn(async move {
            let rebuilding = entry.rebuilding.lock().await;
            let refusal = live.rebuild(&entry, failed, None).await.err();
            drop(rebuilding);
            if let Some(refusal) = refusal {
                // Only a product that is gone, or the end of the process, ends a rebuild so.
                tracing::error!(product = %entry.id, ?refusal, "rebuild ended without a gate");
            }
        });
    }

    /// Changes the product under the lock of its stock and makes the gate that follows.
    pub async fn change(&self, product: ProductId, change: Change) -> Result<Product, Refusal> {
        let entry = self.entry(product).await?;
        let live = self.clone();
        // In a task of its own: a caller that leaves must not leave a fenced product behind.
        let done = self.inner.shutdown.clone().spawn(async move {
            let rebuilding = entry.rebuilding.lock().await;
            let before = match &*entry.state.read() {
                State::Open(product) => product.epoch,
                State::Fenced { .. } => 0,
            };
            let changed = live.rebuild(&entry, 0, Some(change)).await;
            drop(rebuilding);
            if changed.as_ref().is_err_and(|refusal| refusal.retry_after.is_some()) {
                // The answer to the commit may be lost: if the next epoch was begun, its gate
                // must be made, by this path.
                live.fence(product, before, before, "a change was cut short").await;
            }
            changed
        });
        match done.await {
            Ok(result) => result.map(|product| Product::clone(&product)),
            Err(_) => Err(Refusal::internal()),
        }
    }

    /// Makes the first gate of a product, unless there was one: so that nobody who comes first is
    /// told to wait for it.
    pub async fn begin(&self, product: ProductId) -> Result<(), Refusal> {
        let entry = self.entry(product).await?;
        let live = self.clone();
        let done = self.inner.shutdown.clone().spawn(async move {
            let _rebuilding = entry.rebuilding.lock().await;
            live.rebuild(&entry, 0, None).await.map(drop)
        });
        done.await.unwrap_or_else(|_| Err(Refusal::internal()))
    }

    async fn entry(&self, product: ProductId) -> Result<Arc<Entry>, Refusal> {
        if let Some(entry) = self.inner.products.read().get(&product) {
            return Ok(Arc::clone(entry));
        }
        let read = self.inner.store.product(product).await;
        let read = read.map_err(|fault| error::database(&fault))?;
        let read = read.ok_or_else(|| Refusal::not_found("product"))?;
        let mut products = self.inner.products.write();
        let entry = products.entry(product).or_insert_with(|| {
            Arc::new(Entry {
                id: product,
                state: RwLock::new(State::Open(Arc::new(read))),
                rebuilding: tokio::sync::Mutex::new(()),
                books: tokio::sync::Mutex::new(None),
            })
        });
        Ok(Arc::clone(entry))
    }

    /// Starts or adopts an epoch newer than `failed` and comes back when its gate is open. Any
    /// fault on the way takes a new epoch.
    async fn rebuild(
        &self,
        entry: &Entry,
        mut failed: i64,
        mut change: Option<Change>,
    ) -> Result<Arc<Product>, Refusal> {
        let begun = Instant::now();
        loop {
            match self.inner.store.advance(entry.id, failed, change.as_ref()).await {
                Ok(Advance::Refused(refused)) => return Err(error::change(&refused)),
                Ok(Advance::Adopted(product)) => {
                    let epoch = product.epoch;
                    match self.wait_for_open(entry.id, epoch).await {
                        Awaited::Open => return Ok(self.reopen(entry, product, begun)),
                        Awaited::Newer => {}
                        Awaited::Lost => failed = epoch,
                    }
                }
                Ok(Advance::Started(mut product, image)) => {
                    change = None;
                    product.epoch = image.epoch;
                    *entry.state.write() = State::fenced();
                    failpoint::hit("inventory.between_epoch_and_load");
                    match self.inner.gate.load(entry.id, &image).await {
                        Ok(()) => return Ok(self.reopen(entry, product, begun)),
                        Err(fault) => {
                            tracing::warn!(product = %entry.id, epoch = image.epoch, %fault,
                                           "load gate again under a new epoch");
                            failed = image.epoch;
                            self.pause().await?;
                            self.wait_for_redis(entry.id).await?;
                        }
                    }
                }
                Err(fault) => {
                    let refusal = error::database(&fault);
                    if change.is_some() {
                        return Err(refusal);
                    }
                    self.pause().await?;
                }
            }
        }
    }

    fn reopen(&self, entry: &Entry, product: Product, begun: Instant) -> Arc<Product> {
        METRICS.rebuild_seconds.observe(begun.elapsed().as_secs_f64());
        tracing::info!(product = %entry.id, epoch = product.epoch, took = ?begun.elapsed(),
                       "open gate");
        let product = Arc::new(product);
        *entry.state.write() = State::Open(Arc::clone(&product));
        product
    }

    async fn pause(&self) -> Result<(), Refusal> {
        if self.inner.shutdown.sleep(PAUSE_AFTER_FAULT).await {
            return Ok(());
        }
        Err(error::fenced())
    }

    /// An epoch begins where a gate can be made of it: one that nobody can load helps nobody, and
    /// costs the ledger a write.
    async fn wait_for_redis(&self, product: ProductId) -> Result<(), Refusal> {
        while let Err(Fault::Redis(_)) = self.inner.gate.snapshot(product).await {
            self.pause().await?;
        }
        Ok(())
    }

    /// Waits for a gate that another process makes.
    async fn wait_for_open(&self, product: ProductId, epoch: i64) -> Awaited {
        let mut last = None;
        let mut progress = Instant::now();
        while progress.elapsed() < NO_PROGRESS {
            let seen = match self.inner.gate.snapshot(product).await {
                Ok(snapshot) if snapshot.epoch == epoch && snapshot.is_open => {
                    return Awaited::Open;
                }
                Ok(snapshot) if snapshot.epoch > epoch => return Awaited::Newer,
                Ok(snapshot) => Some((snapshot.epoch, snapshot.taken)),
                Err(_) => None,
            };
            if seen.is_some() && seen != last {
                last = seen;
                progress = Instant::now();
            }
            if !self.inner.shutdown.sleep(LOOK_AGAIN).await {
                return Awaited::Lost;
            }
        }
        Awaited::Lost
    }
}

enum Awaited {
    Open,
    Newer,
    Lost,
}
