//! One address of an upstream: its connection, the calls on it, its breaker, and what it says of
//! itself.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use rand::RngExt as _;
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status, body::Body, transport};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::{Service as _, ServiceExt as _};

use super::{
    breaker::{Breaker, Permit, State, Verdict},
    load::{Kind, Load},
    verdict,
};
use crate::{
    answer::{Follow, followed},
    deadline,
};

/// Pauses before an endpoint that cannot be heard is asked again how it is: jittered, doubled, at
/// most the longest, which bounds how late a restarted one is known to be ready.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LONGEST: Duration = Duration::from_millis(500);

/// What an endpoint says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Standing {
    /// It takes calls.
    Ready,
    /// Nobody has heard of it yet.
    Unheard,
    /// It takes none, or it cannot be heard.
    NotReady,
}

/// How an endpoint does, for whoever watches over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Where it is.
    pub address: SocketAddr,
    /// What it says of itself.
    pub standing: Standing,
    /// What its calls say of it.
    pub breaker: State,
    /// Calls and streams to it.
    pub in_flight: usize,
}

/// See the module. Dropping the last share closes the connection, so an endpoint that is listed no
/// more lives as long as its calls.
pub struct Endpoint {
    channel: transport::Channel,
    known: Arc<Known>,
    _listening: AbortOnDropHandle<()>,
}

/// What is known of an endpoint.
struct Known {
    address: SocketAddr,
    standing: AtomicU8,
    breaker: Breaker,
    load: Load,
}

impl Endpoint {
    /// Behind this channel. `service` is the name by which its health knows it; `heard` is told
    /// whenever its standing changes.
    pub fn new(
        address: SocketAddr,
        channel: transport::Channel,
        service: &'static str,
        heard: Arc<Notify>,
    ) -> Self {
        let known = Arc::new(Known {
            address,
            standing: AtomicU8::new(Standing::Unheard as u8),
            breaker: Breaker::default(),
            load: Load::default(),
        });
        let listening = listen(channel.clone(), service, Arc::clone(&known), heard);
        let listening = AbortOnDropHandle::new(tokio::spawn(listening));
        Self { channel, known, _listening: listening }
    }

    pub fn address(&self) -> SocketAddr {
        self.known.address
    }

    pub fn standing(&self) -> Standing {
        self.known.standing()
    }

    pub fn breaker(&self) -> &Breaker {
        &self.known.breaker
    }

    pub fn load(&self) -> &Load {
        &self.known.load
    }

    pub fn view(&self) -> View {
        View {
            address: self.address(),
            standing: self.standing(),
            breaker: self.breaker().state(),
            in_flight: self.load().in_all(),
        }
    }

    /// A place for one call.
    pub fn lease(self: &Arc<Self>, permit: Permit, kind: Kind) -> Lease {
        self.load().enter(kind);
        let endpoint = Arc::clone(self);
        Lease { endpoint, place: Some(kind), permit: Some(permit), begun: Instant::now() }
    }
}

impl Known {
    fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Relaxed) {
            0 => Standing::Ready,
            1 => Standing::Unheard,
            _ => Standing::NotReady,
        }
    }

    fn stands(&self, standing: Standing, heard: &Notify) {
        let before = self.standing.swap(standing as u8, Ordering::Relaxed);
        if before == standing as u8 {
            return;
        }
        if standing == Standing::Ready {
            self.breaker.try_now();
        }
        heard.notify_waiters();
    }
}

/// A call's place at an endpoint, from its choice on.
pub struct Lease {
    endpoint: Arc<Endpoint>,
    /// None once it was given back.
    place: Option<Kind>,
    /// None once the call has shown what it can show.
    permit: Option<Permit>,
    begun: Instant,
}

impl Lease {
    /// Makes the call.
    pub async fn call(
        mut self,
        request: Request<Body>,
    ) -> Result<Response<Body>, transport::Error> {
        let timeout = deadline::timeout_of(request.headers());
        let waiting = Waiting { timeout, lease: &mut self };
        let mut channel = waiting.lease.endpoint.channel.clone();
        let answer = match channel.ready().await {
            Ok(channel) => channel.call(request).await,
            Err(fault) => Err(fault),
        };
        waiting.lease.show(verdict::of_answer(&answer, waiting.lease.begun.elapsed()));
        drop(waiting);
        if self.place == Some(Kind::Call) {
            self.give_back();
        }
        answer.map(|response| {
            response.map(|body| match http_body::Body::is_end_stream(&body) {
                true => body,
                false => followed(body, self),
            })
        })
    }

    fn give_back(&mut self) {
        if let Some(kind) = self.place.take() {
            self.endpoint.load().leave(kind);
        }
    }

    fn show(&mut self, verdict: Option<Verdict>) {
        let Some(permit) = self.permit.take() else { return };
        match verdict {
            Some(verdict) => self.endpoint.breaker().record(permit, verdict),
            None => self.endpoint.breaker().forget(permit),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.show(None);
        self.give_back();
    }
}

/// A call without an answer so far. Dropped in that state, its caller has left; if that was at its
/// deadline, the endpoint was silent too long.
struct Waiting<'a> {
    lease: &'a mut Lease,
    timeout: Option<Duration>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let took = self.lease.begun.elapsed();
        let timed_out = self.timeout.is_some_and(|timeout| took >= timeout);
        self.lease.show(if timed_out { verdict::of_silence(took) } else { None });
    }
}

/// A stream keeps its place until it ends, breaks or is dropped.
impl Follow for Lease {
    fn passes(&mut self, frame: Option<Result<&Frame<Bytes>, &Status>>) {
        if let Some(Err(_)) = frame {
            // It began well and broke: that is worth a word of its own.
            let breaker = self.endpoint.breaker();
            if let Some(permit) = breaker.admit() {
                breaker.record(permit, Verdict::Broken);
            }
        }
    }
}

/// Follows what an endpoint says of itself. The stream also keeps the connection in use, so that a
/// dead peer is noticed before a call finds out.
async fn listen(
    channel: transport::Channel,
    service: &'static str,
    known: Arc<Known>,
    heard: Arc<Notify>,
) {
    let mut pause_max = PAUSE_FIRST;
    loop {
        let request = HealthCheckRequest { service: service.to_owned() };
        match HealthClient::new(channel.clone()).watch(request).await {
            Ok(answer) => {
                let mut words = answer.into_inner();
                while let Ok(Some(word)) = words.message().await {
                    pause_max = PAUSE_FIRST;
                    let standing = match word.status() {
                        ServingStatus::Serving => Standing::Ready,
                        _ => Standing::NotReady,
                    };
                    known.stands(standing, &heard);
                }
                known.stands(Standing::NotReady, &heard);
            }
            // As gRPC's own clients have it: who knows no health takes calls.
            Err(status) if status.code() == Code::Unimplemented => {
                known.stands(Standing::Ready, &heard);
            }
            Err(_) => known.stands(Standing::NotReady, &heard),
        }
        let pause = rand::rng().random_range(pause_max / 2..pause_max);
        tokio::time::sleep(pause).await;
        pause_max = (pause_max * 2).min(PAUSE_LONGEST);
    }
}
