//! Who calls: the token, if there is one. It decides nothing; that is for [`super::authorize`].

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{BoxFuture, Either};
use tower::{Layer, Service};

use crate::{
    call::{Call, Caller},
    token::{Verified, Verifier},
    wire::Response,
};

/// Makes [`Authenticate`].
#[derive(Clone)]
pub struct AuthenticateLayer {
    /// What tokens are checked with.
    pub verifier: Verifier,
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;
    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate { inner, verifier: self.verifier.clone() }
    }
}

/// Reads tokens.
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    verifier: Verifier,
}

impl<S> Service<Call> for Authenticate<S>
where
    S: Service<Call, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let recalled = match Verifier::token_of(call.request.headers()) {
            None => return Either::Left(self.inner.call(call)),
            Some(Err(refusal)) => Err(refusal),
            Some(Ok(token)) => match self.verifier.recall(token) {
                Some(recalled) => recalled,
                None => {
                    let token = token.to_owned();
                    let (verifier, mut inner) = (self.verifier.clone(), self.inner.clone());
                    return Either::Right(Box::pin(async move {
                        call.caller = caller(verifier.verify(&token).await);
                        inner.call(call).await
                    }));
                }
            },
        };
        call.caller = caller(recalled);
        Either::Left(self.inner.call(call))
    }
}

fn caller(verified: Result<Arc<Verified>, firstcome_proto::Refusal>) -> Caller {
    match verified {
        Ok(verified) => Caller::Known(verified),
        Err(refusal) => Caller::Rejected(Box::new(refusal)),
    }
}
