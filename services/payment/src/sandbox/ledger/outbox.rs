//! What the merchant has yet to be told. A batch is taken in a transaction that locks its rows and
//! ends when the merchant has answered: a process that dies meanwhile gives them back at once, and
//! no replica takes what another is telling.

use firstcome_postgres::Pool;
use firstcome_proto::PaymentId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Ledger;
use crate::{payment::State, sandbox::event::Happened};

/// The longest pause between two tries to tell the same is 2⁸ seconds.
const DOUBLINGS_MAX: f64 = 8.0;

impl Ledger {
    /// The connections to what is untold.
    pub fn pool(&self) -> Pool {
        self.pool.clone()
    }
}

/// Events that are being told.
pub struct Taken {
    /// What happened, in the order of its turns.
    pub happened: Vec<Happened>,
    turns: Vec<OffsetDateTime>,
}

/// Whether anything is due: most looks find nothing, and one statement is all they cost.
pub async fn is_any_due(pool: &Pool) -> Result<bool, sqlx::Error> {
    let due = sqlx::query_scalar!(
        r#"select exists (select from events where due_at <= clock_timestamp()) as "due!""#
    );
    due.fetch_one(pool).await
}

/// Takes what is due and nobody else tells.
pub async fn take(transaction: &mut PgConnection, events_max: i64) -> Result<Taken, sqlx::Error> {
    let rows = sqlx::query!(
        "select event_id, charge_key, told, due_at from events
         where due_at <= clock_timestamp()
         order by due_at, event_id limit $1 for update skip locked",
        events_max
    )
    .fetch_all(transaction)
    .await?;
    let turns = rows.iter().map(|row| row.due_at).collect();
    let happened = rows.into_iter().map(|row| Happened {
        number: row.event_id,
        charge: PaymentId(row.charge_key),
        state: State::from_name(&row.told).unwrap_or(State::Authorizing),
    });
    Ok(Taken { happened: happened.collect(), turns })
}

impl Taken {
    fn numbers(&self) -> Vec<i64> {
        self.happened.iter().map(|happened| happened.number).collect()
    }

    /// The merchant has heard them: nothing is left to tell.
    pub async fn heard(&self, transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
        let numbers = self.numbers();
        sqlx::query!(
            "delete from events using unnest($1::timestamptz[], $2::bigint[])
                 as heard (due_at, event_id)
             where events.due_at = heard.due_at and events.event_id = heard.event_id",
            &self.turns,
            &numbers
        )
        .execute(transaction)
        .await?;
        Ok(())
    }

    /// The merchant has not: each comes again, after a pause that doubles.
    pub async fn not_heard(&self, transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
        let numbers = self.numbers();
        sqlx::query!(
            "update events
             set tries = tries + 1,
                 due_at = clock_timestamp()
                          + make_interval(secs => power(2, least(tries, $3::float8)))
             from unnest($1::timestamptz[], $2::bigint[]) as untold (due_at, event_id)
             where events.due_at = untold.due_at and events.event_id = untold.event_id",
            &self.turns,
            &numbers,
            DOUBLINGS_MAX
        )
        .execute(transaction)
        .await?;
        Ok(())
    }
}
