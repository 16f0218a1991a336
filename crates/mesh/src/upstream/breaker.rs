//! A circuit breaker, one for each endpoint: what keeps failing is not called for a while, then
//! tried by a few, and called again when one of them comes back well.
//!
//! Of our own, because the published ones count in windows that do not slide, or let everybody try
//! at once, or wait for ever for a probe that never returns.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What is looked at: short, so that the good calls of a while ago do not outvote an endpoint that
/// has just died.
const WINDOW: Duration = Duration::from_secs(2);
/// The window slides in steps of a tenth.
const BUCKETS: usize = 10;
const BUCKET: Duration = Duration::from_millis(WINDOW.as_millis() as u64 / BUCKETS as u64);
/// Fewer calls in the window say nothing: at that rate retries and deadlines are enough.
const VOLUME_MIN: u32 = 10;
/// Calls are refused for this long. What ails one endpoint may ail all of them (their database
/// restarts), and then nobody should wait for us longer than for the cause.
const OPEN: Duration = Duration::from_millis(500);
/// Calls that try an endpoint at once, and how long they are waited for. Whichever hangs keeps
/// nobody out: after this time as many others may try.
const PROBES_MAX: u32 = 3;
const PROBES_FOR: Duration = Duration::from_secs(1);

/// What a call says of the endpoint that it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does its work, refusals included.
    Well,
    /// It answers, and something behind it does not.
    Ailing,
    /// It does not answer.
    Broken,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// A few calls pass.
    HalfOpen,
    /// None passes. When it ails, it still answers: what is wrong lies behind it, where its likes
    /// find it too, and whoever has nobody better may go on asking.
    Open {
        /// Whether most of what failed was answered.
        ailing: bool,
    },
}

/// Leave to call. Given back with the verdict; of another age than the breaker's it changes
/// nothing, so that calls from before do not judge what is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    age: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Breaker(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    born: Instant,
    /// Counts changes of phase.
    age: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Closed(Window),
    Open { until: Instant, ailing: bool },
    HalfOpen { probes_left: u32, until: Instant, ailing: bool },
}

/// What a breaker would say to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// It passes.
    Given,
    /// It passes if there is nobody better: who is asked ails, and answers.
    ForWantOfBetter,
    /// It does not pass.
    Refused,
}

impl Default for Breaker {
    fn default() -> Self {
        let phase = Phase::Closed(Window::default());
        Self(Mutex::new(Inner { born: Instant::now(), age: 0, phase }))
    }
}

impl Breaker {
    /// Where it stands now.
    pub fn state(&self) -> State {
        match &self.0.lock().phase {
            Phase::Closed(_) => State::Closed,
            Phase::Open { until, .. } if *until <= Instant::now() => State::HalfOpen,
            Phase::Open { ailing, .. } => State::Open { ailing: *ailing },
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// What a call would be told, without taking its place.
    pub fn leave(&self) -> Leave {
        let (passes, ailing) = match &self.0.lock().phase {
            Phase::Closed(_) => return Leave::Given,
            Phase::Open { until, ailing } => (*until <= Instant::now(), *ailing),
            Phase::HalfOpen { probes_left, until, ailing } => {
                (*probes_left > 0 || *until <= Instant::now(), *ailing)
            }
        };
        match (passes, ailing) {
            (true, _) => Leave::Given,
            (false, true) => Leave::ForWantOfBetter,
            (false, false) => Leave::Refused,
        }
    }

    /// Leave for one call, if there is any.
    pub fn admit(&self) -> Option<Permit> {
        let mut inner = self.0.lock();
        match &mut inner.phase {
            Phase::Closed(_) => {}
            Phase::HalfOpen { probes_left, until, .. } if *until > Instant::now() => {
                *probes_left = probes_left.checked_sub(1)?;
            }
            Phase::Open { until, .. } if *until > Instant::now() => return None,
            Phase::Open { ailing, .. } | Phase::HalfOpen { ailing, .. } => {
                let (ailing, until) = (*ailing, Instant::now() + PROBES_FOR);
                inner.turn(Phase::HalfOpen { probes_left: PROBES_MAX - 1, until, ailing });
            }
        }
        Some(Permit { age: inner.age })
    }

    /// Leave for a call that goes whatever the state, for want of a better way.
    pub fn admit_anyway(&self) -> Permit {
        Permit { age: self.0.lock().age }
    }

    /// What a call has shown.
    pub fn record(&self, permit: Permit, verdict: Verdict) {
        let mut inner = self.0.lock();
        if permit.age != inner.age {
            return;
        }
        let now = inner.born.elapsed();
        match &mut inner.phase {
            Phase::Closed(window) => {
                window.count(now, verdict);
                if let Some(ailing) = window.has_failed(now) {
                    inner.open(ailing);
                }
            }
            Phase::HalfOpen { .. } => match verdict {
                Verdict::Well => inner.turn(Phase::Closed(Window::default())),
                Verdict::Ailing => inner.open(true),
                Verdict::Broken => inner.open(false),
            },
            // It was asked for want of a better way, and it is well again.
            Phase::Open { .. } if verdict == Verdict::Well => {
                inner.turn(Phase::Closed(Window::default()));
            }
            Phase::Open { .. } => {}
        }
    }

    /// A call that shows nothing: its place is free for another.
    pub fn forget(&self, permit: Permit) {
        let mut inner = self.0.lock();
        if permit.age != inner.age {
            return;
        }
        if let Phase::HalfOpen { probes_left, .. } = &mut inner.phase {
            *probes_left = (*probes_left + 1).min(PROBES_MAX);
        }
    }

    /// It says by itself that it serves again: that is worth a try at once.
    pub fn try_now(&self) {
        let mut inner = self.0.lock();
        if let Phase::Open { until, .. } = &mut inner.phase {
            *until = Instant::now();
        }
    }
}

impl Inner {
    fn turn(&mut self, phase: Phase) {
        self.age += 1;
        self.phase = phase;
    }

    fn open(&mut self, ailing: bool) {
        self.turn(Phase::Open { until: Instant::now() + OPEN, ailing });
    }
}

/// The verdicts of the last while, in buckets of which each is used again when its time is over.
#[derive(Debug, Default)]
struct Window {
    buckets: [Bucket; BUCKETS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which step of time it counts, since the breaker was made.
    step: u128,
    calls: u32,
    ailing: u32,
    broken: u32,
}

impl Window {
    fn count(&mut self, now: Duration, verdict: Verdict) {
        let step = step_of(now);
        let bucket = &mut self.buckets[(step % BUCKETS as u128) as usize];
        if bucket.step != step {
            *bucket = Bucket { step, ..Bucket::default() };
        }
        bucket.calls = bucket.calls.saturating_add(1);
        match verdict {
            Verdict::Well => {}
            Verdict::Ailing => bucket.ailing += 1,
            Verdict::Broken => bucket.broken += 1,
        }
    }

    /// Whether half of the calls failed, and if so, whether most of these were answered.
    fn has_failed(&self, now: Duration) -> Option<bool> {
        let oldest = (step_of(now) + 1).saturating_sub(BUCKETS as u128);
        let (mut calls, mut ailing, mut broken) = (0, 0, 0);
        for bucket in self.buckets.iter().filter(|bucket| bucket.step >= oldest) {
            calls += bucket.calls;
            ailing += bucket.ailing;
            broken += bucket.broken;
        }
        let has_failed = calls >= VOLUME_MIN && (ailing + broken) * 2 >= calls;
        has_failed.then_some(ailing > broken)
    }
}

fn step_of(now: Duration) -> u128 {
    now.as_millis() / BUCKET.as_millis()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn call(breaker: &Breaker, verdict: Verdict) -> bool {
        let permit = breaker.admit();
        permit.inspect(|permit| breaker.record(*permit, verdict)).is_some()
    }

    fn calls(breaker: &Breaker, count: u32, verdict: Verdict) -> usize {
        (0..count).filter(|_| call(breaker, verdict)).count()
    }

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        calls(&breaker, VOLUME_MIN, Verdict::Broken);
        assert_eq!(breaker.state(), State::Open { ailing: false });
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_half_of_enough_calls_and_not_before() {
        let table = [
            (0, VOLUME_MIN - 1, false),
            (0, VOLUME_MIN, true),
            (VOLUME_MIN, VOLUME_MIN - 1, false),
            (VOLUME_MIN, VOLUME_MIN, true),
            (1000, 999, false),
            (1000, 1000, true),
        ];
        for (well, broken, opens) in table {
            let breaker = Breaker::default();
            calls(&breaker, well, Verdict::Well);
            calls(&breaker, broken, Verdict::Broken);
            assert_eq!(breaker.state() != State::Closed, opens, "{well} {broken}");
            assert_eq!(call(&breaker, Verdict::Well), !opens, "{well} {broken}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_slides() {
        // Failures that are spread over more than the window never meet.
        let breaker = Breaker::default();
        for _ in 0..100 {
            call(&breaker, Verdict::Broken);
            advance(WINDOW / (VOLUME_MIN - 2)).await;
        }
        assert_eq!(breaker.state(), State::Closed);
        // What was well goes bucket by bucket, and does not vanish at a border.
        let breaker = Breaker::default();
        calls(&breaker, 20, Verdict::Well);
        advance(WINDOW - 2 * BUCKET).await;
        calls(&breaker, 19, Verdict::Broken);
        assert_eq!(breaker.state(), State::Closed, "the twenty still count");
        advance(2 * BUCKET).await;
        calls(&breaker, 1, Verdict::Broken);
        assert_eq!(breaker.state(), State::Open { ailing: false }, "they do not any more");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_is_tried_by_a_few_and_called_again_when_one_comes_back_well() {
        let breaker = opened();
        advance(OPEN - MOMENT).await;
        assert!(breaker.leave() == Leave::Refused && breaker.admit().is_none());
        advance(MOMENT).await;
        assert_eq!(breaker.leave(), Leave::Given);
        let probes: Vec<_> = (0..10).filter_map(|_| breaker.admit()).collect();
        assert_eq!(probes.len(), PROBES_MAX as usize);
        assert_eq!(breaker.leave(), Leave::Refused);

        breaker.record(probes[0], Verdict::Well);
        assert_eq!(breaker.state(), State::Closed);
        breaker.record(probes[1], Verdict::Broken);
        assert_eq!(calls(&breaker, VOLUME_MIN - 1, Verdict::Broken), VOLUME_MIN as usize - 1);
        assert_eq!(breaker.state(), State::Closed, "what began before does not count");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_opens_it_for_as_long_again() {
        let breaker = opened();
        advance(OPEN).await;
        assert!(call(&breaker, Verdict::Ailing));
        assert_eq!(breaker.state(), State::Open { ailing: true });
        advance(OPEN - MOMENT).await;
        assert!(breaker.admit().is_none());
        advance(MOMENT).await;
        assert!(call(&breaker, Verdict::Well));
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_that_never_return_keep_nobody_out() {
        let breaker = opened();
        advance(OPEN).await;
        let lost: Vec<_> = (0..PROBES_MAX).filter_map(|_| breaker.admit()).collect();
        assert!(breaker.admit().is_none());
        advance(PROBES_FOR).await;
        let again: Vec<_> = (0..10).filter_map(|_| breaker.admit()).collect();
        assert_eq!(again.len(), PROBES_MAX as usize);
        breaker.record(lost[0], Verdict::Broken);
        assert_eq!(breaker.state(), State::HalfOpen, "who comes too late is not heard");
        breaker.record(again[0], Verdict::Well);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_shows_nothing_makes_room_for_another() {
        let breaker = opened();
        advance(OPEN).await;
        let probes: Vec<_> = (0..PROBES_MAX).filter_map(|_| breaker.admit()).collect();
        breaker.forget(probes[0]);
        assert!(breaker.admit().is_some() && breaker.admit().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_serves_again_is_tried_at_once() {
        let breaker = opened();
        breaker.try_now();
        assert!(call(&breaker, Verdict::Well));
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_ails_may_be_asked_for_want_of_a_better_way() {
        let breaker = Breaker::default();
        calls(&breaker, VOLUME_MIN, Verdict::Ailing);
        assert_eq!(breaker.leave(), Leave::ForWantOfBetter);
        breaker.record(breaker.admit_anyway(), Verdict::Ailing);
        assert_eq!(breaker.state(), State::Open { ailing: true });
        breaker.record(breaker.admit_anyway(), Verdict::Well);
        assert_eq!(breaker.state(), State::Closed);
    }
}
