//! How busy an endpoint is: with calls that wait for the head of their answer, and with streams that
//! somebody watches. They are told apart, because a stream lasts for hours and costs next to
//! nothing: counted as a call, it would send all calls to whoever is watched least.

use std::{
    collections::HashSet,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use firstcome_proto::access;

/// Calls and streams at once to one endpoint: a little less than its connection takes
/// ([`crate::server`]), so that none waits unseen in front of it.
pub const CALLS_MAX: usize = 8000;
/// Of these, streams: those who watch leave room for those who buy.
pub const STREAMS_MAX: usize = CALLS_MAX / 2;

static ENDLESS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let contract = access::descriptor_pool();
    let methods = contract.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let ours = methods.filter(access::is_endless).map(|method| access::path_of(&method));
    ours.chain(["/grpc.health.v1.Health/Watch".to_owned()]).collect()
});

/// What takes a place at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Until the head of its answer: by then the endpoint has done its work, and how long the caller
    /// takes to read is no concern of others.
    Call,
    /// Until it ends.
    Stream,
}

impl Kind {
    /// By the path of a method.
    pub fn of(path: &str) -> Self {
        if ENDLESS.contains(path) { Self::Stream } else { Self::Call }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Load {
    calls: AtomicUsize,
    streams: AtomicUsize,
}

impl Load {
    /// Of one kind.
    pub fn of(&self, kind: Kind) -> usize {
        self.counted(kind).load(Ordering::Relaxed)
    }

    pub fn in_all(&self) -> usize {
        self.of(Kind::Call) + self.of(Kind::Stream)
    }

    /// Whether there is no place for one more.
    pub fn is_full(&self, kind: Kind) -> bool {
        self.in_all() >= CALLS_MAX || kind == Kind::Stream && self.of(Kind::Stream) >= STREAMS_MAX
    }

    pub fn enter(&self, kind: Kind) {
        self.counted(kind).fetch_add(1, Ordering::Relaxed);
    }

    pub fn leave(&self, kind: Kind) {
        self.counted(kind).fetch_sub(1, Ordering::Relaxed);
    }

    fn counted(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Call => &self.calls,
            Kind::Stream => &self.streams,
        }
    }
}
