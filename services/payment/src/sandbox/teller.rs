//! Tells the merchant what happened: signed requests, at least once, each batch until the merchant
//! answers 2xx. One request is out at a time, and what happens meanwhile gathers for the next.

use std::time::Duration;

use bytes::Bytes;
use firstcome_mesh::{Deadline, Shutdown, failpoint};
use firstcome_postgres::Pool;
use http::{Method, Request, Uri, header};
use secrecy::SecretString;
use sqlx::Connection as _;
use time::OffsetDateTime;

use super::{
    event::{self, Happened},
    ledger::outbox,
};
use crate::{http_client::HttpClient, signature};

/// Events of one request: about 100 bytes each, half of what a webhook may be.
const EVENTS_MAX: i64 = 256;
/// A merchant that takes longer has not heard it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Where a webhook's signature stands: the provider's name, as Stripe has it.
pub const SIGNATURE_HEADER: &str = "sandbox-signature";

/// Who wants to be told.
#[derive(Clone, Debug)]
pub struct Merchant {
    /// Where.
    pub url: Uri,
    /// By what they know that it is us.
    pub secret: SecretString,
}

/// Tells one merchant.
pub struct Teller {
    pool: Pool,
    merchant: Merchant,
    http: HttpClient,
}

impl Teller {
    /// From the outbox of the ledger that these connections lead to.
    pub fn new(pool: Pool, merchant: Merchant) -> Self {
        Self { pool, merchant, http: HttpClient::new() }
    }

    /// Tells everything that is due.
    pub async fn tell_all(&self, end: &Shutdown) {
        while !end.has_begun() {
            match self.tell_some().await {
                Ok(count) if count == EVENTS_MAX => {}
                Ok(_) => return,
                Err(error) => return tracing::warn!(%error, "tell the merchant later"),
            }
        }
    }

    /// Tells a batch; says how many were heard.
    async fn tell_some(&self) -> Result<i64, sqlx::Error> {
        if !outbox::is_any_due(&self.pool).await? {
            return Ok(0);
        }
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        let taken = outbox::take(&mut transaction, EVENTS_MAX).await?;
        let mut heard = 0;
        if !taken.happened.is_empty() {
            if self.tell(&taken.happened).await {
                failpoint::hit("sandbox.after_told");
                taken.heard(&mut transaction).await?;
                heard = i64::try_from(taken.happened.len()).unwrap_or(EVENTS_MAX);
            } else {
                taken.not_heard(&mut transaction).await?;
            }
        }
        transaction.commit().await?;
        lent.give_back();
        Ok(heard)
    }

    /// One request; true when the merchant says that it has heard.
    async fn tell(&self, happened: &[Happened]) -> bool {
        let body = Bytes::from(event::write(happened));
        let now_s = OffsetDateTime::now_utc().unix_timestamp();
        let signature = signature::sign(&self.merchant.secret, now_s, &body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.merchant.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(SIGNATURE_HEADER, signature)
            .body(body)
            .expect("the parts are well formed");
        let answer = self.http.send(request, Deadline::after(ANSWER_TIMEOUT)).await;
        let is_heard = answer.as_ref().is_ok_and(|(status, _)| status.is_success());
        if !is_heard {
            tracing::info!(events = happened.len(), ?answer, "the merchant did not hear");
        }
        is_heard
    }
}
