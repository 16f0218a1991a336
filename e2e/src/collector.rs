//! Where a shop's spans go: a collector that keeps what it is sent.

use std::sync::Arc;

use anyhow::Result;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span as Sent, span::SpanKind},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// A running collector; dropping it ends it.
pub struct Collector {
    /// What services are told.
    pub endpoint: String,
    received: Received,
    _serving: JoinSet<Result<(), tonic::transport::Error>>,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Span>>>);

/// A span, and whose it is.
#[derive(Clone, Debug)]
pub struct Span {
    /// As in `firstcome-order`.
    pub service: String,
    /// As it was sent.
    pub sent: Sent,
}

impl Span {
    /// What it is a span of.
    pub fn name(&self) -> &str {
        &self.sent.name
    }

    /// One of its attributes, as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        text_of(&self.sent.attributes, key)
    }

    /// Whose part it is.
    pub fn is_part_of(&self, parent: &Self) -> bool {
        self.sent.trace_id == parent.sent.trace_id
            && self.sent.parent_span_id == parent.sent.span_id
    }

    /// Whether it points at another one, perhaps of another trace.
    pub fn links(&self, other: &Self) -> bool {
        let ids = |link: &opentelemetry_proto::tonic::trace::v1::span::Link| {
            link.trace_id == other.sent.trace_id && link.span_id == other.sent.span_id
        };
        self.sent.links.iter().any(ids)
    }

    /// Whether a call was served here.
    pub fn is_served(&self) -> bool {
        self.sent.kind() == SpanKind::Server
    }
}

fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let received = Received::default();
        let service = TraceServiceServer::new(received.clone());
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let mut task = JoinSet::new();
        task.spawn(serving);
        Ok(Self { endpoint, received, _serving: task })
    }

    /// All spans that have come in.
    pub fn spans(&self) -> Vec<Span> {
        self.received.0.lock().clone()
    }

    /// Those of one trace.
    pub fn trace(&self, id: u128) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.sent.trace_id == id.to_be_bytes());
        spans
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_service in request.into_inner().resource_spans {
            let resource = of_service.resource.unwrap_or_default();
            let service = text_of(&resource.attributes, "service.name").unwrap_or_default();
            let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().extend(spans.map(|sent| Span { service: service.clone(), sent }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
