//! Looks after the books, in every replica at once: expires what is overdue, tells the gate what
//! was freed, finishes what others began, compares gate and ledger.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use firstcome_mesh::{Shutdown, failpoint};
use firstcome_proto::{ProductId, ReservationId};

use crate::{
    catalog::Product,
    gate::{Fault, Gate, ITEMS_MAX},
    live::Live,
    metrics::METRICS,
    reserve::{Admission, Reservations},
    store::{
        Store,
        freeing::{Action, Message},
    },
};

/// An overdue hold is on sale again within 2 s: this, the outbox's pause, and the work itself.
const EXPIRE_EVERY: Duration = Duration::from_millis(250);
/// Holds that one transaction expires; more come with the next, without a pause.
const EXPIRE_BATCH: usize = 512;
/// Messages wait at most this long for the gate.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How often unconfirmed admissions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// An admission that is unconfirmed for this long belongs to a dead or slow process.
pub const UNCONFIRMED_MS_MAX: i64 = 5_000;
/// Products without traffic are looked through less often.
const SWEEP_ALL_EVERY: Duration = Duration::from_secs(10);
/// Entries that one look takes from one product.
const SWEEP_ENTRIES: u64 = 100;
/// How often gate and ledger are compared.
const AUDIT_EVERY: Duration = Duration::from_secs(2);
/// The audit looks at what was touched within this span; it overlaps the last look generously.
const AUDIT_SPAN_MS: i64 = 30_000;
/// How often settled holds are looked through for records that the gate may forget.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// The duties and what they need.
#[derive(Clone)]
pub struct Keeper {
    /// Products and their epochs.
    pub live: Live,
    /// The live stock.
    pub gate: Gate,
    /// The ledger.
    pub store: Store,
    /// The way to finish admissions.
    pub reservations: Reservations,
    /// A settled hold's record leaves the gate after this long.
    pub forget_after: Duration,
    /// An admission that is unconfirmed for this long is finished here.
    pub unconfirmed_ms_max: i64,
}

impl Keeper {
    /// Starts every duty; each ends when the process does.
    pub fn start(self, shutdown: &Shutdown) {
        every(shutdown, EXPIRE_EVERY, self.clone(), |keeper| async move {
            keeper.expire().await;
        });
        every(shutdown, TELL_EVERY, self.clone(), |keeper| async move { keeper.tell().await });
        every(shutdown, SWEEP_EVERY, self.clone(), |keeper| async move {
            keeper.sweep_touched().await;
        });
        every(shutdown, SWEEP_ALL_EVERY, self.clone(), |keeper| async move {
            keeper.sweep_all().await;
        });
        every(shutdown, FORGET_EVERY, self.clone(), |keeper| async move {
            keeper.forget().await;
        });
        shutdown.spawn(Auditor::new(self).run(shutdown.clone()));
    }

    /// Expires what is overdue.
    pub async fn expire(&self) {
        loop {
            match self.store.expire_overdue(EXPIRE_BATCH as i64).await {
                Ok(count) => {
                    if count > 0 {
                        METRICS.expired.inc_by(count as u64);
                        failpoint::hit("inventory.between_expire_and_free");
                    }
                    if count < EXPIRE_BATCH {
                        return;
                    }
                }
                Err(error) => return tracing::warn!(%error, "expire holds later"),
            }
        }
    }

    /// Tells the gate what was freed.
    pub async fn tell(&self) {
        loop {
            let messages = match self.store.claim_messages(ITEMS_MAX as i64).await {
                Ok(messages) => messages,
                Err(error) => return tracing::warn!(%error, "tell the gate later"),
            };
            let count = messages.len();
            // Products at once: those of a shard that does not answer delay nobody else's units.
            let mut products: HashMap<ProductId, Vec<Message>> = HashMap::new();
            for message in messages {
                products.entry(message.product).or_default().push(message);
            }
            let told = products.into_iter().map(|(product, messages)| async move {
                // Frees before forgets: a forgotten record can no longer be freed.
                for action in [Action::Free, Action::Forget] {
                    let of_action = messages.iter().filter(|message| message.action == action);
                    let of_action: Vec<Message> = of_action.copied().collect();
                    if !of_action.is_empty() {
                        self.tell_product(product, action, &of_action).await;
                    }
                }
            });
            futures::future::join_all(told).await;
            if count < ITEMS_MAX {
                return;
            }
        }
    }

    /// What cannot be told now stays in the outbox and comes again.
    async fn tell_product(&self, product: ProductId, action: Action, messages: &[Message]) {
        let Ok(open) = self.live.open(product).await else { return };
        let admissions: Vec<_> = messages.iter().map(|message| message.admission).collect();
        let told = match action {
            Action::Free => self.gate.free(product, open.epoch, &admissions).await,
            Action::Forget => self.gate.forget(product, open.epoch, &admissions).await,
        };
        if let Err(fault) = told {
            let _ = self.live.report(product, open.epoch, &fault).await;
            return;
        }
        failpoint::hit("inventory.between_free_and_delete");
        let ids: Vec<i64> = messages.iter().map(|message| message.outbox_id).collect();
        METRICS.told.inc_by(ids.len() as u64);
        if let Err(error) = self.store.delete_messages(&ids).await {
            tracing::warn!(%error, "delete told messages later");
        }
    }

    /// Marks settled holds whose record the gate may drop.
    pub async fn forget(&self) {
        let ms = i64::try_from(self.forget_after.as_millis()).unwrap_or(i64::MAX);
        if let Err(error) = self.store.forget_settled(ms, ITEMS_MAX as i64).await {
            tracing::warn!(%error, "forget settled holds later");
        }
    }

    /// Finishes admissions that nobody finished, of the products that sold of late.
    pub async fn sweep_touched(&self) {
        self.sweep(self.store.products_touched(AUDIT_SPAN_MS).await).await;
    }

    /// The same, of every product: one whose very first admission was lost was never touched.
    pub async fn sweep_all(&self) {
        self.sweep(self.store.products_with_gate().await).await;
    }

    async fn sweep(&self, products: Result<Vec<ProductId>, sqlx::Error>) {
        let products = match products {
            Ok(products) => products,
            Err(error) => return tracing::warn!(%error, "sweep later"),
        };
        for product in products {
            let Ok(open) = self.live.open(product).await else { continue };
            if let Err(fault) = self.sweep_product(&open).await {
                let _ = self.live.report(product, open.epoch, &fault).await;
            }
        }
    }

    async fn sweep_product(&self, product: &Arc<Product>) -> Result<(), Fault> {
        // First of all: entries that were read from the gate of one epoch must never be committed
        // under a later one, whose gate was made without them. A gate never goes back, and what
        // is read from a later one is refused by the ledger.
        let gate = self.gate.snapshot(product.id).await?;
        if gate.epoch != product.epoch {
            return Err(Fault::OtherEpoch(gate.epoch));
        }
        if !gate.is_open {
            return Err(Fault::Loading(gate.epoch));
        }
        for entry in self.gate.unconfirmed(product.id, SWEEP_ENTRIES).await? {
            if gate.now_ms - entry.admitted_ms < self.unconfirmed_ms_max {
                return Ok(()); // oldest first
            }
            let records = self.gate.records(product.id, &entry.reservations).await?;
            let admissions: Vec<Admission> = records
                .into_iter()
                .flatten() // freed meanwhile
                .map(|(wish, seq)| Admission { wish, seq, newly_admitted: false, entry: None })
                .collect();
            if !self.reservations.finish(product, &admissions).await {
                return Ok(()); // comes again
            }
            let count = admissions.len();
            METRICS.swept.inc_by(count as u64);
            tracing::info!(product = %product.id, count, "finish admissions of a lost call");
            self.gate.confirm(product.id, vec![entry.entry]).await?;
        }
        Ok(())
    }
}

/// Runs a duty, pauses, and so on until the process ends.
fn every<F, Fut>(shutdown: &Shutdown, pause: Duration, keeper: Keeper, duty: F)
where
    F: Fn(Keeper) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        while stop.sleep(pause).await {
            duty(keeper.clone()).await;
        }
    });
}

/// Compares gate and ledger. While a product sells, the two always differ a little: what is on
/// its way. Only what stays different, under one epoch and with nothing on its way, is a
/// disagreement.
pub struct Auditor {
    keeper: Keeper,
    suspicions: HashMap<ProductId, Suspicion>,
    /// Entries that were unconfirmed at this look, over all products.
    unconfirmed: i64,
}

/// What differed at the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suspicion {
    epoch: i64,
    /// Records that only one side has, or that differ in their number.
    reservations: HashSet<ReservationId>,
    /// Available units that the gate has too many or too few of, per SKU; only meaningful when
    /// no record differs and nothing is on its way.
    drift: Vec<(firstcome_proto::SkuId, i32)>,
}

impl Auditor {
    /// Suspects nobody yet.
    pub fn new(keeper: Keeper) -> Self {
        Self { keeper, suspicions: HashMap::new(), unconfirmed: 0 }
    }

    async fn run(mut self, shutdown: Shutdown) {
        while shutdown.sleep(AUDIT_EVERY).await {
            self.look().await;
        }
    }

    /// Looks once at everything that was touched of late, or is suspected.
    pub async fn look(&mut self) {
        let mut products: HashSet<ProductId> = self.suspicions.keys().copied().collect();
        match self.keeper.store.products_touched(AUDIT_SPAN_MS).await {
            Ok(touched) => products.extend(touched),
            Err(error) => return tracing::warn!(%error, "audit later"),
        }
        self.unconfirmed = 0;
        for product in products {
            let Ok(open) = self.keeper.live.open(product).await else { continue };
            match self.compare(&open).await {
                Ok(Some(found)) => self.judge(&open, found).await,
                Ok(None) => {
                    self.suspicions.remove(&product);
                }
                Err(Compare::Gate(fault)) => {
                    let _ = self.keeper.live.report(product, open.epoch, &fault).await;
                }
                Err(Compare::Ledger(error)) => tracing::warn!(%error, "audit later"),
            }
        }
        METRICS.suspects.set(self.suspicions.len() as i64);
        METRICS.unconfirmed.set(self.unconfirmed);
    }

    /// Fences a product in which the same thing differs twice in one epoch.
    async fn judge(&mut self, product: &Product, found: Suspicion) {
        let last = self.suspicions.insert(product.id, found.clone());
        let Some(last) = last.filter(|last| last.epoch == found.epoch) else { return };
        let same_record = last.reservations.intersection(&found.reservations).next();
        let same_drift = found.reservations.is_empty()
            && last.reservations.is_empty()
            && !found.drift.is_empty()
            && last.drift == found.drift;
        if same_record.is_some() || same_drift {
            METRICS.disagreements.inc();
            tracing::error!(product = %product.id, ?found, "gate and ledger disagree");
            self.suspicions.remove(&product.id);
            self.keeper.live.fence(product.id, product.epoch, product.epoch, "audit").await;
        }
    }

    async fn compare(&mut self, product: &Product) -> Result<Option<Suspicion>, Compare> {
        let Keeper { gate, store, .. } = &self.keeper;
        let snapshot = gate.snapshot(product.id).await?;
        self.unconfirmed += snapshot.unconfirmed;
        let books = store.books(product.id).await?;
        // Between two epochs there is nothing to compare, but somebody may have died there: a gate
        // that refuses everybody would never be told that its epoch is over.
        if books.epoch != product.epoch {
            return Err(Fault::OtherEpoch(books.epoch).into());
        }
        if snapshot.epoch != product.epoch {
            return Err(Fault::OtherEpoch(snapshot.epoch).into());
        }
        if !snapshot.is_open {
            return Err(Fault::Loading(snapshot.epoch).into());
        }
        let drift =
            |(sku, counters): (&firstcome_proto::SkuId, &crate::store::catalog::Counters)| {
                let available = snapshot.available.get(sku).copied().unwrap_or(0);
                (*sku, available - counters.available())
            };
        let mut drift: Vec<_> = books.skus.iter().map(drift).filter(|(_, by)| *by != 0).collect();
        if drift.is_empty() {
            return Ok(None);
        }
        drift.sort_unstable();

        // In this order, so that what is committed or freed meanwhile shows on the later side.
        let in_gate = gate.all_records(product.id).await?;
        let on_the_way = gate.unconfirmed(product.id, u64::from(u32::MAX)).await?;
        let in_ledger = store.holds_in_gate(product.id).await?;
        let in_outbox = store.reservations_in_outbox(product.id).await?;
        let mut reservations: HashSet<ReservationId> = in_gate
            .iter()
            .filter(|(id, seq)| in_ledger.get(id) != Some(seq))
            .chain(in_ledger.iter().filter(|(id, seq)| in_gate.get(id) != Some(seq)))
            .map(|(id, _)| *id)
            .collect();
        for id in on_the_way.iter().flat_map(|entry| &entry.reservations).chain(&in_outbox) {
            reservations.remove(id);
        }
        // Sums say something only of books at rest: nothing on its way, nothing that moved since.
        let is_at_rest = on_the_way.is_empty()
            && in_outbox.is_empty()
            && gate.snapshot(product.id).await?.is_at_rest_since(&snapshot)
            && store.books(product.id).await? == books;
        if !is_at_rest {
            drift.clear();
        }
        Ok(Some(Suspicion { epoch: snapshot.epoch, reservations, drift }))
    }
}

/// Which side could not be read.
#[derive(Debug, thiserror::Error)]
enum Compare {
    #[error(transparent)]
    Gate(#[from] Fault),
    #[error(transparent)]
    Ledger(#[from] sqlx::Error),
}
