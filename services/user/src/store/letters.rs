//! Letters that are to leave.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, interval};
use crate::{
    error::Error,
    letter::Urgency,
    outbox::{Sealed, Taken},
};

impl Store {
    /// Saves a letter.
    pub async fn save_letter(&self, letter: &Sealed) -> Result<(), Error> {
        sqlx::query!(
            "insert into letters (letter_id, letter_sealed, is_awaited, expires_at)
             values ($1, $2, $3, clock_timestamp() + $4)",
            letter.id,
            letter.bytes,
            letter.urgency == Urgency::Awaited,
            interval(letter.ttl)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes letters that are due, oldest first, for the caller alone to send.
    pub async fn take_letters(&self, urgency: Urgency, max: usize) -> Result<Vec<Taken>, Error> {
        let rows = sqlx::query!(
            r#"with due as materialized (
                 select letter_id from letters
                 where is_awaited = $1 and due_at <= clock_timestamp() and not is_taken
                 order by due_at limit $2 for update skip locked
             )
             update letters set is_taken = true, takings = takings + 1
             from due where letters.letter_id = due.letter_id
             returning letters.letter_id, letter_sealed, takings, refusals,
                       expires_at <= clock_timestamp() as "is_over!""#,
            urgency == Urgency::Awaited,
            i64::try_from(max).unwrap_or(i64::MAX)
        )
        .fetch_all(&self.pool)
        .await?;
        let taken = rows.into_iter().map(|row| Taken {
            id: row.letter_id,
            sealed: row.letter_sealed,
            taking: row.takings,
            is_over: row.is_over,
            refusals: row.refusals,
        });
        Ok(taken.collect())
    }

    /// Brings a letter back that surely did not leave, to be tried after a while, or at its end if
    /// that comes sooner: then whoever takes it gives it up. One that is back already, and perhaps
    /// taken again, is left as it is.
    pub async fn put_letter_back(&self, letter: &Taken, after: Duration) -> Result<(), Error> {
        sqlx::query!(
            "update letters
             set is_taken = false, refusals = $3,
                 due_at = least(clock_timestamp() + $4::interval, expires_at)
             where letter_id = $1 and takings = $2 and is_taken",
            letter.id,
            letter.taking,
            letter.refusals,
            interval(after)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a letter that has left, may have left, or never will. Where this fails, it stays
    /// taken to its end.
    pub async fn delete_letter(&self, letter: &Taken) -> Result<(), Error> {
        sqlx::query!(
            "delete from letters where letter_id = $1 and takings = $2 and is_taken",
            letter.id,
            letter.taking
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes letters that stayed taken to their end, at most this many: whoever took them is
    /// gone. Gives how many.
    pub async fn delete_lost_letters(&self, count_max: i64) -> Result<u64, Error> {
        let deleted = sqlx::query!(
            "with lost as materialized (
                 select letter_id from letters
                 where is_taken and expires_at <= clock_timestamp()
                 order by expires_at limit $1 for update skip locked
             )
             delete from letters using lost where letters.letter_id = lost.letter_id",
            count_max
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}

/// Saves letters with what they tell of.
pub(super) async fn save_with(
    connection: &mut PgConnection,
    letters: &[Sealed],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    let sealed: Vec<Vec<u8>> = letters.iter().map(|letter| letter.bytes.clone()).collect();
    let awaited: Vec<bool> =
        letters.iter().map(|letter| letter.urgency == Urgency::Awaited).collect();
    let ttls: Vec<_> = letters.iter().map(|letter| interval(letter.ttl)).collect();
    sqlx::query!(
        "insert into letters (letter_id, letter_sealed, is_awaited, expires_at)
         select letter_id, letter_sealed, is_awaited, clock_timestamp() + ttl
         from unnest($1::uuid[], $2::bytea[], $3::boolean[], $4::interval[])
             as letter (letter_id, letter_sealed, is_awaited, ttl)
         order by letter_id",
        &ids,
        &sealed,
        &awaited,
        &ttls
    )
    .execute(connection)
    .await?;
    Ok(())
}
