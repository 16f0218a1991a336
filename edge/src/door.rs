//! The dialects of the one port: gRPC, grpc-web, plain pages, and providers' webhooks; all but the
//! first with the headers by which a browser lets a page of another origin in. Below the door all
//! calls are gRPC.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use futures::future::{BoxFuture, Either};
use http::{HeaderName, HeaderValue, Method, Request, Version, header};
use tonic::body::Body;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, Service, util::BoxCloneService};
use tower_http::cors::{AllowOrigin, Any, Cors, CorsLayer};

use crate::{
    config::Config,
    webhook,
    wire::{self, GRPC_MESSAGE, GRPC_STATUS, GRPC_STATUS_DETAILS, Response},
};

/// A browser asks again after this long whether it may call.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);
/// What a page may send. A wildcard would not cover `authorization`.
const PAGE_HEADERS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ACCEPT_LANGUAGE,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("connect-protocol-version"),
    HeaderName::from_static("traceparent"),
];

/// Which origins' pages may call, and what they may see.
pub fn cors(config: &Config) -> CorsLayer {
    let origins = if config.development && config.web_origins.is_empty() {
        AllowOrigin::from(Any)
    } else {
        AllowOrigin::list(config.web_origins.clone())
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
        .allow_headers(PAGE_HEADERS)
        .expose_headers([GRPC_STATUS, GRPC_MESSAGE, GRPC_STATUS_DETAILS])
        .max_age(PREFLIGHT_MAX_AGE)
}

/// What answers webhooks on one connection.
pub type Webhooks = BoxCloneService<Request<Body>, Response, Infallible>;

/// What stands at the door of one connection.
#[derive(Clone)]
pub struct Door<S> {
    calls: S,
    browser: Cors<Browser<S>>,
}

impl<S: Clone> Door<S> {
    /// In front of the stack.
    pub fn new(calls: S, webhooks: Webhooks, cors: &CorsLayer, pages: Router) -> Self {
        let grpc_web = GrpcWebLayer::new().layer(StatusInBody { inner: calls.clone() });
        Self { calls, browser: cors.layer(Browser { grpc_web, webhooks, pages }) }
    }
}

impl<S> Door<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    /// Answers one request.
    pub fn call(
        &mut self,
        request: Request<Body>,
    ) -> Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>> {
        // gRPC needs trailers, which HTTP/1.1 clients do not read: such a call gets a page.
        if request.version() == Version::HTTP_2 && content_type(&request) == Dialect::Grpc {
            Either::Left(self.calls.call(request))
        } else {
            Either::Right(Box::pin(self.browser.call(request)))
        }
    }
}

#[derive(PartialEq, Eq)]
enum Dialect {
    Grpc,
    GrpcWeb,
    Other,
}

fn content_type<B>(request: &Request<B>) -> Dialect {
    let value = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    match value.and_then(|value| value.strip_prefix(b"application/grpc")) {
        Some(b"") | Some([b'+' | b';', ..]) => Dialect::Grpc,
        Some([b'-', b'w', b'e', b'b', ..]) => Dialect::GrpcWeb,
        _ => Dialect::Other,
    }
}

/// What a browser may want, or a provider.
#[derive(Clone)]
struct Browser<S> {
    grpc_web: GrpcWebService<StatusInBody<S>>,
    webhooks: Webhooks,
    pages: Router,
}

impl<S> Service<Request<Body>> for Browser<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if content_type(&request) == Dialect::GrpcWeb {
            return Box::pin(self.grpc_web.call(request));
        }
        if webhook::is_path(request.uri().path()) {
            return self.webhooks.call(request);
        }
        let page = self.pages.call(request.map(axum::body::Body::new));
        Box::pin(async move { Ok(page.await?.map(Body::new)) })
    }
}

/// A status alone in the headers becomes trailers, which grpc-web carries in the body: some
/// clients look for it nowhere else.
#[derive(Clone)]
struct StatusInBody<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for StatusInBody<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answering = self.inner.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            if !response.headers().contains_key(GRPC_STATUS) {
                return Ok(response);
            }
            let mut trailers = http::HeaderMap::with_capacity(3);
            for name in [GRPC_STATUS, GRPC_MESSAGE, GRPC_STATUS_DETAILS] {
                if let Some(value) = response.headers_mut().remove(&name) {
                    trailers.insert(name, value);
                }
            }
            *response.body_mut() = wire::only_trailers(trailers);
            Ok(response)
        })
    }
}
