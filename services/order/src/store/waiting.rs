//! What waits, in a few numbers.

use std::time::Duration;

use super::{Error, Store};

/// Backlogs are counted up to here: more is as bad, and counting on would take from who works it
/// off.
const COUNTED_MAX: i64 = 10_000;

/// A look at what is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting {
    /// Orders whose next step is due, at most [`COUNTED_MAX`].
    pub due: i64,
    /// Of the longest due, those included that somebody is trying, among as many as are counted:
    /// those whose turn comes next.
    pub due_seconds: f64,
    /// Events without a place in their stream, at most [`COUNTED_MAX`].
    pub unpublished: i64,
    /// Of the oldest.
    pub unpublished_seconds: f64,
    /// Orders of several products that are being placed, at most [`COUNTED_MAX`].
    pub attempts: i64,
}

impl Store {
    /// Takes a look. An order that somebody took has its next turn within the lease, and is due
    /// since before; others whose turn comes then are not due at all.
    pub async fn waiting(&self, lease: Duration) -> Result<Waiting, Error> {
        let waiting = sqlx::query_as!(
            Waiting,
            r#"select
                 (select count(*) from (
                     select from orders where next_step_at <= now() limit $1
                 ) as due) as "due!",
                 (select greatest(
                     max(extract(epoch from now() - coalesce(due_since, next_step_at))), 0
                 )::float8 from (
                     select due_since, next_step_at from orders
                     where next_step_at <= now() + make_interval(secs => $2)
                     order by next_step_at limit $1
                 ) as soon) as "due_seconds!",
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
            lease.as_secs_f64(),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(waiting)
    }
}
