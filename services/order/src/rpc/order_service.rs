//! What people do with orders, from previewing to refunding them.

use std::{pin::Pin, sync::Arc, time::Duration};

use firstcome_mesh::{
    Deadline, Identity,
    page::{Cursor, Page},
};
use firstcome_proto::{
    Address, AddressId, OrderId, Refusal, UserId,
    access::Role,
    order_v1::{
        self as wire, CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetOrderResponse,
        ListAllOrdersRequest, ListAllOrdersResponse, ListOrdersRequest, ListOrdersResponse,
        PayOrderRequest, PayOrderResponse, PlaceOrderRequest, PlaceOrderResponse,
        PreviewOrderRequest, PreviewOrderResponse, RefundOrderRequest, RefundOrderResponse,
        RequestReturnRequest, RequestReturnResponse, WatchOrderRequest, WatchOrderResponse,
        order_service_server::OrderService, pay_order_request,
    },
};
use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    attempt::Attempts,
    baskets::Baskets,
    commands::Commands,
    error::Error,
    intake::Intake,
    life::Command,
    order::{Destination, Order, PaymentWish},
    place::{Source, Wish},
    rpc::{baskets::item_to_wire, order_to_wire},
    store::Store,
    wanted::printable,
    watch::Watches,
};

/// No buyer waits longer for a place in the queue.
const PLACE_LONGEST: Duration = Duration::from_secs(10);
/// A payment with a slow bank and one retry, or a refund; the saga goes on when the caller's time
/// is up.
const COMMAND_LONGEST: Duration = Duration::from_secs(30);
/// The provider's tokens are short; more is rubbish.
const PAYMENT_METHOD_LENGTH_MAX: usize = 100;

/// Serves orders.
pub struct Service {
    /// To list them.
    pub store: Store,
    /// Places what is of one product.
    pub intake: Intake,
    /// Places everything else.
    pub attempts: Attempts,
    /// Prices what may be placed.
    pub baskets: Baskets,
    /// Does what is asked of an order.
    pub commands: Commands,
    /// Tells of changes.
    pub watches: Watches,
    /// A day of the shop.
    pub day: Duration,
}

impl Service {
    fn to_wire(&self, order: Order) -> Option<wire::Order> {
        Some(order_to_wire(order, self.day))
    }

    /// Does what a buyer asks of an own order.
    async fn command<T>(
        &self,
        command: Command,
        request: &Request<T>,
        id: &str,
    ) -> Result<Order, Status> {
        let user = Identity::of(request)?.user;
        let deadline = Deadline::of(request.metadata(), COMMAND_LONGEST);
        let order = self.commands.own(user, order_id(id)?).await?;
        Ok(self.commands.command(command, order, deadline).await?)
    }
}

impl PaymentWish {
    /// Reads what a buyer sent; the refusal names every faulty field.
    fn read(user: UserId, request: PayOrderRequest) -> Result<Self, Refusal> {
        use pay_order_request::Destination as Wire;
        let order = order_id(&request.order_id)?;
        let method = request.payment_method;
        let good = (1..=PAYMENT_METHOD_LENGTH_MAX).contains(&method.len()) && printable(&method);
        let destination = match request.destination {
            Some(Wire::Address(address)) => Address::try_from(address).map(Destination::Written),
            Some(Wire::AddressId(id)) => {
                AddressId::from_field("address_id", &id).map(Destination::Book)
            }
            None => Err(Refusal::invalid("address", "want an address")),
        };
        match (destination, good) {
            (Ok(destination), true) => Ok(Self { user, order, destination, method }),
            (destination, good) => {
                let mut refusal = Refusal::invalid("payment_method", METHOD_WANTED);
                if good {
                    refusal.violations.clear();
                }
                refusal.violations.extend(destination.err().into_iter().flat_map(|r| r.violations));
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
    async fn preview_order(
        &self,
        request: Request<PreviewOrderRequest>,
    ) -> Result<Response<PreviewOrderResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let request = request.into_inner();
        let source = Source::read(&request.lines, request.selection.as_ref())?;
        let priced = self.baskets.preview(user, source).await?;
        Ok(Response::new(PreviewOrderResponse {
            items: priced.items.into_iter().map(item_to_wire).collect(),
            total: priced.total.map(Into::into),
            orderable: priced.orderable,
        }))
    }

    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let deadline = Deadline::of(request.metadata(), PLACE_LONGEST);
        let order = match Wish::read(user, request.get_ref())? {
            Wish::OneProduct(placement) => {
                let placed = self.intake.place(placement, deadline).await;
                placed.map_err(Arc::unwrap_or_clone)?
            }
            Wish::Several(plan) => self.attempts.place(plan, deadline).await?,
        };
        Ok(Response::new(PlaceOrderResponse { order: self.to_wire(order) }))
    }

    async fn pay_order(
        &self,
        request: Request<PayOrderRequest>,
    ) -> Result<Response<PayOrderResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let deadline = Deadline::of(request.metadata(), COMMAND_LONGEST);
        let wish = PaymentWish::read(user, request.into_inner())?;
        let order = self.commands.pay(wish, deadline).await?;
        Ok(Response::new(PayOrderResponse { order: self.to_wire(order) }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let order = self.command(Command::Cancel, &request, &request.get_ref().order_id).await?;
        Ok(Response::new(CancelOrderResponse { order: self.to_wire(order) }))
    }

    async fn request_return(
        &self,
        request: Request<RequestReturnRequest>,
    ) -> Result<Response<RequestReturnResponse>, Status> {
        let id = &request.get_ref().order_id;
        let order = self.command(Command::RequestReturn, &request, id).await?;
        Ok(Response::new(RequestReturnResponse { order: self.to_wire(order) }))
    }

    async fn refund_order(
        &self,
        request: Request<RefundOrderRequest>,
    ) -> Result<Response<RefundOrderResponse>, Status> {
        let deadline = Deadline::of(request.metadata(), COMMAND_LONGEST);
        let order = self.commands.any(order_id(&request.get_ref().order_id)?).await?;
        let order = self.commands.command(Command::Refund, order, deadline).await?;
        Ok(Response::new(RefundOrderResponse { order: self.to_wire(order) }))
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let caller = Identity::of(&request)?;
        let id = order_id(&request.get_ref().order_id)?;
        let order = match caller.role {
            Role::Admin => self.commands.any(id).await?,
            _ => self.commands.own(caller.user, id).await?,
        };
        let address = self.commands.address_of(&order).await?.map(|address| address.to_wire());
        Ok(Response::new(GetOrderResponse { order: self.to_wire(order), address }))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let ListOrdersRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let orders = self.store.list(user, page).await.map_err(Error::from)?;
        let (orders, next_page_token) = self.page(orders, page);
        Ok(Response::new(ListOrdersResponse { orders, next_page_token }))
    }

    async fn list_all_orders(
        &self,
        request: Request<ListAllOrdersRequest>,
    ) -> Result<Response<ListAllOrdersResponse>, Status> {
        let ListAllOrdersRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let orders = self.store.list_all(page).await.map_err(Error::from)?;
        let (orders, next_page_token) = self.page(orders, page);
        Ok(Response::new(ListAllOrdersResponse { orders, next_page_token }))
    }

    type WatchOrderStream =
        Pin<Box<dyn Stream<Item = Result<WatchOrderResponse, Status>> + Send + 'static>>;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let user = Identity::of(&request)?.user;
        let id = order_id(&request.get_ref().order_id)?;
        let order = self.commands.own(user, id).await?;
        let day = self.day;
        let changes = ReceiverStream::new(self.watches.watch(order)?).map(move |sent| {
            let order = Some(order_to_wire(sent?, day));
            Ok(WatchOrderResponse { order })
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

impl Service {
    /// A page of these orders, of which there may be one more than it holds.
    fn page(&self, mut orders: Vec<Order>, page: Page) -> (Vec<wire::Order>, String) {
        let next_page_token = page.cut(&mut orders, cursor);
        (orders.into_iter().map(|order| order_to_wire(order, self.day)).collect(), next_page_token)
    }
}

/// An order's place in a list.
fn cursor(order: &Order) -> Cursor {
    let microseconds = order.created_at.unix_timestamp_nanos() / 1000;
    Cursor {
        created_us: i64::try_from(microseconds).expect("microseconds of our time fit"),
        id: order.id.0,
    }
}
