//! An HTTP request becomes a [`Call`]: where it is from, and what it calls. In development, a
//! PlaceOrder is counted from here on.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::{
    address::TrustedProxies,
    call::{Call, Caller},
    route::{Kind, Table},
    tally::Tally,
    wire::Response,
};

/// Makes [`Admit`] for one connection.
#[derive(Clone)]
pub struct AdmitLayer {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Who may say that the client is somebody else.
    pub proxies: TrustedProxies,
    /// What can be called.
    pub table: Table,
    /// Where orders are counted; in development only.
    pub tally: Option<Arc<Tally>>,
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;
    fn layer(&self, inner: S) -> Admit<S> {
        Admit { inner, known: self.clone() }
    }
}

/// Makes calls of requests.
#[derive(Clone)]
pub struct Admit<S> {
    inner: S,
    known: AdmitLayer,
}

impl<S> Service<Request<Body>> for Admit<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let client = self.known.proxies.client(self.known.peer, request.headers());
        let route = self.known.table.find(request.uri().path()).map(Arc::clone);
        let is_order = route.as_ref().is_some_and(|route| route.kind == Kind::PlaceOrder);
        let counted = self.known.tally.as_ref().filter(|_| is_order).map(Tally::begin);
        self.inner.call(Call { request, client, route, caller: Caller::Anonymous, counted })
    }
}
