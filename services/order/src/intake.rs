//! The rush: placements gather by product, ask inventory for their units, and become rows.
//!
//! Two batchers in a row. The first carries placements of one product to `Reserve`: refusals are
//! answered as they arrive, at no cost here. What was admitted goes on to the second, whose batch
//! is one insert. From the moment `Reserve` was sent, an item's way belongs to the batchers' tasks
//! and not to its caller, who may leave. A process that dies in between loses nothing: the key
//! finds its hold again, or the hold expires.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use firstcome_mesh::{
    Answers, BatchCall, Batcher, Deadline, Reply, Shutdown, batcher::Limits, failpoint,
};
use firstcome_proto::{
    OrderId, ProductId, Refusal,
    error_v1::SharedRefusal,
    inventory_v1::{self as inventory, ReleaseCause, ReservedHold},
};
use tokio::time::timeout_at;
use tonic::Status;

use crate::{
    error::Error,
    hold::{self, Hold},
    metrics::METRICS,
    order::{Fingerprint, NewOrder, Order, State},
    peers::{Inventory, Verb, reserve_item},
    place::{Decision, Placement, Row, decide},
    store::{self, Store},
};

/// A full batch of admissions with its commit, on a shard that is being rebuilt next door.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(5);
/// What was admitted is written even when this has passed: it only has to be named. A statement
/// and the wait for a connection have their own limits.
const INSERT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a placement comes to. Losers of one call share their refusal.
pub type Placed = Result<Order, Arc<Refusal>>;

/// Takes placements. Clones share one queue.
#[derive(Clone)]
pub struct Intake {
    placements: Batcher<Reserving>,
    inserts: Batcher<Inserting>,
}

impl Intake {
    /// An intake over these parts.
    pub fn new(
        store: Store,
        inventory: Inventory,
        shutdown: Shutdown,
        placements: Limits,
        inserts: Limits,
    ) -> Self {
        let undo = Undo { inventory: inventory.clone(), shutdown };
        let inserting = Inserting { store, undo: undo.clone() };
        // An admitted order is written also for a caller who left: it is theirs when they return.
        let inserts = Batcher::carrying_abandoned(inserting, inserts);
        let reserving = Reserving { inventory, inserts: inserts.clone(), undo };
        Self { placements: Batcher::new(reserving, placements), inserts }
    }

    /// Places one order and waits for what comes of it.
    pub async fn place(&self, placement: Placement, deadline: Deadline) -> Placed {
        let outcome = self.placements.submit(placement.product, placement, deadline).await;
        outcome.map_err(|rejected| Arc::new(rejected.into()))?
    }

    /// Places many orders, in this order; what comes of each goes where it says.
    pub fn enqueue_all(&self, deadline: Deadline, mut placements: Vec<(Placement, Reply<Placed>)>) {
        // The edge gathers by product, so there is one run, or few.
        while let Some((first, _)) = placements.first() {
            let product = first.product;
            let same = placements.iter().take_while(|(other, _)| other.product == product);
            let rest = placements.split_off(same.count());
            self.placements.enqueue_all(
                product,
                deadline,
                std::mem::replace(&mut placements, rest),
            );
        }
    }

    /// Waits until what is inside is answered.
    pub async fn close(&self, within: Duration) {
        self.placements.close(within).await;
        self.inserts.close(within).await;
    }
}

/// Carries placements of one product to inventory.
struct Reserving {
    inventory: Inventory,
    inserts: Batcher<Inserting>,
    undo: Undo,
}

impl BatchCall for Reserving {
    const HOP: &'static str = "order_to_inventory";

    type Key = ProductId;
    type Item = Placement;
    type Answer = Placed;

    async fn call(
        &self,
        product: ProductId,
        placements: Vec<Placement>,
        mut answers: Answers<Placed>,
    ) {
        let mut open: Vec<Option<Placement>> = placements.into_iter().map(Some).collect();
        let deadline = Deadline::after(RESERVE_TIMEOUT);
        let reserving = self.reserve(product, &mut open, &mut answers, deadline);
        match timeout_at(deadline.instant(), reserving).await {
            // What inventory left out, against its contract, is answered as unknown.
            Ok(Ok(())) => {}
            Ok(Err(status)) if !deadline.has_passed() => {
                let refusal = Arc::new(Refusal::from_status(&status));
                answers.answer_rest(|_| Err(Arc::clone(&refusal)));
            }
            // And so is what it has not answered by now.
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(%product, "inventory has not answered a batch in time")
            }
        }
    }
}

impl Reserving {
    /// Asks for what is open, and takes the answers as they come.
    async fn reserve(
        &self,
        product: ProductId,
        open: &mut [Option<Placement>],
        answers: &mut Answers<Placed>,
        deadline: Deadline,
    ) -> Result<(), Status> {
        let items = open.iter().flatten().map(|placement| {
            let Placement { order, user, fingerprint, lines, .. } = placement;
            reserve_item(order.reservation(), *user, *fingerprint, lines)
        });
        let mut responses = self.inventory.reserve(product, items, deadline).await?;
        while let Some(response) = responses.message().await? {
            for (index, refusal) in response.refused.into_iter().flat_map(SharedRefusal::each) {
                if take(open, index).is_some() {
                    answers.answer(index as usize, Err(refusal));
                }
            }
            let mut admitted = Vec::with_capacity(response.reserved.len());
            for ReservedHold { index, hold } in response.reserved {
                let Some(placement) = take(open, index) else { continue };
                match self.admit(&placement, hold) {
                    Ok(admission) => {
                        let caller = answers.hand_over(index as usize);
                        admitted.extend(caller.map(|caller| (admission, caller)));
                    }
                    Err(refusal) => answers.answer(index as usize, Err(refusal.into())),
                }
            }
            if !admitted.is_empty() {
                self.inserts.enqueue_all((), Deadline::after(INSERT_TIMEOUT), admitted);
            }
        }
        Ok(())
    }

    /// Reads what inventory has for a placement; what cannot become an order is undone.
    fn admit(
        &self,
        placement: &Placement,
        hold: Option<inventory::Hold>,
    ) -> Result<Admission, Refusal> {
        let hold = hold.ok_or_else(Refusal::internal).and_then(Hold::try_from);
        let hold = hold.map_err(|fault| {
            tracing::error!(?fault, "inventory's answer cannot be read");
            Refusal::internal()
        })?;
        let admission = Admission::of(placement, &hold);
        if admission.is_err() && hold.newly_admitted {
            self.undo.begin(placement.product, placement.order);
        }
        admission
    }
}

/// The placement that an answer is about; an answer that is about none is logged.
fn take(open: &mut [Option<Placement>], index: u32) -> Option<Placement> {
    let placement = open.get_mut(index as usize).and_then(Option::take);
    if placement.is_none() {
        tracing::error!(index, "inventory answered an item twice, or one that was not sent");
    }
    placement
}

/// Gives back what was just taken for an order that will not be.
#[derive(Clone)]
struct Undo {
    inventory: Inventory,
    shutdown: Shutdown,
}

impl Undo {
    /// Begins, in a task that the process waits for. If inventory cannot be reached, the hold
    /// expires like any other that nobody pays.
    fn begin(&self, product: ProductId, order: OrderId) {
        let inventory = self.inventory.clone();
        self.shutdown.spawn(async move {
            let verb = Verb::Release(ReleaseCause::Undo);
            if let Err(refusal) = inventory.hold(verb, product, order.reservation()).await {
                let reason = refusal.reason().name();
                tracing::warn!(%order, reason, "cannot undo a hold, it will expire");
            }
        });
    }
}

/// An admitted placement on its way to its row.
struct Admission {
    order: OrderId,
    product: ProductId,
    fingerprint: Fingerprint,
    hold: hold::State,
    newly_admitted: bool,
    /// The row to write if there is none; `None` when there must be one.
    row: Option<NewOrder>,
}

impl Admission {
    /// Refused when the order would have no sum.
    fn of(placement: &Placement, hold: &Hold) -> Result<Self, Refusal> {
        let row = match decide(hold.state, hold.newly_admitted, Row::Absent) {
            Decision::Insert(state) => Some(placement.order(hold, state)?),
            Decision::Answer | Decision::KeyReused { .. } | Decision::Lost => None,
        };
        Ok(Self {
            order: placement.order,
            product: placement.product,
            fingerprint: placement.fingerprint,
            hold: hold.state,
            newly_admitted: hold.newly_admitted,
            row,
        })
    }
}

/// Writes rows, and reads those that were there.
struct Inserting {
    store: Store,
    undo: Undo,
}

impl BatchCall for Inserting {
    const HOP: &'static str = "order_rows";

    type Key = ();
    type Item = Admission;
    type Answer = Placed;

    async fn call(&self, (): (), mut items: Vec<Admission>, mut answers: Answers<Placed>) {
        // One key may be here many times, perhaps with other contents: the first one is written.
        let mut firsts = HashSet::new();
        let mut new: Vec<(usize, NewOrder)> = Vec::with_capacity(items.len());
        for (place, item) in items.iter_mut().enumerate() {
            match item.row.take() {
                Some(row) if firsts.insert(row.id) => new.push((place, row)),
                _ => {}
            }
        }
        failpoint::hit("order.before_insert");
        let mut halves = vec![new];
        while let Some(mut new) = halves.pop() {
            let orders: Vec<&NewOrder> = new.iter().map(|(_, order)| order).collect();
            match self.store.insert(&orders).await {
                Ok(written) => {
                    METRICS.placed.inc_by(placed_of(&new, &written));
                    failpoint::hit("order.after_insert");
                    for (place, order) in new {
                        if let Some(&instant) = written.get(&order.id) {
                            answers.answer(place, fresh(order.written_at(instant)));
                        }
                    }
                }
                // One bad row must not take the others with it: look for it by halves.
                Err(store::Error::Data(_)) if new.len() > 1 => {
                    let half = new.split_off(new.len() / 2);
                    halves.extend([half, new]);
                }
                Err(error @ store::Error::Data(_)) => {
                    for (place, order) in new {
                        tracing::error!(order = %order.id, %error, "postgres refuses an order");
                        answers.answer(place, Err(Refusal::internal().into()));
                    }
                }
                Err(error) => return unavailable(error, answers),
            }
        }
        self.answer_found(&items, answers).await;
    }
}

impl Inserting {
    /// Answers whoever still waits from the rows that were there; by now they are committed.
    async fn answer_found(&self, items: &[Admission], mut answers: Answers<Placed>) {
        let waiting = answers.waiting();
        if waiting.is_empty() {
            return;
        }
        let mut ids: Vec<OrderId> = waiting.iter().map(|&place| items[place].order).collect();
        ids.sort_unstable();
        ids.dedup();
        let rows: HashMap<OrderId, Order> = match self.store.read(&ids).await {
            Ok(rows) => rows.into_iter().map(|row| (row.id, row)).collect(),
            Err(error) => return unavailable(error, answers),
        };
        for place in waiting {
            let placed = self.judge(&items[place], rows.get(&items[place].order));
            answers.answer(place, placed.map_err(|error| Arc::new(error.into())));
        }
    }

    /// What an admitted placement is answered from a row that it did not write.
    fn judge(&self, item: &Admission, row: Option<&Order>) -> Result<Order, Error> {
        let standing = match row {
            None => Row::Absent,
            Some(order) if order.fingerprint == item.fingerprint => Row::Same,
            Some(_) => Row::Other,
        };
        match (decide(item.hold, item.newly_admitted, standing), row) {
            (Decision::Answer, Some(order)) => Ok(order.clone()),
            (Decision::KeyReused { undo }, _) => {
                if undo {
                    self.undo.begin(item.product, item.order);
                }
                Err(Error::KeyReused)
            }
            _ => {
                tracing::error!(order = %item.order, hold = ?item.hold, "a hold has no order");
                Err(Error::Internal)
            }
        }
    }
}

/// How many of these rows are orders that somebody may pay; the others were written as expired.
fn placed_of<T>(new: &[(usize, NewOrder)], written: &HashMap<OrderId, T>) -> u64 {
    let is_placed = |(_, order): &&(usize, NewOrder)| {
        order.state != State::Expired && written.contains_key(&order.id)
    };
    new.iter().filter(is_placed).count() as u64
}

/// What a placement is answered from the row that it wrote.
fn fresh(order: Order) -> Placed {
    match order.state {
        State::Expired => Err(Arc::new(Error::OrderExpired.into())),
        _ => Ok(order),
    }
}

/// An infrastructure error fails the whole batch: whoever comes again finds its hold.
fn unavailable(error: store::Error, mut answers: Answers<Placed>) {
    let refusal = Arc::new(Refusal::from(Error::Store(error)));
    answers.answer_rest(|_| Err(Arc::clone(&refusal)));
}
