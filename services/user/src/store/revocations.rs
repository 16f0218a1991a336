//! What the edges must hear of sessions that ended. The rows are written by triggers, with
//! whatever ends a session: see `0007_revocations.sql`.

use std::time::Duration;

use firstcome_proto::SessionId;

use super::{Store, interval};
use crate::error::Error;

/// What was revoked since a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The sessions; some may have been told before.
    pub sessions: Vec<SessionId>,
    /// Where the next question goes on.
    pub cursor: i64,
}

impl Store {
    /// What was revoked by transactions that had not ended when this cursor was given, as far as it
    /// still matters. A cursor that is ahead of this database comes from before a restore: it is
    /// told everything, as whoever has none is.
    pub async fn revoked(&self, cursor: i64, keep: Duration) -> Result<Revoked, Error> {
        let rows = sqlx::query!(
            r#"select now.horizon as "horizon!", revocations.session_id as "session_id?"
               from (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon) as now
                    left join revocations
                         on revocations.revoked_in >=
                                case when $1::bigint > now.horizon then 0 else $1 end
                            and revocations.revoked_at > clock_timestamp() - $2::interval"#,
            cursor,
            interval(keep)
        )
        .fetch_all(&self.pool)
        .await?;
        let cursor = rows.first().map(|row| row.horizon).ok_or(Error::Internal)?;
        let sessions = rows.into_iter().filter_map(|row| row.session_id.map(SessionId)).collect();
        Ok(Revoked { sessions, cursor })
    }

    /// Deletes what matters no more; gives how many.
    pub async fn forget_revocations(&self, keep: Duration) -> Result<u64, Error> {
        let forgotten = sqlx::query!(
            "delete from revocations where revoked_at <= clock_timestamp() - $1::interval",
            interval(keep)
        )
        .execute(&self.pool)
        .await?;
        Ok(forgotten.rows_affected())
    }
}
