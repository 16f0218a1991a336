//! How the books stand, in a few numbers over all products.

use super::Store;

/// Backlogs are counted up to here: more is as bad, and counting on would take from who repairs it.
const COUNTED_MAX: i64 = 10_000;

/// A look at the ledger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Units that nobody has.
    pub available: i64,
    /// Units held or pinned.
    pub held: i64,
    /// Units sold.
    pub settled: i64,
    /// Holds past their time, at most [`COUNTED_MAX`].
    pub overdue: i64,
    /// Of the longest overdue.
    pub overdue_seconds: f64,
    /// Messages to the gate, at most [`COUNTED_MAX`].
    pub outbox: i64,
}

impl Store {
    /// Takes a look.
    pub async fn standing(&self) -> Result<Standing, sqlx::Error> {
        sqlx::query_as!(
            Standing,
            r#"select
                 units.available as "available!", units.held as "held!",
                 units.settled as "settled!",
                 (select count(*) from (
                     select from holds
                     where is_open and state = 'held' and expires_at <= now() limit $1
                 ) as overdue) as "overdue!",
                 coalesce((
                     select extract(epoch from now() - expires_at)::float8 from holds
                     where is_open and state = 'held' and expires_at <= now()
                     order by expires_at limit 1
                 ), 0) as "overdue_seconds!",
                 (select count(*) from (select from gate_outbox limit $1) as told) as "outbox!"
               from (
                 select coalesce(sum(total - held - settled), 0)::bigint as available,
                        coalesce(sum(held), 0)::bigint as held,
                        coalesce(sum(settled), 0)::bigint as settled
                 from stock
               ) as units"#,
            COUNTED_MAX,
        )
        .fetch_one(&self.pool)
        .await
    }
}
