//! The endpoints of one upstream: the addresses behind the names that it was given, looked up again
//! and again. An address that comes in is called at once when it says that it is ready; one that is
//! gone from its name gets no new call, and ends with those it has.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use firstcome_proto::access::Peer;
use futures::future::{BoxFuture, join_all};
use http::Uri;
use tokio::{sync::Notify, time::Instant};

use super::{
    Fault, connect,
    endpoint::{Endpoint, Standing},
};
use crate::tls::Credentials;

/// A name is looked up this often: a new replica has its share within ten seconds.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(5);
/// A name server without an answer for this long is asked again later.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(4);
/// While a name has never been found, it is looked up this often; not for ever, because it may be
/// a wrong one, and name servers have others to serve.
const LOOK_UP_FIRST_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_UP_FIRST_FOR: Duration = Duration::from_secs(30);

/// Where names are looked up.
pub type Resolver =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The system's own.
pub fn system() -> Resolver {
    Arc::new(|host, port| {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    })
}

/// One of the URLs by which an upstream is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: String,
    host: String,
    port: u16,
}

impl Target {
    /// Reads one URL or several, separated by commas.
    pub fn read(endpoints: &str) -> Result<Vec<Self>, Fault> {
        endpoints.split(',').map(|url| Self::one(url.trim())).collect()
    }

    fn one(url: &str) -> Result<Self, Fault> {
        let fault = || Fault(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| fault())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(fault)?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            return Err(fault());
        }
        Ok(Self {
            url: url.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(connect::PORT_DEFAULT),
        })
    }

    /// Where it is, if it needs no looking up.
    fn literal(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, self.port))
    }
}

/// The list, and who keeps it.
pub struct Endpoints {
    peer: Peer,
    credentials: Option<Credentials>,
    list: ArcSwap<Vec<Arc<Endpoint>>>,
    /// Told when the list or the standing of somebody on it changes.
    heard: Arc<Notify>,
}

impl Endpoints {
    /// Lists what needs no looking up; the rest follows from [`follow`].
    pub fn new(peer: Peer, targets: &[Target], credentials: Option<Credentials>) -> Self {
        let endpoints = Self { peer, credentials, list: ArcSwap::default(), heard: Arc::default() };
        let literal = targets.iter().filter_map(|target| Some((target.literal()?, target)));
        endpoints.put(literal.collect());
        endpoints
    }

    pub fn list(&self) -> arc_swap::Guard<Arc<Vec<Arc<Endpoint>>>> {
        self.list.load()
    }

    /// Waits until the list or the standing of somebody on it changes.
    pub async fn changed(&self) {
        self.heard.notified().await;
    }

    /// Waits until somebody on the list was heard of, good or bad.
    pub async fn heard_of_any(&self) {
        loop {
            let heard = self.heard.notified();
            if self.list().iter().any(|endpoint| endpoint.standing() != Standing::Unheard) {
                return;
            }
            heard.await;
        }
    }

    /// Makes this the list. Who stays keeps its connection, its calls and its breaker.
    fn put(&self, wanted: Vec<(SocketAddr, &Target)>) {
        let before = self.list.load_full();
        let mut seen = BTreeSet::new();
        let mut list = Vec::with_capacity(wanted.len());
        let mut joined = Vec::new();
        for (address, target) in wanted {
            if !seen.insert(address) {
                continue;
            }
            match before.iter().find(|endpoint| endpoint.address() == address) {
                Some(endpoint) => list.push(Arc::clone(endpoint)),
                None => {
                    joined.push(address);
                    list.push(Arc::new(self.endpoint(address, target)));
                }
            }
        }
        let gone = before.iter().map(|endpoint| endpoint.address());
        let left: Vec<_> = gone.filter(|address| !seen.contains(address)).collect();
        if joined.is_empty() && left.is_empty() {
            return;
        }
        tracing::info!(peer = self.peer.name(), ?joined, ?left, "endpoints changed");
        self.list.store(Arc::new(list));
        self.heard.notify_waiters();
    }

    fn endpoint(&self, address: SocketAddr, target: &Target) -> Endpoint {
        let credentials = self.credentials.as_ref();
        let channel = connect::connection_at(self.peer, &target.url, address, credentials);
        let channel = channel.expect("a target's URL was read before");
        Endpoint::new(address, channel, self.peer.program(), Arc::clone(&self.heard))
    }
}

/// Keeps the list as the names have it, for as long as anybody uses it.
pub async fn follow(endpoints: Weak<Endpoints>, targets: Vec<Target>, resolver: Resolver) {
    if targets.iter().all(|target| target.literal().is_some()) {
        return;
    }
    let mut known: Vec<Vec<SocketAddr>> = vec![Vec::new(); targets.len()];
    let mut was_lost = false;
    let begun = Instant::now();
    loop {
        let found = join_all(targets.iter().map(|target| look_up(target, &resolver))).await;
        let mut lost = Vec::new();
        for ((target, known), found) in targets.iter().zip(&mut known).zip(found) {
            match found {
                Some(found) => *known = found,
                None => lost.push(target.url.as_str()), // what was known stays
            }
        }
        let Some(endpoints) = endpoints.upgrade() else { return };
        let peer = endpoints.peer.name();
        match (was_lost, lost.is_empty()) {
            (false, false) => tracing::warn!(peer, ?lost, "look up endpoints"),
            (true, true) => tracing::info!(peer, "endpoints are found again"),
            _ => {}
        }
        was_lost = !lost.is_empty();
        let each = targets.iter().zip(&known);
        let wanted = each.flat_map(|(target, known)| known.iter().map(move |at| (*at, target)));
        endpoints.put(wanted.collect());
        drop(endpoints); // nobody is kept alive by being looked up
        let is_awaited = known.iter().any(Vec::is_empty) && begun.elapsed() < LOOK_UP_FIRST_FOR;
        tokio::time::sleep(if is_awaited { LOOK_UP_FIRST_INTERVAL } else { LOOK_UP_INTERVAL })
            .await;
    }
}

/// The addresses of a name; None when nobody can say, or says that there are none.
async fn look_up(target: &Target, resolver: &Resolver) -> Option<Vec<SocketAddr>> {
    if let Some(address) = target.literal() {
        return Some(vec![address]);
    }
    let found = resolver(target.host.clone(), target.port);
    let found = tokio::time::timeout(LOOK_UP_TIMEOUT, found).await.ok()?.ok()?;
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_one_url_or_several() {
        let target = |url: &str, host: &str, port| Target {
            url: url.to_owned(),
            host: host.to_owned(),
            port,
        };
        let table = [
            ("http://order:9103", vec![target("http://order:9103", "order", 9103)]),
            ("http://[::1]:1/", vec![target("http://[::1]:1/", "::1", 1)]),
            (
                "http://a:1, http://127.0.0.1",
                vec![target("http://a:1", "a", 1), target("http://127.0.0.1", "127.0.0.1", 80)],
            ),
        ];
        for (text, targets) in table {
            assert_eq!(Target::read(text).unwrap(), targets, "{text}");
        }
        for text in ["", "order:9103", "https://order:1", "http://a:1,", "http://a:1/b", "http://"]
        {
            assert!(Target::read(text).is_err(), "{text}");
        }
    }
}
