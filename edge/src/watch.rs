//! WatchStock: one stream from inventory for each product, however many watch it. A watcher gets
//! the latest stock at once and then each newer one, at most ten a second; one that does not read
//! skips what is old, and one that cannot be written to at all is dropped.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use firstcome_mesh::{Shutdown, upstream::Channel};
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{WatchStockRequest, stock_service_client::StockServiceClient},
};
use http_body::Frame;
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, timeout, timeout_at},
};
use tonic::{Status, body::Body};

use crate::wire::{self, Response};

/// At most ten a second: faster than an eye, slower than a rush changes the stock.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);
/// With very many watchers, a product's updates come less often, so that writing them to everybody
/// leaves the machine time to sell: 20 000 watchers are told once a second.
const UPDATE_INTERVAL_PER_WATCHER: Duration = Duration::from_micros(50);
const UPDATE_INTERVAL_LONGEST: Duration = Duration::from_secs(1);
/// Products that are watched at once; each costs a stream to inventory.
const FEEDS_MAX: usize = 4096;
/// Pauses before a lost stream is opened again: jittered, doubled, at most the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);
/// A product of which nothing was ever heard gets so many tries before its watchers are told.
const FIRST_TRIES: u32 = 4;
/// When a dropped or refused watcher may come back.
const RETRY: Duration = Duration::from_secs(1);

/// What a feed last said.
#[derive(Clone)]
enum Latest {
    /// Nothing yet.
    Silence,
    /// The stock, as it goes on the wire.
    Stock(Bytes),
    /// It is over, and why.
    Ended(Arc<Status>),
}

type Feed = watch::Sender<Latest>;

/// Every product that somebody watches. Clones share the feeds.
#[derive(Clone)]
pub struct Watches {
    inner: Arc<Inner>,
}

struct Inner {
    inventory: StockServiceClient<Channel>,
    feeds: Mutex<HashMap<String, Feed>>,
    watchers: Arc<Semaphore>,
    stall: Duration,
    shutdown: Shutdown,
}

impl Watches {
    /// Fed through this channel to inventory.
    pub fn new(
        inventory: Channel,
        watchers_max: usize,
        stall: Duration,
        shutdown: Shutdown,
    ) -> Self {
        let inner = Inner {
            inventory: StockServiceClient::new(inventory),
            feeds: Mutex::default(),
            watchers: Arc::new(Semaphore::new(watchers_max.min(Semaphore::MAX_PERMITS))),
            stall,
            shutdown,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Opens a watcher's stream.
    pub fn watch(&self, request: WatchStockRequest) -> Result<Response, Refusal> {
        let full = || Refusal::because(Reason::Overloaded, "too many watch").retry_after(RETRY);
        let place = Arc::clone(&self.inner.watchers).try_acquire_owned().map_err(|_| full())?;
        let feed = self.inner.subscribe(request.product_id).ok_or_else(full)?;
        let (frames, answer) = stream();
        tokio::spawn(write(feed, frames, self.inner.stall, place));
        Ok(answer)
    }

    /// A product's news for somebody inside; `None` when too many products are watched.
    pub fn news(&self, product: String) -> Option<News> {
        let mut feed = self.inner.subscribe(product)?;
        feed.mark_changed();
        Some(News { feed })
    }
}

/// What a feed says, one after the other; who is slow skips what is old.
pub struct News {
    feed: watch::Receiver<Latest>,
}

impl News {
    /// The latest stock, as it goes on the wire, once it is newer than the last; or why there is no
    /// more. Nothing is lost when the answer is not waited for.
    pub async fn next(&mut self) -> Result<Bytes, Status> {
        loop {
            self.feed.changed().await.map_err(|_| stopping())?;
            match self.feed.borrow_and_update().clone() {
                Latest::Silence => {}
                Latest::Stock(stock) => return Ok(stock),
                Latest::Ended(status) => return Err(Status::clone(&status)),
            }
        }
    }
}

impl Inner {
    /// Joins a product's feed, which starts with its first watcher; `None` when there are too many.
    fn subscribe(self: &Arc<Self>, product: String) -> Option<watch::Receiver<Latest>> {
        let mut feeds = self.feeds.lock();
        if let Some(feed) = feeds.get(&product) {
            return Some(feed.subscribe());
        }
        if feeds.len() >= FEEDS_MAX {
            return None;
        }
        let (feed, first) = watch::channel(Latest::Silence);
        feeds.insert(product.clone(), feed.clone());
        tokio::spawn(Arc::clone(self).feed(product, feed));
        Some(first)
    }

    /// Feeds a product's watchers until there are none, or there is nothing to feed them with.
    async fn feed(self: Arc<Self>, product: String, feed: Feed) {
        let mut failures = 0;
        loop {
            let fault = tokio::select! {
                () = feed.closed() => None,
                () = self.shutdown.begun() => Some(stopping().into()),
                fault = self.relay(&product, &feed, &mut failures) => Some(wire::documented(fault)),
            };
            let Some(fault) = fault else {
                if self.retire_unwatched(&product, &feed) {
                    return;
                }
                continue; // somebody came just now
            };
            let heard = matches!(*feed.borrow(), Latest::Stock(_));
            failures += 1;
            let lasting = Refusal::from_status(&fault).reason() != Reason::UpstreamUnavailable;
            if lasting || (!heard && failures >= FIRST_TRIES) {
                return self.end(&product, &feed, fault);
            }
            let pause_max = (PAUSE_FIRST * 2_u32.pow(failures.min(8))).min(PAUSE_LONGEST);
            let pause = rand::rng().random_range(pause_max / 2..pause_max);
            tokio::select! {
                () = feed.closed() => {}
                () = self.shutdown.begun() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Passes one stream's news on, until it breaks.
    async fn relay(&self, product: &str, feed: &Feed, failures: &mut u32) -> Status {
        let request = WatchStockRequest { product_id: product.to_owned() };
        let mut stream = match self.inventory.clone().watch_stock(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status,
        };
        let mut next_at = Instant::now();
        loop {
            let mut newest = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return wire::upstream_unavailable().into(),
                Err(status) => return status,
            };
            let mut broken = None;
            while let Ok(next) = timeout_at(next_at, stream.message()).await {
                match next {
                    Ok(Some(message)) => newest = message,
                    Ok(None) => broken = Some(wire::upstream_unavailable().into()),
                    Err(status) => broken = Some(status),
                }
                if broken.is_some() {
                    break;
                }
            }
            feed.send_replace(Latest::Stock(wire::frame(&newest)));
            *failures = 0;
            if let Some(status) = broken {
                return status;
            }
            next_at = Instant::now() + update_interval(feed.receiver_count());
        }
    }

    /// Ends a feed that nobody watches; false when somebody joined in the meantime. Joining takes
    /// the same lock, so nobody can join a feed that has ended.
    fn retire_unwatched(&self, product: &str, feed: &Feed) -> bool {
        let mut feeds = self.feeds.lock();
        let unwatched = feed.receiver_count() == 0;
        if unwatched {
            feeds.remove(product);
        }
        unwatched
    }

    fn end(&self, product: &str, feed: &Feed, status: Status) {
        let mut feeds = self.feeds.lock();
        feeds.remove(product);
        feed.send_replace(Latest::Ended(Arc::new(status)));
    }
}

fn update_interval(watchers: usize) -> Duration {
    let watchers = u32::try_from(watchers).unwrap_or(u32::MAX);
    let wanted = UPDATE_INTERVAL_PER_WATCHER.saturating_mul(watchers);
    wanted.clamp(UPDATE_INTERVAL, UPDATE_INTERVAL_LONGEST)
}

/// The end of every stream when the edge ends.
pub fn stopping() -> Refusal {
    Refusal::because(Reason::Overloaded, "the edge is stopping").retry_after(RETRY)
}

fn too_slow() -> Status {
    let message = "nothing could be written for too long";
    Refusal::because(Reason::WatcherTooSlow, message).retry_after(RETRY).into()
}

/// Writes a feed's news to one watcher. When it returns without a status, the watcher is too slow:
/// its stream says so, should it ever be read again.
async fn write(
    mut feed: watch::Receiver<Latest>,
    frames: mpsc::Sender<Frame<Bytes>>,
    stall: Duration,
    _place: OwnedSemaphorePermit,
) {
    loop {
        let latest = feed.borrow_and_update().clone();
        let (frame, is_last) = match latest {
            Latest::Silence => (None, false),
            Latest::Stock(stock) => (Some(Frame::data(stock)), false),
            Latest::Ended(status) => (Some(Frame::trailers(wire::trailers(&status))), true),
        };
        if let Some(frame) = frame {
            let written = timeout(stall, frames.send(frame)).await;
            if is_last || !matches!(written, Ok(Ok(()))) {
                return;
            }
        }
        tokio::select! {
            () = frames.closed() => return, // the watcher left
            changed = feed.changed() => if changed.is_err() { return },
        }
    }
}

/// A stream: where frames go in, and the answer that carries them. Whoever closes it without
/// trailers finds its reader too slow.
pub fn stream() -> (mpsc::Sender<Frame<Bytes>>, Response) {
    let (frames, outlet) = mpsc::channel(1);
    (frames, wire::streaming(Body::new(Stream { outlet, has_ended: false })))
}

/// A watcher's side of the stream.
struct Stream {
    outlet: mpsc::Receiver<Frame<Bytes>>,
    has_ended: bool,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(self.outlet.poll_recv(context));
        let frame = frame.unwrap_or_else(|| Frame::trailers(wire::trailers(&too_slow())));
        self.has_ended = frame.is_trailers();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_told_less_often_but_every_second() {
        let table = [(0, 100), (1, 100), (2000, 100), (10_000, 500), (20_000, 1000)];
        for (watchers, interval_ms) in table {
            assert_eq!(update_interval(watchers), Duration::from_millis(interval_ms), "{watchers}");
        }
        assert_eq!(update_interval(usize::MAX), UPDATE_INTERVAL_LONGEST);
    }
}
