//! So many calls at once; one more is refused at no cost and told when to come back. Who is told
//! at once comes back later; who waits in a queue without end asks again now.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use firstcome_proto::{Reason, Refusal};
use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::telling;

/// A full service answers thousands of calls in this time.
const RETRY: Duration = Duration::from_millis(250);

/// How busy a service is. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Load {
    inner: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    in_flight: AtomicUsize,
    shed: AtomicU64,
}

impl Load {
    /// Calls whose answer has not begun.
    pub fn in_flight(&self) -> usize {
        self.inner.in_flight.load(Ordering::Relaxed)
    }

    /// Calls refused since the process began.
    pub fn shed(&self) -> u64 {
        self.inner.shed.load(Ordering::Relaxed)
    }

    fn enter(&self, calls_max: usize) -> Option<Place> {
        let before = self.inner.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.inner));
        if before < calls_max {
            return Some(place);
        }
        self.inner.shed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

struct Place(Arc<Counts>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes [`Shed`]; all that one layer makes share one count.
#[derive(Clone)]
pub struct ShedLayer {
    load: Load,
    calls_max: usize,
    spares: fn(&str) -> bool,
}

impl ShedLayer {
    /// Lets this many wait for the head of their answer, and counts them here. Metrics tell of each
    /// layer's load: it is this layer's alone.
    pub fn new(load: Load, calls_max: usize) -> Self {
        telling::tell(load.clone());
        Self { load, calls_max, spares: |_| false }
    }

    /// Calls of these paths pass whatever the load is.
    pub fn sparing(self, spares: fn(&str) -> bool) -> Self {
        Self { spares, ..self }
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed { inner, limit: self.clone() }
    }
}

/// Refuses when the service is full.
#[derive(Clone)]
pub struct Shed<S> {
    inner: S,
    limit: ShedLayer,
}

impl<S> Service<Request<Body>> for Shed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, Placed<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ShedLayer { load, calls_max, spares } = &self.limit;
        if spares(request.uri().path()) {
            return Either::Right(Placed { answering: self.inner.call(request), _place: None });
        }
        match load.enter(*calls_max) {
            Some(place) => {
                let answering = self.inner.call(request);
                Either::Right(Placed { answering, _place: Some(place) })
            }
            None => {
                let refusal = Refusal::because(Reason::Overloaded, "the service is full");
                let status = Status::from(refusal.retry_after(RETRY));
                Either::Left(ready(Ok(status.into_http())))
            }
        }
    }
}

pin_project! {
    /// A call that has a place until its answer begins.
    pub struct Placed<F> {
        #[pin]
        answering: F,
        _place: Option<Place>,
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
    use tokio::sync::watch;
    use tower::{ServiceExt as _, service_fn};

    use super::{super::is_for_all, *};

    const CAPTURE: &str = "/firstcome.payment.v1.ChargeService/Capture";
    const HEALTH: &str = "/grpc.health.v1.Health/Check";

    #[tokio::test]
    async fn a_full_service_refuses_all_but_looks_at_its_health_until_an_answer_makes_room() {
        let load = Load::default();
        let (answer, held) = watch::channel(false);
        let waits = service_fn(move |_: Request<Body>| {
            let mut held = held.clone();
            Box::pin(async move {
                held.wait_for(|answered| *answered).await.unwrap();
                Ok::<_, Infallible>(Response::new(Body::empty()))
            })
        });
        let service = ShedLayer::new(load.clone(), 2).sparing(is_for_all).layer(waits);
        let ask = |path: &'static str| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = path.parse().unwrap();
            tokio::spawn(service.clone().oneshot(request))
        };
        let calls = [ask(CAPTURE), ask(CAPTURE), ask(HEALTH)];
        while load.in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        let refused = ask(CAPTURE).await.unwrap().unwrap();
        let refused = Status::from_header_map(refused.headers()).unwrap();
        let refusal = Refusal::from_status(&refused);
        assert_eq!(refusal.reason(), Reason::Overloaded);
        assert!(refusal.retry_after.is_some());
        assert_eq!(load.shed(), 1);

        answer.send_replace(true);
        for call in calls {
            assert!(call.await.unwrap().unwrap().headers().is_empty());
        }
        assert_eq!(load.in_flight(), 0);
        assert!(ask(CAPTURE).await.unwrap().unwrap().headers().is_empty());
    }
}
