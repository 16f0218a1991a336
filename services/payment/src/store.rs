//! Payments in Postgres: every statement of this service.
//!
//! The three statements of the hot path take many payments at once and answer each; a [`Batcher`]
//! in front of each gathers what comes while the last batch is out.

pub mod inbox;
mod reference;

use std::{collections::HashMap, future::Future, marker::PhantomData, time::Duration};

use firstcome_mesh::{
    Answers, BatchCall, Batcher, Deadline, batcher,
    page::{Cursor, Page},
};
use firstcome_postgres::{Pool, Settings};
use firstcome_proto::{Money, PaymentId, UserId, money::Currency};
use secrecy::SecretString;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    error::Error,
    payment::{Intent, Payment, State},
    provider::Standing,
};

/// No statement here takes longer, unless it waits for a lock that nobody will give back.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// One batch in flight for each statement: two would only wait for each other's row locks.
const LIMITS: batcher::Limits = batcher::Limits {
    batch_items_max: 256,
    in_flight_max: 1,
    key_queue_items_max: 4096,
    queue_items_max: 4096,
};

/// The rows. Clones share one pool and its queues.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    begin: Batcher<Batched<Begin>>,
    find: Batcher<Batched<Find>>,
    follow: Batcher<Batched<Follow>>,
}

impl Store {
    /// Connects, with at most this many connections.
    pub async fn connect(url: &SecretString, connections_max: u32) -> Result<Self, sqlx::Error> {
        let settings = Settings { connections_max, statement_timeout: STATEMENT_TIMEOUT };
        let pool = Pool::connect(url, settings).await?;
        let begin = Batcher::new(Batched::over(&pool), LIMITS);
        let find = Batcher::new(Batched::over(&pool), LIMITS);
        // The provider has moved already: the row follows even when the caller has left.
        let follow = Batcher::carrying_abandoned(Batched::over(&pool), LIMITS);
        Ok(Self { pool, begin, find, follow })
    }

    /// Saves an intent, and reads the payment of that id: this one, or the one that was there.
    pub async fn begin(&self, intent: Intent, deadline: Deadline) -> Result<Payment, Error> {
        self.begin.submit((), intent, deadline).await?
    }

    /// Reads a payment.
    pub async fn find(&self, id: PaymentId, deadline: Deadline) -> Result<Option<Payment>, Error> {
        self.find.submit((), id, deadline).await?
    }

    /// Lets a payment follow the provider's ledger where its state allows, and reads it.
    pub async fn follow(
        &self,
        id: PaymentId,
        standing: Standing,
        deadline: Deadline,
    ) -> Result<Payment, Error> {
        self.follow.submit((), (id, standing), deadline).await?
    }

    /// Saves that a payment nobody has begun is void, and reads the payment of that id.
    pub async fn bury(&self, id: PaymentId, user: UserId) -> Result<Payment, Error> {
        sqlx::query!(
            "insert into payments (payment_id, user_id, state) values ($1, $2, 'VOIDED')
             on conflict (payment_id) do nothing",
            id.0,
            user.0
        )
        .execute(&self.pool)
        .await?;
        let mut payments = read(&self.pool, &[id.0]).await?;
        payments.remove(&id).ok_or(Error::Internal)
    }

    /// Reads a payment of this user.
    pub async fn find_own(&self, user: UserId, id: PaymentId) -> Result<Option<Payment>, Error> {
        let row = sqlx::query_as!(
            Row,
            "select payment_id, user_id, amount_minor, currency, payment_method, state,
                    decline_code, created_at, updated_at
             from payments where payment_id = $1 and user_id = $2",
            id.0,
            user.0
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Payment::try_from).transpose()
    }

    /// Reads a page of this user's payments, newest first, and one row more when there is one.
    pub async fn list(&self, user: UserId, page: Page) -> Result<Vec<Payment>, Error> {
        let before = page.before.map(instant_of).transpose()?;
        let rows = sqlx::query_as!(
            Row,
            "select payment_id, user_id, amount_minor, currency, payment_method, state,
                    decline_code, created_at, updated_at
             from payments
             where user_id = $1
               and (created_at, payment_id) < (coalesce($2, 'infinity'::timestamptz), $3)
             order by created_at desc, payment_id desc
             limit $4",
            user.0,
            before,
            page.before.map_or(Uuid::max(), |cursor| cursor.id),
            page.size + 1
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Payment::try_from).collect()
    }

    /// Answers what is queued, then closes the connections.
    pub async fn close(&self, within: Duration) {
        tokio::join!(self.begin.close(within), self.find.close(within), self.follow.close(within));
        self.pool.close().await;
    }
}

/// The place in a list that a payment's row has.
pub fn cursor_of(payment: &Payment) -> Cursor {
    let created_us = payment.created_at.unix_timestamp_nanos() / 1_000;
    Cursor {
        created_us: i64::try_from(created_us).expect("microseconds of the years 1 to 9999 fit"),
        id: payment.id.0,
    }
}

fn instant_of(cursor: Cursor) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(cursor.created_us) * 1_000).map_err(|_| {
        Error::Invalid(firstcome_proto::Refusal::invalid(
            "page_token",
            "want the next_page_token of the last answer",
        ))
    })
}

/// A statement that takes many items and answers each, in their order.
trait Statement: Send + Sync + 'static {
    type Item: Send + 'static;
    type Answer: Send + 'static;

    fn run(
        pool: &Pool,
        items: Vec<Self::Item>,
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer, Error>>, Error>> + Send;
}

/// A statement behind a queue.
struct Batched<S> {
    pool: Pool,
    statement: PhantomData<fn() -> S>,
}

impl<S> Batched<S> {
    fn over(pool: &Pool) -> Self {
        Self { pool: pool.clone(), statement: PhantomData }
    }
}

impl<S: Statement> BatchCall for Batched<S> {
    const HOP: &'static str = "payment_rows";

    type Key = ();
    type Item = S::Item;
    type Answer = Result<S::Answer, Error>;

    async fn call(&self, (): (), items: Vec<Self::Item>, mut answers: Answers<Self::Answer>) {
        match S::run(&self.pool, items).await {
            Ok(each) => {
                for (place, answer) in each.into_iter().enumerate() {
                    answers.answer(place, answer);
                }
            }
            // Every value was checked on receipt, so a fault is nobody's item: all fail together.
            Err(error) => answers.answer_rest(|_| Err(error.clone())),
        }
    }
}

struct Begin;

impl Statement for Begin {
    type Item = Intent;
    type Answer = Payment;

    async fn run(
        pool: &Pool,
        mut intents: Vec<Intent>,
    ) -> Result<Vec<Result<Payment, Error>>, Error> {
        let asked: Vec<PaymentId> = intents.iter().map(|intent| intent.payment).collect();
        // In key order, so that two processes never wait for each other in a ring.
        intents.sort_by_key(|intent| intent.payment);
        let (mut ids, mut users, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut currencies, mut methods) = (Vec::new(), Vec::new());
        for intent in intents {
            ids.push(intent.payment.0);
            users.push(intent.user.0);
            amounts.push(intent.amount.amount_minor);
            currencies.push(intent.amount.currency.as_str().to_owned());
            methods.push(intent.payment_method);
        }
        let rows = sqlx::query_as!(
            Row,
            "insert into payments
                 (payment_id, user_id, amount_minor, currency, payment_method, state)
             select payment_id, user_id, amount_minor, currency, payment_method, 'AUTHORIZING'
             from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[])
                 as intent (payment_id, user_id, amount_minor, currency, payment_method)
             on conflict (payment_id) do nothing
             returning payment_id, user_id, amount_minor, currency, payment_method, state,
                       decline_code, created_at, updated_at",
            &ids,
            &users,
            &amounts,
            &currencies,
            &methods
        )
        .fetch_all(pool)
        .await?;
        let mut payments = by_id(rows)?;
        read_missing(pool, &asked, &mut payments).await?;
        Ok(asked.iter().map(|id| payments.get(id).cloned().ok_or(Error::Internal)).collect())
    }
}

struct Find;

impl Statement for Find {
    type Item = PaymentId;
    type Answer = Option<Payment>;

    async fn run(
        pool: &Pool,
        asked: Vec<PaymentId>,
    ) -> Result<Vec<Result<Option<Payment>, Error>>, Error> {
        let ids: Vec<Uuid> = asked.iter().map(|id| id.0).collect();
        let payments = read(pool, &ids).await?;
        Ok(asked.iter().map(|id| Ok(payments.get(id).cloned())).collect())
    }
}

struct Follow;

impl Statement for Follow {
    type Item = (PaymentId, Standing);
    type Answer = Payment;

    async fn run(
        pool: &Pool,
        items: Vec<(PaymentId, Standing)>,
    ) -> Result<Vec<Result<Payment, Error>>, Error> {
        let asked: Vec<PaymentId> = items.iter().map(|(id, _)| *id).collect();
        // Of several reports of one charge the furthest is the latest, and one is enough.
        let mut furthest: HashMap<PaymentId, (State, Option<String>)> = HashMap::new();
        for (id, standing) in items {
            let Some(state) = standing.state() else { continue };
            let code = match standing {
                Standing::Declined(code) => Some(code),
                _ => None,
            };
            let report = furthest.entry(id).or_insert((State::Authorizing, None));
            if report.0.rank() < state.rank() {
                *report = (state, code);
            }
        }
        let mut reports: Vec<_> = furthest.into_iter().collect();
        reports.sort_by_key(|(id, _)| *id);
        let (mut ids, mut states, mut codes) = (Vec::new(), Vec::new(), Vec::new());
        for (id, (state, code)) in reports {
            ids.push(id.0);
            states.push(state.name().to_owned());
            codes.push(code);
        }
        // The condition is `State::may_become`, pair by pair; a test compares the two.
        let rows = sqlx::query_as!(
            Row,
            r#"update payments
             set state = told.state, decline_code = told.decline_code,
                 updated_at = clock_timestamp()
             from unnest($1::uuid[], $2::text[], $3::text[])
                 as told (payment_id, state, decline_code)
             where payments.payment_id = told.payment_id
               and (payments.state = 'AUTHORIZING' and told.state <> 'AUTHORIZING'
                    or payments.state = 'AUTHORIZED'
                       and told.state in ('CAPTURED', 'VOIDED', 'REFUNDED')
                    or payments.state in ('CAPTURED', 'DECLINED', 'VOIDED')
                       and told.state = 'REFUNDED')
             returning payments.payment_id, user_id, amount_minor, currency, payment_method,
                       payments.state, payments.decline_code, created_at, updated_at"#,
            &ids,
            &states,
            &codes as &[Option<String>]
        )
        .fetch_all(pool)
        .await?;
        let mut payments = by_id(rows)?;
        read_missing(pool, &asked, &mut payments).await?;
        Ok(asked.iter().map(|id| payments.get(id).cloned().ok_or(Error::Internal)).collect())
    }
}

/// Reads the rows that the statement before did not touch: they were there, or were further.
async fn read_missing(
    pool: &Pool,
    asked: &[PaymentId],
    payments: &mut HashMap<PaymentId, Payment>,
) -> Result<(), Error> {
    let missing: Vec<Uuid> =
        asked.iter().filter(|id| !payments.contains_key(id)).map(|id| id.0).collect();
    if !missing.is_empty() {
        payments.extend(read(pool, &missing).await?);
    }
    Ok(())
}

async fn read(pool: &Pool, ids: &[Uuid]) -> Result<HashMap<PaymentId, Payment>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "select payment_id, user_id, amount_minor, currency, payment_method, state, decline_code,
                created_at, updated_at
         from payments where payment_id = any($1)",
        ids
    )
    .fetch_all(pool)
    .await?;
    by_id(rows)
}

fn by_id(rows: Vec<Row>) -> Result<HashMap<PaymentId, Payment>, Error> {
    let payments = rows.into_iter().map(Payment::try_from);
    payments.map(|payment| payment.map(|payment| (payment.id, payment))).collect()
}

struct Row {
    payment_id: Uuid,
    user_id: Uuid,
    amount_minor: Option<i64>,
    currency: Option<String>,
    payment_method: Option<String>,
    state: String,
    decline_code: Option<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<Row> for Payment {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let broken = |what: &str| {
            tracing::error!(payment = %row.payment_id, what, "row cannot be read");
            Error::Internal
        };
        let currency = row.currency.as_deref().map(Currency::parse);
        let asked = match (row.amount_minor, currency, row.payment_method) {
            (Some(amount_minor), Some(currency), Some(payment_method)) => {
                let currency = currency.ok_or_else(|| broken("currency"))?;
                Some((Money { amount_minor, currency }, payment_method))
            }
            _ => None,
        };
        Ok(Self {
            id: PaymentId(row.payment_id),
            user: UserId(row.user_id),
            asked,
            state: State::from_name(&row.state).ok_or_else(|| broken("state"))?,
            decline_code: row.decline_code,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
