//! Connections as they come in: each is let in by its certificate, or, in a mesh without
//! certificates, as it is.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use firstcome_proto::access::Peer;
use futures::{Stream, StreamExt as _};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;
use webpki::EndEntityCert;

use crate::tls::Credentials;

/// Who has not proved itself by then never will.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes under way; more wait in the kernel. Above all peers that reconnect at once.
const HANDSHAKES_MAX: usize = 512;
/// After accepting failed (too many open files), so that it is not tried in a circle.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connections of a listening socket that may stay. A slow handshake delays no other.
pub fn incoming(
    listener: TcpListener,
    credentials: Option<Credentials>,
) -> impl Stream<Item = io::Result<Connection>> {
    TcpListenerStream::new(listener)
        .then(|accepted| async {
            if let Err(error) = &accepted {
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            accepted.ok()
        })
        .filter_map(std::future::ready)
        .map(move |stream| admit(stream, credentials.clone()))
        .buffer_unordered(HANDSHAKES_MAX)
        .filter_map(|admitted| std::future::ready(admitted.map(Ok)))
}

async fn admit(stream: TcpStream, credentials: Option<Credentials>) -> Option<Connection> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set nodelay");
    }
    let Some(credentials) = credentials else {
        return Some(Connection { io: Either::Left(stream), caller: Caller(None) });
    };
    let address = stream.peer_addr().ok();
    let handshake = TlsAcceptor::from(credentials.server()).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let own = session.peer_certificates().and_then(<[_]>::first);
            let caller = Caller(own.and_then(named_in));
            Some(Connection { io: Either::Right(stream), caller })
        }
        Ok(Err(error)) => {
            tracing::info!(?address, %error, "refuse a connection");
            None
        }
        Err(_) => {
            tracing::info!(?address, "refuse a connection that does not prove itself");
            None
        }
    }
}

/// The one peer that a certificate names. A certificate for two would make each of them the other.
fn named_in(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut peers = certificate.valid_dns_names().filter_map(Peer::named);
    let peer = peers.next()?;
    peers.all(|other| other == peer).then_some(peer)
}

/// Who is at the other end of a connection: somebody of the mesh whom its certificate names, or
/// nobody that is known. Each request carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller(pub Option<Peer>);

/// A connection that was let in.
pub struct Connection {
    io: Either<TcpStream, TlsStream<TcpStream>>,
    caller: Caller,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, parts)
    }

    // A frame's head and body then leave as one record and one packet.
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
