//! Where a traced mesh sends its spans: a collector that counts them and keeps none.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, transport::Server};

/// A running collector; dropping it ends it.
pub struct Collector {
    endpoint: String,
    spans: Counted,
    _serving: AbortOnDropHandle<Result<(), tonic::transport::Error>>,
}

#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl Collector {
    /// Starts one on a free port. Its time is the bench's own, and nobody's cost.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let spans = Counted::default();
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(spans.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Ok(Self { endpoint, spans, _serving: AbortOnDropHandle::new(tokio::spawn(serving)) })
    }

    /// What services are told.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What was measured as traced was.
    pub fn check(&self) -> Result<()> {
        let spans = self.spans.0.load(Ordering::Relaxed);
        ensure!(spans > 0, "no span came to the collector: nothing was traced");
        Ok(())
    }
}

#[tonic::async_trait]
impl TraceService for Counted {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.get_ref().resource_spans.iter().flat_map(|of| &of.scope_spans);
        self.0.fetch_add(scopes.map(|scope| scope.spans.len()).sum(), Ordering::Relaxed);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
