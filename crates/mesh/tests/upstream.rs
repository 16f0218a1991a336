//! The way to a service of several replicas, on real sockets: who gets which share, who is spared,
//! what a caller hears when nobody is there, and how soon all is well again.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use firstcome_mesh::{
    Deadline, Shutdown,
    retry::Retry,
    server::{self, Server},
    upstream::{self, Channel, Resolver, Standing, State},
};
use firstcome_proto::{Reason, Refusal, access::Peer};
use futures::future::BoxFuture;
use http::{Request, Response, Version};
use http_body_util::Full;
use tonic::{Code, Status, body::Body, client::Grpc, server::NamedService};
use tonic_health::pb::HealthCheckRequest;

/// What the replicas are.
const SERVICE: Peer = Peer::Payment;
const CAPTURE: &str = "/firstcome.payment.v1.ChargeService/Capture";
/// A new replica has its share by then.
const SHARED_WITHIN: Duration = Duration::from_secs(10);
/// Anything else happens at once, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a replica answers.
type Answer = Arc<dyn Fn() -> BoxFuture<'static, Status> + Send + Sync>;

/// Answers each call, and counts them.
#[derive(Clone)]
struct Charges {
    calls: Arc<AtomicUsize>,
    answer: Answer,
}

impl NamedService for Charges {
    const NAME: &'static str = "firstcome.payment.v1.ChargeService";
}

impl tower::Service<Request<Body>> for Charges {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = (self.answer)();
        Box::pin(async move { Ok(answer.await.into_http()) })
    }
}

/// A replica that runs until it is stopped.
struct Replica {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    shutdown: Shutdown,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Replica {
    /// Everything about its calls is well; only there is nothing to say.
    async fn start() -> Self {
        Self::answering(|| async { Status::aborted("answered") }).await
    }

    async fn answering<F>(answer: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Status> + Send + 'static,
    {
        let any = "127.0.0.1:0".parse().unwrap();
        Self::at(any, Arc::new(move || Box::pin(answer()))).await
    }

    async fn at(address: SocketAddr, answer: Answer) -> Self {
        let listener = server::bind(address).await;
        let address = listener.local_addr().unwrap();
        let calls = Arc::<AtomicUsize>::default();
        let mut server = Server::new(SERVICE.program(), None);
        server.routes().add_service(Charges { calls: Arc::clone(&calls), answer });
        let shutdown = Shutdown::new();
        let served = tokio::spawn(server.serve(listener, shutdown.clone(), PATIENCE));
        Self { address, calls, shutdown, served }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// A name server that the test changes.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<SocketAddr>>>);

impl Names {
    fn say(&self, replicas: &[&Replica]) {
        *self.0.lock().unwrap() = replicas.iter().map(|replica| replica.address).collect();
    }

    fn resolver(&self) -> Resolver {
        let names = self.clone();
        Arc::new(move |_, _| {
            let found = names.0.lock().unwrap().clone();
            Box::pin(async move { Ok(found) })
        })
    }
}

async fn call(channel: &Channel) -> Status {
    let request = tonic::Request::new(HealthCheckRequest::default());
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    client.unary(request, CAPTURE.parse().unwrap(), codec).await.unwrap_err()
}

/// Calls this often; every call is answered by a replica.
async fn calls(channel: &Channel, count: usize) {
    for _ in 0..count {
        let status = call(channel).await;
        assert_eq!(status.code(), Code::Aborted, "{status:?}");
    }
}

/// Calls the health of a replica with an empty message, and does not read the answer.
async fn unread(channel: &Channel, method: &str) -> Response<Body> {
    answer_to(channel, method, &[0; 5]).await
}

/// A message is given with its prefix.
async fn answer_to(channel: &Channel, method: &str, message: &'static [u8]) -> Response<Body> {
    let request = Request::post(format!("http://x/grpc.health.v1.Health/{method}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(Bytes::from_static(message))))
        .unwrap();
    tower::Service::call(&mut channel.clone(), request).await.unwrap()
}

/// Waits until so many endpoints say that they are ready.
async fn ready(channel: &Channel, count: usize) {
    let is_ready = || {
        let upstream = channel.upstream();
        let ready = |standing| standing == Standing::Ready;
        upstream.endpoints.iter().filter(|view| ready(view.standing)).count() == count
    };
    let began = Instant::now();
    while !is_ready() {
        assert!(began.elapsed() < SHARED_WITHIN, "{:?}", channel.upstream());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn reason(status: &Status) -> Reason {
    Refusal::from_status(status).reason()
}

#[tokio::test]
async fn a_new_replica_has_its_share_within_ten_seconds_and_one_that_leaves_gets_nothing() {
    let (one, two, three) =
        (Replica::start().await, Replica::start().await, Replica::start().await);
    let names = Names::default();
    names.say(&[&one, &two]);
    let channel =
        upstream::channel_through(SERVICE, "http://payment:9104", None, names.resolver()).unwrap();
    calls(&channel, 1).await;
    ready(&channel, 2).await;
    calls(&channel, 400).await;
    for replica in [&one, &two] {
        assert!((100..=301).contains(&replica.calls()), "{} of 401", replica.calls());
    }

    let began = Instant::now();
    names.say(&[&one, &two, &three]);
    ready(&channel, 3).await;
    let before = [&one, &two, &three].map(Replica::calls);
    calls(&channel, 600).await;
    for (replica, before) in [&one, &two, &three].into_iter().zip(before) {
        let share = replica.calls() - before;
        assert!((100..=300).contains(&share), "{share} of 600");
    }
    println!("a new replica had its share after {:?}", began.elapsed());
    assert!(began.elapsed() < SHARED_WITHIN);

    names.say(&[&two, &three]);
    let began = Instant::now();
    while channel.upstream().endpoints.len() > 2 {
        assert!(began.elapsed() < SHARED_WITHIN);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = one.calls();
    calls(&channel, 200).await;
    assert_eq!(one.calls(), before);
}

#[tokio::test]
async fn who_says_goodbye_gets_no_new_call_and_stops_when_those_it_has_are_answered() {
    let (one, two) = (Replica::start().await, Replica::start().await);
    let endpoints = format!("{},{}", one.url(), two.url());
    let channel = upstream::channel_to(SERVICE, &endpoints, None).unwrap();
    ready(&channel, 2).await;
    one.shutdown.leave();
    ready(&channel, 1).await;
    let before = one.calls();
    calls(&channel, 100).await;
    assert_eq!(one.calls(), before);

    // Whoever has not heard of it is served until the end.
    let late = upstream::channel_to(SERVICE, &one.url(), None).unwrap();
    calls(&late, 10).await;
    one.shutdown.begin();
    // It does not wait for the end of its drain, although it is still listened to.
    let served = tokio::time::timeout(PATIENCE / 2, one.served).await;
    served.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn slow_replicas_get_fewer_calls() {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Status::aborted("answered")
    };
    let (slow, fast) = (Replica::answering(slow).await, Replica::start().await);
    let endpoints = format!("{},{}", slow.url(), fast.url());
    let channel = upstream::channel_to(SERVICE, &endpoints, None).unwrap();
    ready(&channel, 2).await;
    let callers = (0..8).map(|_| calls(&channel, 25));
    futures::future::join_all(callers).await;
    assert!(slow.calls() * 3 < fast.calls(), "{} and {}", slow.calls(), fast.calls());
}

#[tokio::test]
async fn a_replica_that_fails_is_spared_and_called_again_when_it_is_well() {
    let is_well = Arc::<AtomicUsize>::default();
    let well = Arc::clone(&is_well);
    let failing = Replica::answering(move || {
        let status = match well.load(Ordering::Relaxed) {
            0 => Refusal::because(Reason::UpstreamUnavailable, "my database is away").into(),
            _ => Status::aborted("answered"),
        };
        async { status }
    })
    .await;
    let other = Replica::start().await;
    let endpoints = format!("{},{}", failing.url(), other.url());
    let channel = upstream::channel_to(SERVICE, &endpoints, None).unwrap();
    ready(&channel, 2).await;
    let mut failed = 0;
    for _ in 0..1000 {
        failed += usize::from(call(&channel).await.code() == Code::Unavailable);
    }
    assert!(failed < 200, "{failed} of 1000 failed, although one replica is well");

    is_well.store(1, Ordering::Relaxed);
    let (before, began) = (failing.calls(), Instant::now());
    while failing.calls() < before + 100 {
        assert!(began.elapsed() < PATIENCE, "it is not called again");
        call(&channel).await;
    }
    println!("it had its share {:?} after it was well", began.elapsed());
}

#[tokio::test]
async fn an_upstream_that_is_away_is_told_at_once_and_found_again_within_a_second() {
    let replica = Replica::start().await;
    let channel = upstream::channel_to(SERVICE, &replica.url(), None).unwrap();
    calls(&channel, 20).await;
    replica.shutdown.begin();
    let began = Instant::now();
    while channel.upstream().refused_away == 0 {
        assert!(began.elapsed() < PATIENCE, "{:?}", channel.upstream());
        call(&channel).await;
    }
    let began = Instant::now();
    let status = call(&channel).await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!(reason(&status), Reason::UpstreamUnavailable);
    assert!(Refusal::from_status(&status).retry_after.is_some());

    let answer: Answer = Arc::new(|| Box::pin(async { Status::aborted("answered") }));
    let again = Replica::at(replica.address, answer).await;
    let began = Instant::now();
    while call(&channel).await.code() != Code::Aborted {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let first = began.elapsed();
    calls(&channel, 100).await;
    println!("first answer {first:?} after the replica was back, full rate at once");
    assert!(first < Duration::from_secs(1), "{first:?}");
    assert!(again.calls() >= 100);
}

#[tokio::test]
async fn what_lies_behind_the_only_replica_is_no_reason_to_stop_asking() {
    let failing = || async { Refusal::because(Reason::UpstreamUnavailable, "my own words").into() };
    let replica = Replica::answering(failing).await;
    let channel = upstream::channel_to(SERVICE, &replica.url(), None).unwrap();
    for _ in 0..50 {
        assert_eq!(call(&channel).await.message(), "my own words");
    }
    assert_eq!(replica.calls(), 50);
}

#[tokio::test]
async fn the_first_call_waits_until_somebody_is_found() {
    let replica = Replica::start().await;
    let names = Names::default();
    let channel =
        upstream::channel_through(SERVICE, "http://payment", None, names.resolver()).unwrap();
    let first = call(&channel);
    let found = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        names.say(&[&replica]);
    };
    let (status, ()) = tokio::join!(first, found);
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_takes_no_place_and_a_stream_does() {
    let replica = Replica::start().await;
    let channel = upstream::channel_to(SERVICE, &replica.url(), None).unwrap();
    ready(&channel, 1).await;
    let in_flight = || channel.upstream().endpoints[0].in_flight;
    let _unread = unread(&channel, "Check").await;
    assert_eq!(in_flight(), 0);
    let stream = unread(&channel, "Watch").await;
    assert_eq!(in_flight(), 1);
    drop(stream);
    assert_eq!(in_flight(), 0);
}

#[tokio::test]
async fn those_who_watch_leave_room_for_those_who_buy() {
    let replica = Replica::start().await;
    let channel = upstream::channel_to(SERVICE, &replica.url(), None).unwrap();
    ready(&channel, 1).await;
    let watchers = (0..upstream::STREAMS_MAX).map(|_| unread(&channel, "Watch"));
    let watchers = futures::future::join_all(watchers).await;
    let one_more = unread(&channel, "Watch").await;
    let status = Status::from_header_map(one_more.headers()).unwrap();
    assert_eq!(reason(&status), Reason::Overloaded);
    calls(&channel, 10).await;
    drop(watchers);
    assert!(unread(&channel, "Watch").await.headers().get(Status::GRPC_STATUS).is_none());
}

#[tokio::test]
async fn whoever_is_watched_a_lot_has_its_share_of_calls() {
    let (watched, fresh) = (Replica::start().await, Replica::start().await);
    let names = Names::default();
    names.say(&[&watched]);
    let channel =
        upstream::channel_through(SERVICE, "http://payment", None, names.resolver()).unwrap();
    calls(&channel, 1).await;
    let _streams = futures::future::join_all((0..50).map(|_| unread(&channel, "Watch"))).await;
    names.say(&[&watched, &fresh]);
    ready(&channel, 2).await;
    calls(&channel, 400).await;
    assert!((100..=301).contains(&watched.calls()), "{} of 401", watched.calls());
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_waited_for_once() {
    let names = Names::default();
    let channel =
        upstream::channel_through(SERVICE, "http://payment", None, names.resolver()).unwrap();
    assert_eq!(reason(&call(&channel).await), Reason::UpstreamUnavailable);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(reason(&call(&channel).await), Reason::UpstreamUnavailable);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_bad_input_and_closes_nothing() {
    let replica = Replica::start().await;
    let channel = upstream::channel_to(SERVICE, &replica.url(), None).unwrap();
    ready(&channel, 1).await;
    for _ in 0..50 {
        let answer = answer_to(&channel, "Check", &[0, 0, 0, 0, 1, 0xff]).await;
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::InvalidArgument, Reason::InvalidArgument)
        );
    }
    assert_eq!(channel.upstream().endpoints[0].breaker, State::Closed);
    calls(&channel, 1).await;
}

#[tokio::test]
async fn calls_above_the_limit_are_refused_and_do_not_wait() {
    let never = || std::future::pending::<Status>();
    let replica = Replica::answering(never).await;
    let channel = upstream::channel_to(SERVICE, &replica.url(), None).unwrap();
    ready(&channel, 1).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..upstream::CALLS_MAX {
        let channel = channel.clone();
        waiting.spawn(async move { call(&channel).await });
    }
    let began = Instant::now();
    while channel.upstream().endpoints[0].in_flight < upstream::CALLS_MAX {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = call(&channel).await;
    assert_eq!(reason(&status), Reason::Overloaded);
    assert!(Refusal::from_status(&status).retry_after.is_some());
    waiting.shutdown().await;
    assert_eq!(channel.upstream().endpoints[0].in_flight, 0, "who leaves makes room");
}

#[tokio::test]
async fn an_upstream_that_is_down_gets_few_more_calls_than_there_are_requests() {
    const REQUESTS: u32 = 150;
    // Its own words are asked for again, a broken one is spared: both must stay below.
    for reason in [Some(Reason::UpstreamUnavailable), None] {
        let failing = move || async move {
            let refusal = reason.map(|reason| Refusal::because(reason, "my store is away"));
            refusal.map_or_else(|| Status::unavailable("a proxy's word"), Status::from)
        };
        let replica = Replica::answering(failing).await;
        let channel = upstream::channel_to(SERVICE, &replica.url(), None).unwrap();
        ready(&channel, 1).await;
        let (retry, mut callers) = (Retry::default(), tokio::task::JoinSet::new());
        for _ in 0..REQUESTS {
            let (retry, channel) = (retry.clone(), channel.clone());
            callers.spawn(async move {
                let deadline = Deadline::after(PATIENCE);
                retry.call(deadline, || async { Err::<(), _>(call(&channel).await) }).await
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(callers.join_all().await.iter().all(Result::is_err));
        let factor = replica.calls() as f64 / f64::from(REQUESTS);
        println!("{reason:?}: {factor:.2} calls a request");
        assert!(factor <= 1.2, "{factor} calls for each request");
    }
}

/// What a call costs that [`Channel`] adds to one connection. Printed, for a look; asserted far
/// above, for a machine that is busy and a build that is not optimised.
#[tokio::test]
async fn choosing_an_endpoint_costs_next_to_nothing() {
    const CALLS: u32 = 200;
    let replica = Replica::start().await;
    let other = Replica::start().await;
    let both = format!("{},{}", replica.url(), other.url());
    let balanced = upstream::channel_to(SERVICE, &both, None).unwrap();
    ready(&balanced, 2).await;
    let direct = upstream::channel(&replica.url()).unwrap();
    let mut spans = [Duration::MAX; 2];
    for _ in 0..3 {
        let began = Instant::now();
        for _ in 0..CALLS {
            let mut client = Grpc::new(direct.clone());
            client.ready().await.unwrap();
            let codec =
                tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
            let request = tonic::Request::new(HealthCheckRequest::default());
            client.unary(request, CAPTURE.parse().unwrap(), codec).await.unwrap_err();
        }
        spans[0] = spans[0].min(began.elapsed() / CALLS);
        let began = Instant::now();
        calls(&balanced, CALLS as usize).await;
        spans[1] = spans[1].min(began.elapsed() / CALLS);
    }
    let [direct, balanced] = spans;
    println!("a call on one connection takes {direct:?}, balanced {balanced:?}");
    assert!(balanced < direct * 3, "{balanced:?} and {direct:?}");
}
