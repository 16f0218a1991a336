//! The end of the stack: each allowed call goes the way its route says.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use firstcome_mesh::Deadline;
use firstcome_proto::Refusal;
use futures::future::BoxFuture;
use tonic::{Status, metadata::MetadataMap, service::Routes};
use tower::Service;

use crate::{
    forward::Forward,
    layer::authorize::Allowed,
    place::Place,
    route::Kind,
    watch::Watches,
    wire::{self, Response},
};

/// Everything that can answer.
pub struct Ways {
    pub forward: Forward,
    pub place: Place,
    pub watches: Watches,
    /// Health and reflection.
    pub local: Routes,
    /// The longest a unary call may take.
    pub call_deadline: Duration,
}

/// Sends calls on their ways.
#[derive(Clone)]
pub struct Dispatch {
    ways: Arc<Ways>,
}

impl Dispatch {
    /// To these.
    pub fn new(ways: Arc<Ways>) -> Self {
        Self { ways }
    }
}

impl Service<Allowed> for Dispatch {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, allowed: Allowed) -> Self::Future {
        let ways = Arc::clone(&self.ways);
        Box::pin(async move {
            Ok(ways.answer(allowed).await.unwrap_or_else(|status| wire::refused(&status)))
        })
    }
}

impl Ways {
    async fn answer(&self, Allowed { route, call }: Allowed) -> Result<Response, Status> {
        if route.kind == Kind::Local {
            let answer = self.local.clone().call(call.request).await;
            return Ok(answer.unwrap_or_else(|never| match never {}));
        }

        let (mut head, body) = call.request.into_parts();
        let metadata = MetadataMap::from_headers(std::mem::take(&mut head.headers));
        let deadline = Deadline::of(&metadata, self.call_deadline);
        let headers = metadata.into_headers();
        // A caller who sends slowly spends its own time.
        let message = tokio::time::timeout_at(deadline.instant(), wire::read_message(body)).await;
        let message = message.unwrap_or_else(|_| Err(wire::deadline_exceeded()))?;

        let known = call.caller.known();
        match route.kind {
            Kind::Forward(upstream) => {
                let headers = Forward::headers_inward(&headers, known.map(|known| &known.header));
                self.forward.call(&route, upstream, headers, message, deadline).await
            }
            Kind::PlaceOrder => {
                let buyer = known.ok_or_else(Refusal::internal)?.identity.user;
                self.place.order(buyer, wire::decode(message)?, deadline).await
            }
            Kind::WatchStock => Ok(self.watches.watch(wire::decode(message)?)?),
            Kind::Local => unreachable!("answered above"),
        }
    }
}
