//! Serving: one port with the service's methods, health and reflection, until told to stop; then
//! not ready, wait for callers to leave, stop accepting, answer the calls in flight.

mod authorize;
mod incoming;
pub mod inject;
pub mod probes;
pub mod shed;
mod streamed;
mod telling;
mod unreadable;

use std::{io, net::SocketAddr, time::Duration};

use firstcome_proto::DESCRIPTOR_SET;
use tokio::net::TcpListener;
use tonic::{service::RoutesBuilder, transport::Server as Transport};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::util::MapResponseLayer;

pub use self::streamed::{Streamed, streamed};
use self::{
    authorize::AuthorizeLayer,
    inject::{InjectLayer, Injected},
    shed::{Load, ShedLayer},
};
use crate::{
    Shutdown, config,
    metrics::{self, calls::ObserveLayer},
    open_files,
    telemetry::traces::rpc::ServeLayer,
    tls::Credentials,
};

/// EX_UNAVAILABLE of sysexits.h: the port is taken.
pub const EXIT_UNAVAILABLE: i32 = 69;

/// A peer without an answer to a probe for this long is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 receive windows: room for full batches without a round trip.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Calls in flight on one connection: a mesh peer has one, and with it up to
/// [`crate::upstream::CALLS_MAX`] and a look at our health.
const CONCURRENT_STREAMS_MAX: u32 = 8192;
/// Calls that a peer may cancel before we have taken them up. HTTP/2's own bound of 20 is meant
/// against strangers; a peer whose callers leave all at once would lose the whole connection.
const CANCELLED_EARLY_MAX: usize = CONCURRENT_STREAMS_MAX as usize;
/// Calls that wait for the head of their answer. A rush makes a few: its buyers come in batches.
/// Above what a service answers in a second, and at about 10 KiB each below what would swap.
const CALLS_MAX: usize = 8192;
/// Headers of one call; ours are an identity, a deadline and a trace.
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// Binds a listening socket, and lets the process open as many files as it may: each connection is
/// one. A port that is taken exits 69 and is named.
pub async fn bind(address: SocketAddr) -> TcpListener {
    open_files::raise();
    match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("error: cannot listen on {address}: {error}");
            std::process::exit(EXIT_UNAVAILABLE);
        }
    }
}

/// The open ports of a process.
pub struct Listeners {
    /// For calls.
    pub calls: TcpListener,
    /// For those who watch over the process from outside the mesh.
    pub probes: Option<TcpListener>,
}

impl Listeners {
    /// Binds what a process is told to listen on.
    pub async fn bind(config: &config::Serve) -> Self {
        let probes = match config.health_listen {
            Some(address) => Some(bind(address).await),
            None => None,
        };
        Self { calls: bind(config.listen).await, probes }
    }
}

impl From<TcpListener> for Listeners {
    fn from(calls: TcpListener) -> Self {
        Self { calls, probes: None }
    }
}

/// What whoever has a certificate of the mesh may ask at any time, on a full service too: how a
/// service is, and what it speaks.
const FOR_ALL: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/"];

fn is_for_all(path: &str) -> bool {
    FOR_ALL.iter().any(|service| path.starts_with(service))
}

/// A server in the making.
pub struct Server {
    name: &'static str,
    routes: RoutesBuilder,
    reporter: HealthReporter,
    credentials: Option<Credentials>,
    faults: InjectLayer,
}

impl Server {
    /// `name` is the binary's, and the health service's word for "ready". With credentials, only
    /// peers whose certificate is of the same authority are let in, and each may call what the
    /// contract has it call; without them everybody is, and may call everything.
    pub fn new(name: &'static str, credentials: Option<Credentials>) -> Self {
        metrics::begin(name);
        let (reporter, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the descriptor set was made by the build");
        let mut routes = RoutesBuilder::default();
        routes.add_service(health).add_service(reflection);
        Self { name, routes, reporter, credentials, faults: InjectLayer::new(&[]) }
    }

    /// Where the service adds its methods.
    pub fn routes(&mut self) -> &mut RoutesBuilder {
        &mut self.routes
    }

    /// Makes these faults on purpose.
    pub fn injecting(self, faults: &[Injected]) -> Self {
        Self { faults: InjectLayer::new(faults), ..self }
    }

    /// Serves until `shutdown` begins, then answers the calls in flight, within `drain_timeout`.
    /// What they leave behind is the caller's to finish, [`Shutdown::within`] the same: batchers
    /// that start tasks, then the tasks, then what these need.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        shutdown: Shutdown,
        drain_timeout: Duration,
    ) -> io::Result<()> {
        let Listeners { calls, probes } = listeners.into();
        let address = calls.local_addr()?;
        let _probes = probes.map(|listener| probes::answer(listener, self.reporter.clone()));
        self.reporter.set_service_status(self.name, ServingStatus::Serving).await;
        tracing::info!(service = self.name, %address, "serve");

        let stop = shutdown.clone();
        let mut reporter = self.reporter.clone();
        let name = self.name;
        let authorize = match &self.credentials {
            Some(_) => AuthorizeLayer::by_contract(),
            None => AuthorizeLayer::in_the_clear(),
        };
        let connections = incoming::incoming(calls, self.credentials);
        let serving = Transport::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
            .http2_max_pending_accept_reset_streams(Some(CANCELLED_EARLY_MAX))
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            // Top to bottom. Outermost: a refusal below is a part of the trace too.
            .layer(ServeLayer)
            // Above all that refuses: whoever is turned away below is counted too.
            .layer(ObserveLayer)
            // In front of all routes: whoever may not call is told so before anything is read, and
            // takes nobody's place.
            .layer(authorize)
            // Before anything that waits: a full service must refuse at no cost. Whoever watches over
            // it must still hear that it lives.
            .layer(ShedLayer::new(Load::default(), CALLS_MAX).sparing(is_for_all))
            // Last, as if the service itself failed; a call that is late on purpose has its place.
            .layer(self.faults)
            // Beside the routes: what tonic says for them gets the contract's words.
            .layer(MapResponseLayer::new(unreadable::documented))
            .add_routes(self.routes.routes())
            .serve_with_incoming_shutdown(connections, async move {
                stop.leaving().await;
                reporter.set_service_status(name, ServingStatus::NotServing).await;
                stop.begun().await;
                // Whoever follows our health would never leave by itself.
                reporter.clear_service_status(name).await;
                reporter.clear_service_status("").await;
            });
        // Boxed, because handshakes under way make it large.
        let served = shutdown.within(drain_timeout, Box::pin(serving)).await;
        shutdown.begin();
        served.unwrap_or(Ok(())).map_err(io::Error::other)
    }
}
