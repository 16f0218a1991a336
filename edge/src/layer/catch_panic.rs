//! A panic is one call's fault, not its connection's: the caller gets INTERNAL, the log the place.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use firstcome_proto::Refusal;
use futures::{
    FutureExt as _,
    future::{CatchUnwind, Either, Map},
};
use tower::{Layer, Service};

use super::{Verdict, refuse};
use crate::wire::{self, Response};

type Payload = Box<dyn Any + Send>;
type Answered = Result<Response, Infallible>;

/// Makes [`CatchPanic`].
#[derive(Clone)]
pub struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;
    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

/// Answers for a service that panics.
#[derive(Clone)]
pub struct CatchPanic<S> {
    inner: S,
}

impl<S, Asked> Service<Asked> for CatchPanic<S>
where
    S: Service<Asked, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Verdict<
        Map<CatchUnwind<AssertUnwindSafe<S::Future>>, fn(Result<Answered, Payload>) -> Answered>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> Self::Future {
        // The inner services keep no state that a panic could leave half done.
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(asked))) {
            Ok(future) => {
                Either::Right(AssertUnwindSafe(future).catch_unwind().map(answered as fn(_) -> _))
            }
            Err(_) => refuse(fault()),
        }
    }
}

fn answered(outcome: Result<Answered, Payload>) -> Answered {
    outcome.unwrap_or_else(|_| Ok(wire::refused(&fault().into())))
}

/// The panic hook has written the place and the message already.
fn fault() -> Refusal {
    tracing::error!("a call panicked");
    Refusal::internal()
}

#[cfg(test)]
mod tests {
    use firstcome_proto::Reason;
    use tower::{ServiceExt as _, service_fn};

    use super::{super::mock, *};

    #[tokio::test]
    async fn a_panic_in_the_call_or_its_future_is_an_internal_fault() {
        let in_future = service_fn(|wrong: bool| async move {
            assert!(!wrong, "on purpose");
            Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
        });
        let answer = CatchPanicLayer.layer(in_future).oneshot(true).await.unwrap();
        assert_eq!(mock::reason(&answer), Some(Reason::Internal));
        let answer = CatchPanicLayer.layer(in_future).oneshot(false).await.unwrap();
        assert_eq!(mock::reason(&answer), None);

        let in_call = service_fn(|()| -> mock::Passed { panic!("on purpose") });
        let answer = CatchPanicLayer.layer(in_call).oneshot(()).await.unwrap();
        assert_eq!(mock::reason(&answer), Some(Reason::Internal));
    }
}
