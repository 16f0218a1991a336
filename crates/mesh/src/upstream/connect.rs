//! One connection to one address: in the clear, or one on which both sides prove who they are.

use std::{io, net::SocketAddr, time::Duration};

use firstcome_proto::access::Peer;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Error};

use crate::tls::Credentials;

/// A connection that cannot be made in this time, its handshake included, counts as unavailable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle connection is probed this often, so that a dead peer is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A probe without an answer for this long closes the connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 receive windows: room for a full batch of answers without a round trip.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Of an endpoint that names none.
pub const PORT_DEFAULT: u16 = 80;

/// A channel in the clear, to an endpoint such as `http://127.0.0.1:9102`: to the public port, or
/// where a mesh has no certificates. Connects at the first call and again whenever the connection
/// is lost. Errors when the text is not a URI.
pub fn channel(endpoint: &str) -> Result<Channel, Error> {
    Ok(configured(endpoint)?.connect_lazy())
}

/// A channel of one connection to a peer, without anything that [`super::Channel`] adds to it: for
/// who looks at one process and no other. With credentials, one on which both sides prove who they
/// are. Each new connection uses the credentials of its time.
pub fn connection_to(
    peer: Peer,
    endpoint: &str,
    credentials: Option<&Credentials>,
) -> Result<Channel, Error> {
    let Some(credentials) = credentials.cloned() else { return channel(endpoint) };
    // The scheme stays `http`: tonic would refuse another from a connector that is not its own.
    let connect = tower::service_fn(move |uri: Uri| {
        let credentials = credentials.clone();
        async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            secured(peer, (host, uri.port_u16().unwrap_or(PORT_DEFAULT)), credentials).await
        }
    });
    Ok(configured(endpoint)?.connect_with_connector_lazy(connect))
}

/// The same to one address of an endpoint, which keeps its name in what is asked.
pub fn connection_at(
    peer: Peer,
    endpoint: &str,
    address: SocketAddr,
    credentials: Option<&Credentials>,
) -> Result<Channel, Error> {
    let endpoint = configured(endpoint)?;
    Ok(match credentials.cloned() {
        Some(credentials) => {
            endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                secured(peer, address, credentials.clone())
            }))
        }
        None => endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| async move {
            Ok::<_, io::Error>(TokioIo::new(reach(address).await?))
        })),
    })
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
async fn secured(
    peer: Peer,
    address: impl ToSocketAddrs,
    credentials: Credentials,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = reach(address).await?;
    let name = ServerName::try_from(peer.name()).expect("a peer's name is a DNS name");
    let connector = TlsConnector::from(credentials.client());
    Ok(TokioIo::new(connector.connect(name, stream).await?))
}

async fn reach(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
