//! The golden figures of calls, by method: how many ended how, how long they took, how many are
//! under way, and why they were refused. The same at both ends: [`ObserveLayer`] stands in front of
//! what a process serves, [`calling`] begins each call of another.
//!
//! What a call pays is one look at a table, two at the clock, and a handful of atomic additions.
//! Handles are made when a method is first called, and never looked up by their labels again.

mod methods;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use firstcome_proto::{Reason, Refusal, access::Peer};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::Frame;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use self::methods::{CALLED, Method, SERVED};
use crate::{
    answer::{Follow, followed},
    deadline::timeout_of,
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Whoever ends a call at its deadline began to count a little before us: who leaves this shortly
/// before the deadline by our clock has not lost patience.
const CLOCKS_APART: Duration = Duration::from_millis(5);

/// Tells from the start, at zero, how a method can end that queries look for.
pub fn expect_served(path: &str, reasons: &[Reason]) {
    let method = SERVED.find(path);
    let _ = method.ended(Code::Ok);
    for reason in reasons {
        let _ = (method.ended(reason.code()), method.refused(*reason));
    }
}

/// A call under way. Dropped without an end, its caller has left, or its time is over: timers of
/// other layers, tonic's among them, drop what comes too late.
pub struct Call {
    method: &'static Method,
    began: Instant,
    /// How long its caller waits for it, if that is bounded.
    timeout: Option<Duration>,
    is_over: bool,
}

impl Call {
    fn begin<B>(method: &'static Method, request: &Request<B>) -> Self {
        let handles = method.handles();
        handles.in_flight.inc();
        if let Some(streams) = &handles.streams {
            streams.inc();
        }
        let timeout = timeout_of(request.headers());
        Self { method, began: Instant::now(), timeout, is_over: false }
    }

    /// Sees a call to its end.
    pub fn follow<F>(self, answering: F) -> Observing<F> {
        Observing { answering, call: Some(self) }
    }

    fn end(&mut self, code: Code, reason: Option<Reason>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let handles = self.method.handles();
        handles.in_flight.dec();
        self.method.ended(code).inc();
        if let Some(reason) = reason {
            self.method.refused(reason).inc();
        }
        if let Some(seconds) = &handles.seconds {
            seconds.observe(self.began.elapsed().as_secs_f64());
        }
    }

    fn has_timed_out(&self) -> bool {
        self.timeout.is_some_and(|timeout| self.began.elapsed() + CLOCKS_APART >= timeout)
    }

    /// Ends for want of an answer: as too late, or else like this.
    fn end_unanswered(&mut self, code: Code, reason: Option<Reason>) {
        if self.has_timed_out() {
            self.end(Code::DeadlineExceeded, Some(Reason::DeadlineExceeded));
        } else {
            self.end(code, reason);
        }
    }

    /// Ends as these headers or trailers say.
    fn end_with(&mut self, headers: &HeaderMap, known: Option<Reason>) {
        let code = headers
            .get(GRPC_STATUS)
            .map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()));
        let read = || {
            let status = Status::from_header_map(headers);
            status.map_or(Reason::Internal, |status| Refusal::from_status(&status).reason())
        };
        self.end(code, (code != Code::Ok).then(|| known.unwrap_or_else(read)));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_over {
            self.end_unanswered(Code::Cancelled, None);
        }
    }
}

/// A call of another service begins; [`Call::follow`] sees it to its end.
pub fn calling<B>(upstream: Peer, request: &Request<B>) -> Call {
    Call::begin(CALLED[upstream as usize].find(request.uri().path()), request)
}

/// Makes [`Observe`].
#[derive(Clone, Copy)]
pub struct ObserveLayer;

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner }
    }
}

/// Observes each call from its first byte to its last. A refusal whose reason stands in the
/// response's extensions need not be read out of its headers.
#[derive(Clone)]
pub struct Observe<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = Call::begin(SERVED.find(request.uri().path()), &request);
        call.follow(self.inner.call(request))
    }
}

pin_project! {
    /// A call until its answer begins.
    pub struct Observing<F> {
        #[pin]
        answering: F,
        call: Option<Call>,
    }
}

impl<F, E> Future for Observing<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.answering.poll(context));
        let Some(mut call) = this.call.take() else { return Poll::Ready(answer) };
        Poll::Ready(match answer {
            Ok(response) if response.headers().contains_key(GRPC_STATUS) => {
                call.end_with(response.headers(), response.extensions().get().copied());
                Ok(response)
            }
            Ok(response) if response.status() == StatusCode::OK => {
                if call.method.is_endless() {
                    // Whoever watches for so long and no longer has had all that it wanted.
                    call.timeout = None;
                }
                Ok(response.map(|body| followed(body, call)))
            }
            Ok(response) => {
                call.end(Code::Unknown, None); // no gRPC server's word
                Ok(response)
            }
            Err(fault) => {
                call.end_unanswered(Code::Unavailable, Some(Reason::UpstreamUnavailable));
                Err(fault)
            }
        })
    }
}

/// An answer on its way; its trailers say how the call ended.
impl Follow for Call {
    fn passes(&mut self, frame: Option<Result<&Frame<Bytes>, &Status>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.end_with(trailers, None);
                }
            }
            Some(Err(status)) => {
                self.end(status.code(), Some(Refusal::from_status(status).reason()))
            }
            None => self.end(Code::Unknown, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{FutureExt as _, future::ready};
    use http_body_util::BodyExt as _;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    const FIND: &str = "/firstcome.payment.v1.PaymentService/GetPayment";

    fn counts(path: &str) -> (i64, u64, u64, u64) {
        let method = SERVED.find(path);
        let ended = |code| method.ended(code).get();
        let in_flight = method.handles().in_flight.get();
        (in_flight, ended(Code::Ok), ended(Code::Cancelled), ended(Code::ResourceExhausted))
    }

    /// A call is counted once, when its last byte has left, whichever way it ends.
    #[tokio::test]
    async fn each_call_is_counted_once_by_how_it_ended() {
        let mut trailers = HeaderMap::new();
        trailers.insert(GRPC_STATUS, http::HeaderValue::from_static("0"));
        let body = || {
            let frames = [Ok::<_, Status>(Frame::trailers(trailers.clone()))];
            Body::new(http_body_util::StreamBody::new(futures::stream::iter(frames)))
        };
        let answers =
            service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(body()))));
        let request = || Request::builder().uri(FIND).body(()).unwrap();
        let answer = ObserveLayer.layer(answers).oneshot(request()).await.unwrap();
        assert_eq!(counts(FIND), (1, 0, 0, 0), "its body has not been read");
        assert_eq!(answer.into_body().collect().await.unwrap().trailers(), Some(&trailers));
        assert_eq!(counts(FIND), (0, 1, 0, 0));

        let refusal = Refusal::because(Reason::SoldOut, "no unit is available");
        let refused = || Status::from(refusal.clone()).into_http::<Body>();
        let refuses = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(refused())));
        drop(ObserveLayer.layer(refuses).oneshot(request()).await);
        assert_eq!(counts(FIND), (0, 1, 0, 1));
        assert_eq!(SERVED.find(FIND).refused(Reason::SoldOut).get(), 1);

        let never = service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let call = ObserveLayer.layer(never).oneshot(request());
        assert!(call.now_or_never().is_none());
        assert_eq!(counts(FIND), (0, 1, 1, 1), "the caller has left");
    }

    /// How often calls of a method ended for want of time, because their caller left, and because
    /// nobody was reached.
    fn unanswered(method: &Method) -> [u64; 3] {
        [Code::DeadlineExceeded, Code::Cancelled, Code::Unavailable]
            .map(|code| method.ended(code).get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_answers_in_its_time_is_told_from_one_that_its_caller_left() {
        const CAPTURE: &str = "/firstcome.payment.v1.ChargeService/Capture";
        let method = CALLED[Peer::Payment as usize].find(CAPTURE);
        let request = |timeout: Option<&str>| {
            let request = Request::builder().uri(CAPTURE);
            let timeout = timeout.map(|timeout| ("grpc-timeout", timeout));
            let with = |request: http::request::Builder, (name, value)| request.header(name, value);
            timeout.into_iter().fold(request, with).body(()).unwrap()
        };
        let left_after = async |timeout: Option<&str>, millis: u64| {
            let never = std::future::pending::<Result<Response<Body>, Infallible>>();
            let call = calling(Peer::Payment, &request(timeout)).follow(never);
            let left = tokio::time::timeout(Duration::from_millis(millis), call).await;
            assert!(left.is_err());
            unanswered(method)
        };
        assert_eq!(left_after(None, 60_000).await, [0, 1, 0]);
        assert_eq!(left_after(Some("1S"), 900).await, [0, 2, 0]);
        assert_eq!(left_after(Some("1S"), 1_000).await, [1, 2, 0]);
        assert_eq!(method.refused(Reason::DeadlineExceeded).get(), 1);

        // What carries calls has a timer of its own, and says no more than that it failed.
        let failed_after = async |millis: u64| {
            let failing = async {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Err::<Response<Body>, _>("it failed")
            };
            let call = calling(Peer::Payment, &request(Some("1S"))).follow(failing);
            assert!(call.await.is_err());
            unanswered(method)
        };
        assert_eq!(failed_after(10).await, [1, 2, 1]);
        assert_eq!(failed_after(1_000).await, [2, 2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_whose_time_is_over_has_left() {
        const WATCH: &str = "/firstcome.order.v1.OrderService/WatchOrder";
        let method = CALLED[Peer::Order as usize].find(WATCH);
        let request = Request::builder().uri(WATCH).header("grpc-timeout", "1S").body(()).unwrap();
        let opened = ready(Ok::<_, Infallible>(Response::new(Body::empty())));
        let stream = calling(Peer::Order, &request).follow(opened).await.unwrap();
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(stream);
        assert_eq!(unanswered(method), [0, 1, 0]);
    }
}
