//! So many calls of one address, and far fewer to the methods that try passwords. It stands before
//! the token, because checking one costs more than refusing.

use std::{
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use futures::future::Either;
use tower::{Layer, Service};

use super::{Verdict, refuse};
use crate::{address, call::Call, limiter::Limiter, wire::Response};

/// Makes [`AddressLimit`].
#[derive(Clone)]
pub struct AddressLimitLayer {
    /// Every call.
    pub all: Limiter<IpAddr>,
    /// Calls that try a password or a code, or send a mail.
    pub credentials: Limiter<IpAddr>,
}

impl<S> Layer<S> for AddressLimitLayer {
    type Service = AddressLimit<S>;
    fn layer(&self, inner: S) -> AddressLimit<S> {
        AddressLimit { inner, limits: self.clone() }
    }
}

/// Counts by address.
#[derive(Clone)]
pub struct AddressLimit<S> {
    inner: S,
    limits: AddressLimitLayer,
}

impl<S> Service<Call> for AddressLimit<S>
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
        let address = address::counted_as(call.client);
        if let Err(refusal) = self.limits.all.check(&address) {
            return refuse(refusal);
        }
        if call.route.as_ref().is_some_and(|route| route.credentials) {
            if let Err(refusal) = self.limits.credentials.check(&address) {
                return refuse(refusal);
            }
        }
        Either::Right(self.inner.call(call))
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::Reason;

    use super::{super::mock, *};

    #[tokio::test]
    async fn log_ins_run_out_long_before_reads() {
        let layer = AddressLimitLayer {
            all: Limiter::new("1/h burst 5".parse().unwrap(), "address"),
            credentials: Limiter::new("1/h burst 1".parse().unwrap(), "address"),
        };
        let mut service = layer.layer(mock::passes());
        let (log_in, read) =
            ("user.v1.AccountService/LogIn", "inventory.v1.CatalogService/GetProduct");
        let limited = Some(Reason::RateLimited);
        let table = [
            (log_in, None),
            (log_in, limited),
            (read, None),
            (read, None),
            (read, None),
            (read, limited),
        ];
        for (place, (method, reason)) in table.into_iter().enumerate() {
            let answer = service.call(mock::call(method)).await.unwrap();
            assert_eq!(mock::reason(&answer), reason, "call {place}");
        }
        let mut elsewhere = mock::call(log_in);
        elsewhere.client = "192.0.2.2".parse().unwrap();
        assert_eq!(mock::reason(&service.call(elsewhere).await.unwrap()), None);
    }
}
