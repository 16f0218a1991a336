//! Calls as spans: one where a call is served, one where it is made, each until its answer's end.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body::Frame;
use opentelemetry::{KeyValue, trace::SpanBuilder};
use pin_project_lite::pin_project;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{Span, SpanKind, traceparent};
use crate::answer::{Follow, followed};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Outermost in front of a service's routes: what is refused below is a part of the trace too. A
/// call whose caller did not sample it pays one look for a header.
#[derive(Clone, Copy, Debug)]
pub struct ServeLayer;

impl<S> Layer<S> for ServeLayer {
    type Service = Serve<S>;

    fn layer(&self, inner: S) -> Serve<S> {
        Serve { inner }
    }
}

/// See [`ServeLayer`].
#[derive(Clone, Debug)]
pub struct Serve<S> {
    inner: S,
}

impl<S, E> Service<Request<Body>> for Serve<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = E>,
{
    type Response = Response<Body>;
    type Error = E;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // In the mesh whoever says so has sampled it: only the edge is called by strangers.
        let parent = traceparent::read(request.headers()).filter(|parent| parent.is_sampled());
        let span = match parent {
            None => Span::NONE,
            Some(parent) => Span::serve(Some(parent), method(request.uri().path())),
        };
        Answering::begin(span, || self.inner.call(request))
    }
}

/// Calls another service. Of a traced call that is a part, and the other one is told so; of any
/// other nobody is told anything.
pub fn call<E: 'static>(
    mut request: Request<Body>,
    send: impl FnOnce(Request<Body>) -> BoxFuture<'static, Result<Response<Body>, E>>,
) -> BoxFuture<'static, Result<Response<Body>, E>> {
    let span = Span::build(SpanKind::Client, || method(request.uri().path()));
    let Some(of) = span.span_context() else { return send(request) };
    traceparent::write(request.headers_mut(), &of);
    Box::pin(Answering::begin(span, || send(request)))
}

/// A span of a gRPC method, by its path.
pub fn method(path: &str) -> SpanBuilder {
    let name = path.trim_start_matches('/');
    let (service, method) = name.split_once('/').unwrap_or((name, ""));
    SpanBuilder::from_name(name.to_owned()).with_attributes([
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rpc.service", service.to_owned()),
        KeyValue::new("rpc.method", method.to_owned()),
    ])
}

pin_project! {
    /// A call until its answer begins; what is left of it then goes with the answer's body.
    pub struct Answering<F> {
        #[pin]
        inner: F,
        span: Span,
    }
}

impl<F> Answering<F> {
    /// Begins the call as a part of this span.
    pub fn begin(span: Span, call: impl FnOnce() -> F) -> Self {
        let inner = if span.is_some() { span.enter(call) } else { call() };
        Self { inner, span }
    }
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if !this.span.is_some() {
            return this.inner.poll(context);
        }
        let answered = std::task::ready!(this.span.enter(|| this.inner.as_mut().poll(context)));
        let span = std::mem::take(this.span);
        Poll::Ready(match answered {
            Err(error) => {
                span.fail("no answer");
                Err(error)
            }
            // Who refuses says so before anything else.
            Ok(response) if tell_status(&span, response.headers()) => Ok(response),
            Ok(response) => Ok(response.map(|body| followed(body, span))),
        })
    }
}

/// The rest of an answer, until its trailers say how the call ended.
impl Follow for Span {
    fn passes(&mut self, frame: Option<Result<&Frame<Bytes>, &Status>>) {
        match frame {
            Some(Ok(frame)) => {
                if frame.trailers_ref().is_some_and(|trailers| tell_status(self, trailers)) {
                    *self = Span::NONE;
                }
            }
            Some(Err(status)) => tell_code(self, status.code()),
            None => *self = Span::NONE,
        }
    }

    fn within<T>(&mut self, read: impl FnOnce() -> T) -> T {
        self.enter(read)
    }
}

/// Tells how a call ended, if these headers say it.
fn tell_status(span: &Span, headers: &HeaderMap) -> bool {
    let Some(status) = headers.get(GRPC_STATUS) else { return false };
    tell_code(span, Code::from_bytes(status.as_bytes()));
    true
}

/// A refusal that the contract has a reason for is an answer; these are faults.
fn tell_code(span: &Span, code: Code) {
    span.tell("rpc.grpc.status_code", || i64::from(code as i32));
    if matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    ) {
        span.fail(code.description());
    }
}
