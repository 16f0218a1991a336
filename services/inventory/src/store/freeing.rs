//! What happens to a hold after its admission, and what the gate has yet to be told of it.

use std::collections::{BTreeMap, HashMap};

use firstcome_proto::{ProductId, ReservationId, SkuId};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Store, ledger::units_by_sku};
use crate::hold::{Command, Line, State};

/// How long a message that the gate could not take waits for its next try.
const RETRY_MS: f64 = 500.0;

/// What the gate is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Put the units back on sale.
    Free,
    /// Drop the record only.
    Forget,
}

/// A message to the gate that was claimed for delivery.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Its name in the outbox.
    pub outbox_id: i64,
    /// The product.
    pub product: ProductId,
    /// The admission, exactly.
    pub admission: (ReservationId, i64),
    /// What to tell.
    pub action: Action,
}

/// A hold that a command changed.
struct Changed {
    product: ProductId,
    reservation: ReservationId,
    seq: i64,
    lines: Vec<Line>,
}

impl Store {
    /// Does a command to holds of one product and gives the state each is in afterwards; a
    /// reservation without a row is left out. One transaction.
    pub async fn command(
        &self,
        command: Command,
        product: ProductId,
        reservations: &[ReservationId],
    ) -> Result<HashMap<ReservationId, State>, sqlx::Error> {
        let ids: Vec<Uuid> = reservations.iter().map(|id| id.0).collect();
        // The product beside each id, so that each is looked up by the whole of its key: of a new
        // product the planner believes that it has one hold, and would read all of them instead.
        let products = vec![product.0; ids.len()];
        let from: Vec<String> =
            command.starts_from().iter().map(|state| state.as_str().to_owned()).collect();
        let mut tx = self.pool.begin().await?;
        // The locks are taken in the order of ids, whatever the plan of the update.
        let changed = sqlx::query!(
            "with mine as (
                 select h.product_id, h.reservation_id
                 from unnest($1::uuid[], $2::uuid[]) as wanted (product_id, reservation_id)
                 join holds h using (product_id, reservation_id)
                 where h.state = any($3) and (not $4 or h.expires_at <= now())
                 order by h.reservation_id for update of h
             )
             update holds h
             set state = $5,
                 settled_at = case when $5 = 'settled' then clock_timestamp() else settled_at end
             from mine
             where h.product_id = mine.product_id and h.reservation_id = mine.reservation_id
             returning h.reservation_id, h.seq, h.sku_ids, h.quantities",
            &products,
            &ids,
            &from,
            command == Command::Expire,
            command.leads_to().as_str(),
        )
        .fetch_all(&mut *tx)
        .await?;
        let changed: Vec<Changed> = changed
            .into_iter()
            .map(|row| Changed {
                product,
                reservation: ReservationId(row.reservation_id),
                seq: row.seq,
                lines: lines(row.sku_ids, row.quantities),
            })
            .collect();
        apply_effect(&mut tx, command, &changed).await?;
        let states = sqlx::query!(
            "select h.reservation_id, h.state
             from unnest($1::uuid[], $2::uuid[]) as wanted (product_id, reservation_id)
             join holds h using (product_id, reservation_id)",
            &products,
            &ids,
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;

        let state_of = |word: &str| State::parse(word).expect("a constraint lists the states");
        Ok(states
            .into_iter()
            .map(|row| (ReservationId(row.reservation_id), state_of(&row.state)))
            .collect())
    }

    /// Expires overdue holds of any product, the longest overdue first, and gives how many.
    /// Several replicas may do this at once.
    pub async fn expire_overdue(&self, count_max: i64) -> Result<usize, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let changed = sqlx::query!(
            "with overdue as (
                 select product_id, reservation_id from holds
                 where state = 'held' and expires_at <= now()
                 order by expires_at limit $1
                 for update skip locked
             )
             update holds h set state = 'expired' from overdue o
             where h.product_id = o.product_id and h.reservation_id = o.reservation_id
             returning h.product_id, h.reservation_id, h.seq, h.sku_ids, h.quantities",
            count_max,
        )
        .fetch_all(&mut *tx)
        .await?;
        let changed: Vec<Changed> = changed
            .into_iter()
            .map(|row| Changed {
                product: ProductId(row.product_id),
                reservation: ReservationId(row.reservation_id),
                seq: row.seq,
                lines: lines(row.sku_ids, row.quantities),
            })
            .collect();
        apply_effect(&mut tx, Command::Expire, &changed).await?;
        tx.commit().await?;
        Ok(changed.len())
    }

    /// Marks settled holds whose return window is surely over, so that the gate may forget them;
    /// gives how many.
    pub async fn forget_settled(
        &self,
        settled_for_ms: i64,
        count_max: i64,
    ) -> Result<u64, sqlx::Error> {
        let told = sqlx::query!(
            "with old as (
                 select product_id, reservation_id from holds
                 where state = 'settled' and not forgotten
                   and settled_at <= now() - $1 * interval '1 millisecond'
                 order by settled_at limit $2
                 for update skip locked
             ), marked as (
                 update holds h set forgotten = true from old o
                 where h.product_id = o.product_id and h.reservation_id = o.reservation_id
                 returning h.product_id, h.reservation_id, h.seq
             )
             insert into gate_outbox (product_id, reservation_id, seq, action)
             select product_id, reservation_id, seq, 'forget' from marked",
            settled_for_ms as f64,
            count_max,
        )
        .execute(&self.pool)
        .await?;
        Ok(told.rows_affected())
    }

    /// Claims messages that are due. A claimed message comes again later unless it is deleted.
    pub async fn claim_messages(&self, count_max: i64) -> Result<Vec<Message>, sqlx::Error> {
        let rows = sqlx::query!(
            "with due as (
                 select outbox_id from gate_outbox where next_try_at <= now()
                 order by next_try_at limit $1 for update skip locked
             )
             update gate_outbox o
             set next_try_at = clock_timestamp() + $2 * interval '1 millisecond'
             from due where o.outbox_id = due.outbox_id
             returning o.outbox_id, o.product_id, o.reservation_id, o.seq, o.action",
            count_max,
            RETRY_MS,
        )
        .fetch_all(&self.pool)
        .await?;
        let message = |row: ClaimedRow| Message {
            outbox_id: row.0,
            product: ProductId(row.1),
            admission: (ReservationId(row.2), row.3),
            action: if row.4 == "free" { Action::Free } else { Action::Forget },
        };
        Ok(rows
            .into_iter()
            .map(|r| message((r.outbox_id, r.product_id, r.reservation_id, r.seq, r.action)))
            .collect())
    }

    /// Deletes messages that the gate has taken.
    pub async fn delete_messages(&self, outbox_ids: &[i64]) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from gate_outbox where outbox_id = any($1)", outbox_ids)
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// The reservations of which the gate has yet to be told.
    pub async fn reservations_in_outbox(
        &self,
        product: ProductId,
    ) -> Result<Vec<ReservationId>, sqlx::Error> {
        let rows =
            sqlx::query!("select reservation_id from gate_outbox where product_id = $1", product.0)
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|row| ReservationId(row.reservation_id)).collect())
    }
}

type ClaimedRow = (i64, Uuid, Uuid, i64, String);

fn lines(sku_ids: Vec<Uuid>, quantities: Vec<i32>) -> Vec<Line> {
    let lines = sku_ids.into_iter().zip(quantities);
    lines.map(|(sku, quantity)| Line { sku: SkuId(sku), quantity }).collect()
}

/// Moves the counters in SKU order and, when units come back, tells the gate, all in the
/// transaction that changed the holds.
async fn apply_effect(
    tx: &mut Transaction<'_, Postgres>,
    command: Command,
    changed: &[Changed],
) -> Result<(), sqlx::Error> {
    let effect = command.effect();
    if effect.held != 0 || effect.settled != 0 {
        let units: BTreeMap<SkuId, i32> = units_by_sku(changed.iter().map(|c| c.lines.as_slice()));
        for (sku, units) in units {
            sqlx::query!(
                "update stock set held = held + $2, settled = settled + $3,
                                  touched_at = clock_timestamp()
                 where sku_id = $1",
                sku.0,
                units * effect.held,
                units * effect.settled,
            )
            .execute(&mut **tx)
            .await?;
        }
    }
    if command.frees() && !changed.is_empty() {
        let products: Vec<Uuid> = changed.iter().map(|c| c.product.0).collect();
        let reservations: Vec<Uuid> = changed.iter().map(|c| c.reservation.0).collect();
        let seqs: Vec<i64> = changed.iter().map(|c| c.seq).collect();
        sqlx::query!(
            "insert into gate_outbox (product_id, reservation_id, seq, action)
             select product_id, reservation_id, seq, 'free'
             from unnest($1::uuid[], $2::uuid[], $3::bigint[])
                  as freed (product_id, reservation_id, seq)",
            &products,
            &reservations,
            &seqs,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
