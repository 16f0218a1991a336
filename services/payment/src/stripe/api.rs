//! Stripe's HTTP API: requests with our key, and answers sorted by what their caller does next.

use bytes::Bytes;
use firstcome_mesh::Deadline;
use http::{HeaderValue, Method, Request, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    intent::{ErrorBody, Intent},
    request,
};
use crate::{http_client::HttpClient, provider::Unknown};

/// The version of the API that these requests and answers are of, whatever the account's default.
const VERSION: &str = "2024-06-20";

/// An answer that settles something.
#[derive(Clone, Debug)]
pub enum Answer<T> {
    /// It was done.
    Done(T),
    /// It was refused for good.
    Refused(Refused),
}

/// Why something was refused for good.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Stripe's word.
    error: ErrorBody,
    /// The intent as it is after that, if there is one.
    pub intent: Option<Box<Intent>>,
}

impl Refused {
    /// Why the card was refused.
    pub fn decline_code(&self) -> String {
        self.error.decline_code()
    }
}

#[derive(Deserialize)]
struct Failure {
    error: ErrorBody,
}

/// The way to Stripe. Clones share connections.
#[derive(Clone)]
pub struct Api {
    http: HttpClient,
    base_url: String,
    secret_key: SecretString,
}

impl Api {
    /// At this address.
    pub fn new(base_url: &str, secret_key: SecretString) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self { http: HttpClient::new(), base_url, secret_key }
    }

    /// Reads.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        deadline: Deadline,
    ) -> Result<Answer<T>, Unknown> {
        let request = self.request(Method::GET, path, None, Bytes::new());
        self.exchange(request, deadline).await
    }

    /// Does something, once for each key.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        form: &[(&'static str, String)],
        deadline: Deadline,
    ) -> Result<Answer<T>, Unknown> {
        let body = Bytes::from(request::encode(form));
        let request = self.request(Method::POST, path, Some(key), body);
        self.exchange(request, deadline).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> Request<Bytes> {
        let secret = format!("Bearer {}", self.secret_key.expose_secret());
        let mut secret = HeaderValue::try_from(secret).expect("a key is checked at the start");
        secret.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base_url))
            .header(header::AUTHORIZATION, secret)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("stripe-version", VERSION);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.body(body).expect("the address was checked at the start, ids and keys are ASCII")
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: Request<Bytes>,
        deadline: Deadline,
    ) -> Result<Answer<T>, Unknown> {
        let path = request.uri().path().to_owned();
        let (status, body) = self.http.send(request, deadline).await.map_err(|lost| {
            tracing::warn!(path, %lost, "stripe's answer is lost");
            Unknown
        })?;
        sort(status, &body).inspect_err(|Unknown| {
            let body = String::from_utf8_lossy(&body);
            let error: String = body.chars().take(LOGGED_CHARS_MAX).collect();
            tracing::warn!(
                path,
                status = status.as_u16(),
                error,
                "stripe's answer settles nothing"
            );
        })
    }
}

/// What is logged of an answer that we cannot use: its error stands at its beginning.
const LOGGED_CHARS_MAX: usize = 300;

/// What an answer means: done, refused for good, or neither.
fn sort<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<Answer<T>, Unknown> {
    if status.is_success() {
        return serde_json::from_slice(body).map(Answer::Done).map_err(|_| Unknown);
    }
    // What Stripe decided about the request or the card. Not: our key (401, 403), the same step
    // under way elsewhere (409), too many requests (429), and Stripe's own trouble.
    let is_verdict = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYMENT_REQUIRED | StatusCode::NOT_FOUND
    );
    let Ok(Failure { mut error }) = serde_json::from_slice(body) else { return Err(Unknown) };
    // One key with two contents: nothing is known of what the first has done.
    if !is_verdict || error.kind == "idempotency_error" {
        return Err(Unknown);
    }
    let intent = error.payment_intent.take();
    Ok(Answer::Refused(Refused { error, intent }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verdict_settles_anything() {
        let error = |kind: &str| format!(r#"{{"error":{{"type":"{kind}","code":"x"}}}}"#);
        let table = [
            (200, r#"{"id":"pi_1","status":"succeeded"}"#.to_owned(), Some(true)),
            (200, "<html>".to_owned(), None),
            (402, error("card_error"), Some(false)),
            (400, error("invalid_request_error"), Some(false)),
            (404, error("invalid_request_error"), Some(false)),
            (400, error("idempotency_error"), None),
            (409, error("idempotency_error"), None),
            (401, error("invalid_request_error"), None),
            (429, error("rate_limit_error"), None),
            (500, error("api_error"), None),
            (404, "no such host".to_owned(), None),
        ];
        for (status, body, want) in table {
            let status = StatusCode::from_u16(status).expect("a status");
            let sorted = sort::<Intent>(status, body.as_bytes());
            let settled = sorted.ok().map(|answer| matches!(answer, Answer::Done(_)));
            assert_eq!(settled, want, "{status} {body}");
        }
    }

    #[test]
    fn a_refused_card_says_why_and_which_intent() {
        let body = br#"{"error":{"type":"card_error","code":"card_declined",
            "decline_code":"insufficient_funds","message":"Your card has insufficient funds.",
            "payment_intent":{"id":"pi_9","status":"requires_payment_method"}}}"#;
        let answer = sort::<Intent>(StatusCode::PAYMENT_REQUIRED, body).expect("a verdict");
        let Answer::Refused(refused) = answer else { panic!("{answer:?}") };
        assert_eq!(refused.decline_code(), "insufficient_funds");
        assert_eq!(refused.intent.expect("an intent").id, "pi_9");
    }
}
