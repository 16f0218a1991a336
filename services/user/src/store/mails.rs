//! What was mailed about orders, and the events that could not be.

use std::{collections::HashMap, time::Duration};

use firstcome_events::Parked;
use sqlx::Connection as _;
use uuid::Uuid;

use super::{Store, interval, letters::save_with};
use crate::{account::Email, error::Error, language::Language, order_mail::Notice, outbox::Sealed};

impl Store {
    /// Records the mails of these notices and saves their letters, in one transaction: no letter
    /// for what was recorded before, nor for readers who are gone or never proved their address,
    /// nor where the address is none. Gives how many letters there are.
    pub async fn record_mails(
        &self,
        notices: &[Notice],
        seal: impl Fn(&Notice, Email, Language) -> Sealed,
    ) -> Result<usize, Error> {
        let events: Vec<Uuid> = notices.iter().map(|notice| notice.event_id).collect();
        let users: Vec<Uuid> = notices.iter().map(|notice| notice.user.0).collect();
        let orders: Vec<Uuid> = notices.iter().map(|notice| notice.order.0).collect();
        let news: Vec<&str> = notices.iter().map(|notice| notice.news.word()).collect();
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        // Sorted, so that two batches that share events wait for each other in one order only.
        let rows = sqlx::query!(
            r#"with wanted as materialized (
                 -- One event may be delivered twice at once.
                 select distinct on (notice.event_id)
                     notice.event_id, notice.order_id, notice.news, users.user_id,
                     users.email_sealed, users.language
                 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[])
                     as notice (event_id, user_id, order_id, news)
                 join users on users.user_id = notice.user_id
                 where users.state in ('ACTIVE', 'DORMANT', 'BANNED')
                 order by notice.event_id
             ), recorded as (
                 insert into order_mails (event_id, order_id, news)
                 select event_id, order_id, news from wanted order by event_id
                 on conflict (event_id) do nothing
                 returning event_id
             )
             select recorded.event_id as "event_id!", wanted.user_id, wanted.email_sealed,
                    wanted.language
             from recorded join wanted on wanted.event_id = recorded.event_id"#,
            &events,
            &users,
            &orders,
            &news as &[&str],
        )
        .fetch_all(&mut *transaction)
        .await?;
        let by_event: HashMap<Uuid, &Notice> = notices.iter().map(|it| (it.event_id, it)).collect();
        // A fault of one address must not become the fault of all.
        let letters = rows.into_iter().filter_map(|row| {
            let sealed = row.email_sealed.as_deref();
            let email = sealed.map(|sealed| self.open_email(row.user_id, sealed));
            let Some(Ok(address)) = email else {
                let event = row.event_id;
                tracing::warn!(%event, "an account's address is none, its mail is given up");
                return None;
            };
            let language = Language::from_word(&row.language).unwrap_or_default();
            Some(seal(by_event[&row.event_id], address, language))
        });
        let letters: Vec<Sealed> = letters.collect();
        save_with(&mut transaction, &letters).await?;
        transaction.commit().await?;
        lent.give_back();
        Ok(letters.len())
    }

    /// Deletes records of mails that are older; gives how many.
    pub async fn forget_mails(&self, keep: Duration, count_max: i64) -> Result<u64, Error> {
        let deleted = sqlx::query!(
            "with old as materialized (
                 select event_id from order_mails
                 where recorded_at < clock_timestamp() - $1::interval
                 order by recorded_at limit $2 for update skip locked
             )
             delete from order_mails using old where order_mails.event_id = old.event_id",
            interval(keep),
            count_max
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Puts an event aside; one that is there already gets its new error.
    pub async fn park_event(&self, parked: &Parked) -> Result<(), Error> {
        sqlx::query!(
            "insert into parked_events (stream, entry, event_id, event, deliveries, error)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (sha256(event)) do update
                 set stream = excluded.stream, entry = excluded.entry,
                     deliveries = excluded.deliveries, error = excluded.error,
                     parked_at = excluded.parked_at",
            parked.stream,
            parked.entry,
            parked.event_id,
            parked.event.as_ref(),
            i32::try_from(parked.deliveries).unwrap_or(i32::MAX),
            parked.error
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
