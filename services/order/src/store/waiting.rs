//! What waits, in a few numbers.

use super::{Error, Store};

/// Backlogs are counted up to here: more is as bad, and counting on would take from who works it
/// off.
const COUNTED_MAX: i64 = 10_000;

/// A look at what is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting {
    /// Orders whose next step is due, at most [`COUNTED_MAX`].
    pub due: i64,
    /// Of the longest due.
    pub due_seconds: f64,
    /// Events without a place in their stream, at most [`COUNTED_MAX`].
    pub unpublished: i64,
    /// Of the oldest.
    pub unpublished_seconds: f64,
    /// Orders of several products that are being placed, at most [`COUNTED_MAX`].
    pub attempts: i64,
}

impl Store {
    /// Takes a look.
    pub async fn waiting(&self) -> Result<Waiting, Error> {
        let waiting = sqlx::query_as!(
            Waiting,
            r#"select
                 (select count(*) from (
                     select from orders where next_step_at <= now() limit $1
                 ) as due) as "due!",
                 coalesce((
                     select extract(epoch from now() - next_step_at)::float8 from orders
                     where next_step_at <= now() order by next_step_at limit 1
                 ), 0) as "due_seconds!",
                 (select count(*) from (
                     select from outbox where published_at is null limit $1
                 ) as unpublished) as "unpublished!",
                 coalesce((
                     select max(extract(epoch from now() - oldest.created_at))::float8
                     from outbox_shards cross join lateral (
                         select created_at from outbox
                         where outbox.shard = outbox_shards.shard and published_at is null
                         order by outbox_id limit 1
                     ) as oldest
                 ), 0) as "unpublished_seconds!",
                 (select count(*) from (select from placements limit $1) as open) as "attempts!""#,
            COUNTED_MAX,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(waiting)
    }
}
