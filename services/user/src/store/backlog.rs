//! What has not left yet, and what nobody could act on, in a few numbers.

use super::Store;
use crate::error::Error;

/// Counted up to here: more is as bad, and counting on would take from who works it off.
const COUNTED_MAX: i64 = 10_000;

/// A look at what waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Letters that are due, at most [`COUNTED_MAX`].
    pub letters: i64,
    /// How long ago the oldest was written that has not left, due or to be tried again, among as
    /// many as are counted: those whose turn comes next.
    pub letter_seconds: f64,
    /// Events that were put aside, at most [`COUNTED_MAX`].
    pub parked: i64,
}

impl Store {
    /// Takes a look.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        let backlog = sqlx::query_as!(
            Backlog,
            r#"select
                 (select count(*) from (
                     select from letters where not is_taken and due_at <= now() limit $1
                 ) as due) as "letters!",
                 (select greatest(max(extract(epoch from now() - soon.posted_at)), 0)::float8
                     from (values (true), (false)) as urgency (is_awaited)
                     cross join lateral (
                         select posted_at from letters
                         where letters.is_awaited = urgency.is_awaited and not is_taken
                         order by due_at limit $1
                     ) as soon
                 ) as "letter_seconds!",
                 (select count(*) from (
                     select from parked_events limit $1
                 ) as parked) as "parked!""#,
            COUNTED_MAX,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(backlog)
    }
}
