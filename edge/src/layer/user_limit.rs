//! So many calls of one user, from however many addresses. In development a load generator's user
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

use super::{Verdict, refuse};
use crate::{call::Call, limiter::Limiter, wire::Response};

/// Makes [`UserLimit`].
#[derive(Clone)]
pub struct UserLimitLayer {
    /// Every call with an identity.
    pub limiter: Limiter<UserId>,
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
        let UserLimitLayer { limiter, exempt } = &self.layer;
        let user = call.caller.known().map(|verified| verified.identity.user);
        if let Some(user) = user.filter(|user| !exempt.contains(user)) {
            if let Err(refusal) = limiter.check(&user) {
                return refuse(refusal);
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

    #[tokio::test]
    async fn a_user_is_counted_and_neither_a_stranger_nor_an_exempt_user_is() {
        let limiter = Limiter::new("1/h burst 2".parse().unwrap(), "user");
        let exempt = Arc::new(HashSet::from([UserId(Uuid::from_u128(9))]));
        let mut service = UserLimitLayer { limiter, exempt }.layer(mock::passes());
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
}
