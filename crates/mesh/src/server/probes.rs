//! A port of its own where a process says how it is, in the clear: whoever watches over it (a
//! kubelet, a container's runtime, Prometheus) has no certificate of the mesh. Health is asked by
//! gRPC, the figures of [`metrics`] by `GET /metrics`. Nothing else is said there, and the calls of
//! buyers do not stand in front of it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::routing::get;
use http::header::CONTENT_TYPE;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Status, service::Routes, transport::Server as Transport};
use tonic_health::{
    pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
        health_server::HealthServer,
    },
    server::{HealthReporter, HealthService},
};

use crate::{metrics, upstream};

/// Who cannot say how it is in this time is not well.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// A probe is one call on a connection of its own.
const CALLS_MAX: usize = 4;

/// Where Prometheus looks unless it is told otherwise.
pub const METRICS_PATH: &str = "/metrics";

/// Answers what the reporter is told, until the value is dropped.
#[must_use = "whoever drops it stops answering"]
pub fn answer(listener: TcpListener, reporter: HealthReporter) -> JoinSet<()> {
    let health = HealthServer::new(HealthService::from_health_reporter(reporter));
    let figures = get(async || ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text()));
    let routes = Routes::new(health).into_axum_router().route(METRICS_PATH, figures);
    let serving = Transport::builder()
        // Prometheus asks as a browser does.
        .accept_http1(true)
        .concurrency_limit_per_connection(CALLS_MAX)
        .add_routes(Routes::from(routes))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let mut task = JoinSet::new();
    task.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "answer probes");
        }
    });
    task
}

/// What a process is told that asks another one, in the same container, how it is.
#[derive(clap::Args, Clone, Debug)]
pub struct Healthy {
    /// Where the other one answers probes.
    #[arg(long, env = "FIRSTCOME_HEALTH_LISTEN")]
    pub health_listen: SocketAddr,
}

/// Why somebody is not ready.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// There is no answer, or it is an error.
    #[error("no answer: {}", .0.message())]
    Silent(Status),
    /// Where to ask is no address.
    #[error(transparent)]
    Address(#[from] tonic::transport::Error),
    /// It says that it is not.
    #[error("{service} says {status:?}")]
    Said {
        /// Who.
        service: String,
        /// What.
        status: ServingStatus,
    },
}

impl Healthy {
    /// Succeeds when that service says that it is ready.
    pub async fn ask(&self, service: &str) -> Result<(), Unready> {
        let channel = upstream::channel(&format!("http://{}", reachable(self.health_listen)))?;
        let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
        request.set_timeout(ANSWER_TIMEOUT);
        let answer = HealthClient::new(channel).check(request).await.map_err(Unready::Silent)?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            status => Err(Unready::Said { service: service.to_owned(), status }),
        }
    }
}

/// Who listens everywhere is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
