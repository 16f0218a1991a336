//! The golden figures of calls, by method: how many ended how, how long they took, how many are
//! under way, and why they were refused. The same at both ends: [`ObserveLayer`] stands in front of
//! what a process serves, [`calling`] begins each call of another.
//!
//! What a call pays is one look at a table, two at the clock, and a handful of atomic additions.
//! Handles are made when a method is first called, and never looked up by their labels again.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{LazyLock, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use firstcome_proto::{
    Reason, Refusal,
    access::{self, Peer},
};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{Gauge, Labels, SecondsFamily, register, seconds_histogram, upstreams};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// gRPC's codes, 0 to 16.
const CODES: usize = 17;
/// More than the enum has; a reason beyond it is counted as unspecified.
const REASONS: usize = 64;
/// Whatever the contract does not list. Strangers may call any path: each would be a series.
const OTHER: &str = "other";

/// How peers watch over each other, and whether that has no end by itself.
const HEALTH: [(&str, bool); 2] = [("Health/Check", false), ("Health/Watch", true)];

/// The metrics of one end of all calls.
struct Families {
    ended: Family<Labels, Counter>,
    seconds: SecondsFamily,
    in_flight: Family<Labels, Gauge>,
    streams: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
}

static SERVED: LazyLock<Methods> = LazyLock::new(|| {
    Methods::of_contract(Vec::new(), &|| Families {
        ended: register(
            "firstcome_rpc_server_requests",
            "Calls that have ended here, by method and gRPC code",
            Family::default(),
        ),
        seconds: register(
            "firstcome_rpc_server_duration_seconds",
            "How long calls took until their last byte, endless streams left out",
            Family::new_with_constructor(seconds_histogram),
        ),
        in_flight: register(
            "firstcome_rpc_server_in_flight",
            "Calls under way here, open streams among them",
            Family::default(),
        ),
        streams: register(
            "firstcome_rpc_server_streams_started",
            "Endless streams that were opened here",
            Family::default(),
        ),
        refused: register(
            "firstcome_rpc_server_refusals",
            "Calls that were refused here, by method and the reason that the caller was told",
            Family::default(),
        ),
    })
});

/// One table for each upstream, in the order of [`Peer::ALL`].
static CALLED: LazyLock<[Methods; Peer::ALL.len()]> = LazyLock::new(|| {
    let ended = register(
        "firstcome_rpc_client_requests",
        "Calls of another service that have ended, by upstream, method and gRPC code",
        Family::default(),
    );
    let seconds = register(
        "firstcome_rpc_client_duration_seconds",
        "How long calls of another service took, endless streams left out",
        SecondsFamily::new_with_constructor(seconds_histogram),
    );
    let in_flight = register(
        "firstcome_rpc_client_in_flight",
        "Calls of another service under way, open streams among them",
        Family::default(),
    );
    let streams = register(
        "firstcome_rpc_client_streams_started",
        "Endless streams that were opened at another service",
        Family::default(),
    );
    let refused = register(
        "firstcome_rpc_client_refusals",
        "Calls that another service, or the way to it, refused, by reason",
        Family::default(),
    );
    let families = || Families {
        ended: Family::clone(&ended),
        seconds: Family::clone(&seconds),
        in_flight: Family::clone(&in_flight),
        streams: Family::clone(&streams),
        refused: Family::clone(&refused),
    };
    Peer::ALL.map(|peer| {
        Methods::of_contract(vec![("upstream", upstreams::name_of(peer).into())], &families)
    })
});

/// Every method of the contract, by path.
struct Methods {
    by_path: HashMap<String, Method>,
    other: Method,
}

impl Methods {
    fn of_contract(labels: Labels, families: &dyn Fn() -> Families) -> Self {
        let contract = access::descriptor_pool();
        let families = families();
        let method = |name: String, is_endless| Method {
            labels: labels.iter().cloned().chain([("method", name.into())]).collect(),
            is_endless,
            ended: Family::clone(&families.ended),
            seconds: Family::clone(&families.seconds),
            in_flight: Family::clone(&families.in_flight),
            streams: Family::clone(&families.streams),
            refused: Family::clone(&families.refused),
            handles: OnceLock::new(),
        };
        let methods = contract.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let by_path = methods.map(|of| {
            // The contract has no two services of one name.
            let name = format!("{}/{}", of.parent_service().name(), of.name());
            // A stream that somebody watches has no end by itself; others end with their answer.
            let is_endless = of.is_server_streaming() && of.name().starts_with("Watch");
            (access::path_of(&of), method(name, is_endless))
        });
        let standard = HEALTH.map(|(name, is_endless)| {
            (format!("/grpc.health.v1.{name}"), method(name.to_owned(), is_endless))
        });
        Self { by_path: by_path.chain(standard).collect(), other: method(OTHER.to_owned(), false) }
    }

    fn find(&self, path: &str) -> &Method {
        self.by_path.get(path).unwrap_or(&self.other)
    }
}

/// One method and, once it was called, what is counted of it.
struct Method {
    labels: Labels,
    is_endless: bool,
    ended: Family<Labels, Counter>,
    seconds: SecondsFamily,
    in_flight: Family<Labels, Gauge>,
    streams: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    handles: OnceLock<Handles>,
}

struct Handles {
    in_flight: Gauge,
    /// Of a call that ends by itself.
    seconds: Option<Histogram>,
    /// Of one that does not.
    streams: Option<Counter>,
    ended: [OnceLock<Counter>; CODES],
    refused: [OnceLock<Counter>; REASONS],
}

impl Method {
    fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| Handles {
            in_flight: self.in_flight.get_or_create_owned(&self.labels),
            seconds: (!self.is_endless).then(|| self.seconds.get_or_create_owned(&self.labels)),
            streams: self.is_endless.then(|| self.streams.get_or_create_owned(&self.labels)),
            ended: [const { OnceLock::new() }; CODES],
            refused: [const { OnceLock::new() }; REASONS],
        })
    }

    fn ended(&self, code: Code) -> &Counter {
        self.handles().ended[code as usize]
            .get_or_init(|| self.ended.get_or_create_owned(&self.labelled("code", name_of(code))))
    }

    fn refused(&self, reason: Reason) -> &Counter {
        let place = usize::try_from(reason as i32).ok().filter(|&place| place < REASONS);
        self.handles().refused[place.unwrap_or_default()].get_or_init(|| {
            self.refused.get_or_create_owned(&self.labelled("reason", reason.name()))
        })
    }

    fn labelled(&self, label: &'static str, value: &'static str) -> Labels {
        self.labels.iter().cloned().chain([(label, value.into())]).collect()
    }
}

/// Tells from the start, at zero, how a method can end that queries look for.
pub fn expect_served(path: &str, reasons: &[Reason]) {
    let method = SERVED.find(path);
    let _ = method.ended(Code::Ok);
    for reason in reasons {
        let _ = (method.ended(reason.code()), method.refused(*reason));
    }
}

/// A call under way. Dropped without an end, its caller has left.
pub struct Call {
    method: &'static Method,
    began: Instant,
    is_over: bool,
}

impl Call {
    fn begin(method: &'static Method) -> Self {
        let handles = method.handles();
        handles.in_flight.inc();
        if let Some(streams) = &handles.streams {
            streams.inc();
        }
        Self { method, began: Instant::now(), is_over: false }
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
        self.end(Code::Cancelled, None);
    }
}

/// A call of another service begins; [`Call::follow`] sees it to its end.
pub fn calling(upstream: Peer, path: &str) -> Call {
    Call::begin(CALLED[upstream as usize].find(path))
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
        let call = Call::begin(SERVED.find(request.uri().path()));
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
                Ok(response.map(|body| Body::new(Observed { body, call })))
            }
            Ok(response) => {
                call.end(Code::Unknown, None); // no gRPC server's word
                Ok(response)
            }
            Err(fault) => {
                call.end(Code::Unavailable, Some(Reason::UpstreamUnavailable));
                Err(fault)
            }
        })
    }
}

/// An answer on its way; its trailers say how the call ended.
struct Observed {
    body: Body,
    call: Call,
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.end_with(trailers, None);
                }
            }
            Some(Err(status)) => {
                let (code, reason) = (status.code(), Refusal::from_status(status).reason());
                self.call.end(code, Some(reason));
            }
            None => self.call.end(Code::Unknown, None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// As gRPC writes them.
fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
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

    #[test]
    fn a_path_that_nobody_knows_is_no_series_of_its_own() {
        let labels = |path: &str| SERVED.find(path).labels.clone();
        assert_eq!(labels("/x/y"), [("method", OTHER.into())]);
        assert_eq!(labels(FIND), [("method", "PaymentService/GetPayment".into())]);
    }

    #[test]
    fn every_peer_and_every_method_has_a_place() {
        for (place, peer) in Peer::ALL.into_iter().enumerate() {
            assert_eq!(peer as usize, place);
        }
        let mut names: Vec<_> = SERVED.by_path.values().map(|method| &method.labels).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "two services of one name would be one series");
        let last = (0..).map_while(|number| Reason::try_from(number).ok()).count();
        assert!(last < REASONS);
    }
}
