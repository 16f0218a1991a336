//! The sandbox provider's ledger in Postgres: every statement of the sandbox, in a schema that
//! payment's own role cannot see.
//!
//! Steps come in batches, a statement for each kind, and each conditional statement names the
//! state it starts from. A movement is written by the statement that moves the charge.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use firstcome_mesh::{Answers, BatchCall, failpoint};
use firstcome_postgres::{Pool, Settings};
use firstcome_proto::PaymentId;
use secrecy::SecretString;
use sqlx::PgConnection;
use uuid::Uuid;

use super::card::Card;
use crate::provider::{Charge, Standing, Unknown};

/// No statement here takes longer, unless it waits for a lock that nobody will give back.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the provider is asked to do with a charge.
#[derive(Clone, Debug)]
pub enum Step {
    /// Only look.
    Look,
    /// Reserve.
    Authorize(Charge),
    /// Take.
    Capture,
    /// Give up.
    Void,
    /// Give back.
    Refund,
}

/// The ledger, behind the sandbox's queue.
pub struct Ledger {
    pool: Pool,
}

impl Ledger {
    /// Connects, with at most this many connections.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connect(url: &SecretString, connections_max: u32) -> Result<Self, sqlx::Error> {
        let settings = Settings { connections_max, statement_timeout: STATEMENT_TIMEOUT };
        Ok(Self { pool: Pool::connect(url, settings).await? })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Carries the steps out; answers how each charge stands then, and which are new.
    async fn carry_out(
        &self,
        steps: &[(PaymentId, Step)],
    ) -> Result<(HashMap<Uuid, Standing>, HashSet<Uuid>), sqlx::Error> {
        let mut charges = BTreeMap::new();
        let (mut captures, mut voids, mut refunds) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (key, step) in steps {
            match step {
                Step::Look => {}
                // The first of a key decides, here as across batches.
                Step::Authorize(charge) => drop(charges.entry(key.0).or_insert(charge)),
                Step::Capture => drop(captures.insert(key.0)),
                Step::Void => drop(voids.insert(key.0)),
                Step::Refund => drop(refunds.insert(key.0)),
            }
        }
        // Each statement is whole by itself: a charge never moves without its movement. So nothing
        // is gained by a transaction, which costs two round trips more.
        let mut lent = self.pool.acquire().await?;
        let mut new = HashSet::new();
        if !charges.is_empty() {
            new = authorize(&mut lent, charges.into_values()).await?;
        }
        if !captures.is_empty() {
            capture(&mut lent, captures).await?;
        }
        if !voids.is_empty() {
            void(&mut lent, voids).await?;
        }
        if !refunds.is_empty() {
            refund(&mut lent, refunds).await?;
        }
        let standings = look(&mut lent, steps).await?;
        lent.give_back();
        failpoint::hit("sandbox.after_commit");
        Ok((standings, new))
    }
}

impl BatchCall for Ledger {
    type Key = ();
    type Item = (PaymentId, Step);
    type Answer = Result<Standing, Unknown>;

    async fn call(
        &self,
        (): (),
        steps: Vec<(PaymentId, Step)>,
        mut answers: Answers<Self::Answer>,
    ) {
        let (standings, new) = match self.carry_out(&steps).await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "sandbox ledger does not answer");
                return answers.answer_rest(|_| Err(Unknown));
            }
        };
        for (place, (key, step)) in steps.iter().enumerate() {
            let answer_lost = matches!(step, Step::Authorize(charge)
                if new.contains(&key.0) && Card::of(&charge.payment_method) == Card::AnswerLost);
            let standing = standings.get(&key.0).cloned().unwrap_or(Standing::Unseen);
            answers.answer(place, if answer_lost { Err(Unknown) } else { Ok(standing) });
        }
    }
}

/// Makes the charges that are not there yet, and names them.
async fn authorize(
    connection: &mut PgConnection,
    charges: impl Iterator<Item = &Charge>,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let (mut keys, mut amounts, mut currencies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut methods, mut codes) = (Vec::new(), Vec::new());
    for charge in charges {
        keys.push(charge.key.0);
        amounts.push(charge.amount.amount_minor);
        currencies.push(charge.amount.currency.as_str().to_owned());
        methods.push(charge.payment_method.clone());
        codes.push(Card::of(&charge.payment_method).decline_code().map(str::to_owned));
    }
    let new = sqlx::query_scalar!(
        "with made as (
             insert into charges (key, amount_minor, currency, payment_method, state, decline_code)
             select key, amount_minor, currency, payment_method,
                    case when decline_code is null then 'AUTHORIZED' else 'DECLINED' end,
                    decline_code
             from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[])
                 as charge (key, amount_minor, currency, payment_method, decline_code)
             on conflict (key) do nothing
             returning key, amount_minor, currency, state),
         moved as (
             insert into movements (charge_key, kind, amount_minor, currency)
             select key, 'AUTHORIZE', amount_minor, currency
             from made where state = 'AUTHORIZED')
         select key from made",
        &keys,
        &amounts,
        &currencies,
        &methods,
        &codes as &[Option<String>]
    )
    .fetch_all(connection)
    .await?;
    Ok(new.into_iter().collect())
}

async fn capture(connection: &mut PgConnection, keys: BTreeSet<Uuid>) -> Result<(), sqlx::Error> {
    let keys: Vec<Uuid> = keys.into_iter().collect();
    sqlx::query!(
        "with captured as (
             update charges set state = 'CAPTURED', updated_at = clock_timestamp()
             where key = any($1) and state = 'AUTHORIZED'
               and payment_method <> 'pm_card_capture_refused'
             returning key, amount_minor, currency)
         insert into movements (charge_key, kind, amount_minor, currency)
         select key, 'CAPTURE', amount_minor, currency from captured",
        &keys
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn void(connection: &mut PgConnection, keys: BTreeSet<Uuid>) -> Result<(), sqlx::Error> {
    let keys: Vec<Uuid> = keys.into_iter().collect();
    sqlx::query!(
        "with voided as (
             insert into charges (key, state)
             select key, 'VOIDED' from unnest($1::uuid[]) as asked (key)
             on conflict (key) do update set state = 'VOIDED', updated_at = clock_timestamp()
                 where charges.state = 'AUTHORIZED'
             returning key, amount_minor, currency)
         insert into movements (charge_key, kind, amount_minor, currency)
         select key, 'VOID', amount_minor, currency
         from voided where amount_minor is not null",
        &keys
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn refund(connection: &mut PgConnection, keys: BTreeSet<Uuid>) -> Result<(), sqlx::Error> {
    let keys: Vec<Uuid> = keys.into_iter().collect();
    sqlx::query!(
        "with refunded as (
             update charges set state = 'REFUNDED', updated_at = clock_timestamp()
             where key = any($1) and state = 'CAPTURED'
             returning key, amount_minor, currency)
         insert into movements (charge_key, kind, amount_minor, currency)
         select key, 'REFUND', amount_minor, currency from refunded",
        &keys
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How each of these charges stands.
async fn look(
    connection: &mut PgConnection,
    steps: &[(PaymentId, Step)],
) -> Result<HashMap<Uuid, Standing>, sqlx::Error> {
    let keys: Vec<Uuid> = steps.iter().map(|(key, _)| key.0).collect();
    let rows =
        sqlx::query!("select key, state, decline_code from charges where key = any($1)", &keys)
            .fetch_all(connection)
            .await?;
    let standing = |state: &str, code: Option<String>| match state {
        "AUTHORIZED" => Standing::Authorized,
        "DECLINED" => Standing::Declined(code.unwrap_or_default()),
        "CAPTURED" => Standing::Captured,
        "REFUNDED" => Standing::Refunded,
        _ => Standing::Voided,
    };
    Ok(rows.into_iter().map(|row| (row.key, standing(&row.state, row.decline_code))).collect())
}
