//! What people ask of an order after it was placed: to pay it, cancel it, return it, refund it.
//!
//! Each is ruled by [`life`], begun by one conditional move and driven by the saga. A row that was
//! moved by somebody else in between is read and ruled again.

use firstcome_mesh::{Deadline, Shutdown};
use firstcome_proto::{Address, OrderId, UserId};
use tokio::time::timeout_at;

use crate::{
    error::Error,
    life::{self, Beginning, Command, Ruling},
    order::{Destination, Order, PaymentIntent, PaymentWish},
    peers::AddressBooks,
    saga::{Saga, Stalled},
    store::Store,
};

/// An order moves forward only, so that whoever loses so many moves in a row meets a fault.
const RULINGS_MAX: usize = 8;
/// A move that was lost to nobody: its row is as it was. After so many the row's age is the reason.
const LOST_MAX: usize = 2;

/// Does what is asked of orders.
#[derive(Clone)]
pub struct Commands {
    store: Store,
    books: AddressBooks,
    saga: Saga,
    shutdown: Shutdown,
}

impl Commands {
    /// Over these parts.
    pub fn new(store: Store, books: AddressBooks, saga: Saga, shutdown: Shutdown) -> Self {
        Self { store, books, saga, shutdown }
    }

    /// The order, if it is this buyer's.
    pub async fn own(&self, user: UserId, id: OrderId) -> Result<Order, Error> {
        let order = self.store.find(id).await?.filter(|order| order.user == user);
        order.ok_or(Error::NotFound)
    }

    /// The order, whoever's it is.
    pub async fn any(&self, id: OrderId) -> Result<Order, Error> {
        self.store.find(id).await?.ok_or(Error::NotFound)
    }

    /// Where its goods go, once it was paid.
    pub async fn address_of(&self, order: &Order) -> Result<Option<Address>, Error> {
        if !order.state.may_be_paid() {
            return Ok(None);
        }
        Ok(self.store.address_of(order.id).await?)
    }

    /// Pays. The mark comes first and says by itself whether there is anything to pay. An address
    /// of the book is read before it, and kept as it is now.
    pub async fn pay(&self, wish: PaymentWish, deadline: Deadline) -> Result<Order, Error> {
        let PaymentWish { user, order: id, destination, method } = wish;
        let address = match destination {
            Destination::Written(address) => address,
            Destination::Book(address) => match self.books.address(user, address, deadline).await {
                Ok(address) => address,
                Err(error) => return self.not_sent(user, id, error).await,
            },
        };
        let payment = PaymentIntent { user, order: id, address, method };
        let order = match self.saga.begin_payment(payment, deadline).await? {
            // A stalled payment is one under way: a worker goes on with it.
            Some(order) => {
                let driven = self.drive(order, deadline).await?;
                driven.map_err(|Stalled| Error::PaymentInProgress)?
            }
            // The row says why: it is past paying, or a payment of this buyer is under way.
            None => self.own(user, id).await?,
        };
        match life::rule(order.state, order.step, Command::Pay) {
            Ruling::Begin(_) => Err(Error::PaymentInProgress),
            ruling => settled(ruling, order),
        }
    }

    /// What is told when nobody says where the order goes. One that is past paying knows already:
    /// a retry is told how it stands, whatever has become of the address or of who keeps it.
    async fn not_sent(&self, user: UserId, id: OrderId, why: Error) -> Result<Order, Error> {
        let order = self.own(user, id).await?;
        match life::rule(order.state, order.step, Command::Pay) {
            Ruling::Begin(_) => Err(why),
            ruling => settled(ruling, order),
        }
    }

    /// Does anything else with an order that the caller may touch.
    pub async fn command(
        &self,
        command: Command,
        mut order: Order,
        deadline: Deadline,
    ) -> Result<Order, Error> {
        let mut lost = 0;
        for _ in 0..RULINGS_MAX {
            order = match life::rule(order.state, order.step, command) {
                Ruling::Begin(beginning) => match self.saga.begin(&order, beginning).await? {
                    Some(order) if beginning.after_days > 0 => return Ok(order),
                    Some(order) => self.finish(order, deadline).await?,
                    None => {
                        let read = self.any(order.id).await?;
                        lost += usize::from((read.state, read.step) == (order.state, order.step));
                        if lost > LOST_MAX {
                            return Err(too_late(beginning));
                        }
                        read
                    }
                },
                Ruling::Join => self.finish(order, deadline).await?,
                ruling => return settled(ruling, order),
            };
        }
        tracing::error!(order = %order.id, ?command, "an order moves without an end");
        Err(Error::Internal)
    }

    /// Drives what was begun; where it stalls, a worker goes on.
    async fn finish(&self, order: Order, deadline: Deadline) -> Result<Order, Error> {
        self.drive(order, deadline).await?.map_err(|Stalled| Error::Unavailable)
    }

    /// Drives the order to its rest in a task that outlives this call.
    async fn drive(
        &self,
        order: Order,
        deadline: Deadline,
    ) -> Result<Result<Order, Stalled>, Error> {
        let saga = self.saga.clone();
        let driven = self.shutdown.spawn(async move { saga.drive(order).await });
        match timeout_at(deadline.instant(), driven).await {
            Ok(Ok(order)) => Ok(order),
            Ok(Err(fault)) => {
                tracing::error!(%fault, "a saga's task ended early");
                Err(Error::Internal)
            }
            Err(_) => Err(Error::DeadlineExceeded),
        }
    }
}

/// What is told when nothing is left to be done.
fn settled(ruling: Ruling, order: Order) -> Result<Order, Error> {
    match ruling {
        Ruling::Answer => Ok(order),
        Ruling::Begin(_) | Ruling::Join | Ruling::Wait => Err(Error::PaymentInProgress),
        Ruling::Expired => Err(Error::OrderExpired),
        Ruling::Failed => match order.failure {
            Some(failure) => Err(Error::PaymentFailed(failure)),
            None => Err(Error::WrongState(order.state)),
        },
        Ruling::WindowOver => Err(Error::ReturnWindowOver),
        Ruling::WrongState => Err(Error::WrongState(order.state)),
    }
}

/// Why a row that nobody has moved was not moved by us.
fn too_late(beginning: Beginning) -> Error {
    match beginning.within_days {
        Some(_) => Error::ReturnWindowOver,
        None => Error::Unavailable,
    }
}
