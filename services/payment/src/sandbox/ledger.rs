//! The sandbox provider's ledger in Postgres: every statement of the sandbox, in a schema that
//! payment's own role cannot see.
//!
//! Steps come in batches, a statement for each kind, and each conditional statement names the
//! state it starts from. A movement is written by the statement that moves the charge, and so is
//! what the merchant is to be told of it.

pub mod outbox;

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

/// How the sandbox behaves where a real provider has its own mind.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How late it answers for its slow card, and pays what it pays by itself.
    pub slow: Duration,
    /// Whether somebody is told what happens; otherwise nothing is noted for them.
    pub tells: bool,
}

/// Charges that one statement takes the money of by itself; more come with the next.
const PAID_AT_ONCE_MAX: i64 = 256;

/// The ledger, behind the sandbox's queue.
pub struct Ledger {
    pool: Pool,
    habits: Habits,
}

impl Ledger {
    /// Connects, with at most this many connections.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connect(
        url: &SecretString,
        connections_max: u32,
        habits: Habits,
    ) -> Result<Self, sqlx::Error> {
        let settings = Settings { connections_max, statement_timeout: STATEMENT_TIMEOUT };
        Ok(Self { pool: Pool::connect(url, settings).await?, habits })
    }

    /// What it was told of how to behave.
    pub fn habits(&self) -> Habits {
        self.habits
    }

    /// Takes the money of the charges whose time has come, whatever was answered about them; says
    /// how many there were.
    pub async fn pay_due(&self) -> Result<u64, sqlx::Error> {
        let paid = sqlx::query!(
            "with due as (
                 select key from charges where pays_at <= clock_timestamp()
                 order by pays_at limit $1 for update skip locked),
             paid as (
                 update charges
                 set state = 'CAPTURED', pays_at = null, updated_at = clock_timestamp()
                 from due
                 where charges.key = due.key and state in ('PENDING', 'VOIDED')
                 returning charges.key, amount_minor, currency),
             told as (
                 insert into events (charge_key, told) select key, 'CAPTURED' from paid where $2)
             insert into movements (charge_key, kind, amount_minor, currency)
             select key, kind, amount_minor, currency
             from paid cross join (values (1, 'AUTHORIZE'), (2, 'CAPTURE')) as step (place, kind)
             order by key, place",
            PAID_AT_ONCE_MAX,
            self.habits.tells
        )
        .execute(&self.pool)
        .await?;
        Ok(paid.rows_affected() / 2)
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
            new = authorize(&mut lent, charges.into_values(), self.habits).await?;
        }
        if !captures.is_empty() {
            capture(&mut lent, captures, self.habits).await?;
        }
        if !voids.is_empty() {
            void(&mut lent, voids, self.habits).await?;
        }
        if !refunds.is_empty() {
            refund(&mut lent, refunds, self.habits).await?;
        }
        let standings = look(&mut lent, steps).await?;
        lent.give_back();
        failpoint::hit("sandbox.after_commit");
        Ok((standings, new))
    }
}

impl BatchCall for Ledger {
    const HOP: &'static str = "sandbox_rows";

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
                if is_lost(Card::of(&charge.payment_method), new.contains(&key.0)));
            let standing = standings.get(&key.0).cloned().unwrap_or(Standing::Unseen);
            answers.answer(place, if answer_lost { Err(Unknown) } else { Ok(standing) });
        }
    }
}

/// Whether the answer to an authorisation of this card does not arrive.
fn is_lost(card: Card, is_first: bool) -> bool {
    card.never_answers() || card == Card::AnswerLost && is_first
}

/// Makes the charges that are not there yet, and names them.
async fn authorize(
    connection: &mut PgConnection,
    charges: impl Iterator<Item = &Charge>,
    habits: Habits,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let (mut keys, mut amounts, mut currencies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut methods, mut codes, mut states) = (Vec::new(), Vec::new(), Vec::new());
    for charge in charges {
        keys.push(charge.key.0);
        amounts.push(charge.amount.amount_minor);
        currencies.push(charge.amount.currency.as_str().to_owned());
        methods.push(charge.payment_method.clone());
        let card = Card::of(&charge.payment_method);
        codes.push(card.decline_code().map(str::to_owned));
        states.push(match card.decline_code() {
            Some(_) => "DECLINED".to_owned(),
            None if card.never_answers() => "PENDING".to_owned(),
            None => "AUTHORIZED".to_owned(),
        });
    }
    let new = sqlx::query_scalar!(
        "with made as (
             insert into charges
                 (key, amount_minor, currency, payment_method, state, decline_code, pays_at)
             select key, amount_minor, currency, payment_method, state, decline_code,
                    case when payment_method = 'pm_card_webhook_only'
                         then clock_timestamp() + make_interval(secs => $7) end
             from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
                 as charge (key, amount_minor, currency, payment_method, decline_code, state)
             on conflict (key) do nothing
             returning key, amount_minor, currency, state),
         told as (
             insert into events (charge_key, told)
             select key, state from made where $8 and state <> 'PENDING'),
         moved as (
             insert into movements (charge_key, kind, amount_minor, currency)
             select key, 'AUTHORIZE', amount_minor, currency
             from made where state = 'AUTHORIZED')
         select key from made",
        &keys,
        &amounts,
        &currencies,
        &methods,
        &codes as &[Option<String>],
        &states,
        habits.slow.as_secs_f64(),
        habits.tells
    )
    .fetch_all(connection)
    .await?;
    Ok(new.into_iter().collect())
}

async fn capture(
    connection: &mut PgConnection,
    keys: BTreeSet<Uuid>,
    habits: Habits,
) -> Result<(), sqlx::Error> {
    let keys: Vec<Uuid> = keys.into_iter().collect();
    sqlx::query!(
        "with captured as (
             update charges set state = 'CAPTURED', updated_at = clock_timestamp()
             where key = any($1) and state = 'AUTHORIZED'
               and payment_method <> 'pm_card_capture_refused'
             returning key, amount_minor, currency),
         told as (
             insert into events (charge_key, told) select key, 'CAPTURED' from captured where $2)
         insert into movements (charge_key, kind, amount_minor, currency)
         select key, 'CAPTURE', amount_minor, currency from captured",
        &keys,
        habits.tells
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn void(
    connection: &mut PgConnection,
    keys: BTreeSet<Uuid>,
    habits: Habits,
) -> Result<(), sqlx::Error> {
    let keys: Vec<Uuid> = keys.into_iter().collect();
    sqlx::query!(
        "with voided as (
             insert into charges (key, state)
             select key, 'VOIDED' from unnest($1::uuid[]) as asked (key)
             on conflict (key) do update
                 set state = 'VOIDED', updated_at = clock_timestamp(),
                     pays_at = case when charges.payment_method = 'pm_card_paid_late'
                                    then clock_timestamp() + make_interval(secs => $2) end
                 where charges.state in ('AUTHORIZED', 'PENDING')
             returning key, amount_minor, currency, payment_method),
         told as (
             insert into events (charge_key, told)
             select key, 'VOIDED' from voided where $3 and amount_minor is not null)
         insert into movements (charge_key, kind, amount_minor, currency)
         select key, 'VOID', amount_minor, currency
         from voided
         where amount_minor is not null
           -- What was pending had reserved nothing.
           and payment_method not in ('pm_card_webhook_only', 'pm_card_paid_late')",
        &keys,
        habits.slow.as_secs_f64(),
        habits.tells
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn refund(
    connection: &mut PgConnection,
    keys: BTreeSet<Uuid>,
    habits: Habits,
) -> Result<(), sqlx::Error> {
    let keys: Vec<Uuid> = keys.into_iter().collect();
    sqlx::query!(
        "with refunded as (
             update charges set state = 'REFUNDED', updated_at = clock_timestamp()
             where key = any($1) and state = 'CAPTURED'
             returning key, amount_minor, currency),
         told as (
             insert into events (charge_key, told) select key, 'REFUNDED' from refunded where $2)
         insert into movements (charge_key, kind, amount_minor, currency)
         select key, 'REFUND', amount_minor, currency from refunded",
        &keys,
        habits.tells
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
        "PENDING" => Standing::Unseen,
        _ => Standing::Voided,
    };
    Ok(rows.into_iter().map(|row| (row.key, standing(&row.state, row.decline_code))).collect())
}
