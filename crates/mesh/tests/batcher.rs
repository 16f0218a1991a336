//! The batcher from outside: what is sent, in which order, and what every caller hears.
//!
//! Time is paused: it moves only when nothing else can, so "nothing happens" is a fact.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use firstcome_mesh::{
    Answers, BatchCall, Batcher, Deadline, Rejected, Reply,
    batcher::{Limits, Outcome},
    metrics,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time,
};

const MS: Duration = Duration::from_millis(1);
const ROOMY: Limits = Limits {
    batch_items_max: 100,
    in_flight_max: 1,
    key_queue_items_max: 100,
    queue_items_max: 100,
};

/// Hands every call to the test, which answers and ends it when it likes.
struct Tap {
    calls: mpsc::UnboundedSender<Tapped>,
}

/// A call under way: dropping it ends it.
struct Tapped {
    key: &'static str,
    items: Vec<u32>,
    answers: Answers<u32>,
    _end: oneshot::Sender<()>,
}

impl Tapped {
    /// Answers each item with itself.
    fn echo(mut self) {
        let items = std::mem::take(&mut self.items);
        self.answers.answer_rest(|place| items[place]);
    }
}

impl BatchCall for Tap {
    type Key = &'static str;
    type Item = u32;
    type Answer = u32;

    async fn call(&self, key: &'static str, items: Vec<u32>, answers: Answers<u32>) {
        let (end, ended) = oneshot::channel();
        let _ = self.calls.send(Tapped { key, items, answers, _end: end });
        let _ = ended.await;
    }
}

/// A batcher and the calls that come out of it.
struct Bench {
    batcher: Batcher<Tap>,
    calls: mpsc::UnboundedReceiver<Tapped>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        Self { batcher: Batcher::new(Tap { calls: sender }, limits), calls }
    }

    /// Enqueues now; the answer comes later.
    fn submit_within(&self, key: &'static str, item: u32, span: Duration) -> Waiting {
        let (reply, answer) = oneshot::channel();
        self.batcher.enqueue(key, item, Deadline::after(span), Reply::One(reply));
        Waiting(answer)
    }

    fn submit(&self, key: &'static str, item: u32) -> Waiting {
        self.submit_within(key, item, Duration::from_secs(3600))
    }

    /// The next call; panics when none comes.
    async fn next(&mut self) -> Tapped {
        time::timeout(MS, self.calls.recv()).await.expect("a call is made").expect("tap is open")
    }

    async fn makes_no_call(&mut self) -> bool {
        time::timeout(MS, self.calls.recv()).await.is_err()
    }
}

struct Waiting(oneshot::Receiver<Outcome<u32>>);

impl Waiting {
    async fn heard(self) -> Outcome<u32> {
        let answer = time::timeout(MS, self.0).await.expect("an answer comes");
        answer.expect("a reply is never dropped unsent")
    }

    /// What was heard so far, without letting anything else run.
    fn heard_now(&mut self) -> Option<Outcome<u32>> {
        self.0.try_recv().ok()
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_batcher_sends_at_once_and_items_gather_in_order_behind_it() {
    let mut bench = Bench::new(ROOMY);
    let first = bench.submit("k", 0);
    let call = bench.next().await;
    assert_eq!((call.key, &call.items[..]), ("k", &[0][..]));

    let rest: Vec<_> = (1..=7).map(|item| bench.submit("k", item)).collect();
    assert!(bench.makes_no_call().await, "one call is in flight");
    call.echo();
    assert_eq!(first.heard().await, Ok(0));

    let call = bench.next().await;
    assert_eq!(call.items, [1, 2, 3, 4, 5, 6, 7]);
    call.echo();
    for (item, waiting) in (1..).zip(rest) {
        assert_eq!(waiting.heard().await, Ok(item));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_no_larger_than_its_limit_and_the_rest_follows_in_order() {
    let mut bench = Bench::new(Limits { batch_items_max: 3, ..ROOMY });
    let _waiting: Vec<_> = (0..8).map(|item| bench.submit("k", item)).collect();
    for batch in [&[0, 1, 2][..], &[3, 4, 5], &[6, 7]] {
        let call = bench.next().await;
        assert_eq!(call.items, batch);
        assert!(bench.makes_no_call().await);
        call.echo();
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_arrive_while_the_call_still_works_on_the_admissions() {
    let mut bench = Bench::new(ROOMY);
    let (mut winner, loser) = (bench.submit("k", 1), bench.submit("k", 2));
    let mut call = bench.next().await;
    call.answers.answer(1, 20);
    assert_eq!(loser.heard().await, Ok(20));
    assert_eq!(call.answers.waiting(), [0]);
    assert_eq!(winner.heard_now(), None);
    call.answers.answer(0, 10);
    assert_eq!(winner.heard().await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn an_item_whose_deadline_passed_in_the_queue_is_not_sent() {
    let mut bench = Bench::new(ROOMY);
    let first = bench.submit("k", 0);
    let call = bench.next().await;
    let late = bench.submit_within("k", 1, MS * 5);
    let patient = bench.submit_within("k", 2, MS * 50);
    time::sleep(MS * 10).await;
    call.echo();
    assert_eq!(late.heard().await, Err(Rejected::DeadlinePassed));
    assert_eq!(bench.next().await.items, [2]);
    assert_eq!(first.heard().await, Ok(0));
    assert_eq!(patient.heard().await, Err(Rejected::Unanswered));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_waited_half_of_its_time_is_refused_and_its_place_in_the_batch_is_used() {
    let mut bench = Bench::new(Limits { batch_items_max: 2, ..ROOMY });
    let _first = bench.submit("k", 0);
    let call = bench.next().await;
    let hasty: Vec<_> = (1..=5).map(|item| bench.submit_within("k", item, MS * 18)).collect();
    time::sleep(MS * 4).await;
    let _fresh: Vec<_> = (6..=8).map(|item| bench.submit_within("k", item, MS * 18)).collect();
    time::sleep(MS * 6).await;
    call.echo();
    for waiting in hasty {
        assert_eq!(waiting.heard().await, Err(Rejected::WaitedTooLong));
    }
    assert_eq!(bench.next().await.items, [6, 7], "a full batch of those who still have time");
}

/// Five times what the calls can carry comes, for thirty times as long as anybody waits.
#[tokio::test(start_paused = true)]
async fn under_overload_every_call_is_full_and_ends_in_time_for_its_items() {
    const CALL: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_secs(4);
    const CARRIED_IN_CALL: usize = 10;
    let limits = Limits {
        batch_items_max: CARRIED_IN_CALL,
        in_flight_max: 1,
        key_queue_items_max: 100_000,
        queue_items_max: 100_000,
    };
    let log = Arc::new(Mutex::new(Log::default()));
    let call = Fickle { log: Arc::clone(&log), call_ms: 100, panics: false };
    let batcher = Batcher::new(call, limits);
    let (parts, mut heard) = mpsc::unbounded_channel();
    let calls = 30 * PATIENCE.as_millis() / CALL.as_millis();
    let mut number = 0;
    for _ in 0..calls {
        for _ in 0..5 * CARRIED_IN_CALL {
            let reply = Reply::Part(number, parts.clone());
            let item = Carried { number, manner: Manner::Late };
            batcher.enqueue(0, item, Deadline::after(PATIENCE), reply);
            number += 1;
        }
        time::sleep(CALL).await;
    }
    drop(parts);
    let mut answered = 0;
    while let Ok((_, outcome)) = heard.try_recv() {
        match outcome {
            Ok(_) => answered += 1,
            Err(why) => assert_eq!(why, Rejected::WaitedTooLong),
        }
    }
    let could = usize::try_from(calls).unwrap() * CARRIED_IN_CALL;
    assert!(answered >= could * 98 / 100, "{answered} of {could}");
    batcher.close(PATIENCE).await;
}

#[tokio::test(start_paused = true)]
async fn an_item_that_was_sent_is_not_dropped_when_its_deadline_passes() {
    let mut bench = Bench::new(ROOMY);
    let waiting = bench.submit_within("k", 7, MS * 5);
    let call = bench.next().await;
    time::sleep(MS * 10).await;
    assert_eq!(call.items, [7]);
    call.echo();
    assert_eq!(waiting.heard().await, Ok(7), "the call's answer is the truth");
}

#[tokio::test(start_paused = true)]
async fn whoever_submits_waits_no_longer_than_the_deadline() {
    let mut bench = Bench::new(ROOMY);
    let batcher = bench.batcher.clone();
    let started = time::Instant::now();
    let waiting: JoinHandle<Outcome<u32>> =
        tokio::spawn(async move { batcher.submit("k", 1, Deadline::after(MS * 20)).await });
    let call = bench.next().await;
    assert_eq!(waiting.await.unwrap(), Err(Rejected::DeadlinePassed));
    assert_eq!(started.elapsed().as_millis(), 20);
    call.echo(); // to nobody, and nothing breaks
    assert!(bench.makes_no_call().await);
}

#[tokio::test(start_paused = true)]
async fn an_item_whose_caller_left_is_not_sent() {
    let mut bench = Bench::new(ROOMY);
    let _first = bench.submit("k", 0);
    let call = bench.next().await;

    drop(bench.submit("k", 1));
    let stays = bench.submit("k", 2);
    let mut submitting = Box::pin(bench.batcher.submit("k", 3, Deadline::after(MS * 50)));
    assert!(futures::poll!(&mut submitting).is_pending());
    drop(submitting);
    let (parts, receiver) = mpsc::unbounded_channel();
    bench.batcher.enqueue("k", 4, Deadline::after(MS * 50), Reply::Part(0, parts));
    drop(receiver);

    call.echo();
    let call = bench.next().await;
    assert_eq!(call.items, [2]);
    call.echo();
    assert_eq!(stays.heard().await, Ok(2));
    assert!(bench.makes_no_call().await);
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_callers_who_left_makes_no_call_and_lets_the_next_one_pass() {
    let mut bench = Bench::new(ROOMY);
    for item in 0..10 {
        drop(bench.submit("k", item));
    }
    assert!(bench.makes_no_call().await);
    let waiting = bench.submit("k", 10);
    bench.next().await.echo();
    assert_eq!(waiting.heard().await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn a_full_key_refuses_at_once_and_other_keys_do_not() {
    let mut bench = Bench::new(Limits { key_queue_items_max: 2, ..ROOMY });
    let _sent = bench.submit("k", 0);
    let call = bench.next().await;
    let queued = [bench.submit("k", 1), bench.submit("k", 2)];
    assert_eq!(bench.submit("k", 3).heard_now(), Some(Err(Rejected::QueueFull)));
    let other = bench.submit("other", 9);
    bench.next().await.echo();
    assert_eq!(other.heard().await, Ok(9));

    call.echo();
    let call = bench.next().await;
    assert_eq!(call.items, [1, 2], "the refused item is not among them");
    let waiting = bench.submit("k", 4);
    call.echo();
    bench.next().await.echo();
    assert_eq!(waiting.heard().await, Ok(4), "there is room again");
    drop(queued);
}

#[tokio::test(start_paused = true)]
async fn a_full_batcher_refuses_every_key_at_once() {
    let mut bench = Bench::new(Limits { queue_items_max: 3, ..ROOMY });
    let _sent = [bench.submit("a", 0), bench.submit("b", 0)];
    let calls = [bench.next().await, bench.next().await];
    let _queued = [bench.submit("a", 1), bench.submit("a", 2), bench.submit("b", 1)];
    for key in ["a", "b", "c"] {
        assert_eq!(bench.submit(key, 9).heard_now(), Some(Err(Rejected::QueueFull)), "{key}");
    }
    for call in calls {
        call.echo();
    }
    assert_eq!([bench.next().await.items, bench.next().await.items].concat().len(), 3);
    let waiting = bench.submit("c", 5);
    bench.next().await.echo();
    assert_eq!(waiting.heard().await, Ok(5), "a refused key left nothing behind");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_early_leaves_its_items_unanswered_and_the_lane_lives_on() {
    let mut bench = Bench::new(ROOMY);
    let (answered, left) = (bench.submit("k", 0), bench.submit("k", 1));
    let mut call = bench.next().await;
    call.answers.answer(0, 0);
    let next = bench.submit("k", 2);
    drop(call);
    assert_eq!(answered.heard().await, Ok(0));
    assert_eq!(left.heard().await, Err(Rejected::Unanswered));
    bench.next().await.echo();
    assert_eq!(next.heard().await, Ok(2));
}

/// Panics on item 0 before there is a future, on item 1 inside it; echoes the rest.
struct Panics;

impl BatchCall for Panics {
    const HOP: &'static str = "panics";

    type Key = ();
    type Item = u32;
    type Answer = u32;

    #[allow(clippy::manual_async_fn, reason = "a call may do work before it returns its future")]
    fn call(
        &self,
        (): (),
        items: Vec<u32>,
        mut answers: Answers<u32>,
    ) -> impl Future<Output = ()> + Send {
        assert_ne!(items[0], 0, "asked to");
        async move {
            assert_ne!(items[0], 1, "asked to");
            answers.answer_rest(|place| items[place]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_leaves_its_items_unanswered_and_the_lane_lives_on() {
    let batcher = Batcher::new(Panics, ROOMY);
    for (item, outcome) in
        [(0, Err(Rejected::Unanswered)), (1, Err(Rejected::Unanswered)), (2, Ok(2))]
    {
        assert_eq!(batcher.submit((), item, Deadline::after(MS)).await, outcome);
    }
    time::timeout(MS, batcher.close(MS)).await.expect("no lane is left behind");
    assert_eq!(told("firstcome_batch_rejected_total{hop=\"panics\",why=\"unanswered\"}"), 2);
}

/// What metrics say of this process.
fn told(series: &str) -> i64 {
    let text = metrics::text();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).expect("it is told from the start")
}

/// A tap whose hop nobody else counts.
struct Counted(Tap);

impl BatchCall for Counted {
    const HOP: &'static str = "counted";

    type Key = &'static str;
    type Item = u32;
    type Answer = u32;

    async fn call(&self, key: &'static str, items: Vec<u32>, answers: Answers<u32>) {
        self.0.call(key, items, answers).await;
    }
}

#[tokio::test(start_paused = true)]
async fn batchers_of_one_hop_add_up_what_waits_and_what_is_not_carried() {
    let (sender, mut calls) = mpsc::unbounded_channel();
    let [one, other] =
        [sender.clone(), sender].map(|calls| Batcher::new(Counted(Tap { calls }), ROOMY));
    let enqueue = |batcher: &Batcher<Counted>, count: u32| -> Vec<Waiting> {
        let (replies, waiting): (Vec<_>, Vec<_>) = (0..count).map(|_| oneshot::channel()).unzip();
        let items = (0..).zip(replies.into_iter().map(Reply::One));
        batcher.enqueue_all("k", Deadline::after(Duration::from_secs(3600)), items);
        waiting.into_iter().map(Waiting).collect()
    };
    let waits = || told("firstcome_batch_queue_items{hop=\"counted\"}");
    let rejected = |why: &str| {
        told(&format!("firstcome_batch_rejected_total{{hop=\"counted\",why=\"{why}\"}}"))
    };
    let _sent = [enqueue(&one, 1), enqueue(&other, 1)];
    assert_eq!(waits(), 2, "neither call has begun");
    let unanswered = calls.recv().await.unwrap();
    let stuck = calls.recv().await.unwrap();
    assert_eq!(waits(), 0);
    let (carried, left) = (enqueue(&one, 2), enqueue(&other, 3));
    assert_eq!(waits(), 5);

    drop(unanswered);
    calls.recv().await.unwrap().echo();
    for (item, waiting) in (0..).zip(carried) {
        assert_eq!(waiting.heard().await, Ok(item));
    }
    assert_eq!((waits(), rejected("unanswered")), (3, 1));

    other.close(MS).await;
    for waiting in left {
        assert_eq!(waiting.heard().await, Err(Rejected::Closed));
    }
    assert_eq!((waits(), rejected("closed")), (0, 3));
    stuck.echo();
    assert_eq!(rejected("unanswered"), 1, "what was answered counts for nothing");
}

#[tokio::test(start_paused = true)]
async fn a_slow_key_does_not_delay_a_fast_one() {
    let mut bench = Bench::new(ROOMY);
    let mut slow = bench.submit("slow", 0);
    let stuck = bench.next().await;
    for item in 0..20 {
        let fast = bench.submit("fast", item);
        bench.next().await.echo();
        assert_eq!(fast.heard().await, Ok(item));
    }
    assert_eq!(slow.heard_now(), None);
    stuck.echo();
    assert_eq!(slow.heard().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_in_flight_than_allowed() {
    let limits = Limits { batch_items_max: 2, in_flight_max: 3, ..ROOMY };
    let mut bench = Bench::new(limits);
    let _waiting: Vec<_> = (0..10).map(|item| bench.submit("k", item)).collect();
    let mut calls = Vec::new();
    for batch in [[0, 1], [2, 3], [4, 5]] {
        let call = bench.next().await;
        assert_eq!(call.items, batch);
        calls.push(call);
    }
    assert!(bench.makes_no_call().await);
    calls.pop().unwrap().echo();
    assert_eq!(bench.next().await.items, [6, 7]);
}

#[tokio::test(start_paused = true)]
async fn closing_answers_what_is_inside_and_refuses_what_comes() {
    let mut bench = Bench::new(Limits { batch_items_max: 2, ..ROOMY });
    let inside: Vec<_> = (0..5).map(|item| bench.submit("k", item)).collect();
    let batcher = bench.batcher.clone();
    let closing = tokio::spawn(async move { batcher.close(MS * 1000).await });
    let call = bench.next().await;
    assert_eq!(bench.submit("k", 9).heard_now(), Some(Err(Rejected::Closed)));
    call.echo();
    bench.next().await.echo();
    assert!(!closing.is_finished());
    bench.next().await.echo();
    closing.await.unwrap();
    for (item, mut waiting) in (0..).zip(inside) {
        assert_eq!(waiting.heard_now(), Some(Ok(item)));
    }
}

#[tokio::test(start_paused = true)]
async fn closing_with_a_full_queue_and_a_stuck_call_ends_in_time_and_leaves_nobody_waiting() {
    let mut bench = Bench::new(Limits { key_queue_items_max: 50, ..ROOMY });
    let sent = bench.submit("k", 0);
    let stuck = bench.next().await;
    let mut queued: Vec<_> = (1..=50).map(|item| bench.submit("k", item)).collect();
    assert_eq!(bench.submit("k", 51).heard_now(), Some(Err(Rejected::QueueFull)));

    let started = time::Instant::now();
    bench.batcher.close(MS * 30).await;
    assert_eq!(started.elapsed().as_millis(), 30);
    for waiting in &mut queued {
        assert_eq!(waiting.heard_now(), Some(Err(Rejected::Closed)));
    }
    stuck.echo();
    assert_eq!(sent.heard().await, Ok(0), "what was sent is answered by its call");
    assert!(bench.makes_no_call().await, "what was told closed is never sent");
}

/// What one item makes of its call.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Early,
    Late,
    Never,
}

/// What a test does to the batcher.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enqueue {
        key: u8,
        deadline_ms: u32,
        manner: Manner,
    },
    /// Whoever waits for the next items leaves at once.
    EnqueueAndLeave {
        key: u8,
    },
    Pass {
        ms: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Carried {
    number: u32,
    manner: Manner,
}

/// Answers as its items ask, and keeps a log. Every fourth call may panic half-way.
struct Fickle {
    log: Arc<Mutex<Log>>,
    call_ms: u32,
    panics: bool,
}

#[derive(Default)]
struct Log {
    sent: HashMap<u8, Vec<u32>>,
    in_flight: HashMap<u8, usize>,
    in_flight_most: usize,
    batch_most: usize,
    calls: usize,
}

impl BatchCall for Fickle {
    type Key = u8;
    type Item = Carried;
    type Answer = u32;

    async fn call(&self, key: u8, items: Vec<Carried>, mut answers: Answers<u32>) {
        let panics = {
            let mut log = self.log.lock();
            log.sent.entry(key).or_default().extend(items.iter().map(|item| item.number));
            let in_flight = log.in_flight.entry(key).or_default();
            *in_flight += 1;
            log.in_flight_most = (*in_flight).max(log.in_flight_most);
            log.batch_most = log.batch_most.max(items.len());
            log.calls += 1;
            self.panics && log.calls.is_multiple_of(4)
        };
        for (place, item) in items.iter().enumerate() {
            if matches!(item.manner, Manner::Early) {
                answers.answer(place, item.number);
            }
        }
        time::sleep(MS * self.call_ms).await;
        *self.log.lock().in_flight.entry(key).or_default() -= 1;
        // Unwinds like a panic, without the noise of its report.
        if panics {
            std::panic::resume_unwind(Box::new("asked to"));
        }
        for (place, item) in items.iter().enumerate() {
            if matches!(item.manner, Manner::Late) {
                answers.answer(place, item.number);
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let manner = prop_oneof![Just(Manner::Early), Just(Manner::Late), Just(Manner::Never)];
    let step = prop_oneof![
        8 => (0..3u8, 0..40u32, manner)
            .prop_map(|(key, deadline_ms, manner)| Step::Enqueue { key, deadline_ms, manner }),
        1 => (0..3u8).prop_map(|key| Step::EnqueueAndLeave { key }),
        2 => (0..15u32).prop_map(|ms| Step::Pass { ms }),
    ];
    prop::collection::vec(step, 1..120)
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..9usize, 1..4usize, 0..20usize, 0..30usize).prop_map(
        |(batch_items_max, in_flight_max, key_queue_items_max, queue_items_max)| Limits {
            batch_items_max,
            in_flight_max,
            key_queue_items_max,
            queue_items_max,
        },
    )
}

async fn every_item_is_answered_once_and_in_order(
    steps: Vec<Step>,
    limits: Limits,
    call_ms: u32,
    close_ms: u32,
) {
    let log = Arc::new(Mutex::new(Log::default()));
    let batcher = Batcher::new(Fickle { log: Arc::clone(&log), call_ms, panics: true }, limits);
    let (parts, mut heard) = mpsc::unbounded_channel();
    let (mut waiting, mut left) = (HashSet::new(), HashSet::new());
    for (number, step) in (0..).zip(steps) {
        match step {
            Step::Enqueue { key, deadline_ms, manner } => {
                let reply = Reply::Part(number, parts.clone());
                let deadline = Deadline::after(MS * deadline_ms);
                batcher.enqueue(key, Carried { number, manner }, deadline, reply);
                waiting.insert(number);
            }
            Step::EnqueueAndLeave { key } => {
                let item = Carried { number, manner: Manner::Late };
                let (reply, _) = oneshot::channel();
                batcher.enqueue(key, item, Deadline::after(MS * 40), Reply::One(reply));
                left.insert(number);
            }
            Step::Pass { ms } => time::sleep(MS * ms).await,
        }
    }
    drop(parts);
    batcher.close(MS * close_ms).await;

    let mut outcomes = HashMap::new();
    let deaf = Duration::from_secs(60);
    while let Some((number, outcome)) =
        time::timeout(deaf, heard.recv()).await.expect("nobody is left waiting")
    {
        assert!(outcomes.insert(number, outcome).is_none(), "{number} is answered twice");
    }
    assert_eq!(outcomes.keys().copied().collect::<HashSet<_>>(), waiting);

    let log = log.lock();
    assert!(log.in_flight_most <= limits.in_flight_max);
    assert!(log.batch_most <= limits.batch_items_max);
    let mut sent = HashSet::new();
    for numbers in log.sent.values() {
        assert!(numbers.is_sorted_by(|a, b| a < b), "order of {numbers:?}");
        sent.extend(numbers.iter().copied());
    }
    assert!(sent.is_disjoint(&left), "a caller who left was served");
    for (number, outcome) in outcomes {
        match outcome {
            Ok(answer) => assert_eq!(answer, number),
            Err(Rejected::Unanswered) => {}
            Err(_) => assert!(!sent.contains(&number), "{number} was told that nothing was done"),
        }
        assert_eq!(
            sent.contains(&number),
            matches!(outcome, Ok(_) | Err(Rejected::Unanswered)),
            "{number}: {outcome:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_comes_every_item_is_answered_once_and_in_order(
        steps in steps(),
        limits in limits(),
        call_ms in 0..25u32,
        close_ms in 0..100u32,
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(every_item_is_answered_once_and_in_order(steps, limits, call_ms, close_ms));
    }
}
