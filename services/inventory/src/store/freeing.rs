//! What happens to a hold after its admission, and what the gate has yet to be told of it.

use std::collections::HashMap;

use firstcome_proto::{ProductId, ReservationId};
use uuid::Uuid;

use super::Store;
use crate::hold::{Command, State};

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

/// The statement that does a command to the holds that `mine` finds and locks (by id, or skipping
/// what is locked) and then, by SKU, to their stock. The counters follow, and when units come back the gate is
/// told, all or nothing and in one round trip. Takes what `$1` to `$4` stand for from the command;
/// those of `mine` begin with `$5`.
macro_rules! change_holds {
    (mine $mine:literal, $command:expr $(, $argument:expr)* $(,)?) => {
        sqlx::query_scalar!(
            r#"with mine as materialized ("# + $mine + r#"),
            changed as (
                update holds h
                set state = $1,
                    settled_at = case when $1 = 'settled' then clock_timestamp()
                                      else h.settled_at end
                from mine
                where h.product_id = mine.product_id and h.reservation_id = mine.reservation_id
                returning h.product_id, h.reservation_id, h.seq, h.sku_ids, h.quantities
            ),
            moving as (
                select line.sku_id, sum(line.quantity)::integer as units
                from changed, unnest(changed.sku_ids, changed.quantities)
                     as line (sku_id, quantity)
                where $2::integer <> 0 or $3::integer <> 0
                group by line.sku_id
            ),
            locked as materialized (
                select stock.sku_id, moving.units
                from stock join moving on moving.sku_id = stock.sku_id
                order by stock.sku_id
                for update of stock
            ),
            moved as (
                update stock
                set held = stock.held + $2 * locked.units,
                    settled = stock.settled + $3 * locked.units,
                    touched_at = clock_timestamp()
                from locked where stock.sku_id = locked.sku_id
            ),
            told as (
                insert into gate_outbox (product_id, reservation_id, seq, action)
                select product_id, reservation_id, seq, 'free' from changed where $4
            )
            select reservation_id from changed"#,
            $command.leads_to().as_str(),
            $command.effect().held,
            $command.effect().settled,
            $command.frees(),
            $($argument),*
        )
    };
}

impl Store {
    /// Does a command to holds of one product and gives the state each is in afterwards; a
    /// reservation without a row is left out.
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
        let from: Vec<&str> = command.starts_from().iter().map(|state| state.as_str()).collect();
        let changed = change_holds!(
            mine "select h.product_id, h.reservation_id
                  from unnest($5::uuid[], $6::uuid[]) as wanted (product_id, reservation_id)
                  join holds h using (product_id, reservation_id)
                  where h.state = any($7) and (not $8 or h.expires_at <= now())
                  order by h.reservation_id for update of h",
            command,
            &products,
            &ids,
            &from as &[&str],
            command == Command::Expire,
        )
        .fetch_all(&self.pool)
        .await?;
        let reached = changed.into_iter().map(|id| (ReservationId(id), command.leads_to()));
        let mut states: HashMap<_, _> = reached.collect();
        let others: Vec<Uuid> =
            ids.into_iter().filter(|id| !states.contains_key(&ReservationId(*id))).collect();
        if !others.is_empty() {
            // A statement of its own, after the other: it sees what that one waited for.
            states.extend(self.states(product, &others).await?);
        }
        Ok(states)
    }

    async fn states(
        &self,
        product: ProductId,
        ids: &[Uuid],
    ) -> Result<impl Iterator<Item = (ReservationId, State)> + use<>, sqlx::Error> {
        let products = vec![product.0; ids.len()];
        let states = sqlx::query!(
            "select h.reservation_id, h.state
             from unnest($1::uuid[], $2::uuid[]) as wanted (product_id, reservation_id)
             join holds h using (product_id, reservation_id)",
            &products,
            ids,
        )
        .fetch_all(&self.pool)
        .await?;
        let state_of = |word: &str| State::parse(word).expect("a constraint lists the states");
        let states = states.into_iter();
        Ok(states.map(move |row| (ReservationId(row.reservation_id), state_of(&row.state))))
    }

    /// Expires overdue holds of any product, the longest overdue first, and gives how many.
    /// Several replicas may do this at once.
    pub async fn expire_overdue(&self, count_max: i64) -> Result<usize, sqlx::Error> {
        let expired = change_holds!(
            mine "select product_id, reservation_id from holds
                  where is_open and state = 'held' and expires_at <= now()
                  order by expires_at limit $5
                  for update skip locked",
            Command::Expire,
            count_max,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(expired.len())
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
                 where is_sold and not forgotten
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
