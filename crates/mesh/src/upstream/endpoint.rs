//! One address of an upstream: its connection, the calls on it, its breaker, and what it says of
//! itself.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
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
    verdict,
};
use crate::{
    answer::{Follow, followed},
    deadline,
};

/// Calls and streams at once to one endpoint: a little less than its connection takes
/// ([`crate::server`]), so that none waits unseen in front of it.
pub const CALLS_MAX: usize = 8000;
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
    in_flight: AtomicUsize,
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
            in_flight: AtomicUsize::new(0),
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

    pub fn in_flight(&self) -> usize {
        self.known.in_flight.load(Ordering::Relaxed)
    }

    pub fn is_full(&self) -> bool {
        self.in_flight() >= CALLS_MAX
    }

    pub fn view(&self) -> View {
        View {
            address: self.address(),
            standing: self.standing(),
            breaker: self.breaker().state(),
            in_flight: self.in_flight(),
        }
    }

    /// A place for one call.
    pub fn lease(self: &Arc<Self>, permit: Permit) -> Lease {
        self.known.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease { endpoint: Arc::clone(self), permit: Some(permit), begun: Instant::now() }
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

/// A call's place at an endpoint, from its choice until its answer has ended, streams included.
pub struct Lease {
    endpoint: Arc<Endpoint>,
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
        answer.map(|response| {
            response.map(|body| match http_body::Body::is_end_stream(&body) {
                true => body,
                false => followed(body, self),
            })
        })
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
        self.endpoint.known.in_flight.fetch_sub(1, Ordering::Relaxed);
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

/// A place is kept until the answer ends, breaks or is dropped.
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
