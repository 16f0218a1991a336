//! Admissions: the one transaction that makes them true.

use std::collections::HashMap;

use firstcome_postgres::{Slices, broken_constraint};
use firstcome_proto::{BuyerId, ProductId, ReservationId, SkuId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Store;
use crate::hold::{Hold, Line, State, Wish};

/// What `require_epoch` raises.
const EPOCH_OVER: &str = "FC001";

/// Why admissions were not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The epoch that admitted them is over.
    #[error("the epoch is over")]
    EpochOver,
    /// Gate and ledger disagree: this constraint would be broken.
    #[error("gate and ledger disagree: {0}")]
    Disagreement(String),
    /// Postgres is in trouble; the outcome is unknown.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Store {
    /// Commits admissions of one product and epoch, all or none, and gives the row of each
    /// reservation, also of those that were there before. Each reservation at most once.
    pub async fn commit_admissions(
        &self,
        product: ProductId,
        epoch: i64,
        hold_ttl_ms: i64,
        mut admissions: Vec<(Wish, i64)>,
    ) -> Result<HashMap<ReservationId, Hold>, CommitError> {
        // One order of rows for everybody, so that two batches never wait for each other.
        admissions.sort_by_key(|(wish, _)| wish.reservation);
        debug_assert!(admissions.windows(2).all(|w| w[0].0.reservation < w[1].0.reservation));
        let inserted = self.insert(product, epoch, hold_ttl_ms, &admissions).await?;

        let mut rows = HashMap::with_capacity(admissions.len());
        let mut others = Vec::new();
        for (wish, seq) in admissions {
            match inserted.get(&wish.reservation) {
                Some(&expires_at) => {
                    let state = State::Held;
                    let hold = Hold { wish, state, seq, expires_at, forgotten: false };
                    rows.insert(hold.wish.reservation, hold);
                }
                None => others.push(wish.reservation),
            }
        }
        if !others.is_empty() {
            // A statement of its own, after the commit: it sees what the conflicting one wrote.
            for hold in self.holds(product, &others).await? {
                rows.insert(hold.wish.reservation, hold);
            }
        }
        Ok(rows)
    }

    async fn insert(
        &self,
        product: ProductId,
        epoch: i64,
        hold_ttl_ms: i64,
        admissions: &[(Wish, i64)],
    ) -> Result<HashMap<ReservationId, OffsetDateTime>, CommitError> {
        let columns = Columns::of(admissions);
        // One statement, and so one round trip. Stock comes last and in SKU order: the rows that
        // every batch of the product wants are locked for the shortest time, and the epoch is
        // checked by the lock that a rebuild takes too.
        let inserted = sqlx::query!(
            r#"
            with inserted as (
                insert into holds (product_id, reservation_id, buyer_id, seq, state, fingerprint,
                                   sku_ids, quantities, expires_at)
                select $1, i.reservation_id, i.buyer_id, i.seq, 'held', i.fingerprint,
                       ($7::uuid[])[i.first:i.last], ($8::integer[])[i.first:i.last],
                       clock_timestamp() + $2 * interval '1 millisecond'
                from unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[], $9::integer[],
                            $10::integer[])
                     as i (reservation_id, buyer_id, seq, fingerprint, first, last)
                on conflict on constraint holds_pkey do nothing
                returning reservation_id, sku_ids, quantities, expires_at
            ),
            wanted as (
                select line.sku_id, sum(line.quantity)::integer as units
                from inserted, unnest(inserted.sku_ids, inserted.quantities)
                     as line (sku_id, quantity)
                group by line.sku_id
            ),
            locked as materialized (
                select stock.sku_id, wanted.units
                from stock join wanted on wanted.sku_id = stock.sku_id
                where stock.product_id = $1 and stock.epoch = $11
                order by stock.sku_id
                for update of stock
            ),
            moved as (
                update stock set held = stock.held + locked.units, touched_at = clock_timestamp()
                from locked
                where stock.sku_id = locked.sku_id and stock.epoch = $11
                returning stock.sku_id
            ),
            checked as materialized (
                select require_epoch((select count(*) from moved), (select count(*) from wanted))
                       as under_epoch
            )
            select reservation_id, expires_at from inserted, checked where under_epoch
            "#,
            product.0,
            hold_ttl_ms as f64,
            &columns.reservations,
            &columns.buyers,
            &columns.seqs,
            &columns.fingerprints,
            &columns.sku_ids,
            &columns.quantities,
            &columns.lines.firsts,
            &columns.lines.lasts,
            epoch,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(refused)?;
        Ok(inserted
            .into_iter()
            .map(|row| (ReservationId(row.reservation_id), row.expires_at))
            .collect())
    }

    /// The rows of these reservations, in no order; those that are not there are left out.
    pub async fn holds(
        &self,
        product: ProductId,
        reservations: &[ReservationId],
    ) -> Result<Vec<Hold>, sqlx::Error> {
        let ids: Vec<Uuid> = reservations.iter().map(|id| id.0).collect();
        let rows = sqlx::query_as!(
            HoldRow,
            "select reservation_id, buyer_id, seq, state, fingerprint, sku_ids, quantities,
                    expires_at, forgotten
             from holds where product_id = $1 and reservation_id = any($2)",
            product.0,
            &ids,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Hold::from).collect())
    }

    /// The reservations that the gate must know, with their places.
    pub async fn holds_in_gate(
        &self,
        product: ProductId,
    ) -> Result<HashMap<ReservationId, i64>, sqlx::Error> {
        let rows = sqlx::query!(
            "select reservation_id, seq from holds
             where product_id = $1 and state in ('held', 'pinned', 'settled') and not forgotten",
            product.0,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (ReservationId(row.reservation_id), row.seq)).collect())
    }
}

/// A broken constraint means that the gate gave what the ledger does not have.
fn refused(error: sqlx::Error) -> CommitError {
    let code = error.as_database_error().and_then(|error| error.code());
    if code.is_some_and(|code| code == EPOCH_OVER) {
        return CommitError::EpochOver;
    }
    match broken_constraint(&error) {
        Some(constraint) => CommitError::Disagreement(constraint.to_owned()),
        None => CommitError::Database(error),
    }
}

pub(super) struct HoldRow {
    pub reservation_id: Uuid,
    pub buyer_id: Uuid,
    pub seq: i64,
    pub state: String,
    pub fingerprint: Vec<u8>,
    pub sku_ids: Vec<Uuid>,
    pub quantities: Vec<i32>,
    pub expires_at: OffsetDateTime,
    pub forgotten: bool,
}

impl From<HoldRow> for Hold {
    fn from(row: HoldRow) -> Self {
        let lines = row.sku_ids.into_iter().zip(row.quantities);
        Self {
            wish: Wish {
                reservation: ReservationId(row.reservation_id),
                buyer: BuyerId(row.buyer_id),
                fingerprint: row.fingerprint.try_into().expect("fingerprints have 16 bytes"),
                lines: lines.map(|(sku, quantity)| Line { sku: SkuId(sku), quantity }).collect(),
            },
            state: State::parse(&row.state).expect("a constraint lists the states"),
            seq: row.seq,
            expires_at: row.expires_at,
            forgotten: row.forgotten,
        }
    }
}

/// Admissions as parallel columns.
struct Columns {
    reservations: Vec<Uuid>,
    buyers: Vec<Uuid>,
    seqs: Vec<i64>,
    fingerprints: Vec<Vec<u8>>,
    /// Each admission's lines within `sku_ids` and `quantities`.
    lines: Slices,
    sku_ids: Vec<Uuid>,
    quantities: Vec<i32>,
}

impl Columns {
    fn of(admissions: &[(Wish, i64)]) -> Self {
        let mut columns = Self {
            reservations: Vec::with_capacity(admissions.len()),
            buyers: Vec::with_capacity(admissions.len()),
            seqs: Vec::with_capacity(admissions.len()),
            fingerprints: Vec::with_capacity(admissions.len()),
            lines: Slices::with_capacity(admissions.len()),
            sku_ids: Vec::with_capacity(admissions.len()),
            quantities: Vec::with_capacity(admissions.len()),
        };
        for (wish, seq) in admissions {
            columns.reservations.push(wish.reservation.0);
            columns.buyers.push(wish.buyer.0);
            columns.seqs.push(*seq);
            columns.fingerprints.push(wish.fingerprint.to_vec());
            columns.lines.push(wish.lines.len());
            columns.sku_ids.extend(wish.lines.iter().map(|line| line.sku.0));
            columns.quantities.extend(wish.lines.iter().map(|line| line.quantity));
        }
        columns
    }
}
