//! Orders of several products, and of what stands in a basket: all or nothing, by attempts.
//!
//! The intent is a row before the first unit is held ([`Placing`]); the reservations carry a number
//! that no other attempt ever has. So whoever gives an attempt up frees exactly what it held, and
//! never what a later attempt was told. Products are asked in the order of their ids: of two buyers
//! who want the same two, one gets both.
//!
//! An attempt whose process died is taken over by any replica's [`Attempts::resume`], under a new
//! number, when its lease is over; what the dead one held is freed first. A `Reserve` of the dead one that
//! arrives later still holds units until they expire, like anybody's who does not come back.

use std::{sync::Arc, time::Duration};

use firstcome_mesh::{Deadline, Shutdown, failpoint};
use firstcome_proto::{
    ProductId, Reason, Refusal, ReservationId, error_v1::SharedRefusal, inventory_v1::ReleaseCause,
};
use futures::future::join_all;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};
use tonic::{Code, Status};

use crate::{
    error::Error,
    hold::{self, Hold},
    metrics::METRICS,
    order::{NewOrder, Order},
    peers::{Inventory, Verb, reserve_item},
    place::{Plan, Source, order_of_holds},
    store::{self, Begun, Finished, Placing, Store},
    wanted::Wanted,
};

/// How long one product is asked, again where it answers that it cannot say yet.
const RESERVE_PATIENCE: Duration = Duration::from_secs(3);
/// Between two such questions when the answer does not say.
const RESERVE_PAUSE: Duration = Duration::from_millis(100);
/// A key's other call may end between two looks, and another begin; nobody is that unlucky.
const BEGINS_MAX: usize = 3;
/// Between two tries to write an order whose units are held.
const FINISH_PAUSE: Duration = Duration::from_millis(200);
/// Orders that callers place at once: their statements share the connections of the rush.
const ATTEMPTS_MAX: usize = 64;
/// Callers inside, those who wait for their turn included: what is placed in a few seconds.
const QUEUE_MAX: usize = 1024;
/// When somebody who found no place may come back.
const BUSY_RETRY: Duration = Duration::from_millis(500);
/// Dead attempts are looked for so often, and driven so many at a time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const RESUMED_MAX: usize = 16;

/// Places orders by attempts.
#[derive(Clone)]
pub struct Attempts {
    store: Store,
    inventory: Inventory,
    shutdown: Shutdown,
    lease: Duration,
    queue: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Attempts {
    /// Over these parts. An attempt belongs to its process for the lease.
    pub fn new(store: Store, inventory: Inventory, shutdown: Shutdown, lease: Duration) -> Self {
        let queue = Arc::new(Semaphore::new(QUEUE_MAX));
        let places = Arc::new(Semaphore::new(ATTEMPTS_MAX));
        Self { store, inventory, shutdown, lease, queue, places }
    }

    /// Places one order, in a task that outlives this call.
    pub async fn place(&self, plan: Plan, deadline: Deadline) -> Result<Order, Error> {
        let _queued = self.queue.try_acquire().map_err(|_| busy())?;
        let turn = timeout_at(deadline.instant(), Arc::clone(&self.places).acquire_owned()).await;
        let place = turn.map_err(|_| busy())?.expect("nobody closes it");
        for _ in 0..BEGINS_MAX {
            if let Some(order) = self.store.find(plan.order).await? {
                return same(order, &plan);
            }
            let placing = match self.intent(&plan).await {
                Ok(placing) => placing,
                // A call with this key may just have taken the lines out of the list.
                Err(error) => match self.store.find(plan.order).await? {
                    Some(order) => return same(order, &plan),
                    None => return Err(error),
                },
            };
            match self.store.begin_placement(&placing, self.lease).await? {
                Begun::Ours(attempt) => {
                    let placing = Placing { attempt, ..placing };
                    // Whoever was before us has ended before our row could stand, and may have
                    // made the order: nobody can end unseen from here on.
                    if let Some(order) = self.store.find(plan.order).await? {
                        self.store.abandon_placement(plan.order, attempt).await?;
                        return same(order, &plan);
                    }
                    return self.drive_aside(placing, deadline, place).await;
                }
                Begun::Theirs(fingerprint) if fingerprint != plan.fingerprint => {
                    return Err(Error::KeyReused);
                }
                Begun::Theirs(_) => return Err(Error::PlacementInProgress),
                Begun::Over => {}
            }
        }
        Err(Error::PlacementInProgress)
    }

    /// Takes over what dead processes left, until the end begins.
    pub async fn resume(self) {
        let drivers = Arc::new(Semaphore::new(RESUMED_MAX));
        while self.shutdown.sleep(LOOK_EVERY).await {
            let free = i64::try_from(drivers.available_permits()).expect("a small number");
            if free == 0 {
                continue;
            }
            let claimed = self.store.claim_placements(free, self.lease).await;
            let claimed = claimed.unwrap_or_else(|fault| {
                tracing::warn!(%fault, "cannot look for dead attempts");
                Vec::new()
            });
            for (placing, unfreed) in claimed {
                let permit = Arc::clone(&drivers).try_acquire_owned();
                let permit = permit.expect("no more were claimed than there are drivers");
                let attempts = self.clone();
                self.shutdown.spawn(async move {
                    attempts.take_over(placing, unfreed).await;
                    drop(permit);
                });
            }
        }
    }

    /// What is to be placed, with the lines as they are now.
    async fn intent(&self, plan: &Plan) -> Result<Placing, Error> {
        let (basket, lines) = match &plan.source {
            Source::Lines(lines) => (None, lines.clone()),
            Source::Basket(selection) => {
                let items = self.store.basket(plan.user, selection.basket).await?;
                (Some(selection.basket), selection.of(&items)?)
            }
        };
        let Plan { order, user, fingerprint, .. } = *plan;
        Ok(Placing { order, user, fingerprint, attempt: 0, basket, lines })
    }

    async fn drive_aside(
        &self,
        placing: Placing,
        deadline: Deadline,
        place: OwnedSemaphorePermit,
    ) -> Result<Order, Error> {
        let attempts = self.clone();
        let driven = self.shutdown.spawn(async move {
            let _place = place;
            attempts.drive(placing).await
        });
        match timeout_at(deadline.instant(), driven).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(fault)) => {
                tracing::error!(%fault, "an attempt's task ended early");
                Err(Error::Internal)
            }
            Err(_) => Err(Error::DeadlineExceeded),
        }
    }

    /// Frees what dead attempts held, and places their order again.
    async fn take_over(&self, placing: Placing, unfreed: Vec<i64>) {
        let order = placing.order;
        tracing::info!(%order, ?unfreed, attempt = placing.attempt, "take over an attempt");
        for attempt in unfreed {
            let dead = Placing { attempt, ..placing.clone() };
            if let Err(refusal) = self.free(&dead, &dead.products()).await {
                let reason = refusal.reason().name();
                return tracing::warn!(%order, reason, "cannot free a dead attempt yet");
            }
        }
        match self.store.earlier_are_freed(&placing).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(fault) => return tracing::warn!(%order, %fault, "leave an attempt for later"),
        }
        match self.drive(placing).await {
            Ok(_) => tracing::info!(%order, "an order that was begun is placed"),
            Err(error) => tracing::info!(%order, %error, "an order that was begun is given up"),
        }
    }

    /// Holds everything or nothing, and writes the order.
    async fn drive(&self, placing: Placing) -> Result<Order, Error> {
        failpoint::hit("attempt.after_intent");
        let mut holds = Vec::new();
        let mut asked = Vec::new();
        for lines in placing.lines.chunk_by(|one, other| one.product == other.product) {
            let product = lines.first().expect("a chunk has a line").product;
            // Each product may take a part of the lease.
            if !asked.is_empty() && !self.store.keep_placement(&placing, self.lease).await? {
                return self.superseded(&placing, &asked).await;
            }
            asked.push(product);
            match self.reserve(&placing, product, lines).await {
                Ok(hold) => holds.push((product, hold)),
                Err(refusal) => return Err(self.give_up(&placing, &asked, refusal).await),
            }
            failpoint::hit("attempt.after_hold");
        }
        let Placing { order, user, fingerprint, .. } = placing;
        let new = match order_of_holds(order, user, fingerprint, &holds) {
            Ok(new) => new,
            Err(refusal) => return Err(self.give_up(&placing, &asked, refusal).await),
        };
        match self.finish(&placing, &new).await {
            Ok(Finished::Placed(instant)) => {
                METRICS.placed_by_attempt.inc();
                failpoint::hit("attempt.after_finish");
                Ok(Order { attempt: Some(placing.attempt), ..new.written_at(instant) })
            }
            Ok(Finished::Lost | Finished::HasOrder) => self.superseded(&placing, &asked).await,
            Err(store::Error::Unavailable(fault)) => {
                tracing::warn!(%order, %fault, "an attempt is left to be taken over");
                Err(Error::Unavailable)
            }
            Err(fault) => {
                tracing::error!(%order, %fault, "postgres refuses an order");
                Err(self.give_up(&placing, &asked, Refusal::internal()).await)
            }
        }
    }

    /// Makes it an order; tries again while Postgres is away, because what is held is worth it.
    async fn finish(&self, placing: &Placing, new: &NewOrder) -> Result<Finished, store::Error> {
        let deadline = Deadline::after(self.lease / 2);
        loop {
            match self.store.finish_placement(placing, new).await {
                Err(store::Error::Unavailable(fault)) if deadline.left() > FINISH_PAUSE => {
                    tracing::info!(order = %placing.order, %fault, "try again to place an order");
                    if !self.shutdown.sleep(FINISH_PAUSE).await {
                        return Err(store::Error::Unavailable(fault));
                    }
                }
                finished => return finished,
            }
        }
    }

    /// What is told when the row is no longer this attempt's: its order, if an answer was lost on
    /// the way, or that of whoever came before; else that somebody is at it.
    async fn superseded(&self, placing: &Placing, asked: &[ProductId]) -> Result<Order, Error> {
        let order = self.store.find(placing.order).await?;
        match order {
            Some(order) if order.attempt == Some(placing.attempt) => Ok(order),
            order => {
                self.let_go(placing, asked).await;
                match order {
                    Some(order) if order.fingerprint == placing.fingerprint => Ok(order),
                    Some(_) => Err(Error::KeyReused),
                    None => Err(Error::PlacementInProgress),
                }
            }
        }
    }

    /// Holds the lines of one product; asks again while the answer is that nobody knows.
    async fn reserve(
        &self,
        placing: &Placing,
        product: ProductId,
        lines: &[Wanted],
    ) -> Result<Hold, Refusal> {
        let deadline = Deadline::after(RESERVE_PATIENCE);
        loop {
            let refusal = match self.reserve_once(placing, product, lines, deadline).await {
                Ok(hold) if hold.state == hold::State::Held => return Ok(hold),
                // An earlier answer was lost, and the hold has ended since.
                Ok(_) => return Err(Error::Unavailable.into()),
                Err(refusal) => refusal,
            };
            let pause = refusal.retry_after.as_ref().and_then(|span| (*span).try_into().ok());
            let pause = pause.unwrap_or(RESERVE_PAUSE).clamp(RESERVE_PAUSE / 10, RESERVE_PATIENCE);
            if refusal.reason().code() != Code::Unavailable || deadline.left() <= pause {
                return Err(refusal);
            }
            if !self.shutdown.sleep(pause).await {
                return Err(refusal);
            }
        }
    }

    async fn reserve_once(
        &self,
        placing: &Placing,
        product: ProductId,
        lines: &[Wanted],
        deadline: Deadline,
    ) -> Result<Hold, Refusal> {
        let item = reserve_item(placing.reservation(), placing.user, placing.fingerprint, lines);
        let asking = async {
            let items = std::iter::once(item);
            let mut responses = self.inventory.reserve(product, items, deadline).await?;
            while let Some(response) = responses.message().await? {
                let refused = response.refused.into_iter().flat_map(SharedRefusal::each).next();
                if let Some((_, refusal)) = refused {
                    return Ok(Err(Refusal::clone(&refusal)));
                }
                if let Some(hold) = response.reserved.into_iter().find_map(|held| held.hold) {
                    return Ok(Hold::try_from(hold));
                }
            }
            Ok::<_, Status>(Err(Error::Unavailable.into()))
        };
        match timeout_at(deadline.instant(), asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => Err(Refusal::from_status(&status)),
            Err(_) => Err(Error::Unavailable.into()),
        }
    }

    /// Frees what an attempt may hold of the products that were asked, and forgets its intent;
    /// gives what its caller is told.
    async fn give_up(&self, placing: &Placing, asked: &[ProductId], refusal: Refusal) -> Error {
        failpoint::hit("attempt.before_undo");
        if let Err(unfreed) = self.free(placing, asked).await {
            let reason = unfreed.reason().name();
            tracing::warn!(order = %placing.order, reason, "an attempt is left to be freed");
            // The intent stays, so that its end is not forgotten; until then nothing is told that
            // a retry would contradict.
            return Error::Unavailable;
        }
        match self.store.abandon_placement(placing.order, placing.attempt).await {
            Ok(()) => Error::Refused(refusal),
            Err(fault) => Error::Store(fault),
        }
    }

    /// Frees what an attempt holds that lost its row; where that fails, the holds expire.
    async fn let_go(&self, placing: &Placing, asked: &[ProductId]) {
        if let Err(refusal) = self.free(placing, asked).await {
            let reason = refusal.reason().name();
            tracing::warn!(order = %placing.order, reason, "cannot undo holds, they will expire");
        }
    }

    /// Frees every reservation that this attempt may have made of these products.
    async fn free(&self, placing: &Placing, products: &[ProductId]) -> Result<(), Refusal> {
        let verb = Verb::Release(ReleaseCause::Undo);
        let reservation = placing.reservation();
        let freeing =
            products.iter().map(|product| self.inventory.hold(verb, *product, reservation));
        for freed in join_all(freeing).await {
            match freed {
                Ok(_) => {}
                // Never held.
                Err(refusal) if refusal.reason().code() == Code::NotFound => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }
}

impl Placing {
    /// The id of its reservations, of whatever product.
    fn reservation(&self) -> ReservationId {
        self.order.reservation_of_attempt(self.attempt)
    }

    /// Its products, each once, in the order in which they are asked.
    fn products(&self) -> Vec<ProductId> {
        let mut products: Vec<ProductId> = self.lines.iter().map(|line| line.product).collect();
        products.dedup();
        products
    }
}

fn busy() -> Refusal {
    let refusal = Refusal::because(Reason::Overloaded, "too many carts are being ordered");
    refusal.retry_after(BUSY_RETRY)
}

/// The order that a key has, if it was placed for the same.
fn same(order: Order, plan: &Plan) -> Result<Order, Error> {
    if order.fingerprint == plan.fingerprint { Ok(order) } else { Err(Error::KeyReused) }
}
