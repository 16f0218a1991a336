//! The end of the stack: each allowed call goes the way its route says.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use firstcome_mesh::{Deadline, Shutdown};
use firstcome_proto::{Reason, Refusal, edge_v1::GetMyPageRequest};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request};
use prost::Message as _;
use tonic::{Status, body::Body, metadata::MetadataMap, service::Routes};
use tower::Service;

use crate::{
    call::Call,
    forward::Forward,
    layer::authorize::Allowed,
    living::while_living,
    my_page,
    place::{Company, Place, Told},
    route::{Kind, Route, Upstream},
    rush::RushView,
    token::revocations::Revocations,
    watch::Watches,
    wire::{self, Response},
};

/// Everything that can answer.
pub struct Ways {
    pub forward: Forward,
    pub place: Place,
    pub watches: Watches,
    /// In development only.
    pub rush: Option<RushView>,
    /// For streams that outlast a look at their token.
    pub revocations: Revocations,
    /// Ends them.
    pub shutdown: Shutdown,
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

    fn call(&mut self, Allowed { route, call }: Allowed) -> Self::Future {
        let ways = Arc::clone(&self.ways);
        let answer = |answer: Result<Response, Status>| {
            Ok(answer.unwrap_or_else(|status| wire::refused(&status)))
        };
        // Each way is a future of its own: in a rush, a PlaceOrder should not carry around the room
        // that a forwarded stream would need.
        match route.kind {
            Kind::PlaceOrder => Box::pin(async move { Ok(ways.place_order(&route, call).await) }),
            Kind::WatchStock => Box::pin(async move { answer(ways.watch_stock(call).await) }),
            Kind::Forward(upstream) => {
                Box::pin(async move { answer(ways.forward(&route, upstream, call).await) })
            }
            Kind::WatchRush => Box::pin(async move { answer(ways.watch_rush(call).await) }),
            Kind::MyPage => Box::pin(async move { answer(ways.my_page(call).await) }),
            Kind::Local => Box::pin(async move { ways.local.clone().call(call.request).await }),
        }
    }
}

impl Ways {
    async fn place_order(&self, route: &Route, mut call: Call) -> Response {
        let counted = call.counted.take();
        let told = self.order(route, call).await.unwrap_or_else(Told::refused);
        if let Some(counted) = counted {
            counted.answered(told.reason());
        }
        told.response
    }

    async fn order(&self, route: &Route, call: Call) -> Result<Told, Refusal> {
        let known = call.caller.known().ok_or_else(Refusal::internal)?;
        let buyer = known.identity.user;
        let asked = self.read(call.request).await?;
        let message = wire::body(&asked.message);
        match Company::of(&message)? {
            Company::Product(product) => {
                self.place.order(product, buyer, message, asked.deadline).await
            }
            Company::Alone => {
                // A future of its own, for the room that a forwarded stream would need.
                let header = Some(&known.header);
                let answer = self.pass_on(route, Upstream::Order, header, None, asked);
                Ok(Told::passed_on(Box::pin(answer).await))
            }
        }
    }

    async fn watch_stock(&self, call: Call) -> Result<Response, Status> {
        let Asked { message, .. } = self.read(call.request).await?;
        Ok(self.watches.watch(wire::decode(&message)?)?)
    }

    async fn watch_rush(&self, call: Call) -> Result<Response, Status> {
        let Asked { message, .. } = self.read(call.request).await?;
        let rush = self
            .rush
            .as_ref()
            .ok_or_else(|| Refusal::because(Reason::NoSuchMethod, "no such method is reachable"))?;
        Ok(rush.watch(wire::decode(&message)?)?)
    }

    async fn forward(
        &self,
        route: &Route,
        upstream: Upstream,
        call: Call,
    ) -> Result<Response, Status> {
        let asked = self.read(call.request).await?;
        let known = call.caller.known();
        let identity = known.map(|known| &known.header);
        // Who keeps accounts tells their owners from where they were used, and counts who tries.
        let client = (upstream == Upstream::User).then_some(call.client);
        let response = self.pass_on(route, upstream, identity, client, asked).await?;
        Ok(match known.filter(|_| route.streaming) {
            Some(known) => {
                let (session, revocations) = (known.identity.session, self.revocations.clone());
                let shutdown = self.shutdown.clone();
                response.map(|body| while_living(body, revocations, session, shutdown))
            }
            None => response,
        })
    }

    async fn my_page(&self, call: Call) -> Result<Response, Status> {
        let asked = self.read(call.request).await?;
        let GetMyPageRequest {} = wire::decode(&asked.message)?;
        let identity = call.caller.known().map(|known| &known.header);
        let headers = Forward::headers_inward(&asked.headers, identity, None);
        let page = my_page::gather(&self.forward, &headers, asked.deadline).await?;
        Ok(wire::answer_with(&page.encode_to_vec()))
    }

    async fn pass_on(
        &self,
        route: &Route,
        upstream: Upstream,
        identity: Option<&HeaderValue>,
        client: Option<IpAddr>,
        Asked { headers, message, deadline }: Asked,
    ) -> Result<Response, Status> {
        let headers = Forward::headers_inward(&headers, identity, client);
        self.forward.call(route, upstream, headers, message, deadline).await
    }

    /// Reads what was asked.
    async fn read(&self, request: Request<Body>) -> Result<Asked, Refusal> {
        let (mut head, body) = request.into_parts();
        let metadata = MetadataMap::from_headers(std::mem::take(&mut head.headers));
        let deadline = Deadline::of(&metadata, self.call_deadline);
        drop(head);
        // A caller who sends slowly spends its own time.
        let message = tokio::time::timeout_at(deadline.instant(), wire::read_message(body)).await;
        let message = message.unwrap_or_else(|_| Err(wire::deadline_exceeded()))?;
        Ok(Asked { headers: metadata.into_headers(), message, deadline })
    }
}

/// What a caller asked, read to its end.
struct Asked {
    headers: HeaderMap,
    /// With its prefix.
    message: Bytes,
    deadline: Deadline,
}
