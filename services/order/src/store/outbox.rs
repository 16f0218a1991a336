//! The outbox as the relay sees it. Rows are written by whoever moves an order.

use std::time::Duration;

use firstcome_events::{Claim, Lease, Outbox, Unpublished};
use firstcome_proto::{
    OrderId, UserId,
    event_v1::{Event, OrderChanged, event::Kind},
    money_v1,
    order_v1::OrderState,
    timestamp,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Store};

/// Rows that one statement makes unpublished again: a few milliseconds of work.
const FORGET_MAX: i64 = 1_000;

struct Row {
    outbox_id: i64,
    shard: i16,
    event_id: Uuid,
    order_id: Uuid,
    user_id: Uuid,
    from_state: String,
    state: String,
    total_minor: i64,
    currency: String,
    created_at: OffsetDateTime,
}

impl Outbox for Store {
    type Fault = Error;

    async fn claim(&self, events_max: i64, lease: Duration) -> Result<Vec<Claim>, Error> {
        let leased = sqlx::query!(
            r#"
            with free as (
                select shard from outbox_shards
                where leased_until <= now() and exists (
                    select from outbox
                    where outbox.shard = outbox_shards.shard and outbox.published_at is null
                )
                for update skip locked
            )
            update outbox_shards
            set lease_id = gen_random_uuid(), leased_until = now() + make_interval(secs => $1)
            from free where outbox_shards.shard = free.shard
            returning outbox_shards.shard, outbox_shards.lease_id, outbox_shards.tail
            "#,
            lease.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        if leased.is_empty() {
            return Ok(Vec::new());
        }
        let shards: Vec<i16> = leased.iter().map(|row| row.shard).collect();
        // A statement of its own, after the other: it sees what whoever had the lease has saved.
        let rows = sqlx::query_as!(
            Row,
            r#"
            select unpublished.outbox_id, unpublished.shard as "shard!", unpublished.event_id,
                unpublished.order_id, unpublished.user_id, unpublished.from_state,
                unpublished.state, unpublished.total_minor, unpublished.currency,
                unpublished.created_at
            from unnest($1::smallint[]) as leased (shard)
            cross join lateral (
                select * from outbox
                where outbox.shard = leased.shard and outbox.published_at is null
                order by outbox.outbox_id limit $2
            ) as unpublished
            "#,
            &shards,
            events_max,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut claims: Vec<Claim> = leased
            .into_iter()
            .map(|row| {
                let shard = u8::try_from(row.shard).expect("the schema knows a few shards");
                let lease = Lease { shard, id: row.lease_id, tail: row.tail };
                Claim { lease, events: Vec::new() }
            })
            .collect();
        for row in rows {
            let claim = claims.iter_mut().find(|claim| i16::from(claim.lease.shard) == row.shard);
            let claim = claim.expect("rows of leased shards were asked for");
            let outbox_id = row.outbox_id;
            match Event::try_from(row) {
                Ok(event) => claim.events.push(Unpublished { outbox_id, event }),
                // A row that this build cannot read must not keep the others from being told.
                Err(word) => tracing::error!(outbox_id, word, "an event is left, unknown state"),
            }
        }
        for claim in &mut claims {
            claim.events.sort_by_key(|event| event.outbox_id);
        }
        Ok(claims)
    }

    async fn mark_published(
        &self,
        lease: &Lease,
        outbox_ids: &[i64],
        tail: &str,
    ) -> Result<bool, Error> {
        let marked = sqlx::query!(
            "with mine as (
                 update outbox_shards set tail = $4, moved_at = now(), leased_until = now()
                 where shard = $1 and lease_id = $2
                 returning shard
             )
             update outbox set published_at = now()
             from mine where outbox.outbox_id = any($3) and outbox.shard = mine.shard",
            i16::from(lease.shard),
            lease.id,
            outbox_ids,
            tail,
        )
        .execute(&self.pool)
        .await?;
        Ok(marked.rows_affected() > 0)
    }

    async fn release(&self, lease: &Lease, pause: Duration) -> Result<(), Error> {
        sqlx::query!(
            "update outbox_shards set leased_until = now() + make_interval(secs => $3)
             where shard = $1 and lease_id = $2",
            i16::from(lease.shard),
            lease.id,
            pause.as_secs_f64(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn tails(&self) -> Result<Vec<(u8, String)>, Error> {
        let tails = sqlx::query!(
            r#"select shard, tail as "tail!" from outbox_shards where tail is not null"#
        )
        .fetch_all(&self.pool)
        .await?;
        let shard = |shard| u8::try_from(shard).expect("the schema knows a few shards");
        Ok(tails.into_iter().map(|row| (shard(row.shard), row.tail)).collect())
    }

    async fn forget(&self, shard: u8, lost_tail: &str, lease: Duration) -> Result<u64, Error> {
        // Taken by force: what anybody is appending now may lie behind a gap, and is told again.
        let lease_id = Uuid::new_v4();
        let taken = sqlx::query!(
            "update outbox_shards
             set lease_id = $3, leased_until = now() + make_interval(secs => $4)
             where shard = $1 and tail = $2",
            i16::from(shard),
            lost_tail,
            lease_id,
            lease.as_secs_f64(),
        )
        .execute(&self.pool)
        .await?;
        if taken.rows_affected() == 0 {
            return Ok(0);
        }
        let (mut forgotten, mut last) = (0, i64::MIN);
        loop {
            let ids = sqlx::query_scalar!(
                "with mine as (
                     update outbox_shards set leased_until = now() + make_interval(secs => $3)
                     where shard = $1 and lease_id = $2
                     returning shard
                 ), published as materialized (
                     select outbox.outbox_id from outbox
                     where outbox.outbox_id > $4 and outbox.shard = $1
                       and outbox.published_at is not null
                     order by outbox.outbox_id limit $5
                 )
                 update outbox set published_at = null
                 from mine, published where outbox.outbox_id = published.outbox_id
                 returning outbox.outbox_id",
                i16::from(shard),
                lease_id,
                lease.as_secs_f64(),
                last,
                FORGET_MAX,
            )
            .fetch_all(&self.pool)
            .await?;
            let Some(newest) = ids.iter().copied().max() else { break };
            last = newest;
            forgotten += u64::try_from(ids.len()).expect("a count");
        }
        // Last: whoever dies before this leaves the loss to be seen again.
        sqlx::query!(
            "update outbox_shards set tail = null, moved_at = now(), leased_until = now()
             where shard = $1 and lease_id = $2",
            i16::from(shard),
            lease_id,
        )
        .execute(&self.pool)
        .await?;
        Ok(forgotten)
    }

    async fn delete_old(&self, keep: Duration, count_max: i64) -> Result<u64, Error> {
        // The oldest by the key, so that no index is needed for their age.
        let deleted = sqlx::query!(
            "with oldest as materialized (
                 select outbox_id, created_at, published_at from outbox
                 order by outbox_id limit $2 for update skip locked
             )
             delete from outbox using oldest
             where outbox.outbox_id = oldest.outbox_id
               and oldest.published_at is not null
               and oldest.created_at < now() - make_interval(secs => $1)",
            keep.as_secs_f64(),
            count_max,
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}

impl TryFrom<Row> for Event {
    type Error = String;

    /// Fails with the word of a state that the contract does not have.
    fn try_from(row: Row) -> Result<Self, String> {
        let state = |word: &str| {
            let name = format!("ORDER_STATE_{}", word.to_ascii_uppercase());
            OrderState::from_str_name(&name).ok_or_else(|| word.to_owned())
        };
        let changed = OrderChanged {
            order_id: OrderId(row.order_id).to_wire(),
            user_id: UserId(row.user_id).to_wire(),
            from_state: state(&row.from_state)?.into(),
            state: state(&row.state)?.into(),
            total: Some(money_v1::Money {
                currency_code: row.currency,
                amount_minor: row.total_minor,
            }),
        };
        Ok(Self {
            event_id: row.event_id.as_bytes().to_vec().into(),
            occur_time: Some(timestamp::to_wire(row.created_at)),
            kind: Some(Kind::OrderChanged(changed)),
        })
    }
}
