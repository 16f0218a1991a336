//! What a buyer does with an order, from placing to reading it.

use std::{sync::Arc, time::Duration};

use firstcome_mesh::{
    Deadline, Identity, Shutdown,
    page::{Cursor, Page},
};
use firstcome_proto::{
    OrderId, Refusal, UserId,
    order_v1::{
        CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetOrderResponse,
        ListOrdersRequest, ListOrdersResponse, PayOrderRequest, PayOrderResponse,
        PlaceOrderRequest, PlaceOrderResponse, order_service_server::OrderService,
        pay_order_request::Destination,
    },
};
use tokio::time::timeout_at;
use tonic::{Request, Response, Status};

use crate::{
    address::Address,
    error::Error,
    intake::Intake,
    order::{Order, PaymentIntent, State, Step},
    pay::{self, Saga, Stalled},
    place::{Placement, printable},
    rpc::order_to_wire,
    store::Store,
};

/// No buyer waits longer for a place in the queue.
const PLACE_LONGEST: Duration = Duration::from_secs(10);
/// A payment with a slow bank and one retry; the saga goes on when the caller's time is up.
const PAY_LONGEST: Duration = Duration::from_secs(30);
/// The provider's tokens are short; more is rubbish.
const PAYMENT_METHOD_LENGTH_MAX: usize = 100;

/// The buyer's methods.
pub struct Service {
    store: Store,
    intake: Intake,
    saga: Saga,
    shutdown: Shutdown,
    lease: Duration,
}

impl Service {
    /// Over these parts. A step belongs to its driver for the lease.
    pub fn new(
        store: Store,
        intake: Intake,
        saga: Saga,
        shutdown: Shutdown,
        lease: Duration,
    ) -> Self {
        Self { store, intake, saga, shutdown, lease }
    }

    /// The order, if it is the caller's.
    async fn own(&self, user: UserId, id: OrderId) -> Result<Order, Error> {
        let order = self.store.find(id).await?.filter(|order| order.user == user);
        order.ok_or(Error::NotFound)
    }

    async fn pay(&self, payment: PaymentIntent, deadline: Deadline) -> Result<Order, Error> {
        let (user, id) = (payment.user, payment.order);
        match self.saga.begin(payment, deadline).await? {
            Some(order) => {
                let order = self.drive(order, deadline).await?;
                // A stalled payment is one under way: a worker goes on with it.
                let order = order.map_err(|Stalled| Error::PaymentInProgress)?;
                verdict(order)
            }
            // The row says why: it is past paying, or a payment of this buyer is under way.
            None => verdict(self.own(user, id).await?),
        }
    }

    async fn cancel(&self, user: UserId, id: OrderId, deadline: Deadline) -> Result<Order, Error> {
        let order = match self.store.mark_cancelling(user, id, self.lease).await? {
            Some(order) => order,
            None => self.own(user, id).await?,
        };
        let order = match order.step {
            // Ours, or that of a call that did not finish; together they do no harm.
            Some(Step::Cancel) => {
                self.drive(order, deadline).await?.map_err(|Stalled| Error::Unavailable)?
            }
            Some(_) => return Err(Error::PaymentInProgress),
            None => order,
        };
        match order.state {
            State::Cancelled => Ok(order),
            State::Expired => Err(Error::OrderExpired),
            State::PendingPayment | State::Preparing | State::PaymentFailed => {
                Err(Error::WrongState(order.state))
            }
        }
    }

    /// Drives the order to its end in a task that outlives this call.
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

fn verdict(order: Order) -> Result<Order, Error> {
    match pay::verdict(&order) {
        Some(Ok(())) => Ok(order),
        Some(Err(error)) => Err(error),
        None => Err(Error::PaymentInProgress),
    }
}

impl PaymentIntent {
    /// Reads what a buyer sent; the refusal names every faulty field.
    fn read(user: UserId, request: PayOrderRequest) -> Result<Self, Refusal> {
        let order = order_id(&request.order_id)?;
        let (destination, method) = (request.destination, request.payment_method);
        let good = (1..=PAYMENT_METHOD_LENGTH_MAX).contains(&method.len()) && printable(&method);
        let address = match destination {
            Some(Destination::Address(address)) => Address::try_from(address),
            None => Err(Refusal::invalid("address", "want an address")),
        };
        match (address, good) {
            (Ok(address), true) => Ok(Self { user, order, address, method }),
            (address, good) => {
                let mut refusal = Refusal::invalid("payment_method", METHOD_WANTED);
                if good {
                    refusal.violations.clear();
                }
                refusal.violations.extend(address.err().into_iter().flat_map(|r| r.violations));
                Err(refusal)
            }
        }
    }
}

const METHOD_WANTED: &str = "want 1 to 100 printable ASCII characters";

fn order_id(text: &str) -> Result<OrderId, Refusal> {
    OrderId::from_field("order_id", text)
}

#[tonic::async_trait]
impl OrderService for Service {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let deadline = Deadline::of(request.metadata(), PLACE_LONGEST);
        let placement = Placement::read(user, request.get_ref())?;
        let order = self.intake.place(placement, deadline).await;
        let order = order.map_err(Arc::unwrap_or_clone)?;
        Ok(Response::new(PlaceOrderResponse { order: Some(order_to_wire(order)) }))
    }

    async fn pay_order(
        &self,
        request: Request<PayOrderRequest>,
    ) -> Result<Response<PayOrderResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let deadline = Deadline::of(request.metadata(), PAY_LONGEST);
        let payment = PaymentIntent::read(user, request.into_inner())?;
        let order = self.pay(payment, deadline).await?;
        Ok(Response::new(PayOrderResponse { order: Some(order_to_wire(order)) }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let deadline = Deadline::of(request.metadata(), PLACE_LONGEST);
        let id = order_id(&request.get_ref().order_id)?;
        let order = self.cancel(user, id, deadline).await?;
        Ok(Response::new(CancelOrderResponse { order: Some(order_to_wire(order)) }))
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let id = order_id(&request.get_ref().order_id)?;
        let order = self.own(user, id).await?;
        Ok(Response::new(GetOrderResponse { order: Some(order_to_wire(order)) }))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let ListOrdersRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let mut orders = self.store.list(user, page).await.map_err(Error::from)?;
        let size = usize::try_from(page.size).expect("a page has 1 to 100 rows");
        let more = orders.len() > size;
        orders.truncate(size);
        let next_page_token = match orders.last() {
            Some(last) if more => cursor(last).token(),
            _ => String::new(),
        };
        let orders = orders.into_iter().map(order_to_wire).collect();
        Ok(Response::new(ListOrdersResponse { orders, next_page_token }))
    }
}

/// An order's place in its buyer's list.
fn cursor(order: &Order) -> Cursor {
    let microseconds = order.created_at.unix_timestamp_nanos() / 1000;
    Cursor {
        created_us: i64::try_from(microseconds).expect("microseconds of our time fit"),
        id: order.id.0,
    }
}
