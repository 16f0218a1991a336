//! Waiting until a service that was started says that it is ready.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use firstcome_proto::access::Peer;
use tonic::Request;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{Address, Service, runner::Runner};

/// A service waits for its stores, which may be recovering.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a starting service is asked.
const READY_POLL: Duration = Duration::from_millis(50);
/// A service that cannot say how it is in this time is not ready.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits for the service that this runner has started, which listens at this endpoint; an error when
/// it has ended.
pub async fn wait_until_ready(
    address: &Address,
    service: Service,
    endpoint: &str,
    runner: &Runner,
) -> Result<()> {
    let started = Instant::now();
    while let Err(error) = ask_health(address, service, endpoint).await {
        runner.ensure_running().await?;
        if started.elapsed() > READY_TIMEOUT {
            bail!("{service} does not become ready: {error:#}{}", runner.log_tail());
        }
        tokio::time::sleep(READY_POLL).await;
    }
    Ok(())
}

async fn ask_health(address: &Address, service: Service, endpoint: &str) -> Result<()> {
    let mut health = HealthClient::new(address.channel_at(service, endpoint, Peer::Operator)?);
    let mut request = Request::new(HealthCheckRequest { service: service.name().to_owned() });
    request.set_timeout(HEALTH_TIMEOUT);
    let status = health.check(request).await?.into_inner().status();
    if status != ServingStatus::Serving {
        bail!("{service} says {status:?}");
    }
    Ok(())
}
