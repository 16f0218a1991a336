//! The inbox of webhooks: each event on record once, and whose turn it is to follow it up.

use firstcome_proto::PaymentId;
use uuid::Uuid;

use super::Store;
use crate::{error::Error, provider::Event};

/// A claimed event is its worker's for this long: longer than following it up and saving that may
/// take. A worker begins with all that it has claimed at once, so none of them waits in between.
const CLAIM_S: f64 = 20.0;
/// The longest pause between two tries is 2⁸ seconds.
const DOUBLINGS_MAX: f64 = 8.0;
/// Events are kept longer than any provider repeats them (Stripe: three days). A repetition after
/// that would be followed up once more, which is harmless.
const KEPT_DAYS: i32 = 30;

/// Events that wait are counted up to here: more is as bad, and counting on would take from who
/// follows them up.
pub const COUNTED_MAX: i64 = 10_000;

/// An event that somebody has to follow up.
#[derive(Clone, Debug)]
pub struct DueEvent {
    /// The provider's id of it.
    pub id: String,
    /// Whose charge it is about.
    pub payment: PaymentId,
    /// How often that was begun, this time included.
    pub tries: i32,
}

/// What nobody has followed up yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unfollowed {
    /// How many, at most [`COUNTED_MAX`].
    pub events: i64,
    /// How long the oldest of these is on record.
    pub oldest_seconds: f64,
}

impl Store {
    /// Looks what nobody has followed up yet.
    pub async fn unfollowed(&self) -> Result<Unfollowed, Error> {
        let unfollowed = sqlx::query_as!(
            Unfollowed,
            r#"select count(*) as "events!",
                 greatest(max(extract(epoch from now() - received_at)), 0)::float8
                     as "oldest_seconds!"
               from (
                 select received_at from webhook_events
                 where due_at is not null order by due_at limit $1
               ) as waiting"#,
            COUNTED_MAX,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(unfollowed)
    }

    /// Records events; those that are on record already stay as they are. True when some have to
    /// be followed up: those that could change what we know of a payment of ours.
    pub async fn record_events(
        &self,
        provider: &str,
        mut events: Vec<Event>,
    ) -> Result<bool, Error> {
        // In one order, so that two deliveries of the same never wait for each other in a ring.
        events.sort_by(|one, other| one.id.cmp(&other.id));
        events.dedup_by(|one, other| one.id == other.id);
        self.name_charges(&events).await?;
        let (mut ids, mut payments) = (Vec::new(), Vec::new());
        let (mut kinds, mut states) = (Vec::new(), Vec::new());
        for event in events {
            ids.push(event.id);
            payments.push(event.about.map(|(payment, _)| payment.0));
            states.push(event.about.map(|(_, state)| state.name().to_owned()));
            kinds.push(event.told);
        }
        // The condition is `State::is_news`, pair by pair; a test compares the two. A payment that
        // is not on record is not ours: it was recorded before its provider was asked.
        let due = sqlx::query_scalar!(
            r#"with recorded as (
                 insert into webhook_events (provider, event_id, payment_id, told, due_at)
                 select $1, event.id, event.payment_id, event.kind,
                        case when payments.state = 'AUTHORIZING'
                               or payments.state = 'AUTHORIZED'
                                  and event.state in ('DECLINED', 'CAPTURED', 'VOIDED', 'REFUNDED')
                               or payments.state in ('DECLINED', 'VOIDED')
                                  and event.state in ('AUTHORIZED', 'CAPTURED', 'REFUNDED')
                               or payments.state = 'CAPTURED'
                                  and event.state in ('DECLINED', 'VOIDED', 'REFUNDED')
                             then clock_timestamp() end
                 from unnest($2::text[], $3::uuid[], $4::text[], $5::text[])
                     as event (id, payment_id, kind, state)
                 left join payments on payments.payment_id = event.payment_id
                 on conflict (provider, event_id) do nothing
                 returning due_at)
             select count(*) as "count!" from recorded where due_at is not null"#,
            provider,
            &ids,
            &payments as &[Option<Uuid>],
            &kinds,
            &states as &[Option<String>]
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(due > 0)
    }

    /// Claims events whose turn it is; a worker that dies leaves them to the next.
    pub async fn claim_events(
        &self,
        provider: &str,
        events_max: i64,
    ) -> Result<Vec<DueEvent>, Error> {
        let rows = sqlx::query!(
            r#"update webhook_events
             set tries = tries + 1, due_at = clock_timestamp() + make_interval(secs => $3)
             where (provider, event_id) in (
                 select provider, event_id from webhook_events
                 where due_at <= clock_timestamp() and provider = $1
                 order by due_at limit $2 for update skip locked)
             returning event_id, payment_id as "payment_id!", tries"#,
            provider,
            events_max,
            CLAIM_S
        )
        .fetch_all(&self.pool)
        .await?;
        let event = rows.into_iter().map(|row| DueEvent {
            id: row.event_id,
            payment: PaymentId(row.payment_id),
            tries: row.tries,
        });
        Ok(event.collect())
    }

    /// An event has been followed up.
    pub async fn settle_event(&self, provider: &str, id: &str) -> Result<(), Error> {
        sqlx::query!(
            "update webhook_events set due_at = null where provider = $1 and event_id = $2",
            provider,
            id
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// An event could not be followed up: it comes again after a pause that doubles.
    pub async fn postpone_event(&self, provider: &str, id: &str) -> Result<(), Error> {
        sqlx::query!(
            "update webhook_events
             set due_at = clock_timestamp()
                          + make_interval(secs => power(2, least(tries - 1, $3::float8)))
             where provider = $1 and event_id = $2 and due_at is not null",
            provider,
            id,
            DOUBLINGS_MAX
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets events that nobody repeats any more; gives how many. Those that another replica is
    /// about to forget are passed over, so that replicas add up.
    pub async fn forget_events(&self, count_max: i64) -> Result<u64, Error> {
        // `now()` stands still during the statement, which lets it use the index by age.
        let forgotten = sqlx::query!(
            "with old as materialized (
                 select provider, event_id from webhook_events
                 where received_at < now() - make_interval(days => $1) and due_at is null
                 limit $2 for update skip locked
             )
             delete from webhook_events using old
             where webhook_events.provider = old.provider
               and webhook_events.event_id = old.event_id",
            KEPT_DAYS,
            count_max
        )
        .execute(&self.pool)
        .await?;
        Ok(forgotten.rows_affected())
    }
}
