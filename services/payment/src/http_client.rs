//! The way to other systems over HTTP/1.1, in the clear or over TLS: one request, one bounded
//! answer, within a deadline.

use std::time::Duration;

use bytes::Bytes;
use firstcome_mesh::Deadline;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// A system that takes longer to take a connection cannot be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that rests longer is closed: its other end may be about to do the same.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer: a payment with its newest charge is about 10 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// No answer came, or none that could be read to its end. What was asked may have been done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no answer: {0}")]
pub struct Lost(String);

/// Connections to whoever is called. Clones share them.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    /// Connects when it is used first.
    pub fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self { client }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`Lost`] when there is no whole answer by the deadline.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        deadline: Deadline,
    ) -> Result<(StatusCode, Bytes), Lost> {
        let exchange = async {
            let lost = |fault: &dyn std::fmt::Debug| Lost(format!("{fault:?}"));
            let answer = self.client.request(request.map(Full::new)).await;
            let (head, body) = answer.map_err(|fault| lost(&fault))?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok((head.status, body.map_err(|fault| lost(&fault))?.to_bytes()))
        };
        let answer = tokio::time::timeout_at(deadline.instant(), exchange).await;
        answer.unwrap_or_else(|_| Err(Lost("the deadline passed".into())))
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}
