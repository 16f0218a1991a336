//! Faults made on purpose, to see how a shop behaves when a part of it is ill: a share of errors,
//! and a time of each minute in which calls fail or are late. Off unless it is asked for, and
//! nothing for a shop that sells.

use std::{
    convert::Infallible,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use firstcome_proto::{Reason, Refusal};
use futures::future::{BoxFuture, Either, Ready, ready};
use http::{Request, Response};
use rand::RngExt as _;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{is_for_all, telling};

/// When to come back to a service that was told to fail.
const RETRY: Duration = Duration::from_millis(200);

/// A fault as it is asked for:
///
/// | text | does |
/// |---|---|
/// | `errors:5%` | refuses that share of the calls |
/// | `errors:10s-of-60s` | refuses all calls in the first 10 s of each minute, as UTC has it |
/// | `latency:500ms:10s-of-60s` | delays all calls by 500 ms in that time |
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Injected {
    /// Calls fail.
    Errors(When),
    /// Calls are late by this.
    Latency(Duration, When),
}

/// Which calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Any one, with this probability.
    Share(f64),
    /// All at the beginning of each period of the wall clock.
    First {
        /// How long.
        span: Duration,
        /// Of what.
        period: Duration,
    },
}

/// A text that asks for no fault that we can make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("want errors:5%, errors:10s-of-60s or latency:500ms:10s-of-60s, have {0:?}")]
pub struct Unreadable(String);

impl FromStr for Injected {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let read = || match text.split_once(':')? {
            ("errors", when) => Some(Self::Errors(When::read(when)?)),
            ("latency", rest) => {
                let (span, when) = rest.split_once(':')?;
                Some(Self::Latency(humantime::parse_duration(span).ok()?, When::read(when)?))
            }
            _ => None,
        };
        read().ok_or_else(|| Unreadable(text.to_owned()))
    }
}

impl When {
    fn read(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            let share = percent.parse::<f64>().ok()? / 100.0;
            return (0.0..=1.0).contains(&share).then_some(Self::Share(share));
        }
        let (span, period) = text.split_once("-of-")?;
        let span = humantime::parse_duration(span).ok()?;
        let period = humantime::parse_duration(period).ok()?;
        (!span.is_zero() && span <= period).then_some(Self::First { span, period })
    }

    fn is_now(self, clock: Clock) -> bool {
        match self {
            Self::Share(share) => rand::rng().random_bool(share),
            Self::First { span, period } => {
                let now = clock().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.as_nanos() % period.as_nanos() < span.as_nanos()
            }
        }
    }
}

/// The wall's.
type Clock = fn() -> SystemTime;

/// Makes [`Inject`].
#[derive(Clone)]
pub struct InjectLayer {
    plan: Arc<Plan>,
}

struct Plan {
    faults: Vec<Injected>,
    made: Arc<AtomicU64>,
    clock: Clock,
}

impl InjectLayer {
    /// Makes these faults; with none, the layer is not there. A process that makes some says so.
    pub fn new(faults: &[Injected]) -> Self {
        if !faults.is_empty() {
            tracing::warn!(?faults, "calls are made to fail on purpose");
        }
        let layer = Self::at(faults, SystemTime::now);
        telling::tell_faults(layer.made());
        layer
    }

    fn at(faults: &[Injected], clock: Clock) -> Self {
        let plan = Plan { faults: faults.to_vec(), made: Arc::default(), clock };
        Self { plan: Arc::new(plan) }
    }

    /// Faults made since the process began.
    pub fn made(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.plan.made)
    }
}

impl<S> Layer<S> for InjectLayer {
    type Service = Inject<S>;

    fn layer(&self, inner: S) -> Inject<S> {
        Inject { inner, plan: Arc::clone(&self.plan) }
    }
}

/// Makes faults of the calls to the service below it. It never fails after the service has done
/// what was asked: that is what failpoints are for.
#[derive(Clone)]
pub struct Inject<S> {
    inner: S,
    plan: Arc<Plan>,
}

impl<S> Service<Request<Body>> for Inject<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<
        S::Future,
        Either<
            Ready<Result<Response<Body>, Infallible>>,
            BoxFuture<'static, Result<Response<Body>, Infallible>>,
        >,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.plan.faults.is_empty() || is_for_all(request.uri().path()) {
            return Either::Left(self.inner.call(request));
        }
        let mut late = Duration::ZERO;
        for fault in &self.plan.faults {
            match *fault {
                Injected::Errors(when) if when.is_now(self.plan.clock) => {
                    self.plan.made.fetch_add(1, Ordering::Relaxed);
                    return Either::Right(Either::Left(ready(Ok(failed().into_http()))));
                }
                Injected::Latency(by, when) if when.is_now(self.plan.clock) => late += by,
                Injected::Errors(_) | Injected::Latency(..) => {}
            }
        }
        if late.is_zero() {
            return Either::Left(self.inner.call(request));
        }
        self.plan.made.fetch_add(1, Ordering::Relaxed);
        let inner = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, inner);
        Either::Right(Either::Right(Box::pin(async move {
            tokio::time::sleep(late).await;
            ready.call(request).await
        })))
    }
}

/// As of a service that something fails which it needs.
fn failed() -> Status {
    let refusal = Refusal::because(Reason::UpstreamUnavailable, "this fault was asked for");
    refusal.retry_after(RETRY).into()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    const CAPTURE: &str = "/firstcome.payment.v1.ChargeService/Capture";
    const HEALTH: &str = "/grpc.health.v1.Health/Watch";

    /// The second of a minute at which a call comes.
    fn at<const SECOND: u64>() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(29_000_000 * 60 + SECOND)
    }

    fn injecting(faults: &[&str], clock: Clock) -> InjectLayer {
        let faults: Vec<_> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        InjectLayer::at(&faults, clock)
    }

    /// Whether a call fails, and how long it takes.
    async fn call(layer: &InjectLayer, path: &str) -> (bool, Duration) {
        let well = service_fn(|_: Request<Body>| ready(Ok(Response::new(Body::empty()))));
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        let began = Instant::now();
        let answer = layer.layer(well).oneshot(request).await.unwrap();
        let status = Status::from_header_map(answer.headers());
        let reason = status.map(|status| Refusal::from_status(&status).reason());
        assert!(reason.is_none_or(|reason| reason == Reason::UpstreamUnavailable), "{reason:?}");
        (reason.is_some(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_twenty_calls_fails() {
        let layer = injecting(&["errors:5%"], at::<30>);
        let mut failed = 0;
        for _ in 0..10_000 {
            failed += u32::from(call(&layer, CAPTURE).await.0);
            assert!(!call(&layer, HEALTH).await.0, "who watches over it is not deceived");
        }
        assert!((400..600).contains(&failed), "{failed} of 10000");
        assert_eq!(layer.made().load(Ordering::Relaxed), u64::from(failed));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_fail_in_the_first_ten_seconds_of_each_minute() {
        let table: [(Clock, bool); 4] =
            [(at::<0>, true), (at::<9>, true), (at::<10>, false), (at::<59>, false)];
        for (clock, fails) in table {
            let layer = injecting(&["errors:10s-of-60s"], clock);
            assert_eq!(call(&layer, CAPTURE).await.0, fails);
            assert!(!call(&layer, HEALTH).await.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_late_in_the_first_ten_seconds_of_each_minute() {
        let late = Duration::from_millis(700);
        let table: [(Clock, Duration); 3] =
            [(at::<0>, late), (at::<9>, late), (at::<10>, Duration::ZERO)];
        for (clock, by) in table {
            let layer = injecting(&["latency:700ms:10s-of-60s"], clock);
            assert_eq!(call(&layer, CAPTURE).await, (false, by));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_fault_asked_for_there_is_none() {
        let layer = injecting(&[], at::<0>);
        assert_eq!(call(&layer, CAPTURE).await, (false, Duration::ZERO));
    }

    #[test]
    fn a_fault_reads_as_documented() {
        let minute = Duration::from_secs(60);
        let first = When::First { span: minute / 6, period: minute };
        let table = [
            ("errors:5%", Some(Injected::Errors(When::Share(0.05)))),
            ("errors:10s-of-60s", Some(Injected::Errors(first))),
            ("latency:1s:10s-of-1m", Some(Injected::Latency(Duration::from_secs(1), first))),
            ("latency:1s:50%", Some(Injected::Latency(Duration::from_secs(1), When::Share(0.5)))),
            ("errors", None),
            ("errors:101%", None),
            ("errors:NaN%", None),
            ("errors:0s-of-60s", None),
            ("errors:61s-of-60s", None),
            ("latency:10s-of-60s", None),
            ("panics:5%", None),
        ];
        for (text, fault) in table {
            assert_eq!(text.parse::<Injected>().ok(), fault, "{text}");
        }
    }
}
