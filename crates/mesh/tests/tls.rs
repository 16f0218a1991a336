//! Who gets in, who may call what, and how a certificate takes the place of another, on real
//! sockets.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::{
    convert::Infallible,
    error::Error as _,
    fs,
    net::SocketAddr,
    path::Path,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use firstcome_mesh::{
    Credentials, Identity, Shutdown, identity,
    server::{self, Server},
    tls::{Fault, Files},
    upstream,
};
use firstcome_proto::{
    Reason, Refusal, SessionId, UserId,
    access::{Peer, Role},
};
use http::{Request, Response};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tonic::{
    Code, Status,
    body::Body,
    client::Grpc,
    server::NamedService,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use uuid::Uuid;

/// What the service under test is called, in its certificate.
const SERVICE: Peer = Peer::Payment;
/// Order's to call.
const CAPTURE: &str = "/firstcome.payment.v1.ChargeService/Capture";
/// The edge's to call.
const GET_PAYMENT: &str = "/firstcome.payment.v1.PaymentService/GetPayment";
/// A new certificate is taken up within seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// An authority and a folder for what it certifies.
struct Authority {
    folder: TempDir,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pair = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&pair).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, certificate, issuer: Issuer::new(params, pair) }
    }

    /// Certifies somebody who has this name.
    fn certify(&self, name: &str) -> Files {
        self.certify_into(self.folder.path(), name)
    }

    fn certify_into(&self, folder: &Path, name: &str) -> Files {
        let files = Files {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
            authority: folder.join("authority.pem"),
        };
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&pair, &self.issuer).unwrap();
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, pair.serialize_pem()).unwrap();
        fs::write(&files.authority, &self.certificate).unwrap();
        files
    }

    fn credentials(&self, name: &str) -> Credentials {
        Credentials::open(self.certify(name)).unwrap()
    }

    /// A channel to the service, as whoever has this name.
    fn channel(&self, name: &str, to: SocketAddr) -> Channel {
        let endpoint = format!("http://{to}");
        upstream::connection_to(SERVICE, &endpoint, Some(&self.credentials(name))).unwrap()
    }

    fn channel_of(&self, peer: Peer, to: SocketAddr) -> Channel {
        self.channel(peer.name(), to)
    }
}

/// Methods that answer everybody who gets so far.
#[derive(Clone)]
struct Charges;
#[derive(Clone)]
struct Payments;

impl NamedService for Charges {
    const NAME: &'static str = "firstcome.payment.v1.ChargeService";
}

impl NamedService for Payments {
    const NAME: &'static str = "firstcome.payment.v1.PaymentService";
}

macro_rules! answers_everything {
    ($($service:ty),*) => {$(
        impl tower::Service<Request<Body>> for $service {
            type Response = Response<Body>;
            type Error = Infallible;
            type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, _: Request<Body>) -> Self::Future {
                // Everything about the call is well; only there is nothing to say.
                std::future::ready(Ok(Status::aborted("answered").into_http()))
            }
        }
    )*};
}
answers_everything!(Charges, Payments);

/// Serves until the test ends.
async fn serve(credentials: Option<Credentials>) -> SocketAddr {
    let listener = server::bind("127.0.0.1:0".parse().unwrap()).await;
    let address = listener.local_addr().unwrap();
    let mut server = Server::new("firstcome-payment", credentials);
    server.routes().add_service(Charges).add_service(Payments);
    tokio::spawn(server.serve(listener, Shutdown::new(), Duration::ZERO));
    address
}

/// Calls a method and gives the answer; ABORTED when the service gave one.
async fn call(channel: &Channel, path: &'static str, identity: bool) -> Status {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    if identity {
        let identity = Identity {
            user: UserId(Uuid::new_v4()),
            session: SessionId(Uuid::new_v4()),
            role: Role::User,
        };
        request.metadata_mut().insert_bin(identity::HEADER, identity.to_header());
    }
    let mut client = Grpc::new(channel.clone());
    if let Err(error) = client.ready().await {
        return Status::from_error(error.into());
    }
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    client.unary(request, path.parse().unwrap(), codec).await.unwrap_err()
}

async fn asks_health(channel: &Channel) -> Result<(), Status> {
    let request = HealthCheckRequest { service: "firstcome-payment".into() };
    HealthClient::new(channel.clone()).check(request).await.map(drop)
}

fn assert_answered(status: &Status) {
    assert_eq!((status.code(), status.message()), (Code::Aborted, "answered"), "{status:?}");
}

fn assert_denied(status: &Status) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert_eq!(Refusal::from_status(status).reason(), Reason::PermissionDenied);
}

/// No service has said this: only what breaks on the way has a source.
fn assert_not_let_in(status: &Status) {
    assert!(status.source().is_some(), "{status:?}");
}

#[tokio::test]
async fn each_peer_may_call_what_is_its_own_and_all_may_ask_for_health() {
    let authority = Authority::new();
    let service = serve(Some(authority.credentials(SERVICE.name()))).await;
    let table = [
        (Peer::Edge.name(), false, true),
        (Peer::Order.name(), true, false),
        (Peer::Inventory.name(), false, false),
        (Peer::Operator.name(), false, false),
        ("order.firstcome.internal.example.com", false, false),
        ("stranger.example.com", false, false),
    ];
    for (name, may_capture, may_get) in table {
        let channel = authority.channel(name, service);
        asks_health(&channel).await.unwrap();
        for (path, may) in [(CAPTURE, may_capture), (GET_PAYMENT, may_get)] {
            let status = call(&channel, path, false).await;
            match may {
                true => assert_answered(&status),
                false => assert_denied(&status),
            }
        }
    }
}

#[tokio::test]
async fn an_identity_is_believed_from_the_edge_alone() {
    let authority = Authority::new();
    let service = serve(Some(authority.credentials(SERVICE.name()))).await;
    let edge = authority.channel_of(Peer::Edge, service);
    assert_answered(&call(&edge, GET_PAYMENT, true).await);
    let order = authority.channel_of(Peer::Order, service);
    assert_denied(&call(&order, CAPTURE, true).await);
    assert_answered(&call(&order, CAPTURE, false).await);
}

#[tokio::test]
async fn without_a_certificate_of_the_mesh_nobody_gets_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let service = serve(Some(authority.credentials(SERVICE.name()))).await;

    let trusting = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&authority.certificate))
        .domain_name(SERVICE.name());
    let nameless = Endpoint::from_shared(format!("https://{service}")).unwrap();
    let nameless = nameless.tls_config(trusting).unwrap().connect_lazy();
    let in_the_clear = upstream::channel(&format!("http://{service}")).unwrap();

    // Its certificate is not believed here, although it believes ours.
    let files = other.certify(Peer::Edge.name());
    let both = format!("{}{}", other.certificate, authority.certificate);
    fs::write(&files.authority, both).unwrap();
    let foreign = Credentials::open(files).unwrap();
    let foreign = upstream::connection_to(SERVICE, &format!("http://{service}"), Some(&foreign));

    for channel in [nameless, in_the_clear, foreign.unwrap()] {
        assert_not_let_in(&asks_health(&channel).await.unwrap_err());
        assert_not_let_in(&call(&channel, GET_PAYMENT, false).await);
    }
    assert_answered(&call(&authority.channel_of(Peer::Edge, service), GET_PAYMENT, false).await);
}

#[tokio::test]
async fn a_caller_talks_to_whom_it_meant_only() {
    let (authority, other) = (Authority::new(), Authority::new());
    let misplaced = serve(Some(authority.credentials(Peer::Inventory.name()))).await;
    let impostor = serve(Some(other.credentials(SERVICE.name()))).await;
    let in_the_clear = serve(None).await;
    for service in [misplaced, impostor, in_the_clear] {
        let edge = authority.channel_of(Peer::Edge, service);
        assert_not_let_in(&call(&edge, GET_PAYMENT, true).await);
    }
}

#[tokio::test]
async fn who_does_not_prove_itself_delays_nobody() {
    let authority = Authority::new();
    let service = serve(Some(authority.credentials(SERVICE.name()))).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(service).await.unwrap());
    }
    let edge = authority.channel_of(Peer::Edge, service);
    assert_answered(&call(&edge, GET_PAYMENT, false).await);
}

#[tokio::test]
async fn certificates_are_replaced_while_the_service_runs() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = old.certify(SERVICE.name());
    let service = serve(Some(Credentials::open(files.clone()).unwrap())).await;
    let kept = old.channel_of(Peer::Edge, service);
    assert_answered(&call(&kept, GET_PAYMENT, false).await);

    // Half of a change is no change: the key is not yet the certificate's.
    let certified = new.certify(SERVICE.name());
    fs::copy(&certified.certificate, &files.certificate).unwrap();
    let both = Credentials::open(files.clone());
    assert!(matches!(both, Err(Fault::Unfit(_))), "{both:?}");
    assert_answered(&call(&old.channel_of(Peer::Edge, service), GET_PAYMENT, false).await);

    new.certify_into(old.folder.path(), SERVICE.name());
    let began = Instant::now();
    loop {
        let status = call(&new.channel_of(Peer::Edge, service), GET_PAYMENT, false).await;
        if status.code() == Code::Aborted {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stale = Authority { folder: tempfile::tempdir().unwrap(), ..old };
    assert_not_let_in(&call(&stale.channel_of(Peer::Edge, service), GET_PAYMENT, false).await);
    assert_answered(&call(&kept, GET_PAYMENT, false).await);
}

#[tokio::test]
async fn a_channel_takes_up_a_new_certificate_at_its_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = old.certify(Peer::Edge.name());
    let edge = Credentials::open(files.clone()).unwrap();
    let service = serve(Some(new.credentials(SERVICE.name()))).await;
    let endpoint = format!("http://{service}");
    let channel = upstream::connection_to(SERVICE, &endpoint, Some(&edge)).unwrap();
    assert_not_let_in(&call(&channel, GET_PAYMENT, false).await);

    new.certify_into(old.folder.path(), Peer::Edge.name());
    let began = Instant::now();
    while call(&channel, GET_PAYMENT, false).await.code() != Code::Aborted {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn files_that_do_not_belong_together_are_a_fault() {
    let (authority, other) = (Authority::new(), Authority::new());
    let name = Peer::Order.name();
    let (files, foreign) = (authority.certify(name), other.certify(name));
    let now = SystemTime::now();
    files.check(now).unwrap();

    let with = |change: fn(&mut Files, &Files)| {
        let mut files = files.clone();
        change(&mut files, &foreign);
        files.check(now)
    };
    let wrong_key = with(|files, foreign| files.key.clone_from(&foreign.key));
    assert!(matches!(wrong_key, Err(Fault::Unfit(_))), "{wrong_key:?}");
    let wrong_authority = with(|files, foreign| files.authority.clone_from(&foreign.authority));
    assert!(matches!(wrong_authority, Err(Fault::Unfit(_))), "{wrong_authority:?}");
    let no_certificate = with(|files, _| files.certificate.clone_from(&files.key));
    assert!(matches!(no_certificate, Err(Fault::Pem { .. })), "{no_certificate:?}");
    let nothing = with(|files, _| files.key.push("nothing"));
    assert!(matches!(nothing, Err(Fault::Read { .. })), "{nothing:?}");
    let late = files.check(now + Duration::from_secs(5000 * 365 * 24 * 60 * 60));
    assert!(matches!(late, Err(Fault::Unfit(_))), "{late:?}");
}
