//! The edge's gathered placements, answered as they are decided.

use std::{sync::Arc, time::Duration};

use firstcome_mesh::{
    Deadline, Reply,
    batcher::Outcome,
    server::{Streamed, streamed},
};
use firstcome_proto::{
    Reason, Refusal, SharedRefusals, UserId,
    order_v1::{
        PlaceOrderRequest, PlaceOrderResponse, PlaceOrdersItem, PlaceOrdersRequest,
        PlaceOrdersResponse, PlacedOrder, order_intake_service_server::OrderIntakeService,
    },
};
use futures::{StreamExt as _, stream};
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout_at};
use tonic::{Request, Response, Status};

use crate::{
    intake::{Intake, Placed},
    place::{Placement, Wish},
    rpc::order_to_wire,
};

/// Items of one call.
const ITEMS_MAX: usize = 512;
/// No buyer waits longer for a place in the queue.
const PLACE_LONGEST: Duration = Duration::from_secs(10);

/// Takes placements from the edge.
pub struct Service {
    intake: Intake,
    day: Duration,
}

impl Service {
    /// In front of this intake, in a shop with days of this length.
    pub fn new(intake: Intake, day: Duration) -> Self {
        Self { intake, day }
    }
}

#[tonic::async_trait]
impl OrderIntakeService for Service {
    type PlaceOrdersStream = Streamed<PlaceOrdersResponse>;

    async fn place_orders(
        &self,
        request: Request<PlaceOrdersRequest>,
    ) -> Result<Response<Self::PlaceOrdersStream>, Status> {
        let deadline = Deadline::of(request.metadata(), PLACE_LONGEST);
        let items = request.into_inner().items;
        if !(1..=ITEMS_MAX).contains(&items.len()) {
            return Err(Refusal::invalid("items", "want 1 to 512").into());
        }
        let count = items.len();
        let mut refused = SharedRefusals::default();
        let mut waiting = vec![true; count];
        let (reply, answers) = mpsc::unbounded_channel();
        let mut placements = Vec::with_capacity(count);
        for (index, item) in (0..).zip(items) {
            match read(&item) {
                Ok(placement) => placements.push((placement, Reply::Part(index, reply.clone()))),
                Err(refusal) => {
                    waiting[index as usize] = false;
                    refused.add(index, refusal.into());
                }
            }
        }
        drop(reply);
        self.intake.enqueue_all(deadline, placements);
        let open = Open { waiting, answers, deadline, day: self.day };
        streamed(respond(refused, open).boxed()).await
    }
}

fn read(item: &PlaceOrdersItem) -> Result<Placement, Refusal> {
    let user = UserId::from_wire("user_id", &item.user_id)?;
    let request = PlaceOrderRequest::decode(item.request.clone())
        .map_err(|_| Refusal::invalid("message", "the message does not decode"))?;
    match Wish::read(user, &request)? {
        Wish::OneProduct(placement) => Ok(placement),
        // The edge sends these on their own, because they would keep a whole batch waiting.
        Wish::Several(_) => Err(Refusal::invalid("lines", "want lines of one product here")),
    }
}

/// What one call still waits for.
struct Open {
    /// By the item's place.
    waiting: Vec<bool>,
    answers: mpsc::UnboundedReceiver<(u32, Outcome<Placed>)>,
    deadline: Deadline,
    day: Duration,
}

/// First what was refused on sight, then whatever has come in when the client reads on.
fn respond(
    refused: SharedRefusals,
    open: Open,
) -> impl stream::Stream<Item = Result<PlaceOrdersResponse, Status>> + Send {
    let refused = refused.into_wire();
    let first =
        (!refused.is_empty()).then_some(Ok(PlaceOrdersResponse { placed: Vec::new(), refused }));
    let rest = stream::unfold(open, |mut open| async move {
        open.next().await.map(|response| (Ok(response), open))
    });
    stream::iter(first).chain(rest)
}

impl Open {
    /// The answers that have come in; at the deadline, that there are none; at the end, nothing.
    async fn next(&mut self) -> Option<PlaceOrdersResponse> {
        let mut outcomes = Vec::new();
        let received = self.answers.recv_many(&mut outcomes, ITEMS_MAX);
        let (mut placed, mut refused) = (Vec::new(), SharedRefusals::default());
        if timeout_at(self.deadline.instant(), received).await.is_err() {
            self.answers.close();
            let late = Refusal::because(Reason::DeadlineExceeded, "the outcome is not known yet");
            let late = Arc::new(late);
            for (index, waits) in (0..).zip(&mut self.waiting) {
                if std::mem::replace(waits, false) {
                    refused.add(index, Arc::clone(&late));
                }
            }
        }
        for (index, outcome) in outcomes {
            // What came in after the deadline was answered already.
            if !std::mem::replace(&mut self.waiting[index as usize], false) {
                continue;
            }
            match outcome {
                Ok(Ok(order)) => {
                    let response =
                        PlaceOrderResponse { order: Some(order_to_wire(order, self.day)) };
                    placed.push(PlacedOrder { index, response: response.encode_to_vec().into() });
                }
                Ok(Err(refusal)) => refused.add(index, refusal),
                Err(rejected) => refused.add(index, Refusal::from(rejected).into()),
            }
        }
        let refused = refused.into_wire();
        let is_empty = placed.is_empty() && refused.is_empty();
        (!is_empty).then_some(PlaceOrdersResponse { placed, refused })
    }
}
