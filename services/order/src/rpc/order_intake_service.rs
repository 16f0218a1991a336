//! The edge's gathered placements, answered as they are decided.

use std::time::Duration;

use firstcome_mesh::{Deadline, Reply, batcher::Outcome};
use firstcome_proto::{
    Reason, Refusal, UserId,
    order_v1::{
        PlaceOrdersAnswer, PlaceOrdersItem, PlaceOrdersRequest, PlaceOrdersResponse,
        order_intake_service_server::OrderIntakeService, place_orders_answer,
    },
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::{sync::mpsc, time::timeout_at};
use tonic::{Request, Response, Status};

use crate::{
    intake::{Intake, Placed},
    place::Placement,
    rpc::order_to_wire,
};

/// Items of one call.
const ITEMS_MAX: usize = 512;
/// No buyer waits longer for a place in the queue.
const PLACE_LONGEST: Duration = Duration::from_secs(10);

/// Takes placements from the edge.
pub struct Service {
    intake: Intake,
}

impl Service {
    /// In front of this intake.
    pub fn new(intake: Intake) -> Self {
        Self { intake }
    }
}

#[tonic::async_trait]
impl OrderIntakeService for Service {
    type PlaceOrdersStream = BoxStream<'static, Result<PlaceOrdersResponse, Status>>;

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
        let mut refused = Vec::new();
        let (reply, answers) = mpsc::unbounded_channel();
        for (index, item) in (0..).zip(items) {
            match read(&item) {
                Ok(placement) => {
                    let reply = Reply::Part(index, reply.clone());
                    self.intake.enqueue(placement, deadline, reply);
                }
                Err(refusal) => refused.push(answer(index, Err(refusal))),
            }
        }
        let open = Open { waiting: vec![true; count], answers, deadline };
        Ok(Response::new(respond(refused, open).boxed()))
    }
}

fn read(item: &PlaceOrdersItem) -> Result<Placement, Refusal> {
    let user = UserId::from_wire("user_id", &item.user_id)?;
    let request =
        item.request.as_ref().ok_or_else(|| Refusal::invalid("request", "want a request"))?;
    Placement::read(user, request)
}

/// What one call still waits for.
struct Open {
    /// By the item's place.
    waiting: Vec<bool>,
    answers: mpsc::UnboundedReceiver<(u32, Outcome<Placed>)>,
    deadline: Deadline,
}

/// First what was refused on sight, then whatever has come in when the client reads on.
fn respond(
    refused: Vec<PlaceOrdersAnswer>,
    mut open: Open,
) -> impl stream::Stream<Item = Result<PlaceOrdersResponse, Status>> + Send {
    for answer in &refused {
        open.waiting[answer.index as usize] = false;
    }
    let first = (!refused.is_empty()).then_some(Ok(PlaceOrdersResponse { answers: refused }));
    let rest = stream::unfold(open, |mut open| async move {
        let answers = open.next().await;
        (!answers.is_empty()).then_some((Ok(PlaceOrdersResponse { answers }), open))
    });
    stream::iter(first).chain(rest)
}

impl Open {
    /// The answers that have come in; at the deadline, that there are none; at the end, nothing.
    async fn next(&mut self) -> Vec<PlaceOrdersAnswer> {
        let mut outcomes = Vec::new();
        let received = self.answers.recv_many(&mut outcomes, ITEMS_MAX);
        if timeout_at(self.deadline.instant(), received).await.is_err() {
            self.answers.close();
            let late = Refusal::because(Reason::DeadlineExceeded, "the outcome is not known yet");
            let waiting = (0..).zip(&mut self.waiting).filter(|(_, waits)| **waits);
            return waiting
                .map(|(index, waits)| {
                    *waits = false;
                    answer(index, Err(late.clone()))
                })
                .collect();
        }
        let answers = outcomes.into_iter().filter_map(|(index, outcome)| {
            // What came in after the deadline was answered already.
            let waits = std::mem::replace(&mut self.waiting[index as usize], false);
            waits.then(|| answer(index, outcome.unwrap_or_else(|rejected| Err(rejected.into()))))
        });
        answers.collect()
    }
}

fn answer(index: u32, placed: Placed) -> PlaceOrdersAnswer {
    let outcome = match placed {
        Ok(order) => place_orders_answer::Outcome::Order(order_to_wire(order)),
        Err(refusal) => place_orders_answer::Outcome::Refusal(refusal),
    };
    PlaceOrdersAnswer { index, outcome: Some(outcome) }
}
