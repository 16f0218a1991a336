//! The hot path: wishes gather in front of the gate, admissions in front of the ledger.
//!
//! Losers are answered right after the gate's call, without a write anywhere; winners when
//! Postgres has committed. Whatever the gate admitted stands in its `unconfirmed` stream until
//! then, so an admission that nobody finishes here is finished by [`crate::keeper`].

mod confirmations;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use firstcome_mesh::{
    Answers, BatchCall, Batcher, Deadline, Shutdown, batcher::Limits, failpoint, telemetry::traces,
};
use firstcome_proto::{ProductId, Reason, Refusal, ReservationId, SkuId, timestamp};

use confirmations::Confirmations;

use crate::{
    catalog::Product,
    error,
    gate::{Gate, Verdict, Verdicts},
    hold::{Hold, Wish},
    live::Live,
    metrics::METRICS,
    store::{Store, ledger::CommitError},
};

/// An admission is carried to the ledger however long that takes; this bounds nothing else.
const ADMISSION_DEADLINE: Duration = Duration::from_secs(3600);

/// What becomes of a wish. Losers of one call share their refusal.
pub type Answer = Result<Reserved, Arc<Refusal>>;

/// A wish with a row in the ledger.
#[derive(Clone, Debug)]
pub struct Reserved {
    /// The row, in whatever state it is.
    pub hold: Hold,
    /// This call, and no other, took it from stock.
    pub newly_admitted: bool,
    /// For the prices.
    pub product: Arc<Product>,
}

/// How wishes are gathered on their way.
#[derive(Clone, Copy, Debug)]
pub struct Gathered {
    /// In front of the gate.
    pub wishes: Limits,
    /// In front of the ledger.
    pub admissions: Limits,
}

/// The way of a wish through gate and ledger.
#[derive(Clone)]
pub struct Reservations {
    gate: Batcher<GateCall>,
}

impl Reservations {
    /// Builds both batchers.
    pub fn new(
        live: Live,
        gate: Gate,
        store: Store,
        shutdown: Shutdown,
        gathered: Gathered,
    ) -> Self {
        let confirmations = Confirmations::new(gate.clone(), shutdown);
        let ledger = Ledger { live: live.clone(), gate: gate.clone(), store, confirmations };
        let ledger = Batcher::carrying_abandoned(LedgerCall { ledger }, gathered.admissions);
        Self { gate: Batcher::new(GateCall { live, gate, ledger }, gathered.wishes) }
    }

    /// The queue of wishes.
    pub fn queue(&self) -> &Batcher<GateCall> {
        &self.gate
    }

    /// Ends both queues, the gate's first.
    pub async fn close(&self, within: Duration) {
        self.gate.close(within).await;
        self.gate.call().ledger.close(within).await;
    }

    /// Finishes admissions that somebody else began. True when each is in the ledger or undone,
    /// so that nothing is left to be done about them.
    pub async fn finish(&self, product: &Arc<Product>, admissions: &[Admission]) -> bool {
        let ledger = &self.gate.call().ledger.call().ledger;
        ledger.write(product, admissions).await.is_ok_and(|written| written.strays.is_empty())
    }
}

/// Carries wishes to the gate.
pub struct GateCall {
    live: Live,
    gate: Gate,
    ledger: Batcher<LedgerCall>,
}

impl BatchCall for GateCall {
    const HOP: &'static str = "gate";

    type Key = ProductId;
    type Item = Wish;
    type Answer = Answer;

    async fn call(&self, product: ProductId, wishes: Vec<Wish>, mut answers: Answers<Answer>) {
        let open = match self.live.open(product).await {
            Ok(open) => open,
            Err(refusal) => return answer_all(answers, refusal),
        };
        let verdicts = match self.gate.reserve(product, open.epoch, &wishes).await {
            Ok(verdicts) => verdicts,
            Err(fault) => {
                let refusal = self.live.report(product, open.epoch, &fault).await;
                return answer_all(answers, refusal);
            }
        };
        tell(product, &verdicts);
        METRICS.judged(&verdicts.verdicts);
        failpoint::hit("inventory.between_gate_and_ledger");
        // Winners are on their way to the ledger before losers are counted what may come back.
        let entry = verdicts.entry.as_ref().map(|name| {
            let is_new = |verdict: &&Verdict| matches!(verdict, Verdict::Admitted(_));
            Arc::new(Entry {
                name: name.clone(),
                unfinished: AtomicUsize::new(verdicts.verdicts.iter().filter(is_new).count()),
            })
        });
        let mut admitted = Vec::new();
        for (place, (wish, verdict)) in wishes.iter().zip(&verdicts.verdicts).enumerate() {
            let (seq, entry) = match verdict {
                Verdict::Admitted(seq) => (*seq, entry.clone()),
                Verdict::Replayed(seq) => (*seq, None),
                _ => continue,
            };
            let reply = answers.hand_over(place).expect("admissions were not answered yet");
            let newly_admitted = matches!(verdict, Verdict::Admitted(_));
            let admission = Admission { wish: wish.clone(), seq, newly_admitted, entry };
            admitted.push(((Arc::clone(&open), admission), reply));
        }
        if !admitted.is_empty() {
            self.ledger.enqueue_all(product, Deadline::after(ADMISSION_DEADLINE), admitted);
        }
        self.refuse(&open, &wishes, &verdicts, &mut answers).await;
    }
}

impl GateCall {
    /// Answers everybody who was refused.
    async fn refuse(
        &self,
        product: &Product,
        wishes: &[Wish],
        verdicts: &Verdicts,
        answers: &mut Answers<Answer>,
    ) {
        let sold_out = verdicts.verdicts.contains(&Verdict::SoldOut);
        let holds_open = match sold_out {
            true => self.holds_open(product, verdicts).await,
            false => HashMap::new(),
        };
        // Made once for all who hear the same.
        let mut made: Vec<(Verdict, i32, Arc<Refusal>)> = Vec::new();
        for (place, verdict) in verdicts.verdicts.iter().enumerate() {
            if matches!(verdict, Verdict::Admitted(_) | Verdict::Replayed(_)) {
                continue;
            }
            let open = match verdict {
                Verdict::SoldOut => {
                    let lines = wishes[place].lines.iter();
                    lines.filter_map(|line| holds_open.get(&line.sku)).sum()
                }
                _ => 0,
            };
            let known = made.iter().find(|(other, count, _)| other == verdict && *count == open);
            let refusal = match known {
                Some((_, _, refusal)) => Arc::clone(refusal),
                None => {
                    let refusal = Arc::new(refusal(product, *verdict, open));
                    made.push((*verdict, open, Arc::clone(&refusal)));
                    refusal
                }
            };
            answers.answer(place, Err(refusal));
        }
    }

    /// Units held and not yet sold, per SKU: they may come back.
    async fn holds_open(&self, product: &Product, verdicts: &Verdicts) -> HashMap<SkuId, i32> {
        let Ok(books) = self.live.books(product.id).await else { return HashMap::new() };
        let open = |(sku, available): (&SkuId, &i32)| {
            let counters = books.skus.get(sku)?;
            Some((*sku, (counters.total - counters.settled - available).max(0)))
        };
        verdicts.available.iter().filter_map(open).collect()
    }
}

/// Tells of a traced batch what came of it.
fn tell(product: ProductId, verdicts: &Verdicts) {
    let admitted = verdicts
        .verdicts
        .iter()
        .filter(|verdict| matches!(verdict, Verdict::Admitted(_) | Verdict::Replayed(_)));
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    traces::tell("firstcome.product", || product.to_string());
    traces::tell("firstcome.admitted", || count(admitted.clone().count()));
    traces::tell("firstcome.refused", || count(verdicts.verdicts.len() - admitted.clone().count()));
}

/// What a verdict that is no admission means for the buyer; `holds_open` are units that may come
/// back.
fn refusal(product: &Product, verdict: Verdict, holds_open: i32) -> Refusal {
    match verdict {
        Verdict::KeyReused => {
            Refusal::because(Reason::KeyReused, "the key was used with other contents")
        }
        Verdict::NotOpen => not_open(product),
        Verdict::Closed => Refusal::because(Reason::Closed, "the drop is over"),
        Verdict::LimitPerBuyer => {
            Refusal::because(Reason::LimitPerBuyer, "the buyer has as many as allowed")
        }
        Verdict::SoldOut => {
            Refusal::because(Reason::SoldOut, "no unit is available").with("holds_open", holds_open)
        }
        Verdict::UnknownSku => Refusal::not_found("SKU of this product"),
        Verdict::Malformed => {
            Refusal::invalid("lines", "want 1 to 10, each SKU once, of 1 to 1000 units")
        }
        Verdict::Admitted(_) | Verdict::Replayed(_) => unreachable!("an admission is no refusal"),
    }
}

/// Tells everybody who still waits the same.
fn answer_all(mut answers: Answers<Answer>, refusal: Refusal) {
    let refusal = Arc::new(refusal);
    answers.answer_rest(|_| Err(Arc::clone(&refusal)));
}

fn not_open(product: &Product) -> Refusal {
    let refusal = Refusal::because(Reason::NotOpen, "the drop has not opened");
    let opens_at = product.drop.map(|drop| drop.opens_at);
    match opens_at.map(|at| at.format(&time::format_description::well_known::Rfc3339)) {
        Some(Ok(opens_at)) => refusal.with("opens_at", opens_at),
        _ => refusal,
    }
}

/// What one call left in `unconfirmed`, until all of it is in the ledger.
pub struct Entry {
    name: String,
    unfinished: AtomicUsize,
}

/// A wish that the gate admitted, now or before.
pub struct Admission {
    /// What was asked for.
    pub wish: Wish,
    /// The gate's number.
    pub seq: i64,
    /// Whether this call took it from stock.
    pub newly_admitted: bool,
    /// What stands in `unconfirmed` for it; `None` when that is somebody else's to remove.
    pub entry: Option<Arc<Entry>>,
}

/// Carries admissions to the ledger.
pub struct LedgerCall {
    ledger: Ledger,
}

impl BatchCall for LedgerCall {
    const HOP: &'static str = "ledger";

    type Key = ProductId;
    type Item = (Arc<Product>, Admission);
    type Answer = Answer;

    async fn call(
        &self,
        _product: ProductId,
        items: Vec<(Arc<Product>, Admission)>,
        mut answers: Answers<Answer>,
    ) {
        // Admissions of an epoch that ended meanwhile must not take those of the next with them.
        let mut by_epoch: Vec<(Arc<Product>, Vec<usize>, Vec<Admission>)> = Vec::new();
        for (place, (product, admission)) in items.into_iter().enumerate() {
            match by_epoch.last_mut() {
                Some((last, places, admissions)) if last.epoch == product.epoch => {
                    places.push(place);
                    admissions.push(admission);
                }
                _ => by_epoch.push((product, vec![place], vec![admission])),
            }
        }
        for (product, places, admissions) in by_epoch {
            let outcomes = self.ledger.commit(&product, admissions).await;
            failpoint::hit("inventory.between_commit_and_answer");
            for (place, outcome) in places.into_iter().zip(outcomes) {
                answers.answer(place, outcome);
            }
        }
    }
}

/// What a batch of admissions became.
struct Written {
    /// The row of each reservation.
    rows: HashMap<ReservationId, Hold>,
    /// Admissions that are not the ledger's and could not be undone yet.
    strays: HashSet<ReservationId>,
}

#[derive(Clone)]
struct Ledger {
    live: Live,
    gate: Gate,
    store: Store,
    confirmations: Confirmations,
}

impl Ledger {
    /// Commits admissions of one product and epoch and gives each its row.
    async fn commit(&self, product: &Arc<Product>, admissions: Vec<Admission>) -> Vec<Answer> {
        let Written { rows, strays } = match self.write(product, &admissions).await {
            Ok(written) => written,
            Err(refusal) => {
                let refusal = Arc::new(refusal);
                return admissions.iter().map(|_| Err(Arc::clone(&refusal))).collect();
            }
        };
        let mut finished = Vec::new();
        let mut outcomes = Vec::with_capacity(admissions.len());
        for admission in admissions {
            if strays.contains(&admission.wish.reservation) {
                // Its entry is never finished here, and so is looked at again.
                outcomes.push(Err(error::fenced().into()));
                continue;
            }
            outcomes.push(answer(product, &admission, &rows));
            if let Some(entry) = admission.entry {
                if entry.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
                    finished.push(entry.name.clone());
                }
            }
        }
        let is_new = |answer: &&Answer| answer.as_ref().is_ok_and(|held| held.newly_admitted);
        METRICS.committed.inc_by(outcomes.iter().filter(is_new).count() as u64);
        self.confirmations.add(product.id, finished);
        outcomes
    }

    /// Makes admissions true, all or none, and undoes those that the ledger has under another
    /// number.
    async fn write(&self, product: &Product, admissions: &[Admission]) -> Result<Written, Refusal> {
        // One row per reservation, however often it was asked for in this batch.
        let mut seen = HashSet::with_capacity(admissions.len());
        let rows: Vec<(Wish, i64)> = admissions
            .iter()
            .filter(|admission| seen.insert(admission.wish.reservation))
            .map(|admission| (admission.wish.clone(), admission.seq))
            .collect();
        let committed = self
            .store
            .commit_admissions(product.id, product.epoch, product.hold_ttl_ms(), rows)
            .await;
        match committed {
            Ok(rows) => {
                let strays = self.undo_strays(product, admissions, &rows).await;
                Ok(Written { rows, strays })
            }
            Err(fault) => Err(self.failed(product, &fault).await),
        }
    }

    async fn failed(&self, product: &Product, fault: &CommitError) -> Refusal {
        match fault {
            CommitError::EpochOver => {
                self.live
                    .fence(product.id, product.epoch, product.epoch, "the epoch is over")
                    .await;
                error::fenced()
            }
            CommitError::Disagreement(constraint) => {
                self.live.fence(product.id, product.epoch, product.epoch, constraint).await;
                error::fenced()
            }
            CommitError::Database(fault) => error::database(fault),
        }
    }

    /// Where the ledger's row has another number than the gate gave, the gate has admitted a key
    /// that had ended or been forgotten: that admission is undone before anybody is answered.
    /// Gives the reservations that could not be undone.
    async fn undo_strays(
        &self,
        product: &Product,
        admissions: &[Admission],
        rows: &HashMap<ReservationId, Hold>,
    ) -> HashSet<ReservationId> {
        let strays: Vec<(ReservationId, i64)> = admissions
            .iter()
            .map(|admission| (admission.wish.reservation, admission.seq))
            .filter(|(id, seq)| rows.get(id).is_none_or(|row| row.seq != *seq))
            .collect();
        if strays.is_empty() {
            return HashSet::new();
        }
        match self.gate.free(product.id, product.epoch, &strays).await {
            Ok(_) => {
                // A live row that the gate knew under another number was not its own to give.
                let forgot =
                    |(id, _): &(ReservationId, i64)| rows.get(id).is_some_and(Hold::is_in_gate);
                if strays.iter().any(forgot) {
                    self.live
                        .fence(product.id, product.epoch, product.epoch, "the gate forgot a hold")
                        .await;
                }
                HashSet::new()
            }
            Err(fault) => {
                // They stay in `unconfirmed`, or went with the gate.
                let _ = self.live.report(product.id, product.epoch, &fault).await;
                strays.into_iter().map(|(id, _)| id).collect()
            }
        }
    }
}

/// The ledger's row answers for itself.
fn answer(
    product: &Arc<Product>,
    admission: &Admission,
    rows: &HashMap<ReservationId, Hold>,
) -> Answer {
    let Some(hold) = rows.get(&admission.wish.reservation) else {
        // Rows are never deleted; a row that neither was inserted nor is there is a fault.
        return Err(Refusal::internal().into());
    };
    if hold.wish != admission.wish {
        return Err(refusal(product, Verdict::KeyReused, 0).into());
    }
    Ok(Reserved {
        newly_admitted: admission.newly_admitted && hold.seq == admission.seq,
        hold: hold.clone(),
        product: Arc::clone(product),
    })
}

impl Reserved {
    /// The contract's form.
    pub fn to_wire(&self) -> firstcome_proto::inventory_v1::Hold {
        let lines =
            self.hold.wish.lines.iter().map(|line| firstcome_proto::inventory_v1::HeldLine {
                sku_id: line.sku.to_wire(),
                quantity: line.quantity,
                unit_price: self.product.price_of(line.sku).map(Into::into),
            });
        firstcome_proto::inventory_v1::Hold {
            reservation_id: self.hold.wish.reservation.to_wire(),
            state: self.hold.state.to_wire() as i32,
            sequence: self.hold.seq,
            expires_at: Some(timestamp::to_wire(self.hold.expires_at)),
            newly_admitted: self.newly_admitted,
            lines: lines.collect(),
        }
    }
}
