//! The way to another service: one lazily connected channel with its limits.
//!
//! Breaker, balancing over re-resolved endpoints and mTLS will stand here, between the caller's
//! typed client and the channel; callers only ever see [`channel`].

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// A connection that cannot be made in this time counts as unavailable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle connection is probed this often, so that a dead peer is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A probe without an answer for this long closes the connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 receive windows: room for a full batch of answers without a round trip.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// A channel to an endpoint such as `http://127.0.0.1:9102`; connects at the first call and again
/// whenever the connection is lost. Errors when the text is not a URI.
pub fn channel(endpoint: &str) -> Result<Channel, tonic::transport::Error> {
    Ok(Endpoint::from_shared(endpoint.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_lazy())
}
