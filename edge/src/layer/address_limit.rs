//! So many calls of one address, and far fewer to the methods that try passwords or send mails. It
//! stands before the token, because checking one costs more than refusing.

use std::{
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use futures::future::Either;
use tower::{Layer, Service};

use super::{Verdict, refuse_call};
use crate::{address, call::Call, limiter::Limits, wire::Response};

/// Makes [`AddressLimit`].
#[derive(Clone)]
pub struct AddressLimitLayer {
    /// What each address may do.
    pub limits: Limits<IpAddr>,
}

impl<S> Layer<S> for AddressLimitLayer {
    type Service = AddressLimit<S>;
    fn layer(&self, inner: S) -> AddressLimit<S> {
        AddressLimit { inner, limits: self.limits.clone() }
    }
}

/// Counts by address.
#[derive(Clone)]
pub struct AddressLimit<S> {
    inner: S,
    limits: Limits<IpAddr>,
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
        let classes = call.route.as_ref().map_or(&[][..], |route| route.classes);
        if let Err(refusal) = self.limits.check(&address, classes) {
            return refuse_call(call, refusal);
        }
        Either::Right(self.inner.call(call))
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::Reason;

    use super::{super::mock, *};
    use crate::route::Class;

    #[tokio::test]
    async fn mails_run_out_before_log_ins_and_both_long_before_reads() {
        let layer = AddressLimitLayer {
            limits: Limits::new(
                "address",
                "1/h burst 8".parse().unwrap(),
                [
                    (Class::Credentials, "1/h burst 3".parse().unwrap()),
                    (Class::Mail, "1/h burst 1".parse().unwrap()),
                ],
            ),
        };
        let mut service = layer.layer(mock::passes());
        let (sign_up, log_in, read) = (
            "user.v1.AccountService/SignUp",
            "user.v1.AccountService/LogIn",
            "inventory.v1.CatalogService/GetProduct",
        );
        let limited = Some(Reason::RateLimited);
        let table = [
            (sign_up, None),
            (sign_up, limited), // it has counted as a try all the same
            (log_in, None),
            (log_in, limited),
            (read, None),
            (read, None),
            (read, None),
            (read, None),
            (read, limited),
        ];
        for (place, (method, reason)) in table.into_iter().enumerate() {
            let answer = service.call(mock::call(method)).await.unwrap();
            assert_eq!(mock::reason(&answer), reason, "call {place}");
        }
        let mut elsewhere = mock::call(sign_up);
        elsewhere.client = "192.0.2.2".parse().unwrap();
        assert_eq!(mock::reason(&service.call(elsewhere).await.unwrap()), None);
    }
}
