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

    /// Takes letters that are due away, oldest first, for the caller alone to send.
    pub async fn take_letters(&self, urgency: Urgency, max: usize) -> Result<Vec<Taken>, Error> {
        let rows = sqlx::query!(
            r#"with due as materialized (
                 select letter_id from letters
                 where is_awaited = $1 and due_at <= clock_timestamp()
                 order by due_at limit $2 for update skip locked
             )
             delete from letters using due where letters.letter_id = due.letter_id
             returning letters.letter_id, letter_sealed, posted_at, expires_at, refusals,
                       expires_at <= clock_timestamp() as "is_over!""#,
            urgency == Urgency::Awaited,
            i64::try_from(max).unwrap_or(i64::MAX)
        )
        .fetch_all(&self.pool)
        .await?;
        let taken = rows.into_iter().map(|row| Taken {
            id: row.letter_id,
            sealed: row.letter_sealed,
            urgency,
            posted_at: row.posted_at,
            expires_at: row.expires_at,
            is_over: row.is_over,
            refusals: row.refusals,
        });
        Ok(taken.collect())
    }

    /// Brings a letter back that surely did not leave, to be tried after a while, or at its end if
    /// that comes sooner: then whoever takes it drops it. One that is back already stays so.
    pub async fn put_letter_back(&self, letter: &Taken, after: Duration) -> Result<(), Error> {
        sqlx::query!(
            "insert into letters (letter_id, letter_sealed, is_awaited, posted_at, due_at,
                                  expires_at, refusals)
             values ($1, $2, $3, $4, least(clock_timestamp() + $5::interval, $6), $6, $7)
             on conflict (letter_id) do nothing",
            letter.id,
            letter.sealed,
            letter.urgency == Urgency::Awaited,
            letter.posted_at,
            interval(after),
            letter.expires_at,
            letter.refusals
        )
        .execute(&self.pool)
        .await?;
        Ok(())
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
