//! The way to another service. A typed client, or whoever forwards bytes, has a [`Channel`]; what
//! it passes on its way out, top to bottom, and why each stands there:
//!
//! 1. the caller's [`crate::Deadline`], which bounds all of the rest;
//! 2. the caller's [`crate::retry`], above the choice, so that a second try may find another
//!    endpoint;
//! 3. limit: an endpoint takes so many calls, and what is above is refused here and now instead of
//!    waiting in front of it;
//! 4. balance: of two endpoints that say they are ready the one with fewer calls in flight, or, for
//!    a stream, with fewer streams;
//! 5. breaker: beside the choice, so that a call goes elsewhere before it is refused;
//! 6. the connection: one to each address, on which both sides prove who they are.
//!
//! Nothing waits in a queue of ours. A call is refused with a reason and with when to come back.

mod breaker;
mod connect;
mod endpoint;
mod endpoints;
mod load;
mod telling;
mod verdict;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use firstcome_proto::{Reason, Refusal, access::Peer};
use futures::future::BoxFuture;
use http::{Request, Response};
use rand::RngExt as _;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body, transport};
use tower::Service;

use self::{
    breaker::Leave,
    endpoint::{Endpoint, Lease},
    endpoints::{Endpoints, Target},
    load::Kind,
};
pub use self::{
    breaker::State,
    connect::{channel, connection_to},
    endpoint::{Standing, View},
    endpoints::{Resolver, system},
    load::{CALLS_MAX, STREAMS_MAX},
    verdict::has_timed_out,
};
use crate::{metrics::calls, telemetry::traces::rpc, tls::Credentials};

/// When to come back to an upstream that is away: a breaker lets the next ones try by then.
const AWAY_RETRY: Duration = Duration::from_millis(500);
/// When to come back to one whose endpoints are all full.
const FULL_RETRY: Duration = Duration::from_millis(250);

/// How often whoever waits for an endpoint looks at the breakers.
const READY_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// An endpoint that is no `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an http:// address")]
pub struct Fault(String);

/// Whether a text names endpoints: one URL or several, separated by commas.
pub fn check(endpoints: &str) -> Result<(), Fault> {
    Target::read(endpoints).map(drop)
}

/// A channel to a service of the mesh, wherever its replicas are; with credentials, each proves
/// that it is this peer. Must be called inside a Tokio runtime; nobody is waited for.
pub fn channel_to(
    peer: Peer,
    endpoints: &str,
    credentials: Option<&Credentials>,
) -> Result<Channel, Fault> {
    channel_through(peer, endpoints, credentials, system())
}

/// The same, with names looked up elsewhere than by the system.
pub fn channel_through(
    peer: Peer,
    endpoints: &str,
    credentials: Option<&Credentials>,
    resolver: Resolver,
) -> Result<Channel, Fault> {
    let targets = Target::read(endpoints)?;
    let endpoints = Arc::new(Endpoints::new(peer, &targets, credentials.cloned()));
    let following = endpoints::follow(Arc::downgrade(&endpoints), targets, resolver);
    let following = AbortOnDropHandle::new(tokio::spawn(following));
    let refused = Refused { away: AtomicU64::new(0), full: AtomicU64::new(0) };
    let heard_by = Instant::now() + connect::CONNECT_TIMEOUT;
    let inner = Arc::new(Inner { peer, endpoints, heard_by, refused, _following: following });
    let watched = Arc::downgrade(&inner);
    telling::tell(move || Some(Channel { inner: watched.upgrade()? }.upstream()));
    Ok(Channel { inner })
}

/// The way to one upstream. Clones share it.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
}

struct Inner {
    peer: Peer,
    endpoints: Arc<Endpoints>,
    /// So long the first calls of a new channel wait until somebody was heard of.
    heard_by: Instant,
    refused: Refused,
    _following: AbortOnDropHandle<()>,
}

/// Calls that went nowhere.
struct Refused {
    away: AtomicU64,
    full: AtomicU64,
}

/// How the way to an upstream stands, for whoever watches over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// To whom.
    pub peer: Peer,
    /// Each that is known.
    pub endpoints: Vec<View>,
    /// Calls refused because no endpoint was worth asking, since the process began.
    pub refused_away: u64,
    /// Calls refused because all endpoints were full.
    pub refused_full: u64,
}

impl Channel {
    /// How it stands now.
    pub fn upstream(&self) -> Upstream {
        let Inner { peer, endpoints, refused, .. } = &*self.inner;
        Upstream {
            peer: *peer,
            endpoints: endpoints.list().iter().map(|endpoint| endpoint.view()).collect(),
            refused_away: refused.away.load(Ordering::Relaxed),
            refused_full: refused.full.load(Ordering::Relaxed),
        }
    }
}

impl Channel {
    /// Whether some endpoint says that it is ready, and its calls do not say otherwise.
    pub fn is_ready(&self) -> bool {
        let list = self.inner.endpoints.list();
        list.iter().any(|endpoint| {
            endpoint.standing() == Standing::Ready && endpoint.breaker().leave() != Leave::Refused
        })
    }

    /// Waits until it is so: gRPC's "wait for ready", for calls that would rather wait than fail.
    pub async fn until_ready(&self) {
        while !self.is_ready() {
            // A breaker tells nobody when its time has come.
            let changed = self.inner.endpoints.changed();
            let _ = tokio::time::timeout(READY_LOOK_INTERVAL, changed).await;
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, transport::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Around all of it: what is refused here is a part of the trace too.
        rpc::call(request, |request| self.send(request))
    }
}

impl Channel {
    fn send(&self, request: Request<Body>) -> <Self as Service<Request<Body>>>::Future {
        let kind = Kind::of(request.uri().path());
        let call = calls::calling(self.inner.peer, &request);
        match self.inner.choose(kind) {
            Choice::One(lease) => Box::pin(call.follow(lease.call(request))),
            Choice::None(refusal) => {
                let response = Status::from(refusal).into_http();
                Box::pin(call.follow(std::future::ready(Ok(response))))
            }
            Choice::Unheard => {
                let inner = Arc::clone(&self.inner);
                Box::pin(call.follow(async move {
                    // Who is known by then is asked, heard or not.
                    let heard = inner.endpoints.heard_of_any();
                    let _ = tokio::time::timeout_at(inner.heard_by, heard).await;
                    match inner.best(kind) {
                        Ok(lease) => lease.call(request).await,
                        Err(refusal) => Ok(Status::from(refusal).into_http()),
                    }
                }))
            }
        }
    }
}

/// Where a call goes.
enum Choice {
    One(Lease),
    /// Nowhere.
    None(Refusal),
    /// The channel is new, and nobody was heard of so far: it is too early to say.
    Unheard,
}

impl Inner {
    /// The less busy of two that stand well. Looking at all of them for the least busy would send
    /// all callers to the same one.
    fn choose(&self, kind: Kind) -> Choice {
        let list = self.endpoints.list();
        if let [first, .., last] = list.as_slice() {
            let (one, other) = match list.len() {
                2 => (first, last),
                length => {
                    let one = rand::rng().random_range(0..length);
                    let other = (one + rand::rng().random_range(1..length)) % length;
                    (&list[one], &list[other])
                }
            };
            let (less, more) = match one.load().of(kind).cmp(&other.load().of(kind)) {
                std::cmp::Ordering::Less => (one, other),
                std::cmp::Ordering::Greater => (other, one),
                std::cmp::Ordering::Equal if rand::rng().random() => (one, other),
                std::cmp::Ordering::Equal => (other, one),
            };
            for endpoint in [less, more] {
                if endpoint.standing() != Standing::Ready || endpoint.load().is_full(kind) {
                    continue;
                }
                if let Some(permit) = endpoint.breaker().admit() {
                    return Choice::One(endpoint.lease(permit, kind));
                }
            }
        }
        let is_unheard = |endpoint: &Arc<Endpoint>| endpoint.standing() == Standing::Unheard;
        if list.iter().all(is_unheard) && Instant::now() < self.heard_by {
            return Choice::Unheard;
        }
        match self.best(kind) {
            Ok(lease) => Choice::One(lease),
            Err(refusal) => Choice::None(refusal),
        }
    }

    /// The best of all. Where none says that it is ready, one that does not is asked: what we were
    /// told may be late, and what it answers is true. Whoever said that it takes no calls comes after
    /// one that ails.
    fn best(&self, kind: Kind) -> Result<Lease, Refusal> {
        let list = self.endpoints.list();
        let with_room = list.iter().filter(|endpoint| !endpoint.load().is_full(kind));
        let ranked = with_room
            .map(|endpoint| (endpoint, endpoint.breaker().leave(), endpoint.standing()))
            .filter(|(_, leave, _)| *leave != Leave::Refused);
        let best = ranked.min_by_key(|(endpoint, leave, standing)| {
            (*standing == Standing::NotReady, *leave, *standing, endpoint.load().of(kind))
        });
        let Some((endpoint, ..)) = best else { return Err(self.refusal(&list, kind)) };
        let breaker = endpoint.breaker();
        let permit = breaker.admit().unwrap_or_else(|| breaker.admit_anyway());
        Ok(endpoint.lease(permit, kind))
    }

    fn refusal(&self, list: &[Arc<Endpoint>], kind: Kind) -> Refusal {
        if list.iter().any(|endpoint| endpoint.load().is_full(kind)) {
            self.refused.full.fetch_add(1, Ordering::Relaxed);
            let refusal = Refusal::because(Reason::Overloaded, "a service has too many calls");
            return refusal.retry_after(FULL_RETRY);
        }
        self.refused.away.fetch_add(1, Ordering::Relaxed);
        Refusal::because(Reason::UpstreamUnavailable, "a service cannot be reached")
            .retry_after(AWAY_RETRY)
    }
}
