//! Whether a call is traced: decided here, once, for all processes behind. Of a call that is not,
//! nothing is made and nothing goes inward, so that the thousands beside it pay one roll of a die.

use std::{
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
};

use firstcome_mesh::{
    config::Share,
    telemetry::traces::{
        Span, SpanContext,
        rpc::{self, Answering},
        traceparent,
    },
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, Request};
use rand::RngExt as _;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::{route::Table, wire::Response};

/// Calls a second whose callers may have them traced. Enough for whoever looks for a fault with a
/// client of their own; too few for strangers to fill a collector, or to make us slow.
const ASKED_PER_S: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// What a method is called that the edge has not, so that nobody writes names into our books.
const UNKNOWN: &str = "unknown";

/// Makes [`Trace`].
#[derive(Clone)]
pub struct TraceLayer {
    /// `None` where nothing is exported.
    pub sampler: Option<Arc<Sampler>>,
    /// What methods there are.
    pub table: Table,
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;
    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, known: self.clone() }
    }
}

/// Begins the trace of a few calls.
#[derive(Clone)]
pub struct Trace<S> {
    inner: S,
    known: TraceLayer,
}

impl<S> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sampler = self.known.sampler.as_ref();
        let span = match sampler.and_then(|sampler| sampler.decide(request.headers())) {
            None => Span::NONE,
            Some(Traced { parent }) => {
                let route = self.known.table.find(request.uri().path());
                Span::serve(parent, rpc::method(route.map_or(UNKNOWN, |route| route.path.path())))
            }
        };
        Answering::begin(span, || self.inner.call(request))
    }
}

/// Decides which calls are traced.
pub struct Sampler {
    share: Share,
    asked: DefaultDirectRateLimiter,
}

/// A call that is traced, as a part of what its caller says it is.
#[derive(Debug, PartialEq)]
struct Traced {
    parent: Option<SpanContext>,
}

impl Sampler {
    /// Traces this share of all calls, and those whose callers ask for it, within bounds.
    pub fn new(share: Share) -> Self {
        Self { share, asked: RateLimiter::direct(Quota::per_second(ASKED_PER_S)) }
    }

    /// A caller's trace goes on in ours whoever chose the call. Only the die chooses, never the
    /// number of the trace: a stranger could choose that.
    fn decide(&self, headers: &HeaderMap) -> Option<Traced> {
        let parent = traceparent::read(headers);
        let is_asked = parent.as_ref().is_some_and(SpanContext::is_sampled);
        let is_chosen = (is_asked && self.asked.check().is_ok())
            || self.share.includes(rand::rng().random::<f64>());
        is_chosen.then_some(Traced { parent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(traceparent: Option<&str>) -> HeaderMap {
        let value = traceparent.map(|text| (traceparent::HEADER, text.parse().unwrap()));
        HeaderMap::from_iter(value)
    }

    const ASKED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const TOLD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn chosen_of(calls: usize, sampler: &Sampler, traceparent: Option<&str>) -> usize {
        let headers = headers(traceparent);
        (0..calls).filter(|_| sampler.decide(&headers).is_some()).count()
    }

    #[test]
    fn a_share_of_all_calls_is_traced_and_only_so_many_of_those_that_ask() {
        let none = Sampler::new("0".parse().unwrap());
        assert_eq!(chosen_of(1000, &none, None), 0);
        assert_eq!(chosen_of(1000, &none, Some(TOLD)), 0);
        assert_eq!(chosen_of(1000, &none, Some("rubbish")), 0);
        // A thousand decisions take a fraction of the tenth of a second that makes room for one.
        let asked = chosen_of(1000, &none, Some(ASKED));
        assert!((10..20).contains(&asked), "{asked}");

        let all = Sampler::new("1".parse().unwrap());
        assert_eq!(chosen_of(1000, &all, Some(TOLD)), 1000);
        let some = Sampler::new("0.1".parse().unwrap());
        let chosen = chosen_of(100_000, &some, None);
        assert!((9_000..11_000).contains(&chosen), "{chosen} is ten standard deviations off");
    }

    #[test]
    fn a_callers_trace_goes_on_and_rubbish_begins_none() {
        let all = Sampler::new("1".parse().unwrap());
        for text in [ASKED, TOLD] {
            let traced = all.decide(&headers(Some(text))).expect("all are");
            let parent = traced.parent.expect("its caller's");
            assert_eq!(parent.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        }
        for text in [None, Some("rubbish")] {
            assert_eq!(all.decide(&headers(text)), Some(Traced { parent: None }));
        }
    }
}
