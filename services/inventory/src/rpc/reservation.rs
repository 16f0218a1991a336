//! ReservationService: many items in, each answered for itself.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use firstcome_mesh::{
    Deadline, Reply,
    batcher::Outcome,
    server::{Streamed, streamed},
};
use firstcome_proto::{
    BuyerId, ProductId, Reason, Refusal, ReservationId, SharedRefusals, SkuId,
    inventory_v1::{
        HoldAnswer, PinRequest, PinResponse, ReleaseCause, ReleaseRequest, ReleaseResponse,
        ReserveItem, ReserveRequest, ReserveResponse, ReservedHold, RestockRequest,
        RestockResponse, SettleRequest, SettleResponse, hold_answer,
        reservation_service_server::ReservationService,
    },
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::{
    error,
    gate::ITEMS_MAX,
    hold::{Command, Line, State, Wish},
    reserve::{Answer, Reservations},
    store::Store,
};

/// Nobody waits longer than this for an admission; a caller's shorter deadline counts.
const RESERVE_DEADLINE: Duration = Duration::from_secs(10);
/// Lines of one item at most.
const LINES_MAX: usize = 10;
/// Units of one line.
const QUANTITY: std::ops::RangeInclusive<i32> = 1..=1000;

/// Serves reservations.
pub struct Reservation {
    /// The way of a wish.
    pub reservations: Reservations,
    /// Where holds live on.
    pub store: Store,
}

#[tonic::async_trait]
impl ReservationService for Reservation {
    type ReserveStream = Streamed<ReserveResponse>;

    async fn reserve(
        &self,
        request: Request<ReserveRequest>,
    ) -> Result<Response<Self::ReserveStream>, Status> {
        let deadline = Deadline::of(request.metadata(), RESERVE_DEADLINE);
        let request = request.into_inner();
        let product = ProductId::from_wire("product_id", &request.product_id)?;
        check_count(request.items.len())?;

        let count = request.items.len();
        let (caller, answers) = mpsc::unbounded_channel::<(u32, Outcome<Answer>)>();
        let mut wishes = Vec::with_capacity(count);
        for (place, item) in (0..).zip(request.items) {
            match wish(item) {
                Ok(wish) => wishes.push((wish, Reply::Part(place, caller.clone()))),
                Err(refusal) => {
                    let refusal = refusal.within(&format!("items[{place}]"));
                    drop(caller.send((place, Ok(Err(refusal.into())))));
                }
            }
        }
        if !wishes.is_empty() {
            self.reservations.queue().enqueue_all(product, deadline, wishes);
        }
        // The channel ends with the last reply, so the stream does too.
        drop(caller);
        let stream = futures::stream::unfold(answers, move |mut answers| async move {
            let mut ready = Vec::with_capacity(count);
            if answers.recv_many(&mut ready, count).await == 0 {
                return None;
            }
            Some((Ok(respond(ready)), answers))
        });
        streamed(Box::pin(stream)).await
    }

    async fn pin(&self, request: Request<PinRequest>) -> Result<Response<PinResponse>, Status> {
        let request = request.into_inner();
        let answers = self.command_all(Command::Pin, &request.product_id, &request.reservation_ids);
        Ok(Response::new(PinResponse { answers: answers.await? }))
    }

    async fn settle(
        &self,
        request: Request<SettleRequest>,
    ) -> Result<Response<SettleResponse>, Status> {
        let request = request.into_inner();
        let answers =
            self.command_all(Command::Settle, &request.product_id, &request.reservation_ids);
        Ok(Response::new(SettleResponse { answers: answers.await? }))
    }

    async fn release(
        &self,
        request: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Status> {
        let request = request.into_inner();
        let mut items = Vec::with_capacity(request.items.len());
        for (place, item) in request.items.iter().enumerate() {
            let command = match item.cause() {
                ReleaseCause::Saga => Command::Release,
                ReleaseCause::Cancel => Command::Cancel,
                ReleaseCause::Expire => Command::Expire,
                ReleaseCause::Undo => Command::Undo,
                ReleaseCause::Unspecified => {
                    let field = format!("items[{place}].cause");
                    return Err(Refusal::invalid(field, "want a cause").into());
                }
            };
            items.push((command, item.reservation_id.clone()));
        }
        let answers = self.command(&request.product_id, items).await?;
        Ok(Response::new(ReleaseResponse { answers }))
    }

    async fn restock(
        &self,
        request: Request<RestockRequest>,
    ) -> Result<Response<RestockResponse>, Status> {
        let request = request.into_inner();
        let answers =
            self.command_all(Command::Restock, &request.product_id, &request.reservation_ids);
        Ok(Response::new(RestockResponse { answers: answers.await? }))
    }
}

impl Reservation {
    async fn command_all(
        &self,
        command: Command,
        product: &[u8],
        ids: &[Bytes],
    ) -> Result<Vec<HoldAnswer>, Status> {
        self.command(product, ids.iter().map(|id| (command, id.clone())).collect()).await
    }

    /// Does each command to its items and answers in the order of the request.
    async fn command(
        &self,
        product: &[u8],
        items: Vec<(Command, Bytes)>,
    ) -> Result<Vec<HoldAnswer>, Status> {
        let product = ProductId::from_wire("product_id", product)?;
        check_count(items.len())?;
        let mut groups: HashMap<Command, Vec<ReservationId>> = HashMap::new();
        let mut wanted = Vec::with_capacity(items.len());
        for (place, (command, id)) in items.into_iter().enumerate() {
            let id = ReservationId::from_wire(&format!("items[{place}].reservation_id"), &id)?;
            groups.entry(command).or_default().push(id);
            wanted.push((command, id));
        }
        let mut states = HashMap::new();
        for (command, ids) in groups {
            let group = self.store.command(command, product, &ids).await;
            let group = group.map_err(|fault| error::database(&fault))?;
            if command == Command::Expire {
                firstcome_mesh::failpoint::hit("inventory.between_expire_and_free");
            }
            firstcome_mesh::failpoint::hit("inventory.between_command_and_answer");
            states.extend(ids.iter().map(|id| ((command, *id), group.get(id).copied())));
        }
        Ok(wanted
            .into_iter()
            .map(|(command, id)| hold_answer(command, states[&(command, id)]))
            .collect())
    }
}

fn check_count(count: usize) -> Result<(), Refusal> {
    if (1..=ITEMS_MAX).contains(&count) {
        return Ok(());
    }
    Err(Refusal::invalid("items", format!("want 1 to {ITEMS_MAX}")))
}

fn wish(item: ReserveItem) -> Result<Wish, Refusal> {
    if item.lines.is_empty() || item.lines.len() > LINES_MAX {
        return Err(Refusal::invalid("lines", format!("want 1 to {LINES_MAX}")));
    }
    let mut lines: Vec<Line> = Vec::with_capacity(item.lines.len());
    for (place, line) in item.lines.iter().enumerate() {
        let sku = SkuId::from_wire("sku_id", &line.sku_id)
            .map_err(|refusal| refusal.within(&format!("lines[{place}]")))?;
        if !QUANTITY.contains(&line.quantity) {
            return Err(Refusal::invalid(format!("lines[{place}].quantity"), "want 1 to 1000"));
        }
        if lines.iter().any(|other| other.sku == sku) {
            return Err(Refusal::invalid(format!("lines[{place}].sku_id"), "want each SKU once"));
        }
        lines.push(Line { sku, quantity: line.quantity });
    }
    let fingerprint = item.fingerprint.as_ref().try_into();
    Ok(Wish {
        reservation: ReservationId::from_wire("reservation_id", &item.reservation_id)?,
        buyer: BuyerId::from_wire("buyer_id", &item.buyer_id)?,
        fingerprint: fingerprint.map_err(|_| Refusal::invalid("fingerprint", "want 16 bytes"))?,
        lines,
    })
}

fn respond(ready: Vec<(u32, Outcome<Answer>)>) -> ReserveResponse {
    let (mut reserved, mut refused) = (Vec::new(), SharedRefusals::default());
    for (index, outcome) in ready {
        match outcome {
            Ok(Ok(hold)) => reserved.push(ReservedHold { index, hold: Some(hold.to_wire()) }),
            Ok(Err(refusal)) => refused.add(index, refusal),
            Err(rejected) => refused.add(index, Refusal::from(rejected).into()),
        }
    }
    ReserveResponse { reserved, refused: refused.into_wire() }
}

fn hold_answer(command: Command, state: Option<State>) -> HoldAnswer {
    let outcome = match state {
        None => hold_answer::Outcome::Refusal(Refusal::not_found("hold")),
        Some(state) if state == command.leads_to() || command.is_done_in(state) => {
            hold_answer::Outcome::State(state.to_wire() as i32)
        }
        Some(state) => hold_answer::Outcome::Refusal(
            Refusal::because(Reason::WrongState, "the hold's state does not allow this")
                .with("state", state),
        ),
    };
    HoldAnswer { outcome: Some(outcome) }
}
