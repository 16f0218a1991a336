//! The port: connections in, HTTP/1.1 and HTTP/2 on each, and an end that lets calls finish.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tonic::body::Body;

use crate::stack::Stack;

/// Connections at once. Each is an open file: [`crate::app`] says when the process may not have as
/// many.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Calls and streams at once on one connection. A browser needs a hundred; a gateway that carries
/// many watchers needs thousands.
const CONCURRENT_STREAMS_MAX: u32 = 4096;
/// Headers of one call: a token, a trace, and a browser's own.
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// The same for HTTP/1.1, where the buffer also holds the start of the body.
const HTTP1_BUFFER_BYTES_MAX: usize = 32 << 10;
/// Who has not finished its headers by then is holding the connection, not using it.
const HTTP1_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Who connects and never asks for anything, or never says in which HTTP, is sent away.
const FIRST_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// A peer without an answer to a probe for this long is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Receive windows: a largest message without a round trip, and sixteen of them a connection.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What waits to be sent on one stream.
const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
/// After accepting failed (too many open files), so that it is not tried in a circle.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`, then lets the calls on each connection finish.
pub async fn serve(listener: TcpListener, stack: Arc<Stack>, stop: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let http = Arc::new(http());
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepting = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place.expect("the semaphore is never closed"), listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accepting => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (http, stack, watcher) = (Arc::clone(&http), Arc::clone(&stack), connections.watcher());
        tokio::spawn(async move {
            connection(&http, &stack, stream, peer, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection(
    http: &Builder<TokioExecutor>,
    stack: &Stack,
    stream: TcpStream,
    peer: SocketAddr,
    watcher: hyper_util::server::graceful::Watcher,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set nodelay");
    }
    // One stack for each connection, called by its one task: the lock is never waited for.
    let door = Mutex::new(stack.door(peer.ip().to_canonical()));
    let has_asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&has_asked);
    let service = service_fn(move |request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        door.lock().call(request.map(Body::new))
    });
    let silence = async {
        tokio::time::sleep(FIRST_CALL_TIMEOUT).await;
        if has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let serving = http.serve_connection(TokioIo::new(stream), service).into_owned();
    tokio::select! {
        served = watcher.watch(serving) => if let Err(error) = served {
            tracing::debug!(%peer, %error, "a connection broke");
        },
        () = silence => tracing::debug!(%peer, "a connection asked for nothing"),
    }
}

fn http() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP1_HEADER_TIMEOUT)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    http
}
