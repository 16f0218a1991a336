//! What traces are made of, and that nothing is made of a call that is not traced.

use std::{convert::Infallible, sync::OnceLock, time::Duration};

use bytes::Bytes;
use firstcome_mesh::{
    Answers, BatchCall, Batcher, Deadline, Shutdown,
    batcher::Limits,
    telemetry::traces::{
        Span, SpanKind,
        rpc::{self, ServeLayer},
        traceparent,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use opentelemetry::{Value, global, trace::Status as Ended};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::{Code, Status, body::Body};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

/// All spans that ended in this process; tests look for their own by name.
static ENDED: Mutex<Vec<SpanData>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Kept;

impl SpanExporter for Kept {
    async fn export(&self, mut spans: Vec<SpanData>) -> OTelSdkResult {
        ENDED.lock().append(&mut spans);
        Ok(())
    }
}

fn keep_spans() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let provider = SdkTracerProvider::builder().with_simple_exporter(Kept).build();
        global::set_tracer_provider(provider);
    });
}

fn ended(name: &str) -> Vec<SpanData> {
    ENDED.lock().iter().filter(|span| span.name == name).cloned().collect()
}

fn the_one(name: &str) -> SpanData {
    let [span] = ended(name).try_into().expect("one span of this name");
    span
}

fn attribute(span: &SpanData, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.clone())
}

/// A call whose batches wait until they are let go.
struct Held(tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>);

impl BatchCall for Held {
    const HOP: &'static str = "held";

    type Key = ();
    type Item = ();
    type Answer = usize;

    async fn call(&self, (): (), items: Vec<()>, mut answers: Answers<usize>) {
        self.0.lock().await.recv().await;
        answers.answer_rest(|_| items.len());
    }
}

#[tokio::test]
async fn a_batch_is_a_part_of_its_first_call_and_links_the_others() {
    keep_spans();
    let (go, wait) = mpsc::unbounded_channel();
    let limits =
        Limits { batch_items_max: 9, in_flight_max: 1, key_queue_items_max: 9, queue_items_max: 9 };
    let held = Batcher::new(Held(tokio::sync::Mutex::new(wait)), limits);
    let place = |call: &Span| {
        let held = held.clone();
        let placed = async move { held.submit((), (), Deadline::after(HOUR)).await };
        tokio::spawn(call.run(placed))
    };
    let alone = place(&Span::NONE);
    tokio::task::yield_now().await;
    let calls = ["first", "second", "third"].map(|name| Span::serve(None, rpc::method(name)));
    let mut gathered = Vec::new();
    for call in [&Span::NONE, &calls[0], &calls[1], &Span::NONE, &calls[2]] {
        gathered.push(place(call));
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    assert_eq!(alone.await.unwrap(), Ok(1));
    assert_eq!(ended("batch held").len(), 0, "of a batch without a traced item there is no span");
    go.send(()).unwrap();
    for answer in gathered {
        assert_eq!(answer.await.unwrap(), Ok(5));
    }
    drop(calls);
    held.close(HOUR).await;

    let [first, second, third] = ["first", "second", "third"].map(the_one);
    let batch = the_one("batch held");
    assert_eq!(batch.parent_span_id, first.span_context.span_id());
    assert_eq!(batch.span_context.trace_id(), first.span_context.trace_id());
    let linked: Vec<_> = batch.links.iter().map(|link| link.span_context.clone()).collect();
    assert_eq!(linked, [second.span_context, third.span_context]);
    assert_eq!(attribute(&batch, "firstcome.batch.items"), Some(Value::I64(5)));
}

const HOUR: Duration = Duration::from_secs(3600);

fn request(path: &str, traceparent: Option<&str>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().expect("a path");
    if let Some(text) = traceparent {
        request.headers_mut().insert(traceparent::HEADER, text.parse().expect("a header"));
    }
    request
}

/// A service that answers one message, does a part of its work after that, and ends in this code.
fn answers(
    code: Code,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> {
    service_fn(move |_: Request<Body>| async move {
        drop(Span::start(SpanKind::Internal, || "first part"));
        let trailers = async move {
            drop(Span::start(SpanKind::Internal, || "second part"));
            let status = (HeaderName::from_static("grpc-status"), HeaderValue::from(code as i32));
            Ok(Frame::trailers(HeaderMap::from_iter([status])))
        };
        let message = Ok::<_, Status>(Frame::data(Bytes::from_static(b"message")));
        let rest = futures::stream::once(Box::pin(trailers));
        let frames = futures::StreamExt::chain(futures::stream::iter([message]), rest);
        Ok(Response::new(Body::new(StreamBody::new(frames))))
    })
}

#[tokio::test]
async fn a_call_is_served_as_a_part_of_what_its_caller_sampled() {
    keep_spans();
    let trace = "11111111111111111111111111111111";
    for header in
        [None, Some("rubbish".to_owned()), Some(format!("00-{trace}-b7ad6b7169203331-00"))]
    {
        let call = request("/test.Serve/Unsampled", header.as_deref());
        let answer = ServeLayer.layer(answers(Code::Ok)).oneshot(call).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!(ended("test.Serve/Unsampled").len(), 0);
    assert_eq!(ended("first part").len() + ended("second part").len(), 0);

    let header = format!("00-{trace}-b7ad6b7169203331-01");
    let call = request("/test.Serve/Sampled", Some(&header));
    let answer = ServeLayer.layer(answers(Code::Internal)).oneshot(call).await.unwrap();
    assert_eq!(ended("test.Serve/Sampled").len(), 0, "its answer goes on");
    let answer = answer.into_body().collect().await.unwrap();
    assert!(answer.trailers().is_some() && answer.to_bytes() == "message");

    let served = the_one("test.Serve/Sampled");
    assert_eq!(served.span_context.trace_id().to_string(), trace);
    assert_eq!(served.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(served.span_kind, SpanKind::Server);
    assert_eq!(attribute(&served, "rpc.service"), Some("test.Serve".into()));
    assert_eq!(attribute(&served, "rpc.method"), Some("Sampled".into()));
    assert_eq!(attribute(&served, "rpc.grpc.status_code"), Some(Value::I64(13)));
    assert!(matches!(served.status, Ended::Error { .. }), "{:?}", served.status);
    for part in ["first part", "second part"] {
        assert_eq!(the_one(part).parent_span_id, served.span_context.span_id(), "{part}");
    }
}

#[tokio::test]
async fn a_refusal_in_the_headers_ends_the_span_and_is_no_fault() {
    keep_spans();
    let refuses = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Status::resource_exhausted("sold out").into_http())
    });
    let header = "00-22222222222222222222222222222222-b7ad6b7169203331-01";
    let call = request("/test.Serve/Refused", Some(header));
    drop(ServeLayer.layer(refuses).oneshot(call).await.unwrap());
    let refused = the_one("test.Serve/Refused");
    assert_eq!(attribute(&refused, "rpc.grpc.status_code"), Some(Value::I64(8)));
    assert_eq!(refused.status, Ended::Unset);
}

#[tokio::test]
async fn the_next_process_is_told_of_a_traced_call_and_of_no_other() {
    keep_spans();
    let next = |path: &str| {
        rpc::call(request(path, None), |request| {
            let mut response = Status::ok("").into_http::<Body>();
            response.extensions_mut().insert(request.headers().clone());
            Box::pin(std::future::ready(Ok::<_, Infallible>(response)))
        })
    };
    let told = |response: Response<Body>| response.extensions().get::<HeaderMap>().cloned();
    let call = next("/test.Call/Untraced").await.unwrap();
    assert!(!told(call).unwrap().contains_key(traceparent::HEADER));

    let outer = Span::serve(None, rpc::method("test.Call/Outer"));
    let call = outer.run(async { next("/test.Call/Traced").await }).await.unwrap();
    drop(outer);
    let (outer, called) = (the_one("test.Call/Outer"), the_one("test.Call/Traced"));
    assert_eq!(called.parent_span_id, outer.span_context.span_id());
    assert_eq!(called.span_kind, SpanKind::Client);
    let told = traceparent::read(&told(call).unwrap()).expect("it is told");
    assert_eq!(told.span_id(), called.span_context.span_id());
    assert_eq!(told.trace_id(), outer.span_context.trace_id());
    assert_eq!(ended("test.Call/Untraced").len(), 0);
}

#[tokio::test]
async fn a_task_that_outlives_its_call_stays_a_part_of_it() {
    keep_spans();
    let shutdown = Shutdown::new();
    let outer = Span::serve(None, rpc::method("test.Task/Outer"));
    let begin = || {
        shutdown.spawn(async {
            tokio::task::yield_now().await;
            drop(Span::start(SpanKind::Internal, || "what must finish"));
        })
    };
    let task = outer.enter(begin);
    drop(outer);
    task.await.unwrap();
    let (outer, task) = (the_one("test.Task/Outer"), the_one("what must finish"));
    assert_eq!(task.parent_span_id, outer.span_context.span_id());
    assert!(outer.end_time <= task.end_time, "a call ends when it ends, whatever goes on");
}
