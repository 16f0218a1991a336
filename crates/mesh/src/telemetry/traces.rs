//! Traces: of a few calls, everything that was done for them in any process.
//!
//! Whether a call is traced is decided once, by the edge, before anything is made for it. Of all
//! others nothing is made anywhere, and nothing is told to the next process: a span for each call
//! would cost more than the call. So everything here begins with a look at the thread's current
//! context, which is empty for nearly all.
//!
//! Spans are OpenTelemetry's own; there is no span of the `tracing` crate in the mesh. They name
//! methods, statements, products and orders, never persons, tokens or values of statements.

pub mod export;
pub mod rpc;
pub mod traceparent;

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use opentelemetry::{
    Context, KeyValue, Value, global,
    trace::{
        Link, Span as _, SpanBuilder, SpanId, Status, TraceContextExt as _, TraceId, Tracer as _,
    },
};
use pin_project_lite::pin_project;

pub use opentelemetry::trace::{SpanContext, SpanKind};

/// By whom spans are made, for their reader.
const SCOPE: &str = "firstcome";

/// A part of a traced call; of any other call it is nothing. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Context>);

impl Span {
    /// Of a call that is not traced.
    pub const NONE: Self = Self(None);

    /// Begins a part of the call that is handled here and now.
    pub fn start<N: Into<Cow<'static, str>>>(kind: SpanKind, name: impl FnOnce() -> N) -> Self {
        Self::build(kind, || SpanBuilder::from_name(name()))
    }

    fn build(kind: SpanKind, builder: impl FnOnce() -> SpanBuilder) -> Self {
        match current() {
            None => Self::NONE,
            Some(context) => Self::begin(&context, builder().with_kind(kind)),
        }
    }

    /// Begins what a call wants of this process: a part of what its caller says it is of, or a
    /// trace of its own.
    pub fn serve(parent: Option<SpanContext>, builder: SpanBuilder) -> Self {
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        Self::begin(&context, builder.with_kind(SpanKind::Server))
    }

    fn begin(parent: &Context, builder: SpanBuilder) -> Self {
        let span = global::tracer(SCOPE).build_with_context(builder, parent);
        // Where nothing is exported the span is its parent: logs and the next process hear of it.
        Self(span.span_context().is_valid().then(|| parent.with_span(span)))
    }

    /// True when there is one.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// What the next process is told.
    fn span_context(&self) -> Option<SpanContext> {
        self.0.as_ref().map(|context| context.span().span_context().clone())
    }

    /// Tells something of it.
    pub fn tell<V: Into<Value>>(&self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value()));
        }
    }

    /// Says that it failed, and why, in words that hold nothing of anybody.
    pub fn fail(&self, why: impl Into<Cow<'static, str>>) {
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(why));
        }
    }

    /// Does something at once, as a part of it.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _current = self.0.clone().map(Context::attach);
        work()
    }

    /// Does something that takes time as a part of it.
    pub fn run<F>(&self, work: F) -> Within<F> {
        Within { work, context: self.0.clone() }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Whoever went away with its context must not keep it from ending.
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

pin_project! {
    /// Something that is done as a part of a traced call, or of none.
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct Within<F> {
        #[pin]
        work: F,
        context: Option<Context>,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(context) = this.context else { return this.work.poll(task) };
        let _current = context.clone().attach();
        this.work.poll(task)
    }
}

/// Work for another task, which stays a part of the call that is handled here and now.
pub fn carried<F>(work: F) -> Within<F> {
    Within { work, context: current() }
}

/// Tells something of the part that is being done here and now.
pub fn tell<V: Into<Value>>(key: &'static str, value: impl FnOnce() -> V) {
    if let Some(context) = current() {
        context.span().set_attribute(KeyValue::new(key, value()));
    }
}

/// Which trace and span this thread works on, for a log line.
pub fn current_ids() -> Option<(TraceId, SpanId)> {
    Context::map_current(|context| {
        let span = context.has_active_span().then(|| context.span().span_context().clone())?;
        span.is_valid().then(|| (span.trace_id(), span.span_id()))
    })
}

fn current() -> Option<Context> {
    Context::map_current(|context| context.has_active_span().then(|| context.clone()))
}

/// The traced call that an item of a batch belongs to. Items of one call share it.
#[derive(Clone, Debug, Default)]
pub struct Member(Option<Arc<SpanContext>>);

impl Member {
    /// Of the call that is handled here and now.
    pub fn current() -> Self {
        Self(current().map(|context| Arc::new(context.span().span_context().clone())))
    }
}

/// The traced calls among the items of one batch, in their order.
#[derive(Debug, Default)]
pub struct Members(Vec<Arc<SpanContext>>);

impl Members {
    /// Adds an item's.
    pub fn add(&mut self, Member(member): Member) {
        let Some(member) = member else { return };
        // Items that came with one call stand next to each other.
        if self.0.last().is_none_or(|last| **last != *member) {
            self.0.push(member);
        }
    }

    /// Begins what is done for all of them together: a part of the first one's call, with a link to
    /// each other's. A batch without a traced item has none.
    pub fn span(self, hop: &'static str, items: usize) -> Span {
        let mut members = self.0.into_iter();
        let Some(first) = members.next() else { return Span::NONE };
        let links = members.map(|other| Link::with_context((*other).clone())).collect();
        let items = i64::try_from(items).unwrap_or(i64::MAX);
        let builder = SpanBuilder::from_name(format!("batch {hop}"))
            .with_kind(SpanKind::Internal)
            .with_links(links)
            .with_attributes([KeyValue::new("firstcome.batch.items", items)]);
        Span::begin(&Context::new().with_remote_span_context((*first).clone()), builder)
    }
}
