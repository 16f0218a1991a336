//! What the tests share: scripted services, an edge in front of them, and makers of tokens.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey, pkcs8::EncodePrivateKey as _};
use firstcome_edge::{App, Config, wire};
use firstcome_mesh::{
    Shutdown, Tls,
    batcher::{InFlightMax, ItemsMax},
    config::{Faulty, Serve, Traces},
};
use firstcome_proto::{
    Reason, Refusal,
    user_v1::{ListRevocationsRequest, ListRevocationsResponse, ListTokenKeysResponse, TokenKey},
};
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use prost::Message;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{
    Status,
    body::Body,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::HealthCheckResponse;
use uuid::Uuid;

pub type Answer = http::Response<Body>;
type Script = Arc<dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// A call as it reached a service.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    /// With its prefix.
    pub message: Bytes,
}

impl Asked {
    pub fn decode<M: Message + Default>(&self) -> M {
        wire::decode(&self.message).expect("the edge passes whole messages")
    }
}

/// What no caller makes the edge ask.
pub const ASKED_BY_ITSELF: [&str; 2] = ["ListTokenKeys", "ListRevocations"];

/// What every caller asks of every service, all the time.
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// What `user` says of ended sessions. The cursor is how many it has told.
#[derive(Default)]
pub struct Ended {
    pub sessions: Vec<Uuid>,
    pub newest_key_id: String,
    /// It does not answer.
    pub is_silent: bool,
}

/// What the services do, and what they were asked.
#[derive(Clone, Default)]
pub struct Scripts {
    by_path: Arc<Mutex<HashMap<String, Script>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Who follows their health, which is always good.
    listeners: Arc<Mutex<Vec<mpsc::UnboundedSender<HealthCheckResponse>>>>,
}

impl Scripts {
    /// Answers a path, as in `order.v1.OrderService/GetOrder`.
    pub fn on<F, Fut>(&self, method: &str, script: F)
    where
        F: Fn(Asked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let script: Script = Arc::new(move |asked| Box::pin(script(asked)));
        self.by_path.lock().insert(format!("/firstcome.{method}"), script);
    }

    /// What was asked of a method.
    pub fn asked(&self, method: &str) -> Vec<Asked> {
        let path = format!("/firstcome.{method}");
        self.asked.lock().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Everything that was asked except for what the edge asks by itself.
    pub fn asked_in_all(&self) -> usize {
        let asked = self.asked.lock();
        asked
            .iter()
            .filter(|asked| !ASKED_BY_ITSELF.iter().any(|of| asked.path.ends_with(of)))
            .count()
    }

    async fn answer(self, request: axum::extract::Request) -> http::Response<axum::body::Body> {
        let (parts, body) = request.into_parts();
        let message = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        };
        let path = parts.uri.path().to_owned();
        if path == HEALTH_WATCH {
            let (words, answer) = stream();
            words.send(HealthCheckResponse { status: 1 }).unwrap();
            self.listeners.lock().push(words);
            return answer.map(axum::body::Body::new);
        }
        let asked = Asked { path: path.clone(), headers: parts.headers, message };
        self.asked.lock().push(asked.clone());
        let script = self.by_path.lock().get(&path).cloned();
        let answer = match script {
            Some(script) => script(asked).await,
            None => refused(&Status::unimplemented("no script")),
        };
        answer.map(axum::body::Body::new)
    }
}

/// An answer with one message.
pub fn unary(message: &impl Message) -> Answer {
    wire::answer_with(&message.encode_to_vec())
}

/// An answer that is only a status.
pub fn refused(status: &Status) -> Answer {
    wire::refused(status)
}

/// A stream: the messages that are sent, then the trailers of OK when the sender is dropped.
pub fn stream<M: Message + 'static>() -> (mpsc::UnboundedSender<M>, Answer) {
    let (messages, outlet) = mpsc::unbounded_channel::<M>();
    let frames = async_frames(outlet);
    (messages, wire::streaming(Body::new(StreamBody::new(frames))))
}

fn async_frames<M: Message + 'static>(
    outlet: mpsc::UnboundedReceiver<M>,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, Status>> + Send {
    use futures::StreamExt as _;
    let ok = HeaderMap::from_iter([(wire::GRPC_STATUS, "0".parse().unwrap())]);
    UnboundedReceiverStream::new(outlet)
        .map(|message| Ok(Frame::data(wire::frame(&message))))
        .chain(futures::stream::once(async move { Ok(Frame::trailers(ok)) }))
}

/// All four services in one process of their own, so to speak: a runtime that can be killed with
/// all its connections.
pub struct Services {
    pub address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Services {
    pub fn start(scripts: &Scripts, address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let scripts = scripts.clone();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new()
            .fallback(move |request: axum::extract::Request| scripts.clone().answer(request));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            tonic::transport::Server::builder()
                .max_concurrent_streams(10_000)
                .add_routes(Routes::from(router))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
        });
        Self { address, runtime: Some(runtime) }
    }

    /// Ends all its connections in the middle of whatever they carry.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A thread of its own, because a runtime may not wait for another.
            let end = move || runtime.shutdown_timeout(Duration::from_secs(5));
            std::thread::spawn(end).join().unwrap();
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A key that signs tokens.
#[derive(Clone)]
pub struct Signer {
    pub id: String,
    key: SigningKey,
}

impl Signer {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), key: SigningKey::from_bytes(&rand::random()) }
    }

    pub fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs anything.
    pub fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.key.sign(bytes).to_bytes()
    }

    /// Signs these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.id.clone());
        let key = self.key.to_pkcs8_der().unwrap();
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(key.as_bytes())).unwrap()
    }

    /// A good token of a user.
    pub fn token(&self, user: Uuid) -> String {
        self.sign(&claims(user, "user"))
    }
}

/// The claims of a token that lives for a minute.
pub fn claims(user: Uuid, role: &str) -> Value {
    let now = now_s();
    json!({
        "iss": "firstcome", "aud": "firstcome", "sub": user, "sid": Uuid::from_u128(7),
        "role": role, "iat": now, "nbf": now, "exp": now + 60,
    })
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An edge, the services behind it, and who signs.
pub struct Mesh {
    pub scripts: Scripts,
    pub services: Services,
    pub signer: Signer,
    pub keys: Arc<Mutex<Vec<Signer>>>,
    pub ended: Arc<Mutex<Ended>>,
    pub edge: SocketAddr,
    pub shutdown: Shutdown,
    pub served: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Mesh {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts with a changed configuration, and waits until the edge is ready.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let mesh = Self::launch(Ended::default(), change).await;
        mesh.until_ready().await;
        mesh
    }

    /// Starts where sessions have ended already, and does not wait.
    pub async fn launch(ended: Ended, change: impl FnOnce(&mut Config)) -> Self {
        let scripts = Scripts::default();
        let signer = Signer::new("first");
        let keys = Arc::new(Mutex::new(vec![signer.clone()]));
        let ended = Arc::new(Mutex::new(ended));
        script_token_keys(&scripts, Arc::clone(&keys));
        script_revocations(&scripts, Arc::clone(&ended));
        let services = Services::start(&scripts, "127.0.0.1:0");

        let mut config = config(&format!("http://{}", services.address));
        change(&mut config);
        let shutdown = Shutdown::new();
        let app = App::build(config.clone(), &shutdown).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let edge = listener.local_addr().unwrap();
        let serving = app.serve(listener, shutdown.clone(), config.serve.drain_timeout);
        let served = Some(tokio::spawn(serving));
        Self { scripts, services, signer, keys, ended, edge, shutdown, served }
    }

    pub async fn until_ready(&self) {
        until("the edge is ready", async || self.is_ready().await).await;
    }

    pub async fn is_ready(&self) -> bool {
        let mut health = tonic_health::pb::health_client::HealthClient::new(self.channel());
        static ASKED: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
        let request = tonic_health::pb::HealthCheckRequest { service: "firstcome-edge".into() };
        // Each look from another address, where such a word is believed: a limit of three calls
        // must not be spent on waiting.
        let asked = ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let [high, low] = asked.to_be_bytes();
        let from = format!("198.18.{high}.{low}");
        let answer = health.check(with(request, &[("x-forwarded-for", &from)])).await;
        answer.is_ok_and(|answer| answer.get_ref().status == 1)
    }

    /// A new connection to the edge.
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.edge)).unwrap().connect_lazy()
    }

    /// A token of a new user.
    pub fn token(&self) -> String {
        self.signer.token(Uuid::new_v4())
    }
}

fn script_token_keys(scripts: &Scripts, keys: Arc<Mutex<Vec<Signer>>>) {
    scripts.on("user.v1.TokenKeyService/ListTokenKeys", move |_| {
        let listed = keys.lock();
        let keys = listed.iter().map(|signer| TokenKey {
            key_id: signer.id.clone(),
            public_key: Bytes::copy_from_slice(&signer.public()),
        });
        let answer = unary(&ListTokenKeysResponse { keys: keys.collect() });
        async { answer }
    });
}

fn script_revocations(scripts: &Scripts, ended: Arc<Mutex<Ended>>) {
    scripts.on("user.v1.RevocationService/ListRevocations", move |asked| {
        let ended = ended.lock();
        let told = usize::try_from(asked.decode::<ListRevocationsRequest>().cursor).unwrap();
        let session = |id: &Uuid| Bytes::copy_from_slice(id.as_bytes());
        let answer = ListRevocationsResponse {
            session_ids: ended.sessions[told..].iter().map(session).collect(),
            cursor: u64::try_from(ended.sessions.len()).unwrap(),
            keep: Some(prost_types::Duration { seconds: 660, nanos: 0 }),
            newest_key_id: ended.newest_key_id.clone(),
        };
        let answer = match ended.is_silent {
            true => refused(&Status::unavailable("gone")),
            false => unary(&answer),
        };
        async { answer }
    });
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

pub fn config(endpoint: &str) -> Config {
    Config {
        serve: Serve {
            listen: "127.0.0.1:0".parse().unwrap(),
            health_listen: None,
            drain_wait: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
            tls: Tls::default(),
            faults: Faulty::default(),
            traces: Traces::default(),
        },
        user_endpoint: endpoint.to_owned(),
        inventory_endpoint: endpoint.to_owned(),
        order_endpoint: endpoint.to_owned(),
        payment_endpoint: endpoint.to_owned(),
        development: true,
        web_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        address_limit: "off".parse().unwrap(),
        credentials_limit: "off".parse().unwrap(),
        mails_limit: "off".parse().unwrap(),
        password_limit: "off".parse().unwrap(),
        user_limit: "off".parse().unwrap(),
        exempt_users: Vec::new(),
        traced_share: "1".parse().unwrap(),
        call_deadline: Duration::from_secs(10),
        revocations_stale_max: Duration::from_secs(60),
        calls_max: 1000,
        watchers_max: 1000,
        watcher_stall: Duration::from_secs(10),
        batch_items_max: ItemsMax::MAX,
        batches_in_flight_max: InFlightMax::new(2),
    }
}

/// A message with headers of its own.
pub fn with<T>(message: T, headers: &[(&'static str, &str)]) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// A message with a token.
pub fn by<T>(token: &str, message: T) -> tonic::Request<T> {
    with(message, &[("authorization", &format!("Bearer {token}"))])
}

/// The reason of a refusal, which must be one of ours.
pub fn reason(status: &Status) -> Reason {
    assert!(!status.details().is_empty(), "no ErrorInfo: {status:?}");
    Refusal::from_status(status).reason()
}

/// Calls any path with any bytes; answers with the status, wherever it stood.
pub async fn raw(channel: Channel, path: &str, headers: HeaderMap, message: Bytes) -> Status {
    use tower::{Service as _, ServiceExt as _};
    let mut request = Request::new(Body::new(http_body_util::Full::new(message)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.parse().unwrap();
    *request.headers_mut() = headers;
    request.headers_mut().insert("content-type", wire::GRPC);
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let mut channel = channel;
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let trailers = response.into_body().collect().await.unwrap();
    Status::from_header_map(trailers.trailers().expect("trailers")).expect("a status")
}

/// Waits for a condition, at most ten seconds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
