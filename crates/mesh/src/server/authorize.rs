//! Who may call what, by the name in the caller's certificate. What every call pays for it is one
//! look at its connection and one at a table.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use firstcome_proto::{
    Reason, Refusal,
    access::{self, Peer, peer},
};
use futures::future::Either;
use http::{HeaderName, Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{incoming::Caller, is_for_all};
use crate::identity;

/// What only the edge knows of a caller.
const FROM_THE_EDGE: [HeaderName; 2] =
    [HeaderName::from_static(identity::HEADER), HeaderName::from_static(identity::CLIENT_ADDRESS)];

/// The layer in front of all routes.
#[derive(Clone)]
pub struct AuthorizeLayer {
    /// None where connections carry no names.
    callers: Option<Arc<Callers>>,
}

impl AuthorizeLayer {
    /// Checks by the contract's word who may call what.
    pub fn by_contract() -> Self {
        Self { callers: Some(Arc::new(Callers::read())) }
    }

    /// Lets everybody pass: a mesh without certificates, on loopback.
    pub fn in_the_clear() -> Self {
        Self { callers: None }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize { inner, callers: self.callers.clone() }
    }
}

/// See [`AuthorizeLayer`].
#[derive(Clone)]
pub struct Authorize<S> {
    inner: S,
    callers: Option<Arc<Callers>>,
}

impl<S> Service<Request<Body>> for Authorize<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let allowed = self.callers.as_ref().map_or(Ok(()), |callers| callers.check(&request));
        match allowed {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(status) => Either::Left(ready(Ok(status.into_http()))),
        }
    }
}

/// The one peer that may call each method of the contract, by path.
struct Callers(HashMap<String, Peer>);

impl Callers {
    fn read() -> Self {
        let contract = access::descriptor_pool();
        let methods = contract.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let caller = |method| Some((access::path_of(&method), peer::caller_of(&method)?));
        Self(methods.filter_map(caller).collect())
    }

    fn check(&self, request: &Request<Body>) -> Result<(), Status> {
        let caller = request.extensions().get::<Caller>().and_then(|caller| caller.0);
        // Only the edge has seen a buyer's token: from any other mouth an identity is a lie.
        let tells = |name| request.headers().contains_key(name);
        if caller != Some(Peer::Edge) && FROM_THE_EDGE.iter().any(tells) {
            return Err(refused(caller, request, "an identity is the edge's to tell"));
        }
        let path = request.uri().path();
        let allowed = match self.0.get(path) {
            Some(peer) => caller == Some(*peer),
            None => is_for_all(path),
        };
        if allowed {
            Ok(())
        } else {
            Err(refused(caller, request, "this method is not yours to call"))
        }
    }
}

fn refused(caller: Option<Peer>, request: &Request<Body>, why: &'static str) -> Status {
    let caller = caller.map_or("somebody unknown", Peer::name);
    tracing::warn!(caller, path = request.uri().path(), why, "refuse a call");
    Refusal::because(Reason::PermissionDenied, why).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is the specification: who is let through, and whose word on a buyer is taken.
    #[test]
    fn a_method_has_one_caller_and_identities_come_from_the_edge() {
        let everybody: Vec<_> = Peer::ALL.map(Some).into_iter().chain([None]).collect();
        let table: [(&str, &[Option<Peer>]); 13] = [
            ("/firstcome.user.v1.AccountService/LogIn", &[Some(Peer::Edge)]),
            ("/firstcome.user.v1.TokenKeyService/ListTokenKeys", &[Some(Peer::Edge)]),
            ("/firstcome.inventory.v1.CatalogService/CreateProduct", &[Some(Peer::Edge)]),
            ("/firstcome.order.v1.OrderIntakeService/PlaceOrders", &[Some(Peer::Edge)]),
            ("/firstcome.payment.v1.PaymentService/GetPayment", &[Some(Peer::Edge)]),
            ("/firstcome.inventory.v1.ReservationService/Reserve", &[Some(Peer::Order)]),
            ("/firstcome.payment.v1.ChargeService/Capture", &[Some(Peer::Order)]),
            ("/firstcome.user.v1.RevocationService/ListRevocations", &[Some(Peer::Edge)]),
            ("/firstcome.user.v1.AddressBookService/GetAddress", &[Some(Peer::Order)]),
            ("/firstcome.payment.v1.ChargeService/NoSuchMethod", &[]),
            ("/grpc.health.v1.Healthy/Check", &[]),
            ("/grpc.health.v1.Health/Check", &everybody),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &everybody),
        ];
        let callers = Callers::read();
        for (path, allowed) in table {
            for caller in &everybody {
                for told in [None, Some(identity::HEADER), Some(identity::CLIENT_ADDRESS)] {
                    let mut request = Request::new(Body::empty());
                    *request.uri_mut() = path.parse().unwrap();
                    request.extensions_mut().insert(Caller(*caller));
                    if let Some(name) = told {
                        request.headers_mut().insert(name, "AA".parse().unwrap());
                    }
                    let believed = told.is_none() || *caller == Some(Peer::Edge);
                    let want = believed && allowed.contains(caller);
                    let have = callers.check(&request).is_ok();
                    assert_eq!(have, want, "{path} {caller:?} {told:?}");
                }
            }
        }
    }
}
