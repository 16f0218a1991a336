//! The rush: new orders, many at a time.

use std::collections::HashMap;

use firstcome_postgres::Slices;
use firstcome_proto::{OrderId, money::Currency};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Store};
use crate::order::NewOrder;

impl Store {
    /// Writes those that have no row yet, in one transaction, and gives the instant of writing of
    /// each that was written. The ids must be distinct.
    pub async fn insert(
        &self,
        orders: &[&NewOrder],
    ) -> Result<HashMap<OrderId, OffsetDateTime>, Error> {
        let mut columns = Columns::default();
        orders.iter().for_each(|order| columns.push(order));
        let currencies: Vec<&str> = columns.currencies.iter().map(Currency::as_str).collect();
        // Sorted, so that two batches that share ids wait for each other in one order only.
        let written = sqlx::query!(
            r#"
            insert into orders (
                order_id, user_id, state, fingerprint, product_id, sku_ids, quantities,
                unit_prices_minor, currency, total_minor, sequence, pay_by, step, next_step_at
            )
            select
                item.order_id, item.user_id, item.state, item.fingerprint, item.product_id,
                ($6::uuid[])[item.first:item.last], ($7::integer[])[item.first:item.last],
                ($8::bigint[])[item.first:item.last],
                item.currency, item.total_minor, item.sequence, item.pay_by,
                case when item.state = 'pending_payment' then 'expire' end,
                case when item.state = 'pending_payment' then item.pay_by end
            from unnest(
                $1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::uuid[], $9::integer[],
                $10::integer[], $11::text[], $12::bigint[], $13::bigint[], $14::timestamptz[]
            ) as item (
                order_id, user_id, state, fingerprint, product_id, first, last, currency,
                total_minor, sequence, pay_by
            )
            order by item.order_id
            on conflict (order_id) do nothing
            returning order_id, created_at
            "#,
            &columns.order_ids,
            &columns.user_ids,
            &columns.states as &[&str],
            &columns.fingerprints,
            &columns.product_ids,
            &columns.sku_ids,
            &columns.quantities,
            &columns.unit_prices,
            &columns.lines.firsts,
            &columns.lines.lasts,
            &currencies as &[&str],
            &columns.totals,
            &columns.sequences,
            &columns.pay_bys,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(written.into_iter().map(|row| (OrderId(row.order_id), row.created_at)).collect())
    }
}

/// New orders by column, as `unnest` takes them.
#[derive(Default)]
struct Columns {
    order_ids: Vec<Uuid>,
    user_ids: Vec<Uuid>,
    states: Vec<&'static str>,
    fingerprints: Vec<Vec<u8>>,
    product_ids: Vec<Uuid>,
    /// Each order's lines within the three that follow.
    lines: Slices,
    sku_ids: Vec<Uuid>,
    quantities: Vec<i32>,
    unit_prices: Vec<i64>,
    currencies: Vec<Currency>,
    totals: Vec<i64>,
    sequences: Vec<i64>,
    pay_bys: Vec<OffsetDateTime>,
}

impl Columns {
    fn push(&mut self, order: &NewOrder) {
        self.order_ids.push(order.id.0);
        self.user_ids.push(order.user.0);
        self.states.push(order.state.word());
        self.fingerprints.push(order.fingerprint.0.to_vec());
        self.product_ids.push(order.product.0);
        self.lines.push(order.lines.len());
        self.sku_ids.extend(order.lines.iter().map(|line| line.sku.0));
        self.quantities.extend(order.lines.iter().map(|line| line.quantity));
        self.unit_prices.extend(order.lines.iter().map(|line| line.unit_price.amount_minor));
        self.currencies.push(order.total.currency);
        self.totals.push(order.total.amount_minor);
        self.sequences.push(order.sequence);
        self.pay_bys.push(order.pay_by);
    }
}
