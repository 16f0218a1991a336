//! The services that an order is made of: inventory, which holds the units, and payment, which
//! moves the money; and user, which knows where the goods go. None of them knows of orders.
//!
//! Calls for holds of one product gather into batches; charges go one by one, because each is a
//! conversation with a bank.

mod user;

use std::time::Duration;

use firstcome_mesh::{
    Answers, BatchCall, Batcher, Deadline, batcher::Limits, retry::Retry, upstream::Channel,
};
use firstcome_proto::{
    Money, PaymentId, ProductId, Reason, Refusal, ReservationId, UserId,
    inventory_v1::{
        self as inventory, offer_service_client::OfferServiceClient,
        reservation_service_client::ReservationServiceClient,
    },
    payment_v1::{self as payment, charge_service_client::ChargeServiceClient},
};
use tonic::{Status, Streaming};

use crate::{
    hold,
    order::{Fingerprint, Order},
    wanted::Wanted,
};

pub use user::AddressBooks;

/// A batch of holds is one or two statements of inventory; this is many times their slowest.
const HOLD_CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// A page that shows a cart does not wait longer.
const OFFERS_TIMEOUT: Duration = Duration::from_secs(3);
/// A bank may think for seconds; then its answer counts as unknown, and the same is asked again.
const CHARGE_CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Inventory's reservations.
#[derive(Clone)]
pub struct Inventory {
    client: ReservationServiceClient<Channel>,
    holds: Batcher<HoldCalls>,
}

/// What may be done to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Keep it while it is paid.
    Pin,
    /// Sell it.
    Settle,
    /// End it, for a cause.
    Release(inventory::ReleaseCause),
    /// Take it back after it was sold.
    Restock,
}

impl Inventory {
    /// Behind this channel. A hold's calls wait in queues of these limits.
    pub fn new(channel: Channel, limits: Limits) -> Self {
        let client = ReservationServiceClient::new(channel);
        let calls = HoldCalls { client: client.clone(), retry: Retry::default() };
        Self { client, holds: Batcher::new(calls, limits) }
    }

    /// Asks for the units of each item, in this order; all are of this product. Never again by
    /// itself: the edge alone retries the rush. The deadline bounds the call; how long to wait for
    /// the messages of the answer is the caller's to say.
    pub async fn reserve(
        &self,
        product: ProductId,
        items: impl Iterator<Item = inventory::ReserveItem>,
        deadline: Deadline,
    ) -> Result<Streaming<inventory::ReserveResponse>, Status> {
        let request =
            inventory::ReserveRequest { product_id: product.to_wire(), items: items.collect() };
        let mut client = self.client.clone();
        Ok(client.reserve(deadline.request(request)).await?.into_inner())
    }

    /// Does one thing to a hold, and says how it stands then.
    pub async fn hold(
        &self,
        verb: Verb,
        product: ProductId,
        reservation: ReservationId,
    ) -> Result<hold::State, Refusal> {
        let deadline = Deadline::after(HOLD_CALL_TIMEOUT);
        self.holds.submit((product, verb), reservation, deadline).await?
    }

    /// Waits until what was asked is answered.
    pub async fn close(&self, within: Duration) {
        self.holds.close(within).await;
    }
}

/// One buyer's wish for units of one product, as inventory takes it.
pub fn reserve_item(
    reservation: ReservationId,
    buyer: UserId,
    fingerprint: Fingerprint,
    lines: &[Wanted],
) -> inventory::ReserveItem {
    let lines = lines.iter().map(|line| inventory::ReservationLine {
        sku_id: line.sku.to_wire(),
        quantity: line.quantity,
    });
    inventory::ReserveItem {
        reservation_id: reservation.to_wire(),
        buyer_id: buyer.to_wire(),
        fingerprint: bytes::Bytes::copy_from_slice(&fingerprint.0),
        lines: lines.collect(),
    }
}

/// Calls that do one thing to many holds of one product.
struct HoldCalls {
    client: ReservationServiceClient<Channel>,
    retry: Retry,
}

impl BatchCall for HoldCalls {
    const HOP: &'static str = "order_to_holds";

    type Key = (ProductId, Verb);
    type Item = ReservationId;
    type Answer = Result<hold::State, Refusal>;

    async fn call(
        &self,
        (product, verb): (ProductId, Verb),
        ids: Vec<ReservationId>,
        mut answers: Answers<Self::Answer>,
    ) {
        let deadline = Deadline::after(HOLD_CALL_TIMEOUT);
        let called = self.retry.call(deadline, || self.send(product, verb, &ids, deadline));
        match called.await {
            // What an answer too few leaves open is answered as unknown, when `answers` goes.
            Ok(given) => {
                for (place, answer) in given.into_iter().take(ids.len()).enumerate() {
                    answers.answer(place, read_hold_answer(answer));
                }
            }
            Err(status) => answers.answer_rest(|_| Err(Refusal::from_status(&status))),
        }
    }
}

impl HoldCalls {
    async fn send(
        &self,
        product: ProductId,
        verb: Verb,
        ids: &[ReservationId],
        deadline: Deadline,
    ) -> Result<Vec<inventory::HoldAnswer>, Status> {
        let mut client = self.client.clone();
        let product_id = product.to_wire();
        let reservation_ids = || ids.iter().map(|id| id.to_wire()).collect();
        Ok(match verb {
            Verb::Pin => {
                let request =
                    inventory::PinRequest { product_id, reservation_ids: reservation_ids() };
                client.pin(deadline.request(request)).await?.into_inner().answers
            }
            Verb::Settle => {
                let request =
                    inventory::SettleRequest { product_id, reservation_ids: reservation_ids() };
                client.settle(deadline.request(request)).await?.into_inner().answers
            }
            Verb::Restock => {
                let request =
                    inventory::RestockRequest { product_id, reservation_ids: reservation_ids() };
                client.restock(deadline.request(request)).await?.into_inner().answers
            }
            Verb::Release(cause) => {
                let items = ids.iter().map(|id| inventory::ReleaseItem {
                    reservation_id: id.to_wire(),
                    cause: cause as i32,
                });
                let request = inventory::ReleaseRequest { product_id, items: items.collect() };
                client.release(deadline.request(request)).await?.into_inner().answers
            }
        })
    }
}

fn read_hold_answer(answer: inventory::HoldAnswer) -> Result<hold::State, Refusal> {
    use inventory::hold_answer::Outcome;
    let unknown = || Refusal::because(Reason::Internal, "inventory gave no outcome that we know");
    match answer.outcome {
        Some(Outcome::State(number)) => hold::State::from_wire(number).ok_or_else(unknown),
        Some(Outcome::Refusal(refusal)) => Err(refusal),
        None => Err(unknown()),
    }
}

/// What inventory sells, and for how much.
#[derive(Clone)]
pub struct Offers {
    client: OfferServiceClient<Channel>,
    retry: Retry,
}

impl Offers {
    /// Behind this channel.
    pub fn new(channel: Channel) -> Self {
        Self { client: OfferServiceClient::new(channel), retry: Retry::default() }
    }

    /// What each of these SKUs is, costs, and whether it can be had, in this order.
    pub async fn of(&self, wanted: &[Wanted]) -> Result<Vec<inventory::Offer>, Refusal> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Deadline::after(OFFERS_TIMEOUT);
        let keys = wanted.iter().map(|wanted| inventory::OfferKey {
            product_id: wanted.product.to_wire(),
            sku_id: wanted.sku.to_wire(),
        });
        let request = inventory::GetOffersRequest { keys: keys.collect() };
        let send = || {
            let (mut client, request) = (self.client.clone(), deadline.request(request.clone()));
            async move { Ok(client.get_offers(request).await?.into_inner().offers) }
        };
        let offers = self.retry.call(deadline, send).await;
        let offers = offers.map_err(|status: Status| Refusal::from_status(&status))?;
        if offers.len() != wanted.len() {
            return Err(Refusal::because(Reason::Internal, "inventory answered for some only"));
        }
        Ok(offers)
    }
}

/// A payment as payment's ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Where it stands.
    pub state: payment::PaymentState,
    /// Why the card was refused, in the provider's word; empty otherwise.
    pub decline_code: String,
}

/// Payment's charges. Every call is safe to repeat: the payment's id is its key.
#[derive(Clone)]
pub struct Charges {
    client: ChargeServiceClient<Channel>,
    retry: Retry,
}

impl Charges {
    /// Behind this channel.
    pub fn new(channel: Channel) -> Self {
        Self { client: ChargeServiceClient::new(channel), retry: Retry::default() }
    }

    /// Reserves the order's total on the card.
    pub async fn authorize(&self, order: &Order, method: &str) -> Result<Payment, Refusal> {
        let request = payment::AuthorizeRequest {
            payment_id: order.id.payment().to_wire(),
            user_id: order.user.to_wire(),
            amount: Some(Money::into(order.total)),
            payment_method: method.to_owned(),
        };
        let client = &self.client;
        self.call(move |deadline| {
            let (mut client, request) = (client.clone(), deadline.request(request.clone()));
            async move { Ok(client.authorize(request).await?.into_inner().payment) }
        })
        .await
    }

    /// Takes what was reserved.
    pub async fn capture(&self, payment: PaymentId) -> Result<Payment, Refusal> {
        let client = &self.client;
        self.call(move |deadline| {
            let request = payment::CaptureRequest { payment_id: payment.to_wire() };
            let (mut client, request) = (client.clone(), deadline.request(request));
            async move { Ok(client.capture(request).await?.into_inner().payment) }
        })
        .await
    }

    /// Gives the reservation up, also one that comes later.
    pub async fn void(&self, payment: PaymentId, user: UserId) -> Result<Payment, Refusal> {
        let client = &self.client;
        self.call(move |deadline| {
            let request =
                payment::VoidRequest { payment_id: payment.to_wire(), user_id: user.to_wire() };
            let (mut client, request) = (client.clone(), deadline.request(request));
            async move { Ok(client.void(request).await?.into_inner().payment) }
        })
        .await
    }

    /// Gives taken money back.
    pub async fn refund(&self, payment: PaymentId) -> Result<Payment, Refusal> {
        let client = &self.client;
        self.call(move |deadline| {
            let request = payment::RefundRequest { payment_id: payment.to_wire() };
            let (mut client, request) = (client.clone(), deadline.request(request));
            async move { Ok(client.refund(request).await?.into_inner().payment) }
        })
        .await
    }

    async fn call<F>(&self, mut send: impl FnMut(Deadline) -> F) -> Result<Payment, Refusal>
    where
        F: Future<Output = Result<Option<payment::Payment>, Status>>,
    {
        let deadline = Deadline::after(CHARGE_CALL_TIMEOUT);
        let answer = self
            .retry
            .call(deadline, || send(deadline))
            .await
            .map_err(|status| Refusal::from_status(&status))?;
        let payment = answer
            .ok_or_else(|| Refusal::because(Reason::Internal, "payment answered without one"))?;
        Ok(Payment { state: payment.state(), decline_code: payment.decline_code })
    }
}
