//! So many calls wait for their answer at once; one more is told to come back. A caller who is
//! told at once retries later, one who waits in a queue without end retries now.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use firstcome_proto::{Reason, Refusal};
use futures::future::Either;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::{Verdict, refuse};
use crate::wire::Response;

/// A full edge answers a thousand calls in this time.
const RETRY: Duration = Duration::from_millis(250);

/// Makes [`Shed`]; all that one layer makes share one count.
#[derive(Clone)]
pub struct ShedLayer {
    places: Arc<Semaphore>,
}

impl ShedLayer {
    /// Lets this many wait.
    pub fn new(calls_max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(calls_max.min(Semaphore::MAX_PERMITS))) }
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;
    fn layer(&self, inner: S) -> Shed<S> {
        Shed { inner, places: Arc::clone(&self.places) }
    }
}

/// Refuses when the edge is full.
#[derive(Clone)]
pub struct Shed<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S, Asked> Service<Asked> for Shed<S>
where
    S: Service<Asked, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Verdict<Placed<S::Future>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> Self::Future {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Either::Right(Placed { answering: self.inner.call(asked), _place: place }),
            Err(_) => {
                let refusal = Refusal::because(Reason::Overloaded, "the edge is full");
                refuse(refusal.retry_after(RETRY))
            }
        }
    }
}

pin_project! {
    /// A call that has a place until its answer begins.
    pub struct Placed<F> {
        #[pin]
        answering: F,
        _place: OwnedSemaphorePermit,
    }
}

impl<F: Future> Future for Placed<F> {
    type Output = F::Output;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().answering.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tonic::body::Body;
    use tower::{ServiceExt as _, service_fn};

    use super::{super::mock, *};

    #[tokio::test]
    async fn a_full_edge_refuses_and_an_answer_makes_room() {
        let layer = ShedLayer::new(1);
        let waits = layer.layer(service_fn(|answer: oneshot::Receiver<()>| async move {
            let _ = answer.await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }));
        let (first, held) = oneshot::channel();
        let first_call = tokio::spawn(waits.clone().oneshot(held));
        while layer.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let (_, second) = oneshot::channel();
        let refused = waits.clone().oneshot(second).await.unwrap();
        assert_eq!(mock::reason(&refused), Some(Reason::Overloaded));

        first.send(()).unwrap();
        assert_eq!(mock::reason(&first_call.await.unwrap().unwrap()), None);
        let (third, held) = oneshot::channel();
        third.send(()).unwrap();
        assert_eq!(mock::reason(&waits.oneshot(held).await.unwrap()), None);
    }
}
