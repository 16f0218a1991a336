//! Reads Postgres: every service's own schema as its own role, and the provider's ledger apart.
//! All SQL of `verify` is here.

use anyhow::{Context as _, Result};
use firstcome_proto::{
    BuyerId, OrderId, PaymentId, ProductId, ReservationId, SkuId, UserId, inventory_v1::HoldState,
    order_v1::OrderState,
};
use sqlx::{
    PgPool, Row as _,
    postgres::{PgPoolOptions, PgRow},
};
use uuid::Uuid;

use super::{
    VerifySources,
    books::{
        Books, Charge, Hold, HoldKey, Late, Line, Order, Parked, Part, Payment, Product, Stock,
        Untold,
    },
};

/// One reader; the shop's own connections matter more.
const CONNECTIONS_MAX: u32 = 1;

/// Logged in to each schema.
pub struct Store {
    user: PgPool,
    inventory: PgPool,
    order: PgPool,
    payment: PgPool,
    sandbox: PgPool,
}

/// What must come to rest before books can be compared, and what tells that nothing moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Steps that somebody still has to take.
    pub unfinished: i64,
    /// Rows by table and state.
    marks: Vec<(String, i64)>,
}

impl Store {
    /// Logs in.
    pub async fn connect(sources: &VerifySources) -> Result<Self> {
        Ok(Self {
            user: log_in(&sources.user_url).await.context("user's schema")?,
            inventory: log_in(&sources.inventory_url).await.context("inventory's schema")?,
            order: log_in(&sources.order_url).await.context("order's schema")?,
            payment: log_in(&sources.payment_url).await.context("payment's schema")?,
            sandbox: log_in(&sources.sandbox_url).await.context("the provider's ledger")?,
        })
    }

    /// Looks whether anything is under way.
    pub async fn pulse(&self) -> Result<Pulse> {
        let mut pulse = Pulse { unfinished: 0, marks: Vec::new() };
        let unfinished = [
            (&self.inventory, "select count(*) from gate_outbox"),
            (
                &self.inventory,
                "select count(*) from holds
                 where is_open and (state = 'pinned' or expires_at < clock_timestamp())",
            ),
            (
                &self.order,
                "select count(*) from orders
                 where step = 'expire' and pay_by < clock_timestamp()
                    or step in ('ship', 'deliver', 'confirm')
                        and next_step_at < clock_timestamp()
                    or step = 'take_back'
                        and (state = 'preparing' or next_step_at < clock_timestamp())
                    or step not in ('expire', 'ship', 'deliver', 'confirm', 'take_back')",
            ),
            (&self.order, "select count(*) from placements"),
            (&self.order, "select count(*) from outbox where published_at is null"),
            (
                &self.payment,
                "select count(*) from payments where state in ('AUTHORIZING', 'AUTHORIZED')",
            ),
            (&self.sandbox, "select count(*) from charges where state = 'AUTHORIZED'"),
            (&self.payment, "select count(*) from webhook_events where due_at is not null"),
            (&self.sandbox, "select count(*) from events"),
            (&self.sandbox, "select count(*) from charges where pays_at is not null"),
        ];
        for (pool, sql) in unfinished {
            let count: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
            pulse.unfinished += count;
        }
        let marks = [
            (&self.inventory, "select 'hold ' || state, count(*) from holds group by state"),
            (&self.inventory, "select 'epoch ' || sku_id, epoch from stock"),
            (&self.inventory, "select 'total ' || sku_id, total::bigint from stock"),
            (&self.order, "select 'order ' || state, count(*) from orders group by state"),
            (&self.payment, "select 'payment ' || state, count(*) from payments group by state"),
            (&self.sandbox, "select 'moved ' || kind, count(*) from movements group by kind"),
        ];
        for (pool, sql) in marks {
            pulse.marks.extend(sqlx::query_as::<_, (String, i64)>(sql).fetch_all(pool).await?);
        }
        pulse.marks.sort();
        Ok(pulse)
    }

    /// The hold that is longest overdue: still held past its expiry, or expired while the gate has
    /// yet to be told of it.
    pub async fn latest(&self) -> Result<Option<Late>> {
        let sql = "select product_id, reservation_id,
                floor(extract(epoch from clock_timestamp() - expires_at) * 1000)::bigint
                    as overdue_ms
            from holds
            where is_open and state = 'held' and expires_at < clock_timestamp()
                or state = 'expired' and (product_id, reservation_id) in
                    (select product_id, reservation_id from gate_outbox where action = 'free')
            order by expires_at limit 1";
        let row = sqlx::query(sql).fetch_optional(&self.inventory).await?;
        row.map(|row| {
            let product = ProductId(row.try_get("product_id")?);
            let reservation = ReservationId(row.try_get("reservation_id")?);
            Ok(Late { hold: (product, reservation), overdue_ms: row.try_get("overdue_ms")? })
        })
        .transpose()
    }

    /// Reads everything.
    pub async fn read(&self) -> Result<Books> {
        Ok(Books {
            products: self.products().await.context("read products")?,
            stock: self.stock().await.context("read stock")?,
            holds: self.holds().await.context("read holds")?,
            gate_outbox: self.gate_outbox().await.context("read the gate's outbox")?,
            orders: self.orders().await.context("read orders")?,
            outbox: self.outbox().await.context("read order's outbox")?,
            parked: self.parked().await.context("read the parked events")?,
            payments: self.payments().await.context("read payments")?,
            charges: self.charges().await.context("read the provider's ledger")?,
            ..Books::default()
        })
    }

    async fn products(&self) -> Result<Vec<Product>> {
        let sql = "select product_id, limit_per_buyer, opens_at is not null as is_scheduled
            from products";
        let rows = sqlx::query(sql).fetch_all(&self.inventory).await?;
        rows.iter()
            .map(|row| {
                Ok(Product {
                    product: ProductId(row.try_get("product_id")?),
                    limit_per_buyer: row.try_get("limit_per_buyer")?,
                    is_scheduled: row.try_get("is_scheduled")?,
                })
            })
            .collect()
    }

    async fn stock(&self) -> Result<Vec<Stock>> {
        let sql = "select product_id, sku_id, total, held, settled, epoch from stock";
        let rows = sqlx::query(sql).fetch_all(&self.inventory).await?;
        rows.iter()
            .map(|row| {
                Ok(Stock {
                    product: ProductId(row.try_get("product_id")?),
                    sku: SkuId(row.try_get("sku_id")?),
                    total: row.try_get("total")?,
                    held: row.try_get("held")?,
                    settled: row.try_get("settled")?,
                    epoch: row.try_get("epoch")?,
                })
            })
            .collect()
    }

    async fn holds(&self) -> Result<Vec<Hold>> {
        let sql = "select product_id, reservation_id, buyer_id, seq, state, sku_ids, quantities,
                floor(extract(epoch from expires_at) * 1000)::bigint as expires_ms,
                floor(extract(epoch from clock_timestamp() - expires_at) * 1000)::bigint
                    as overdue_ms,
                forgotten
            from holds";
        let rows = sqlx::query(sql).fetch_all(&self.inventory).await?;
        rows.iter()
            .map(|row| {
                let state: String = row.try_get("state")?;
                let name = format!("HOLD_STATE_{}", state.to_uppercase());
                Ok(Hold {
                    product: ProductId(row.try_get("product_id")?),
                    reservation: ReservationId(row.try_get("reservation_id")?),
                    buyer: BuyerId(row.try_get("buyer_id")?),
                    sequence: row.try_get("seq")?,
                    state: HoldState::from_str_name(&name)
                        .with_context(|| format!("no hold state {state}"))?,
                    lines: lines(row)?,
                    expires_ms: row.try_get("expires_ms")?,
                    overdue_ms: row.try_get("overdue_ms")?,
                    forgotten: row.try_get("forgotten")?,
                })
            })
            .collect()
    }

    async fn gate_outbox(&self) -> Result<Vec<HoldKey>> {
        let sql = "select product_id, reservation_id from gate_outbox";
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(sql).fetch_all(&self.inventory).await?;
        Ok(rows.into_iter().map(|(product, id)| (ProductId(product), ReservationId(id))).collect())
    }

    async fn orders(&self) -> Result<Vec<Order>> {
        let sql = "select order_id, user_id, product_id, state, step, sku_ids, quantities,
                total_minor, currency, sequence, attempt, line_product_ids, line_sequences,
                floor(extract(epoch from pay_by) * 1000)::bigint as pay_by_ms,
                floor(extract(epoch from clock_timestamp() - pay_by) * 1000)::bigint as overdue_ms,
                floor(extract(epoch from clock_timestamp() - next_step_at) * 1000)::bigint
                    as step_overdue_ms
            from orders";
        let rows = sqlx::query(sql).fetch_all(&self.order).await?;
        rows.iter()
            .map(|row| {
                let state: String = row.try_get("state")?;
                let name = format!("ORDER_STATE_{}", state.to_uppercase());
                Ok(Order {
                    order: OrderId(row.try_get("order_id")?),
                    user: UserId(row.try_get("user_id")?),
                    state: OrderState::from_str_name(&name)
                        .with_context(|| format!("no order state {state}"))?,
                    step: row.try_get("step")?,
                    step_overdue_ms: row.try_get("step_overdue_ms")?,
                    parts: parts(row)?,
                    total_minor: row.try_get("total_minor")?,
                    currency: row.try_get("currency")?,
                    pay_by_ms: row.try_get("pay_by_ms")?,
                    overdue_ms: row.try_get("overdue_ms")?,
                })
            })
            .collect()
    }

    async fn outbox(&self) -> Result<Vec<Untold>> {
        let sql = "select outbox_id, order_id, state,
                floor(extract(epoch from clock_timestamp() - greatest(created_at, moved_at))
                    * 1000)::bigint as still_ms
            from outbox join outbox_shards using (shard)
            where published_at is null order by outbox_id";
        let rows = sqlx::query(sql).fetch_all(&self.order).await?;
        rows.iter()
            .map(|row| {
                Ok(Untold {
                    outbox_id: row.try_get("outbox_id")?,
                    order: OrderId(row.try_get("order_id")?),
                    state: row.try_get("state")?,
                    still_ms: row.try_get("still_ms")?,
                })
            })
            .collect()
    }

    async fn parked(&self) -> Result<Vec<Parked>> {
        let sql = "select stream, entry, event_id, deliveries, error
            from parked_events order by parked_id";
        let rows = sqlx::query(sql).fetch_all(&self.user).await?;
        rows.iter()
            .map(|row| {
                Ok(Parked {
                    stream: row.try_get("stream")?,
                    entry: row.try_get("entry")?,
                    event: row.try_get("event_id")?,
                    deliveries: row.try_get("deliveries")?,
                    error: row.try_get("error")?,
                })
            })
            .collect()
    }

    async fn payments(&self) -> Result<Vec<Payment>> {
        let sql = "select payment_id, state from payments";
        let rows: Vec<(Uuid, String)> = sqlx::query_as(sql).fetch_all(&self.payment).await?;
        let row = |(payment, state)| Payment { payment: PaymentId(payment), state };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Charges with their movements, and movements of charges that are gone.
    async fn charges(&self) -> Result<Vec<Charge>> {
        let sql = "select coalesce(charge.key, moved.charge_key) as key,
                coalesce(charge.state, 'MISSING') as state,
                coalesce(moved.captures, 0) as captures,
                coalesce(moved.captured_minor, 0)::bigint as captured_minor,
                coalesce(moved.refunds, 0) as refunds,
                coalesce(moved.refunded_minor, 0)::bigint as refunded_minor,
                coalesce(moved.currency, '') as currency
            from charges charge
            full join (
                select charge_key,
                    count(*) filter (where kind = 'CAPTURE') as captures,
                    sum(amount_minor) filter (where kind = 'CAPTURE') as captured_minor,
                    count(*) filter (where kind = 'REFUND') as refunds,
                    sum(amount_minor) filter (where kind = 'REFUND') as refunded_minor,
                    string_agg(distinct currency, ' ') as currency
                from movements group by charge_key
            ) moved on moved.charge_key = charge.key";
        let rows = sqlx::query(sql).fetch_all(&self.sandbox).await?;
        rows.iter()
            .map(|row| {
                Ok(Charge {
                    key: row.try_get("key")?,
                    state: row.try_get("state")?,
                    captures: row.try_get("captures")?,
                    captured_minor: row.try_get("captured_minor")?,
                    refunds: row.try_get("refunds")?,
                    refunded_minor: row.try_get("refunded_minor")?,
                    currency: row.try_get("currency")?,
                })
            })
            .collect()
    }
}

async fn log_in(url: &str) -> Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect(url).await?)
}

fn lines(row: &PgRow) -> Result<Vec<Line>> {
    let skus: Vec<Uuid> = row.try_get("sku_ids")?;
    let quantities: Vec<i32> = row.try_get("quantities")?;
    let line = |(sku, quantity)| Line { sku: SkuId(sku), quantity };
    Ok(skus.into_iter().zip(quantities).map(line).collect())
}

/// What an order has of each product. One of a single product says it once, and its hold has its
/// id.
fn parts(row: &PgRow) -> Result<Vec<Part>> {
    let order = OrderId(row.try_get("order_id")?);
    let lines = lines(row)?;
    let Some(attempt) = row.try_get::<Option<i64>, _>("attempt")? else {
        let hold = (ProductId(row.try_get("product_id")?), order.reservation());
        return Ok(vec![Part { hold, sequence: row.try_get("sequence")?, lines }]);
    };
    let products: Vec<Uuid> = row.try_get("line_product_ids")?;
    let sequences: Vec<i64> = row.try_get("line_sequences")?;
    let mut parts: Vec<Part> = Vec::new();
    for ((product, sequence), line) in products.into_iter().zip(sequences).zip(lines) {
        let hold = (ProductId(product), order.reservation_of_attempt(attempt));
        match parts.iter_mut().find(|part| part.hold == hold && part.sequence == sequence) {
            Some(part) => part.lines.push(line),
            None => parts.push(Part { hold, sequence, lines: vec![line] }),
        }
    }
    Ok(parts)
}
