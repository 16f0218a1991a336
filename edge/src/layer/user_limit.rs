//! So many calls of one user, from however many addresses, and far fewer that try the user's own
//! password: a thief with a token must not find it. In development a load generator's user
//! may be left uncounted.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use firstcome_proto::UserId;
use futures::future::Either;
use tower::{Layer, Service};

use super::{Verdict, refuse_call};
use crate::{call::Call, limiter::Limits, wire::Response};

/// Makes [`UserLimit`].
#[derive(Clone)]
pub struct UserLimitLayer {
    /// What each user may do.
    pub limits: Limits<UserId>,
    /// Whom nobody counts.
    pub exempt: Arc<HashSet<UserId>>,
}

impl<S> Layer<S> for UserLimitLayer {
    type Service = UserLimit<S>;
    fn layer(&self, inner: S) -> UserLimit<S> {
        UserLimit { inner, layer: self.clone() }
    }
}

/// Counts by user.
#[derive(Clone)]
pub struct UserLimit<S> {
    inner: S,
    layer: UserLimitLayer,
}

impl<S> Service<Call> for UserLimit<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Verdict<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let UserLimitLayer { limits, exempt } = &self.layer;
        let user = call.caller.known().map(|verified| verified.identity.user);
        if let Some(user) = user.filter(|user| !exempt.contains(user)) {
            let classes = call.route.as_ref().map_or(&[][..], |route| route.classes);
            if let Err(refusal) = limits.check(&user, classes) {
                return refuse_call(call, refusal);
            }
        }
        Either::Right(self.inner.call(call))
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::{Reason, access::Role};
    use uuid::Uuid;

    use super::{super::mock, *};
    use crate::route::Class;

    #[tokio::test]
    async fn a_user_is_counted_and_neither_a_stranger_nor_an_exempt_user_is() {
        let limits = Limits::new("user", "1/h burst 2".parse().unwrap(), []);
        let exempt = Arc::new(HashSet::from([UserId(Uuid::from_u128(9))]));
        let mut service = UserLimitLayer { limits, exempt }.layer(mock::passes());
        let limited = Some(Reason::RateLimited);
        let table = [
            (Some(1), None),
            (Some(1), None),
            (Some(1), limited),
            (Some(2), None),
            (Some(9), None),
            (Some(9), None),
            (Some(9), None),
            (None, None),
            (None, None),
            (None, None),
        ];
        for (place, (user, reason)) in table.into_iter().enumerate() {
            let mut call = mock::call("order.v1.OrderService/GetOrder");
            if let Some(user) = user {
                call.caller = mock::caller(user, Role::User);
            }
            let answer = service.call(call).await.unwrap();
            assert_eq!(mock::reason(&answer), reason, "call {place}");
        }
    }

    #[tokio::test]
    async fn passwords_run_out_long_before_reads() {
        let strict = [(Class::OwnPassword, "1/h burst 2".parse().unwrap())];
        let limits = Limits::new("user", "1/h burst 9".parse().unwrap(), strict);
        let mut service = UserLimitLayer { limits, exempt: Arc::default() }.layer(mock::passes());
        let (change, delete, read) = (
            "user.v1.AccountService/ChangePassword",
            "user.v1.ProfileService/DeleteAccount",
            "order.v1.OrderService/GetOrder",
        );
        let limited = Some(Reason::RateLimited);
        let table =
            [(change, None), (delete, None), (change, limited), (delete, limited), (read, None)];
        for (place, (method, reason)) in table.into_iter().enumerate() {
            let mut call = mock::call(method);
            call.caller = mock::caller(1, Role::User);
            let answer = service.call(call).await.unwrap();
            assert_eq!(mock::reason(&answer), reason, "call {place}");
        }
    }
}
