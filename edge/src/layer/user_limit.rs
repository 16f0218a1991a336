//! So many calls of one user, from however many addresses.

use std::{
    convert::Infallible,
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
}

impl<S> Layer<S> for UserLimitLayer {
    type Service = UserLimit<S>;
    fn layer(&self, inner: S) -> UserLimit<S> {
        UserLimit { inner, limiter: self.limiter.clone() }
    }
}

/// Counts by user.
#[derive(Clone)]
pub struct UserLimit<S> {
    inner: S,
    limiter: Limiter<UserId>,
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
        if let Some(verified) = call.caller.known() {
            if let Err(refusal) = self.limiter.check(&verified.identity.user) {
                return refuse(refusal);
            }
        }
        Either::Right(self.inner.call(call))
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::{Reason, access::Role};

    use super::{super::mock, *};

    #[tokio::test]
    async fn a_user_is_counted_and_a_stranger_is_not() {
        let limiter = Limiter::new("1/h burst 2".parse().unwrap(), "user");
        let mut service = UserLimitLayer { limiter }.layer(mock::passes());
        let limited = Some(Reason::RateLimited);
        let table = [
            (Some(1), None),
            (Some(1), None),
            (Some(1), limited),
            (Some(2), None),
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
