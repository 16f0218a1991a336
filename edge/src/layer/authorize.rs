//! Who may call what, as the contract says on each method.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use firstcome_proto::{
    Reason, Refusal,
    access::{Access, Role},
};
use futures::future::Either;
use tower::{Layer, Service};

use super::{Verdict, refuse, refuse_call};
use crate::{
    call::{Call, Caller},
    route::Route,
    token,
    wire::Response,
};

/// A call that may be made.
pub struct Allowed {
    pub route: Arc<Route>,
    pub call: Call,
}

/// Makes [`Authorize`].
#[derive(Clone)]
pub struct AuthorizeLayer;

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;
    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize { inner }
    }
}

/// Lets through what the access option allows.
#[derive(Clone)]
pub struct Authorize<S> {
    inner: S,
}

impl<S> Service<Call> for Authorize<S>
where
    S: Service<Allowed, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Verdict<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        // An internal method has no route: it is refused as one that was never there.
        let Some(route) = call.route.take() else {
            return refuse(Refusal::because(Reason::NoSuchMethod, "no such method is reachable"));
        };
        match may_call(route.access, &call.caller) {
            Ok(()) => Either::Right(self.inner.call(Allowed { route, call })),
            Err(refusal) => refuse_call(call, refusal),
        }
    }
}

fn may_call(access: Access, caller: &Caller) -> Result<(), Refusal> {
    match (access, caller) {
        // Whoever shops with an ended token still sees the shop. The table holds what is for
        // development where that is.
        (Access::Public | Access::Development, _) => Ok(()),
        (Access::User, Caller::Known(_)) => Ok(()),
        (Access::Admin, Caller::Known(known)) if known.identity.role == Role::Admin => Ok(()),
        (Access::Admin, Caller::Known(_)) => {
            Err(Refusal::because(Reason::PermissionDenied, "this takes an admin"))
        }
        (Access::User | Access::Admin, Caller::Rejected(refusal)) => Err((**refusal).clone()),
        (Access::User | Access::Admin, Caller::Anonymous) => {
            Err(token::invalid("this takes an access token"))
        }
        // The table holds no such route; if it ever did, nobody may.
        (Access::Internal | Access::Unspecified, _) => {
            Err(Refusal::because(Reason::NoSuchMethod, "no such method is reachable"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::mock, *};

    #[tokio::test]
    async fn without_an_identity_only_public_methods_pass() {
        let table = [
            ("inventory.v1.CatalogService/GetProduct", None),
            ("order.v1.OrderService/GetOrder", Some(Reason::TokenInvalid)),
            ("inventory.v1.CatalogService/CreateProduct", Some(Reason::TokenInvalid)),
        ];
        let mut service = AuthorizeLayer.layer(mock::passes());
        for (method, reason) in table {
            let answer = service.call(mock::call(method)).await.unwrap();
            assert_eq!(mock::reason(&answer), reason, "{method}");

            let mut ended = mock::call(method);
            let refusal = Refusal::because(Reason::TokenExpired, "");
            ended.caller = Caller::Rejected(Box::new(refusal));
            let answer = service.call(ended).await.unwrap();
            assert_eq!(mock::reason(&answer), reason.map(|_| Reason::TokenExpired), "{method}");
        }
        let mut nowhere = mock::call("order.v1.OrderService/GetOrder");
        nowhere.route = None;
        let answer = service.call(nowhere).await.unwrap();
        assert_eq!(mock::reason(&answer), Some(Reason::NoSuchMethod));
    }

    #[tokio::test]
    async fn an_admin_method_takes_an_admin_and_nobody_less() {
        let (read, admin) =
            ("order.v1.OrderService/GetOrder", "inventory.v1.CatalogService/CreateProduct");
        let denied = Some(Reason::PermissionDenied);
        let table = [
            (read, Role::User, None),
            (read, Role::Admin, None),
            (admin, Role::User, denied),
            (admin, Role::Unspecified, denied),
            (admin, Role::Admin, None),
        ];
        let mut service = AuthorizeLayer.layer(mock::passes());
        for (method, role, reason) in table {
            let mut call = mock::call(method);
            call.caller = mock::caller(1, role);
            let answer = service.call(call).await.unwrap();
            assert_eq!(mock::reason(&answer), reason, "{method} {role:?}");
        }
    }
}
