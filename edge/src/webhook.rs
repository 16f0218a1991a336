//! Webhooks: `POST /webhooks/{provider}`, passed on as they came. The edge reads the body to its
//! end and finds the signature; what both are worth is payment's word.
//!
//! A provider reads nothing but the status, and sends again whatever is not 2xx:
//!
//! | status | means |
//! |---|---|
//! | 200 | on record |
//! | 400 | the signature or the body is wrong, as providers' own examples answer |
//! | 404 | nobody of that name sends webhooks here |
//! | 405, 408, 413, 429 | not a POST; too slow; above 64 KiB; too many of this address |
//! | 503 | not on record: payment cannot be reached, or the edge is full |

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use firstcome_mesh::{Deadline, retry::Retry, upstream::Channel};
use firstcome_proto::{
    Reason, Refusal,
    payment_v1::{ReceiveWebhookRequest, webhook_service_client::WebhookServiceClient},
};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{
    call::Call,
    wire::{self, GRPC_STATUS, Response},
};

/// Where webhooks come in.
pub const PATH: &str = "/webhooks/";
/// The largest body. Payment checks it too.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The name of a provider is a word in a path and in front of a header's name.
const NAME_BYTES_MAX: usize = 32;
/// Providers wait 10 s and longer for an answer; payment needs one transaction for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// Whether a path is a webhook's.
pub fn is_path(path: &str) -> bool {
    path.starts_with(PATH)
}

/// Passes webhooks on to payment.
#[derive(Clone)]
pub struct Webhooks {
    payment: WebhookServiceClient<Channel>,
    retry: Retry,
}

impl Webhooks {
    /// To payment, behind this channel.
    pub fn new(payment: Channel) -> Self {
        Self { payment: WebhookServiceClient::new(payment), retry: Retry::default() }
    }

    async fn receive(&self, request: Request<Body>) -> Result<Response, Response> {
        let deadline = Deadline::after(ANSWER_TIMEOUT);
        let (head, body) = request.into_parts();
        let provider = provider_of(head.uri.path())
            .ok_or_else(|| plain(StatusCode::NOT_FOUND, "no such provider"))?;
        if head.method != Method::POST {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "want POST");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return Err(answer);
        }
        let reading = tokio::time::timeout_at(deadline.instant(), read(body));
        let late = |_| Err(plain(StatusCode::REQUEST_TIMEOUT, "the body took too long"));
        let webhook = ReceiveWebhookRequest {
            provider: provider.to_owned(),
            signature: signature_of(provider, &head.headers),
            body: reading.await.unwrap_or_else(late)?,
        };
        // An event is recorded once, however often it is passed on.
        let send = || {
            let (mut payment, webhook) = (self.payment.clone(), webhook.clone());
            async move { payment.receive_webhook(deadline.request(webhook)).await }
        };
        match self.retry.call(deadline, send).await {
            Ok(_) => Ok(plain(StatusCode::OK, "")),
            Err(status) => Err(refused(&wire::documented(status))),
        }
    }
}

impl Service<Call> for Webhooks {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let webhooks = self.clone();
        Box::pin(async move {
            Ok(webhooks.receive(call.request).await.unwrap_or_else(|refused| refused))
        })
    }
}

/// The last part of the path, if it is a name.
fn provider_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix(PATH)?;
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_name.then_some(name)
}

/// `stripe-signature` of Stripe, and likewise of everybody; empty when there is none that is text.
fn signature_of(provider: &str, headers: &HeaderMap) -> String {
    let signature = headers.get(format!("{provider}-signature"));
    let signature = signature.and_then(|value| value.to_str().ok());
    signature.unwrap_or_default().to_owned()
}

/// Reads the body to its end; what is too large is not kept.
async fn read(mut body: Body) -> Result<Bytes, Response> {
    match Limited::new(&mut body, BODY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(fault) if fault.is::<LengthLimitError>() => {
            wire::skip(body).await;
            let told = format!("want at most {BODY_BYTES_MAX} bytes");
            Err(plain(StatusCode::PAYLOAD_TOO_LARGE, told))
        }
        Err(_) => Err(plain(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}

/// A refusal as plain HTTP has it.
fn refused(status: &Status) -> Response {
    let refusal = Refusal::from_status(status);
    let code = match refusal.reason() {
        Reason::SignatureInvalid | Reason::InvalidArgument => StatusCode::BAD_REQUEST,
        Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::Overloaded | Reason::UpstreamUnavailable | Reason::DeadlineExceeded => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let violations = refusal.violations.iter();
    let faults: Vec<_> =
        violations.map(|violation| format!(": {}", violation.description)).collect();
    let mut answer = plain(code, format!("{}{}", refusal.message, faults.concat()));
    if let Some(wait) = refusal.retry_after {
        let seconds = wait.seconds + i64::from(wait.nanos > 0);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// An answer of a status and a line for whoever looks.
fn plain(code: StatusCode, told: impl Into<String>) -> Response {
    let mut told = told.into();
    if !told.is_empty() {
        told.push('\n');
    }
    let mut answer = Response::new(Body::new(http_body_util::Full::new(Bytes::from(told))));
    *answer.status_mut() = code;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, text);
    answer
}

/// Makes [`Plain`].
#[derive(Clone)]
pub struct PlainLayer;

impl<S> Layer<S> for PlainLayer {
    type Service = Plain<S>;
    fn layer(&self, inner: S) -> Plain<S> {
        Plain { inner }
    }
}

/// What the layers below refuse they refuse as gRPC; a provider hears it as plain HTTP.
#[derive(Clone)]
pub struct Plain<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Plain<S>
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
            let answer = answering.await?;
            if !answer.headers().contains_key(GRPC_STATUS) {
                return Ok(answer);
            }
            Ok(match Status::from_header_map(answer.headers()) {
                Some(status) => refused(&status),
                None => plain(StatusCode::INTERNAL_SERVER_ERROR, "a fault of ours"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_one_lower_case_word() {
        let table = [
            ("/webhooks/stripe", Some("stripe")),
            ("/webhooks/sandbox2", Some("sandbox2")),
            ("/webhooks/", None),
            ("/webhooks/stripe/", None),
            ("/webhooks/Stripe", None),
            ("/webhooks/..", None),
            ("/webhooks/a%20b", None),
            ("/webhooks/abcdefghijklmnopqrstuvwxyzabcdefg", None),
            ("/webhook", None),
        ];
        for (path, name) in table {
            assert_eq!(provider_of(path), name, "{path}");
        }
    }

    #[test]
    fn each_refusal_has_the_status_that_makes_a_provider_do_the_right_thing() {
        let table = [
            (Reason::SignatureInvalid, 400),
            (Reason::InvalidArgument, 400),
            (Reason::NotFound, 404),
            (Reason::RateLimited, 429),
            (Reason::Overloaded, 503),
            (Reason::UpstreamUnavailable, 503),
            (Reason::DeadlineExceeded, 503),
            (Reason::Internal, 500),
            (Reason::PermissionDenied, 500),
        ];
        for (reason, code) in table {
            let refusal = Refusal::because(reason, "x").retry_after(Duration::from_millis(1200));
            let answer = refused(&refusal.into());
            assert_eq!(answer.status().as_u16(), code, "{reason:?}");
            assert_eq!(answer.headers()[header::RETRY_AFTER], "2");
        }
    }
}
