//! Inventory, payment and user as their contracts describe them, in memory, with faults to order.
//!
//! Each keeps its own small truth, so that a test can ask afterwards whether goods and money agree.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use firstcome_proto::{
    Reason, Refusal, SharedRefusals, UserId, address_v1,
    inventory_v1::{
        self as inventory, Availability, HoldState, ReleaseCause, ReservedHold,
        offer_service_server::{OfferService, OfferServiceServer},
        reservation_service_server::{ReservationService, ReservationServiceServer},
    },
    money_v1::Money,
    payment_v1::{
        self as payment, PaymentState,
        charge_service_server::{ChargeService, ChargeServiceServer},
    },
    user_v1::{
        GetAddressRequest, GetAddressResponse,
        address_book_service_server::{AddressBookService, AddressBookServiceServer},
    },
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// What is called at a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Reserve,
    Pin,
    Settle,
    Restock,
    ReleaseSaga,
    ReleaseCancel,
    ReleaseExpire,
    ReleaseUndo,
    GetAddress,
    Authorize,
    Capture,
    Void,
    Refund,
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the caller cannot know.
    UnknownBefore,
    /// It is done, and the caller cannot know.
    UnknownAfter,
    /// Nothing is done, and no answer ever comes.
    HangBefore,
    /// It is done, and no answer ever comes.
    HangAfter,
    /// The peer's own state makes it impossible.
    Refused,
    /// The same for want of money.
    Poor,
    /// No answer, however often it is asked.
    AlwaysUnknown,
}

/// A hold of the stand-in.
#[derive(Clone, Debug)]
pub struct Hold {
    pub state: HoldState,
    sequence: i64,
    expires_at: SystemTime,
    fingerprint: Vec<u8>,
    lines: Vec<inventory::HeldLine>,
}

/// Whoever wants so many gets sequence number nought, which no row takes.
pub const UNITS_WITHOUT_SEQUENCE: i64 = 999;

/// What the stand-in does with reservations of a product.
#[derive(Clone, Debug)]
pub struct Product {
    /// Of one unit.
    pub price: i64,
    /// How long a hold lasts.
    pub hold_ttl: Duration,
    /// Units that may still be held.
    pub available: i64,
    /// The sequence number of the last admission.
    pub sequence: i64,
}

impl Default for Product {
    fn default() -> Self {
        let hold_ttl = Duration::from_secs(300);
        Self { price: 12_900, hold_ttl, available: 1_000_000, sequence: 0 }
    }
}

#[derive(Default)]
struct World {
    products: HashMap<Uuid, Product>,
    holds: HashMap<(Uuid, Uuid), Hold>,
    payments: HashMap<Uuid, PaymentState>,
    books: HashMap<(UserId, Uuid), address_v1::Address>,
    decline_codes: HashMap<Uuid, &'static str>,
    plans: HashMap<Uuid, Vec<(Call, Fault)>>,
    calls: Vec<(Uuid, Call)>,
    reserve_batches: usize,
    hanging: usize,
}

/// All peers. Clones share one world.
#[derive(Clone, Default)]
pub struct Peers {
    world: Arc<Mutex<World>>,
    /// While locked, no admission is answered; refusals are.
    pub admissions: Arc<tokio::sync::Mutex<()>>,
}

impl Peers {
    /// Starts all on one port.
    pub async fn start() -> (Self, SocketAddr) {
        let peers = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(ReservationServiceServer::new(peers.clone()))
            .add_service(OfferServiceServer::new(peers.clone()))
            .add_service(ChargeServiceServer::new(peers.clone()))
            .add_service(AddressBookServiceServer::new(peers.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (peers, address)
    }

    /// Sets how a product behaves.
    pub fn product(&self, id: Uuid, product: Product) {
        self.world.lock().products.insert(id, product);
    }

    /// Orders faults for what happens to one order, each once.
    pub fn plan(&self, order: Uuid, faults: &[(Call, Fault)]) {
        self.world.lock().plans.insert(order, faults.to_vec());
    }

    /// Faults that were ordered and did not happen.
    pub fn plan_left(&self, order: Uuid) -> Vec<(Call, Fault)> {
        let world = self.world.lock();
        let left = world.plans.get(&order).cloned().unwrap_or_default();
        left.into_iter().filter(|(_, fault)| *fault != Fault::AlwaysUnknown).collect()
    }

    /// How a hold stands.
    pub fn hold(&self, product: Uuid, order: Uuid) -> Option<HoldState> {
        self.world.lock().holds.get(&(product, order)).map(|hold| hold.state)
    }

    /// How all holds of a product stand.
    pub fn holds_of(&self, product: Uuid) -> Vec<HoldState> {
        let world = self.world.lock();
        let holds = world.holds.iter().filter(|((of, _), _)| *of == product);
        holds.map(|(_, hold)| hold.state).collect()
    }

    /// Puts a hold into a state, as somebody else would.
    pub fn set_hold(&self, product: Uuid, order: Uuid, state: HoldState) {
        self.world.lock().holds.get_mut(&(product, order)).unwrap().state = state;
    }

    /// How a payment stands.
    pub fn payment(&self, order: Uuid) -> Option<PaymentState> {
        self.world.lock().payments.get(&order).copied()
    }

    /// Writes an address into somebody's book; `None` takes it out.
    pub fn write_address(&self, user: UserId, id: Uuid, address: Option<address_v1::Address>) {
        let mut world = self.world.lock();
        match address {
            Some(address) => drop(world.books.insert((user, id), address)),
            None => drop(world.books.remove(&(user, id))),
        }
    }

    /// What was called for an order (an address, a payment), in order.
    pub fn calls(&self, order: Uuid) -> Vec<Call> {
        let world = self.world.lock();
        world.calls.iter().filter(|(id, _)| *id == order).map(|&(_, call)| call).collect()
    }

    /// Calls that never answer, so far.
    pub fn hanging(&self) -> usize {
        self.world.lock().hanging
    }

    /// Calls of Reserve, so far.
    pub fn reserve_batches(&self) -> usize {
        self.world.lock().reserve_batches
    }

    /// Does `effect` once, unless a fault was ordered, and lets go of the answer as ordered.
    async fn faulty<T>(
        &self,
        order: Uuid,
        call: Call,
        effect: impl FnOnce(&mut World, Option<Fault>) -> T,
    ) -> Result<T, Status> {
        let unknown = || Err(Status::deadline_exceeded("ordered by the test"));
        let (fault, refusal) = self.world.lock().begin(order, call);
        match fault {
            Some(Fault::UnknownBefore | Fault::AlwaysUnknown) => return unknown(),
            Some(Fault::HangBefore) => return self.hang().await,
            _ => {}
        }
        let done = effect(&mut self.world.lock(), refusal);
        match fault {
            Some(Fault::UnknownAfter) => unknown(),
            Some(Fault::HangAfter) => self.hang().await,
            _ => Ok(done),
        }
    }

    async fn hang<T>(&self) -> T {
        self.world.lock().hanging += 1;
        std::future::pending().await
    }

    async fn hold_calls(
        &self,
        call: Call,
        product: &[u8],
        ids: Vec<bytes::Bytes>,
    ) -> Result<Vec<inventory::HoldAnswer>, Status> {
        let product = Uuid::from_slice(product).unwrap();
        let mut answers = Vec::new();
        for id in ids {
            let order = Uuid::from_slice(&id).unwrap();
            let answer = self
                .faulty(order, call, |world, fault| world.change_hold(call, product, order, fault));
            answers.push(answer.await?);
        }
        Ok(answers)
    }
}

impl World {
    /// Logs a call, and takes what was ordered for it: how it goes wrong on the way, and whether
    /// the peer refuses it. A refusal stays for the first call that arrives.
    fn begin(&mut self, order: Uuid, call: Call) -> (Option<Fault>, Option<Fault>) {
        self.calls.push((order, call));
        let Some(plan) = self.plans.get_mut(&order) else { return (None, None) };
        let mut take = |refusals: bool| {
            let is_refusal = |fault| matches!(fault, Fault::Refused | Fault::Poor);
            let planned =
                |&(of, fault): &(Call, Fault)| of == call && is_refusal(fault) == refusals;
            let place = plan.iter().position(planned)?;
            let fault = plan[place].1;
            if fault != Fault::AlwaysUnknown {
                plan.remove(place);
            }
            Some(fault)
        };
        match take(false) {
            fault @ Some(Fault::UnknownBefore | Fault::HangBefore | Fault::AlwaysUnknown) => {
                (fault, None)
            }
            fault => (fault, take(true)),
        }
    }

    fn change_hold(
        &mut self,
        call: Call,
        product: Uuid,
        order: Uuid,
        fault: Option<Fault>,
    ) -> inventory::HoldAnswer {
        use HoldState::{Cancelled, Expired, Held, Pinned, Released, Returned, Settled};
        use inventory::hold_answer::Outcome;
        let Some(hold) = self.holds.get_mut(&(product, order)) else {
            let refusal = Refusal::not_found("hold");
            return inventory::HoldAnswer { outcome: Some(Outcome::Refusal(refusal)) };
        };
        if fault == Some(Fault::Refused) {
            // Only a freed hold refuses for good.
            hold.state = Expired;
        }
        let overdue = hold.expires_at <= SystemTime::now();
        let freed = matches!(hold.state, Released | Expired | Cancelled | Returned);
        let to = match (call, hold.state) {
            (Call::Pin, Held | Pinned) => Some(Pinned),
            (Call::Pin | Call::Settle, Settled) | (Call::Settle, Pinned) => Some(Settled),
            (Call::Restock, Settled | Returned) => Some(Returned),
            (Call::ReleaseSaga, Held | Pinned) => Some(Released),
            (Call::ReleaseUndo, Held) => Some(Released),
            (Call::ReleaseCancel, Held) => Some(Cancelled),
            (Call::ReleaseExpire, Held) if overdue => Some(Expired),
            (
                Call::ReleaseSaga | Call::ReleaseUndo | Call::ReleaseCancel | Call::ReleaseExpire,
                state,
            ) if freed => Some(state),
            _ => None,
        };
        let outcome = match to {
            Some(state) => {
                hold.state = state;
                Outcome::State(state as i32)
            }
            None => {
                let state = hold.state.as_str_name().replace("HOLD_STATE_", "");
                let refusal = Refusal::because(Reason::WrongState, "").with("state", state);
                Outcome::Refusal(refusal)
            }
        };
        inventory::HoldAnswer { outcome: Some(outcome) }
    }

    fn reserve(
        &mut self,
        product: Uuid,
        item: inventory::ReserveItem,
    ) -> Result<inventory::Hold, Refusal> {
        let order = Uuid::from_slice(&item.reservation_id).unwrap();
        self.calls.push((order, Call::Reserve));
        let rules = self.products.entry(product).or_default();
        let newly_admitted = !self.holds.contains_key(&(product, order));
        if newly_admitted {
            let units: i64 = item.lines.iter().map(|line| i64::from(line.quantity)).sum();
            if rules.available < units {
                return Err(Refusal::because(Reason::SoldOut, "").with("holds_open", 1));
            }
            rules.available -= units;
            rules.sequence += 1;
            let sequence = if units == UNITS_WITHOUT_SEQUENCE { 0 } else { rules.sequence };
            let price = rules.price;
            let lines = item.lines.into_iter().map(|line| inventory::HeldLine {
                sku_id: line.sku_id,
                quantity: line.quantity,
                unit_price: Some(Money { currency_code: "KRW".into(), amount_minor: price }),
            });
            let hold = Hold {
                state: HoldState::Held,
                sequence,
                expires_at: SystemTime::now() + rules.hold_ttl,
                fingerprint: item.fingerprint.to_vec(),
                lines: lines.collect(),
            };
            self.holds.insert((product, order), hold);
        }
        let hold = &self.holds[&(product, order)];
        if hold.fingerprint != item.fingerprint {
            return Err(Refusal::because(Reason::KeyReused, ""));
        }
        Ok(inventory::Hold {
            reservation_id: item.reservation_id,
            state: hold.state as i32,
            sequence: hold.sequence,
            expires_at: Some(hold.expires_at.into()),
            newly_admitted,
            lines: hold.lines.clone(),
        })
    }

    fn charge(
        &mut self,
        call: Call,
        order: Uuid,
        fault: Option<Fault>,
    ) -> Result<payment::Payment, Status> {
        use PaymentState::{Authorized, Captured, Declined, Refunded, Voided};
        let state = self.payments.get(&order).copied();
        let refused = matches!(fault, Some(Fault::Refused | Fault::Poor));
        let to = match (call, state) {
            (Call::Authorize, None) if refused => Declined,
            (Call::Authorize, None) => Authorized,
            (Call::Authorize, Some(state)) => state,
            // The bank takes back what it promised.
            (Call::Capture, Some(Authorized)) if refused => {
                self.payments.insert(order, Voided);
                return Err(Refusal::because(Reason::WrongState, "").into());
            }
            (Call::Capture, Some(Authorized | Captured)) => Captured,
            // Somebody captured it behind our back.
            (Call::Void, _) if refused => {
                self.payments.insert(order, Captured);
                return Err(Refusal::because(Reason::WrongState, "").into());
            }
            (Call::Void, None | Some(Authorized | Voided)) => Voided,
            (Call::Void, Some(Declined)) => Declined,
            (Call::Refund, Some(Captured | Refunded)) => Refunded,
            (Call::Capture | Call::Refund, None) => {
                return Err(Refusal::not_found("payment").into());
            }
            _ => return Err(Refusal::because(Reason::WrongState, "").into()),
        };
        self.payments.insert(order, to);
        if fault == Some(Fault::Poor) {
            self.decline_codes.insert(order, "insufficient_funds");
        }
        Ok(payment::Payment {
            payment_id: order.to_string(),
            state: to as i32,
            decline_code: self.decline_codes.get(&order).copied().unwrap_or_default().to_owned(),
            ..Default::default()
        })
    }
}

#[tonic::async_trait]
impl ReservationService for Peers {
    type ReserveStream = BoxStream<'static, Result<inventory::ReserveResponse, Status>>;

    async fn reserve(
        &self,
        request: Request<inventory::ReserveRequest>,
    ) -> Result<Response<Self::ReserveStream>, Status> {
        let request = request.into_inner();
        let product = Uuid::from_slice(&request.product_id).unwrap();
        let (mut refusals, mut holds) = (SharedRefusals::default(), Vec::new());
        {
            let mut world = self.world.lock();
            world.reserve_batches += 1;
            for (index, item) in (0..).zip(request.items) {
                match world.reserve(product, item) {
                    Ok(hold) => holds.push(ReservedHold { index, hold: Some(hold) }),
                    Err(refusal) => refusals.add(index, refusal.into()),
                }
            }
        }
        let gate = Arc::clone(&self.admissions);
        let refused = refusals.into_wire();
        let first = inventory::ReserveResponse { reserved: Vec::new(), refused };
        let first = stream::iter([Ok(first)]);
        let then = stream::once(async move {
            drop(gate.lock().await);
            Ok(inventory::ReserveResponse { reserved: holds, refused: Vec::new() })
        });
        Ok(Response::new(first.chain(then).boxed()))
    }

    async fn pin(
        &self,
        request: Request<inventory::PinRequest>,
    ) -> Result<Response<inventory::PinResponse>, Status> {
        let request = request.into_inner();
        let ids = request.reservation_ids;
        let answers = self.hold_calls(Call::Pin, &request.product_id, ids).await?;
        Ok(Response::new(inventory::PinResponse { answers }))
    }

    async fn settle(
        &self,
        request: Request<inventory::SettleRequest>,
    ) -> Result<Response<inventory::SettleResponse>, Status> {
        let request = request.into_inner();
        let ids = request.reservation_ids;
        let answers = self.hold_calls(Call::Settle, &request.product_id, ids).await?;
        Ok(Response::new(inventory::SettleResponse { answers }))
    }

    async fn release(
        &self,
        request: Request<inventory::ReleaseRequest>,
    ) -> Result<Response<inventory::ReleaseResponse>, Status> {
        let request = request.into_inner();
        let mut answers = Vec::new();
        for item in request.items {
            let call = match item.cause() {
                ReleaseCause::Saga => Call::ReleaseSaga,
                ReleaseCause::Cancel => Call::ReleaseCancel,
                ReleaseCause::Expire => Call::ReleaseExpire,
                ReleaseCause::Undo => Call::ReleaseUndo,
                ReleaseCause::Unspecified => panic!("a release has a cause"),
            };
            let ids = vec![item.reservation_id];
            answers.extend(self.hold_calls(call, &request.product_id, ids).await?);
        }
        Ok(Response::new(inventory::ReleaseResponse { answers }))
    }

    async fn restock(
        &self,
        request: Request<inventory::RestockRequest>,
    ) -> Result<Response<inventory::RestockResponse>, Status> {
        let request = request.into_inner();
        let ids = request.reservation_ids;
        let answers = self.hold_calls(Call::Restock, &request.product_id, ids).await?;
        Ok(Response::new(inventory::RestockResponse { answers }))
    }
}

#[tonic::async_trait]
impl OfferService for Peers {
    /// Products that were set are there, with whatever SKU; a negative stock is discontinued.
    async fn get_offers(
        &self,
        request: Request<inventory::GetOffersRequest>,
    ) -> Result<Response<inventory::GetOffersResponse>, Status> {
        let world = self.world.lock();
        let offer = |key: inventory::OfferKey| {
            let Some(product) = world.products.get(&Uuid::from_slice(&key.product_id).unwrap())
            else {
                let availability = Availability::UnknownSku as i32;
                return inventory::Offer { availability, ..Default::default() };
            };
            let availability = match product.available {
                ..0 => Availability::Discontinued,
                0 => Availability::SoldOut,
                _ => Availability::Available,
            };
            let amount_minor = product.price;
            inventory::Offer {
                product_name: "Runner".into(),
                sku_label: "270 mm".into(),
                unit_price: Some(Money { currency_code: "KRW".into(), amount_minor }),
                availability: availability as i32,
                available: i32::try_from(product.available.max(0)).unwrap(),
            }
        };
        let offers = request.into_inner().keys.into_iter().map(offer).collect();
        Ok(Response::new(inventory::GetOffersResponse { offers }))
    }
}

impl Peers {
    async fn charge(&self, call: Call, id: &[u8]) -> Result<Option<payment::Payment>, Status> {
        let order = Uuid::from_slice(id).unwrap();
        let charged = self.faulty(order, call, |world, fault| world.charge(call, order, fault));
        Ok(Some(charged.await??))
    }
}

#[tonic::async_trait]
impl ChargeService for Peers {
    async fn authorize(
        &self,
        request: Request<payment::AuthorizeRequest>,
    ) -> Result<Response<payment::AuthorizeResponse>, Status> {
        let payment = self.charge(Call::Authorize, &request.into_inner().payment_id).await?;
        Ok(Response::new(payment::AuthorizeResponse { payment }))
    }

    async fn capture(
        &self,
        request: Request<payment::CaptureRequest>,
    ) -> Result<Response<payment::CaptureResponse>, Status> {
        let payment = self.charge(Call::Capture, &request.into_inner().payment_id).await?;
        Ok(Response::new(payment::CaptureResponse { payment }))
    }

    async fn void(
        &self,
        request: Request<payment::VoidRequest>,
    ) -> Result<Response<payment::VoidResponse>, Status> {
        let payment = self.charge(Call::Void, &request.into_inner().payment_id).await?;
        Ok(Response::new(payment::VoidResponse { payment }))
    }

    async fn refund(
        &self,
        request: Request<payment::RefundRequest>,
    ) -> Result<Response<payment::RefundResponse>, Status> {
        let payment = self.charge(Call::Refund, &request.into_inner().payment_id).await?;
        Ok(Response::new(payment::RefundResponse { payment }))
    }
}

#[tonic::async_trait]
impl AddressBookService for Peers {
    async fn get_address(
        &self,
        request: Request<GetAddressRequest>,
    ) -> Result<Response<GetAddressResponse>, Status> {
        let request = request.into_inner();
        let user = UserId::from_wire("user_id", &request.user_id)?;
        let id = Uuid::from_slice(&request.address_id).unwrap();
        let told = self.faulty(id, Call::GetAddress, |world, fault| match fault {
            Some(_) => Err(Refusal::because(Reason::UpstreamUnavailable, "")),
            None => world.books.get(&(user, id)).cloned().ok_or(Refusal::not_found("address")),
        });
        let address = told.await?.map_err(Status::from)?;
        Ok(Response::new(GetAddressResponse { address: Some(address) }))
    }
}
