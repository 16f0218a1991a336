//! The way to another service: one lazily connected channel with its limits.
//!
//! Breaker and balancing over re-resolved endpoints will stand here, between the caller's typed
//! client and the channel; callers only ever see [`channel_to`].

use std::{io, time::Duration};

use firstcome_proto::access::Peer;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Error};

use crate::tls::Credentials;

/// A connection that cannot be made in this time, its handshake included, counts as unavailable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle connection is probed this often, so that a dead peer is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A probe without an answer for this long closes the connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 receive windows: room for a full batch of answers without a round trip.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Of an endpoint that names none.
const PORT_DEFAULT: u16 = 80;

/// A channel in the clear, to an endpoint such as `http://127.0.0.1:9102`: to the public port, or
/// where a mesh has no certificates. Connects at the first call and again whenever the connection
/// is lost. Errors when the text is not a URI.
pub fn channel(endpoint: &str) -> Result<Channel, Error> {
    Ok(configured(endpoint)?.connect_lazy())
}

/// A channel to a service of the mesh; with credentials, one on which both sides prove who they
/// are. Each new connection uses the credentials of its time.
pub fn channel_to(
    peer: Peer,
    endpoint: &str,
    credentials: Option<&Credentials>,
) -> Result<Channel, Error> {
    let Some(credentials) = credentials.cloned() else { return channel(endpoint) };
    // The scheme stays `http`: tonic would refuse another from a connector that is not its own.
    let connect = tower::service_fn(move |uri| connect(peer, uri, credentials.clone()));
    Ok(configured(endpoint)?.connect_with_connector_lazy(connect))
}

fn configured(endpoint: &str) -> Result<Endpoint, Error> {
    Ok(Endpoint::from_shared(endpoint.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

/// Connects, and believes only the peer that was meant, whatever the address led to.
async fn connect(
    peer: Peer,
    uri: Uri,
    credentials: Credentials,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(PORT_DEFAULT))).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(peer.name()).expect("a peer's name is a DNS name");
    let connector = TlsConnector::from(credentials.client());
    Ok(TokioIo::new(connector.connect(name, stream).await?))
}
