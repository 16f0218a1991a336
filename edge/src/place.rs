//! PlaceOrder: buyers of one product are gathered while a call is out, and the next call carries
//! all of them. Here alone PlaceOrders is retried; its items are idempotent by their keys. Whoever
//! orders several products, or a cart, travels alone: it would keep the others waiting.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use firstcome_mesh::{
    Answers, BatchCall, Batcher, Deadline,
    batcher::{Limits, Outcome},
    retry::Budget,
    upstream::Channel,
};
use firstcome_proto::{
    Reason, Refusal, UserId,
    error_v1::SharedRefusal,
    order_v1::{
        PlaceOrdersItem, PlaceOrdersRequest, PlacedOrder,
        order_intake_service_client::OrderIntakeServiceClient,
    },
};
use http::HeaderMap;
use prost::Message as _;
use rand::RngExt as _;
use tonic::{Code, Status};

use crate::{
    metrics::METRICS,
    wire::{self, Response},
};

/// An honest request of ten lines has about 1 KiB. 512 of four times that still fit into one call,
/// and nobody gets a way past the others by being large.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The pauses before a call is made again: jittered, doubled, and never above the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LONGEST: Duration = Duration::from_millis(500);
/// Who waits for `order` to come back is told before its own time is over.
const TOLD_BEFORE_DEADLINE: Duration = Duration::from_millis(250);

/// Places orders.
pub struct Place {
    gathered: Batcher<Intake>,
}

impl Place {
    /// Through this channel to `order`, gathered like this.
    pub fn new(order: Channel, gathered: Limits) -> Self {
        let intake = Intake {
            client: OrderIntakeServiceClient::new(order.clone()),
            order,
            budget: Budget::default(),
        };
        Self { gathered: Batcher::new(intake, gathered) }
    }

    /// Places one buyer's order of this product: a message as it came, which `order` reads and
    /// judges.
    pub async fn order(
        &self,
        product: Bytes,
        buyer: UserId,
        message: Bytes,
        deadline: Deadline,
    ) -> Result<Told, Refusal> {
        let item = PlaceOrdersItem { user_id: buyer.to_wire(), request: message };
        let placement = Placement { item, deadline };
        let outcome: Outcome<Answer> = self.gathered.submit(product, placement, deadline).await;
        Ok(match outcome.map_err(Refusal::from)? {
            Ok(response) => Told { response: wire::answer_with(&response), fate: Fate::Placed },
            Err(refused) => {
                let response = wire::refused_with(refused.reason, &refused.headers);
                Told { response, fate: Fate::Refused(refused.reason) }
            }
        })
    }

    /// Refuses new orders and waits for those inside.
    pub async fn close(&self, within: Duration) {
        self.gathered.close(within).await;
    }
}

/// What a buyer is told.
pub struct Told {
    pub response: Response,
    fate: Fate,
}

/// What became of an order, as far as it is known here.
enum Fate {
    Placed,
    Refused(Reason),
    /// The answer says it, and nobody has read it.
    Unread,
}

impl Told {
    /// A refusal of our own.
    pub fn refused(refusal: Refusal) -> Self {
        let fate = Fate::Refused(refusal.reason());
        Self { response: wire::refused_because(refusal), fate }
    }

    /// An answer made elsewhere, or a status instead of one.
    pub fn passed_on(answer: Result<Response, Status>) -> Self {
        let response = answer.unwrap_or_else(|status| wire::refused(&status));
        Self { response, fate: Fate::Unread }
    }

    /// Why it is no order. What nobody has read is read now: only who counts orders needs it.
    pub fn reason(&self) -> Option<Reason> {
        match self.fate {
            Fate::Placed => None,
            Fate::Refused(reason) => Some(reason),
            // Who refuses says so before anything else.
            Fate::Unread => Status::from_header_map(self.response.headers())
                .filter(|status| status.code() != Code::Ok)
                .map(|status| reason_of(&status)),
        }
    }
}

fn reason_of(status: &Status) -> Reason {
    Refusal::from_status(status).reason()
}

/// With whom a PlaceOrderRequest travels.
#[derive(Debug, PartialEq, Eq)]
pub enum Company {
    /// With the other buyers of this product, named as the buyer wrote it.
    Product(Bytes),
    /// With nobody.
    Alone,
}

impl Company {
    /// Takes a look at a request; refuses what is too large to travel with others.
    pub fn of(message: &Bytes) -> Result<Self, Refusal> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Refusal::invalid("message", "want at most 4096 bytes"));
        }
        let glance = Glance::decode(message.clone()).map_err(|_| wire::undecodable())?;
        let mut products = glance.lines.into_iter().map(|line| line.product_id);
        let first = products.next().unwrap_or_default();
        Ok(match glance.selection {
            None if products.all(|product| product == first) => Self::Product(first),
            _ => Self::Alone,
        })
    }
}

/// As much of a PlaceOrderRequest as says with whom it travels; pieces of the message itself, and
/// no copies.
#[derive(Clone, PartialEq, prost::Message)]
struct Glance {
    #[prost(message, repeated, tag = "2")]
    lines: Vec<GlanceLine>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    selection: Option<Bytes>,
}

/// As much of a line.
#[derive(Clone, PartialEq, prost::Message)]
struct GlanceLine {
    #[prost(bytes = "bytes", tag = "1")]
    product_id: Bytes,
}

/// One buyer's order on its way.
struct Placement {
    item: PlaceOrdersItem,
    deadline: Deadline,
}

/// In a sold-out rush thousands get the same refusal: its headers are made once for all buyers of
/// a call, not once for each.
type Answer = Result<Bytes, Arc<Refused>>;

/// A refusal as it goes out, and its reason, which nobody should have to read out of it again.
struct Refused {
    reason: Reason,
    headers: HeaderMap,
}

/// The call behind the queue.
#[derive(Clone)]
struct Intake {
    client: OrderIntakeServiceClient<Channel>,
    order: Channel,
    budget: Budget,
}

impl BatchCall for Intake {
    const HOP: &'static str = "edge_to_order";

    /// The product's id, as the buyer wrote it.
    type Key = Bytes;
    type Item = Placement;
    type Answer = Answer;

    async fn call(&self, _product: Bytes, items: Vec<Placement>, mut answers: Answers<Answer>) {
        let latest = items.iter().map(|item| item.deadline).max();
        let deadline = latest.expect("the batcher sends no empty batch");
        // Of batches, as what is withdrawn.
        self.budget.deposit();
        let mut pause_max = PAUSE_FIRST;
        let status = loop {
            let attempt = self.attempt(&items, deadline, &mut answers);
            let ended = tokio::time::timeout_at(deadline.instant(), attempt).await;
            if answers.waiting().is_empty() {
                return;
            }
            let status = match ended {
                Ok(Ok(())) => wire::upstream_unavailable().into(), // it forgot some of them
                Ok(Err(status)) if !deadline.has_passed() => wire::documented(status),
                Ok(Err(_)) | Err(_) => wire::deadline_exceeded().into(),
            };
            let pause = rand::rng().random_range(pause_max / 2..pause_max);
            if status.code() != Code::Unavailable || deadline.left() <= pause {
                break status;
            }
            tokio::time::sleep(pause).await;
            if !self.may_try_again(deadline).await {
                break status;
            }
            METRICS.place_retries.inc();
            pause_max = (pause_max * 2).min(PAUSE_LONGEST);
        };
        let headers = wire::trailers(&status);
        let refused = Arc::new(Refused { reason: reason_of(&status), headers });
        answers.answer_rest(|_| Err(Arc::clone(&refused)));
    }
}

impl Intake {
    /// Whether what failed may be sent again. While `order` is away nothing is sent, and its coming
    /// back is waited for: that spares it more than any budget, and costs none.
    async fn may_try_again(&self, deadline: Deadline) -> bool {
        if self.order.is_ready() {
            return self.budget.withdraw();
        }
        let patience = deadline.left().saturating_sub(TOLD_BEFORE_DEADLINE);
        tokio::time::timeout(patience, self.order.until_ready()).await.is_ok()
    }

    /// Sends what still waits, and hands out the answers as they come.
    async fn attempt(
        &self,
        items: &[Placement],
        deadline: Deadline,
        answers: &mut Answers<Answer>,
    ) -> Result<(), Status> {
        let mut waiting = answers.waiting();
        // At a later attempt some may have given up: nobody would hear their answer.
        waiting.retain(|&place| !items[place].deadline.has_passed());
        if waiting.is_empty() {
            return Err(wire::deadline_exceeded().into());
        }
        let request = PlaceOrdersRequest {
            items: waiting.iter().map(|&place| items[place].item.clone()).collect(),
        };
        let mut client = self.client.clone();
        let mut stream = client.place_orders(deadline.request(request)).await?.into_inner();

        let mut open: Vec<Option<usize>> = waiting.into_iter().map(Some).collect();
        while let Some(response) = stream.message().await? {
            for SharedRefusal { refusal, indexes } in response.refused {
                let refusal = refusal.unwrap_or_else(Refusal::internal);
                let reason = refusal.reason();
                debug_assert_ne!(reason, Reason::Unspecified, "a refusal has a reason");
                let headers = wire::trailers(&refusal.into());
                let refused = Arc::new(Refused { reason, headers });
                for index in indexes {
                    if let Some(place) = take(&mut open, index) {
                        answers.answer(place, Err(Arc::clone(&refused)));
                    }
                }
            }
            for PlacedOrder { index, response } in response.placed {
                if let Some(place) = take(&mut open, index) {
                    answers.answer(place, Ok(response));
                }
            }
        }
        Ok(())
    }
}

/// The item that an answer is about; an answer that is about none is logged.
fn take(open: &mut [Option<usize>], index: u32) -> Option<usize> {
    let place = open.get_mut(index as usize).and_then(Option::take);
    if place.is_none() {
        tracing::error!(index, "an answer of PlaceOrders answers nothing");
    }
    place
}

#[cfg(test)]
mod tests {
    use firstcome_proto::order_v1::{BasketSelection, NewOrderLine, PlaceOrderRequest};

    use super::*;

    fn company(products: &[&str], selection: Option<BasketSelection>) -> Company {
        let line = |product: &&str| NewOrderLine {
            product_id: (*product).into(),
            sku_id: "s".into(),
            quantity: 1,
        };
        let lines = products.iter().map(line).collect();
        let request = PlaceOrderRequest { idempotency_key: "k".into(), lines, selection };
        Company::of(&request.encode_to_vec().into()).unwrap()
    }

    #[test]
    fn only_buyers_of_one_product_travel_together() {
        let with = |product: &'static str| Company::Product(product.into());
        assert_eq!(company(&["a"], None), with("a"));
        assert_eq!(company(&["a", "a"], None), with("a"));
        assert_eq!(company(&[], None), with(""), "order refuses it");
        assert_eq!(company(&["a", "b"], None), Company::Alone);
        let all = BasketSelection { basket: 1, sku_ids: Vec::new() };
        assert_eq!(company(&[], Some(all.clone())), Company::Alone);
        assert_eq!(company(&["a"], Some(all)), Company::Alone);
        assert_eq!(company(&[], Some(BasketSelection::default())), Company::Alone);
    }
}
