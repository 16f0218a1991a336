//! Natural batching: a queue per key, and at most a few calls in flight behind it. While calls
//! are out, items gather; the next call carries all of them, in order. No timer, no added latency
//! when idle.
//!
//! Every item is answered exactly once: by the call, or by the batcher when the call never will.
//! An item whose deadline passed or whose caller left is dropped before sending, never after.
//!
//! The queue is bounded by time as well as by count. An item that has spent half of its time in it
//! is refused: what is left would be too little behind it, and a queue that sends what comes too
//! late works at full speed for nobody.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    hash::Hash,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use firstcome_proto::{Reason, Refusal};
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use crate::{
    Deadline,
    metrics::hop::Hop,
    telemetry::traces::{Member, Members},
};

mod count;

pub use count::{Count, InFlightMax, ItemsMax, OutOfRange};

/// How long a caller should wait before it tries a full queue again.
const FULL_QUEUE_RETRY: Duration = Duration::from_millis(200);

/// What a batcher carries, and how.
pub trait BatchCall: Send + Sync + 'static {
    /// How metrics and traces name this hop, as in `order_to_inventory`.
    const HOP: &'static str = "unnamed";

    /// Items of different keys never wait for each other.
    type Key: Clone + Eq + Hash + Send + 'static;
    /// What is carried.
    type Item: Send + 'static;
    /// What comes back for each item.
    type Answer: Send + 'static;

    /// Carries the items, in the order in which they were enqueued, and answers each by its place.
    /// What it leaves unanswered is answered [`Rejected::Unanswered`].
    fn call(
        &self,
        key: Self::Key,
        items: Vec<Self::Item>,
        answers: Answers<Self::Answer>,
    ) -> impl Future<Output = ()> + Send;
}

/// How much a batcher holds and sends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items of one call.
    pub batch_items_max: usize,
    /// Calls in flight for one key.
    pub in_flight_max: usize,
    /// Items that wait for one key.
    pub key_queue_items_max: usize,
    /// Items that wait for all keys together.
    pub queue_items_max: usize,
}

/// Why an item was not carried, or will not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Nothing was done.
    #[error("the queue is full")]
    QueueFull,
    /// Nothing was done: half of the item's time passed before its turn came.
    #[error("the queue is too long")]
    WaitedTooLong,
    /// Nothing was done when it was dropped from the queue; unknown when it was in flight.
    #[error("the deadline passed")]
    DeadlinePassed,
    /// Nothing was done.
    #[error("the process is stopping")]
    Closed,
    /// The outcome is unknown.
    #[error("the call ended without an answer")]
    Unanswered,
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        let reason = match rejected {
            Rejected::QueueFull | Rejected::WaitedTooLong | Rejected::Closed => Reason::Overloaded,
            Rejected::DeadlinePassed => Reason::DeadlineExceeded,
            Rejected::Unanswered => Reason::UpstreamUnavailable,
        };
        Refusal::because(reason, rejected.to_string()).retry_after(FULL_QUEUE_RETRY)
    }
}

/// An answer, or why there is none.
pub type Outcome<A> = Result<A, Rejected>;

/// Where an item's answer goes.
pub enum Reply<A> {
    /// To somebody who waits for this item alone.
    One(oneshot::Sender<Outcome<A>>),
    /// To somebody who waits for many, with the item's place among them.
    Part(u32, mpsc::UnboundedSender<(u32, Outcome<A>)>),
}

impl<A> Reply<A> {
    fn send(self, outcome: Outcome<A>) {
        // A caller that left needs no answer.
        match self {
            Self::One(caller) => drop(caller.send(outcome)),
            Self::Part(place, caller) => drop(caller.send((place, outcome))),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::One(caller) => caller.is_closed(),
            Self::Part(_, caller) => caller.is_closed(),
        }
    }
}

/// The unanswered items of one call.
pub struct Answers<A> {
    replies: Vec<Option<Reply<A>>>,
    hop: Arc<Hop>,
}

impl<A> Answers<A> {
    /// Answers the item at this place; an item that was answered before is left alone.
    pub fn answer(&mut self, place: usize, answer: A) {
        if let Some(reply) = self.replies.get_mut(place).and_then(Option::take) {
            reply.send(Ok(answer));
        } else {
            debug_assert!(false, "item {place} was answered twice or never sent");
        }
    }

    /// Hands the item's caller over to whoever answers it now, as to the batcher of the next step.
    pub fn hand_over(&mut self, place: usize) -> Option<Reply<A>> {
        self.replies.get_mut(place).and_then(Option::take)
    }

    /// The places that still wait.
    pub fn waiting(&self) -> Vec<usize> {
        (0..self.replies.len()).filter(|&place| self.replies[place].is_some()).collect()
    }

    /// Answers every item that still waits.
    pub fn answer_rest(&mut self, mut answer: impl FnMut(usize) -> A) {
        for place in self.waiting() {
            self.answer(place, answer(place));
        }
    }
}

impl<A> Drop for Answers<A> {
    fn drop(&mut self) {
        self.hop.rejected(Rejected::Unanswered, self.replies.iter().flatten().count());
        for reply in self.replies.iter_mut().filter_map(Option::take) {
            reply.send(Err(Rejected::Unanswered));
        }
    }
}

/// Gathers items by key and carries them in batches. Clones share one queue.
pub struct Batcher<C: BatchCall> {
    inner: Arc<Inner<C>>,
}

impl<C: BatchCall> Clone for Batcher<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C: BatchCall> fmt::Debug for Batcher<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}

struct Inner<C: BatchCall> {
    call: C,
    limits: Limits,
    carries_abandoned: bool,
    hop: Arc<Hop>,
    lanes: Mutex<Lanes<C>>,
    /// Told when the last lane ends.
    idle: Notify,
}

struct Lanes<C: BatchCall> {
    by_key: HashMap<C::Key, Lane<C>>,
    /// Items that wait, over all keys.
    waiting: usize,
    closed: bool,
}

/// One key's queue; exists only while something waits or is in flight.
struct Lane<C: BatchCall> {
    queue: VecDeque<Entry<C>>,
    in_flight: usize,
}

struct Entry<C: BatchCall> {
    item: C::Item,
    since: Instant,
    deadline: Deadline,
    /// When half of the item's time has passed.
    sent_by: Deadline,
    reply: Reply<C::Answer>,
    member: Member,
}

impl<C: BatchCall> Entry<C> {
    /// Why it is not worth sending any more, if it is not.
    fn is_over(&self, now: Instant) -> Option<Rejected> {
        if self.deadline.instant() <= now {
            return Some(Rejected::DeadlinePassed);
        }
        (self.sent_by.instant() <= now).then_some(Rejected::WaitedTooLong)
    }
}

/// The items of one call, where their answers go, and whose traces it is a part of.
type Batch<C> = (Vec<<C as BatchCall>::Item>, Answers<<C as BatchCall>::Answer>, Members);

impl<C: BatchCall> Batcher<C> {
    /// A batcher in front of a call.
    pub fn new(call: C, limits: Limits) -> Self {
        Self::make(call, limits, false)
    }

    /// A batcher that carries items even when their caller left or their deadline passed: they
    /// have begun elsewhere and must be finished.
    pub fn carrying_abandoned(call: C, limits: Limits) -> Self {
        Self::make(call, limits, true)
    }

    fn make(call: C, limits: Limits, carries_abandoned: bool) -> Self {
        assert!(limits.batch_items_max > 0 && limits.in_flight_max > 0, "limits must let one pass");
        let lanes = Mutex::new(Lanes { by_key: HashMap::new(), waiting: 0, closed: false });
        let (hop, idle) = (Arc::new(Hop::named(C::HOP)), Notify::new());
        let inner = Inner { call, limits, carries_abandoned, hop, lanes, idle };
        Self { inner: Arc::new(inner) }
    }

    /// What stands behind the queue.
    pub fn call(&self) -> &C {
        &self.inner.call
    }

    /// Enqueues one item and waits for its answer, at most until the deadline. Dropping the
    /// future takes the item out of the queue if it was not sent yet.
    pub async fn submit(
        &self,
        key: C::Key,
        item: C::Item,
        deadline: Deadline,
    ) -> Outcome<C::Answer> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(key, item, deadline, Reply::One(reply));
        match tokio::time::timeout_at(deadline.instant(), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Rejected::Unanswered),
            Err(_) => Err(Rejected::DeadlinePassed),
        }
    }

    /// Enqueues one item; its answer, or its rejection, goes to `reply`. Items that one caller
    /// enqueues for one key are sent in that order. Must be called inside a Tokio runtime.
    pub fn enqueue(&self, key: C::Key, item: C::Item, deadline: Deadline, reply: Reply<C::Answer>) {
        self.enqueue_all(key, deadline, [(item, reply)]);
    }

    /// Enqueues items that came together, so that they leave together as far as they can: one by
    /// one, the first would set out alone while the others are still being enqueued.
    pub fn enqueue_all(
        &self,
        key: C::Key,
        deadline: Deadline,
        items: impl IntoIterator<Item = (C::Item, Reply<C::Answer>)>,
    ) {
        let mut turned_away = Vec::new();
        let since = Instant::now();
        let sent_by = Deadline::after(deadline.left() / 2);
        let member = Member::current();
        let (why, starts) = {
            let mut guard = self.inner.lanes.lock();
            let lanes = &mut *guard;
            let limits = &self.inner.limits;
            let waited = lanes.waiting;
            let lane = lanes
                .by_key
                .entry(key.clone())
                .or_insert_with(|| Lane { queue: VecDeque::new(), in_flight: 0 });
            for (item, reply) in items {
                if lanes.closed
                    || lanes.waiting >= limits.queue_items_max
                    || lane.queue.len() >= limits.key_queue_items_max
                {
                    turned_away.push(reply);
                    continue;
                }
                lane.queue.push_back(Entry {
                    item,
                    since,
                    deadline,
                    sent_by,
                    reply,
                    member: member.clone(),
                });
                lanes.waiting += 1;
            }
            // Under the lock: a runner could take them first, and fewer than none would wait.
            self.inner.hop.queued(lanes.waiting - waited);
            // What fits into one call needs one more under way, however many there may be.
            let needed = lane.queue.len().div_ceil(limits.batch_items_max);
            let starts = needed.min(limits.in_flight_max - lane.in_flight);
            lane.in_flight += starts;
            if lane.in_flight == 0 {
                lanes.by_key.remove(&key);
            }
            (if lanes.closed { Rejected::Closed } else { Rejected::QueueFull }, starts)
        };
        for _ in 0..starts {
            tokio::spawn(run(Arc::clone(&self.inner), key.clone()));
        }
        self.inner.hop.rejected(why, turned_away.len());
        for reply in turned_away {
            reply.send(Err(self.inner.turned_away(why)));
        }
    }

    /// Refuses new items and waits until those inside are answered; what is left in the queues
    /// at the end of `within` is answered [`Rejected::Closed`].
    pub async fn close(&self, within: Duration) {
        self.inner.lanes.lock().closed = true;
        let emptied = async {
            loop {
                let idle = self.inner.idle.notified();
                if self.inner.lanes.lock().by_key.is_empty() {
                    return;
                }
                idle.await;
            }
        };
        if tokio::time::timeout(within, emptied).await.is_err() {
            let mut left = Vec::new();
            {
                let mut lanes = self.inner.lanes.lock();
                for lane in lanes.by_key.values_mut() {
                    left.extend(lane.queue.drain(..));
                }
                lanes.waiting = 0;
            }
            self.inner.hop.taken(left.len());
            self.inner.hop.rejected(Rejected::Closed, left.len());
            for entry in left {
                entry.reply.send(Err(Rejected::Closed));
            }
        }
    }
}

/// Sends batch after batch of one key until its queue is empty.
async fn run<C: BatchCall>(inner: Arc<Inner<C>>, key: C::Key) {
    while let Some((items, answers, members)) = inner.next_batch(&key) {
        if items.is_empty() {
            continue; // none of it was worth sending
        }
        let span = members.span(C::HOP, items.len());
        // Inside the block, so that a call that panics before it returns a future is caught too.
        let (inner, key) = (&inner, key.clone());
        let began = Instant::now();
        let call = span.run(async move { inner.call.call(key, items, answers).await });
        if AssertUnwindSafe(call).catch_unwind().await.is_err() {
            tracing::error!("a batched call panicked, its items are answered as unknown");
        }
        inner.hop.ended(began.elapsed());
    }
}

impl<C: BatchCall> Inner<C> {
    /// What an item hears that finds no room: one that has begun elsewhere may yet be finished.
    fn turned_away(&self, why: Rejected) -> Rejected {
        if self.carries_abandoned { Rejected::Unanswered } else { why }
    }

    /// Takes what waits, up to a full batch of what is worth sending; ends the runner's turn when
    /// nothing waits.
    fn next_batch(&self, key: &C::Key) -> Option<Batch<C>> {
        let mut sent = Vec::new();
        let mut not_sent = Vec::new();
        // Once for the batch: a look at the clock for each item shows in profiles.
        let now = Instant::now();
        {
            let mut guard = self.lanes.lock();
            let lanes = &mut *guard;
            let lane = lanes.by_key.get_mut(key).expect("a lane outlives its runners");
            // What is dropped makes room for others: under overload most of a queue's head may be,
            // and calls that are nearly empty would waste what little there is.
            while sent.len() < self.limits.batch_items_max {
                let Some(entry) = lane.queue.pop_front() else { break };
                lanes.waiting -= 1;
                if self.carries_abandoned {
                    sent.push(entry);
                } else if entry.reply.is_abandoned() {
                    not_sent.push((entry, None));
                } else if let Some(why) = entry.is_over(now) {
                    not_sent.push((entry, Some(why)));
                } else {
                    sent.push(entry);
                }
            }
            if sent.is_empty() && not_sent.is_empty() {
                lane.in_flight -= 1;
                if lane.in_flight == 0 {
                    lanes.by_key.remove(key);
                    if lanes.by_key.is_empty() {
                        self.idle.notify_waiters();
                    }
                }
                return None;
            }
        }
        self.hop.taken(sent.len() + not_sent.len());
        if let Some(first) = sent.first() {
            self.hop.sent(sent.len(), now.saturating_duration_since(first.since));
        }
        for (entry, why) in not_sent {
            if let Some(why) = why {
                self.hop.rejected(why, 1);
                entry.reply.send(Err(why));
            }
        }
        let mut members = Members::default();
        let taken = sent.into_iter().map(|Entry { item, reply, member, .. }| {
            members.add(member);
            (item, Some(reply))
        });
        let (items, replies) = taken.unzip();
        Some((items, Answers { replies, hop: Arc::clone(&self.hop) }, members))
    }
}
