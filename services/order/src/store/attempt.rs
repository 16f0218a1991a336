//! Placements by attempts: the intent, and the one transaction that makes it an order.

use std::time::Duration;

use firstcome_proto::{OrderId, ProductId, SkuId, UserId};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Store};
use crate::{
    basket::Basket,
    order::{Fingerprint, NewOrder},
    wanted::Wanted,
};

/// A placement that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placing {
    /// The order that it is to become.
    pub order: OrderId,
    /// The buyer.
    pub user: UserId,
    /// Over what was asked for.
    pub fingerprint: Fingerprint,
    /// Names the reservations.
    pub attempt: i64,
    /// The list whose lines it orders.
    pub basket: Option<Basket>,
    /// Sorted by product and SKU.
    pub lines: Vec<Wanted>,
}

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is ours, under this attempt.
    Ours(i64),
    /// Another call with the key is under way, for what has this fingerprint.
    Theirs(Fingerprint),
    /// There was another call, and it has just ended.
    Over,
}

/// What became of an attempt whose units are all held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is an order since then.
    Placed(OffsetDateTime),
    /// The key has an order already.
    HasOrder,
    /// Another attempt has taken its place.
    Lost,
}

impl Store {
    /// Saves that an order is being placed, before anything is held for it.
    pub async fn begin_placement(
        &self,
        placing: &Placing,
        lease: Duration,
    ) -> Result<Begun, Error> {
        let columns = Columns::of(&placing.lines);
        let begun = sqlx::query_scalar!(
            "insert into placements \
                 (order_id, user_id, fingerprint, basket, product_ids, sku_ids, quantities, \
                  next_try_at) \
             values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8)) \
             on conflict (order_id) do nothing returning attempt",
            placing.order.0,
            placing.user.0,
            &placing.fingerprint.0[..],
            placing.basket.map(Basket::word),
            &columns.products,
            &columns.skus,
            &columns.quantities,
            lease.as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some(attempt) = begun {
            return Ok(Begun::Ours(attempt));
        }
        let theirs = sqlx::query_scalar!(
            "select fingerprint from placements where order_id = $1",
            placing.order.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        theirs.map_or(Ok(Begun::Over), |bytes| fingerprint(&bytes).map(Begun::Theirs))
    }

    /// Gives an attempt up; nothing happens when another has taken its place.
    pub async fn abandon_placement(&self, order: OrderId, attempt: i64) -> Result<(), Error> {
        sqlx::query!(
            "delete from placements where order_id = $1 and attempt = $2",
            order.0,
            attempt,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Makes an attempt an order, and takes what is ordered out of the list that it came from.
    pub async fn finish_placement(
        &self,
        placing: &Placing,
        order: &NewOrder,
    ) -> Result<Finished, Error> {
        let mut lent = self.pool.acquire().await?;
        let mut tx = lent.begin().await?;
        let mine = sqlx::query!(
            "delete from placements where order_id = $1 and attempt = $2",
            placing.order.0,
            placing.attempt,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected()
            == 1;
        if !mine {
            return Ok(Finished::Lost);
        }
        let placed = insert(&mut tx, placing.attempt, order).await?;
        let finished = placed.map_or(Finished::HasOrder, Finished::Placed);
        if let (Some(_), Some(basket)) = (placed, placing.basket) {
            take_out(&mut tx, placing.user, basket, &Columns::of(&placing.lines)).await?;
        }
        tx.commit().await?;
        lent.give_back();
        Ok(finished)
    }

    /// Begins an attempt's lease anew; false when another has taken its place.
    pub async fn keep_placement(&self, placing: &Placing, lease: Duration) -> Result<bool, Error> {
        let kept = sqlx::query!(
            "update placements set next_try_at = now() + make_interval(secs => $3) \
             where order_id = $1 and attempt = $2",
            placing.order.0,
            placing.attempt,
            lease.as_secs_f64(),
        )
        .execute(&self.pool)
        .await?;
        Ok(kept.rows_affected() == 1)
    }

    /// Saves that nothing of the earlier attempts is held any more; false when another attempt has
    /// taken the place of this one.
    pub async fn earlier_are_freed(&self, placing: &Placing) -> Result<bool, Error> {
        let saved = sqlx::query!(
            "update placements set unfreed = '{}' where order_id = $1 and attempt = $2",
            placing.order.0,
            placing.attempt,
        )
        .execute(&self.pool)
        .await?;
        Ok(saved.rows_affected() == 1)
    }

    /// Takes over attempts whose time is up, each under a new number; with each the numbers of
    /// those before that may still hold something.
    pub async fn claim_placements(
        &self,
        count: i64,
        lease: Duration,
    ) -> Result<Vec<(Placing, Vec<i64>)>, Error> {
        let rows = sqlx::query!(
            "with due as materialized ( \
                 select order_id, attempt from placements where next_try_at <= now() \
                 order by next_try_at limit $1 for update skip locked \
             ) \
             update placements p set attempt = nextval('placement_attempts'), \
                 unfreed = p.unfreed || due.attempt, \
                 next_try_at = now() + make_interval(secs => $2) \
             from due where p.order_id = due.order_id \
             returning p.order_id, p.user_id, p.fingerprint, p.attempt, p.basket, p.product_ids, \
                 p.sku_ids, p.quantities, p.unfreed",
            count,
            lease.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        let placing = rows.into_iter().map(|row| {
            let lines = row.product_ids.iter().zip(&row.sku_ids).zip(&row.quantities);
            let lines = lines.map(|((product, sku), quantity)| Wanted {
                product: ProductId(*product),
                sku: SkuId(*sku),
                quantity: *quantity,
            });
            let placing = Placing {
                order: OrderId(row.order_id),
                user: UserId(row.user_id),
                fingerprint: fingerprint(&row.fingerprint)?,
                attempt: row.attempt,
                basket: row.basket.as_deref().and_then(Basket::from_word),
                lines: lines.collect(),
            };
            Ok((placing, row.unfreed))
        });
        placing.collect()
    }
}

async fn insert(
    connection: &mut PgConnection,
    attempt: i64,
    order: &NewOrder,
) -> Result<Option<OffsetDateTime>, Error> {
    let lines = &order.lines;
    let products: Vec<Uuid> = lines.iter().map(|line| line.product.0).collect();
    let skus: Vec<Uuid> = lines.iter().map(|line| line.sku.0).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    let prices: Vec<i64> = lines.iter().map(|line| line.unit_price.amount_minor).collect();
    let sequences: Vec<i64> = lines.iter().map(|line| line.sequence).collect();
    Ok(sqlx::query_scalar!(
        "insert into orders ( \
             order_id, user_id, state, fingerprint, product_id, sku_ids, quantities, \
             unit_prices_minor, currency, total_minor, sequence, pay_by, attempt, \
             line_product_ids, line_sequences, step, next_step_at \
         ) values ( \
             $1, $2, 'pending_payment', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
             'expire', $11 \
         ) on conflict (order_id) do nothing returning created_at",
        order.id.0,
        order.user.0,
        &order.fingerprint.0[..],
        order.product.0,
        &skus,
        &quantities,
        &prices,
        order.total.currency.as_str(),
        order.total.amount_minor,
        order.sequence,
        order.pay_by,
        attempt,
        &products,
        &sequences,
    )
    .fetch_optional(connection)
    .await?)
}

/// Takes the ordered units out of a list: what was added since it was read stays.
async fn take_out(
    connection: &mut PgConnection,
    user: UserId,
    basket: Basket,
    ordered: &Columns,
) -> Result<(), Error> {
    // A line is either taken out or made smaller: nobody may change it between the two.
    sqlx::query!(
        "select sku_id from basket_lines \
         where user_id = $1 and basket = $2 and sku_id = any($3) order by sku_id for update",
        user.0,
        basket.word(),
        &ordered.skus,
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!(
        "delete from basket_lines line \
         using unnest($3::uuid[], $4::integer[]) as ordered (sku_id, quantity) \
         where line.user_id = $1 and line.basket = $2 and line.sku_id = ordered.sku_id \
         and line.quantity <= ordered.quantity",
        user.0,
        basket.word(),
        &ordered.skus,
        &ordered.quantities,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update basket_lines line set quantity = line.quantity - ordered.quantity \
         from unnest($3::uuid[], $4::integer[]) as ordered (sku_id, quantity) \
         where line.user_id = $1 and line.basket = $2 and line.sku_id = ordered.sku_id \
         and line.quantity > ordered.quantity",
        user.0,
        basket.word(),
        &ordered.skus,
        &ordered.quantities,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn fingerprint(bytes: &[u8]) -> Result<Fingerprint, Error> {
    let bytes = bytes.try_into().map_err(|_| {
        Error::Fault(sqlx::Error::Decode("a placement has an unknown fingerprint".into()))
    })?;
    Ok(Fingerprint(bytes))
}

/// Lines by column, as arrays are stored.
struct Columns {
    products: Vec<Uuid>,
    skus: Vec<Uuid>,
    quantities: Vec<i32>,
}

impl Columns {
    fn of(lines: &[Wanted]) -> Self {
        Self {
            products: lines.iter().map(|line| line.product.0).collect(),
            skus: lines.iter().map(|line| line.sku.0).collect(),
            quantities: lines.iter().map(|line| line.quantity).collect(),
        }
    }
}
