//! The layers, one thing each, one file each. [`crate::stack`] puts them in order.
//!
//! Each is always ready and most decide at once, so a call that passes them all has allocated
//! nothing for any of them.

use std::{convert::Infallible, future::Ready};

use firstcome_proto::Refusal;
use futures::future::Either;

use crate::{
    call::Call,
    wire::{self, Response},
};

pub mod trace;

pub mod catch_panic;
pub mod declared_size;

pub mod admit;

pub mod address_limit;
pub mod authenticate;
pub mod authorize;
pub mod user_limit;

/// Refused at once, or whatever the inner service does.
pub type Verdict<F> = Either<Ready<Result<Response, Infallible>>, F>;

/// The verdict of a layer that refuses.
pub fn refuse<F>(refusal: Refusal) -> Verdict<F> {
    Either::Left(std::future::ready(Ok(wire::refused_because(refusal))))
}

/// The same, of a call that may be counted.
pub fn refuse_call<F>(call: Call, refusal: Refusal) -> Verdict<F> {
    if let Some(counted) = call.counted {
        counted.answered(Some(refusal.reason()));
    }
    refuse(refusal)
}

/// A mock pair for the layers' tests: what is asked, and an inner service that says "passed".
#[cfg(test)]
pub(crate) mod mock {
    use std::{convert::Infallible, future::Ready, sync::Arc};

    use firstcome_mesh::Identity;
    use firstcome_proto::{
        Reason, Refusal, SessionId, UserId,
        access::{Access, Role, descriptor_pool},
    };
    use http::{HeaderMap, Request};
    use tonic::{Status, body::Body};
    use tower::{Service, service_fn};
    use uuid::Uuid;

    use crate::{
        call::{Call, Caller},
        route::{Route, Table},
        token::Verified,
        wire::Response,
    };

    pub fn route(method: &str) -> Arc<Route> {
        let table = Table::read(&descriptor_pool(), false).expect("the contract is whole");
        Arc::clone(table.find(&format!("/firstcome.{method}")).expect(method))
    }

    pub fn call(method: &str) -> Call {
        Call {
            request: Request::new(Body::empty()),
            client: "192.0.2.1".parse().expect("an address"),
            route: Some(route(method)),
            caller: Caller::Anonymous,
            counted: None,
        }
    }

    /// A caller with a role; each number is another user.
    pub fn caller(user: u128, role: Role) -> Caller {
        let session = SessionId(Uuid::from_u128(user));
        let identity = Identity { user: UserId(Uuid::from_u128(user)), session, role };
        Caller::Known(Arc::new(Verified::new(identity, u64::MAX)))
    }

    /// Passes everything.
    pub fn passes<Asked: Send + 'static>()
    -> impl Service<Asked, Response = Response, Error = Infallible, Future = Passed> + Clone {
        service_fn(|_: Asked| std::future::ready(Ok(Response::new(Body::empty()))))
    }

    pub type Passed = Ready<Result<Response, Infallible>>;

    /// `None` when the call passed.
    pub fn reason(response: &Response) -> Option<Reason> {
        status(response.headers()).map(|status| Refusal::from_status(&status).reason())
    }

    fn status(headers: &HeaderMap) -> Option<Status> {
        headers.contains_key("grpc-status").then(|| Status::from_header_map(headers)).flatten()
    }

    #[test]
    fn the_mock_route_is_real() {
        assert_eq!(route("order.v1.OrderService/PlaceOrder").access, Access::User);
    }
}
