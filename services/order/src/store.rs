//! All SQL of this service. Each change is one statement that names the state it starts from.

mod outbox;

use std::{collections::HashMap, time::Duration};

use firstcome_mesh::page::Page;
use firstcome_postgres::{Pool, Settings, Slices, Trouble, broken_constraint};
use firstcome_proto::{Money, OrderId, ProductId, SkuId, UserId, money::Currency};
use secrecy::SecretString;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    address::Address,
    order::{Failure, Fingerprint, Line, NewOrder, Order, PaymentIntent, State, Step},
};

/// No statement here takes longer, unless it waits for a lock that nobody will give back.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The constraint that allows one payment per buyer at a time.
const ONE_PAYMENT_PER_USER: &str = "orders_one_payment_per_user";

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value, or a combination of them, that the schema does not take; the same statement
    /// without it may pass.
    #[error("postgres does not take a value: {0}")]
    Data(sqlx::Error),
    /// Postgres cannot be reached, is stopping, or lost this one to another transaction; the same
    /// statement may pass later.
    #[error("postgres is unavailable: {0}")]
    Unavailable(sqlx::Error),
    /// Anything else.
    #[error("postgres failed: {0}")]
    Fault(sqlx::Error),
}

impl Error {
    /// True when the buyer's other payment is in the way, which began in the same moment.
    pub fn is_another_payment(&self) -> bool {
        matches!(self, Self::Data(error)
            if broken_constraint(error) == Some(ONE_PAYMENT_PER_USER))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match Trouble::of(&error) {
            Trouble::Data => Self::Data(error),
            Trouble::Passing => Self::Unavailable(error),
            Trouble::Fault => Self::Fault(error),
        }
    }
}

/// One step of one order: from where, to where, and when a worker may look at it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub order: OrderId,
    /// Only if it is at this step.
    pub from: Step,
    /// The state afterwards.
    pub state: State,
    /// The step afterwards; `None` exactly when the state is no longer pending.
    pub to: Option<Step>,
    /// Why the payment fails, when this is where it turns out.
    pub failure: Option<Failure>,
    /// How long a worker leaves it alone.
    pub lease: Duration,
}

/// The orders of this service in Postgres. Clones share one pool.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
}

struct Row {
    order_id: Uuid,
    user_id: Uuid,
    state: String,
    fingerprint: Vec<u8>,
    product_id: Uuid,
    sku_ids: Vec<Uuid>,
    quantities: Vec<i32>,
    unit_prices_minor: Vec<i64>,
    currency: String,
    total_minor: i64,
    sequence: i64,
    pay_by: OffsetDateTime,
    step: Option<String>,
    failure: Option<String>,
    payment_method: Option<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

/// A query that gives whole orders, so that their columns are listed in one place. Without the
/// address, which nobody here ever reads back.
macro_rules! orders {
    (select $tail:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            "select order_id, user_id, state, fingerprint, product_id, sku_ids, quantities, \
             unit_prices_minor, currency, total_minor, sequence, pay_by, step, failure, \
             payment_method, created_at, updated_at from orders "
                + $tail
            $(, $argument)*
        )
    };
    (change $head:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            $head
                + " returning orders.order_id, user_id, state, fingerprint, product_id, sku_ids, \
                   quantities, unit_prices_minor, currency, total_minor, sequence, pay_by, step, \
                   failure, payment_method, created_at, updated_at"
            $(, $argument)*
        )
    };
}

impl Store {
    /// Connects, with at most this many connections.
    pub async fn connect(url: &SecretString, connections_max: u32) -> Result<Self, sqlx::Error> {
        let settings = Settings { connections_max, statement_timeout: STATEMENT_TIMEOUT };
        Ok(Self { pool: Pool::connect(url, settings).await? })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

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

    /// Those of these orders that are there.
    pub async fn read(&self, ids: &[OrderId]) -> Result<Vec<Order>, Error> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = orders!(select "where order_id = any($1)", &ids).fetch_all(&self.pool).await?;
        rows.into_iter().map(Order::try_from).collect()
    }

    /// One order, if it is there.
    pub async fn find(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let row = orders!(select "where order_id = $1", id.0).fetch_optional(&self.pool).await?;
        row.map(Order::try_from).transpose()
    }

    /// A page of somebody's orders, newest first, and one more if there is one.
    pub async fn list(&self, user: UserId, page: Page) -> Result<Vec<Order>, Error> {
        // Without a cursor: before a time that never comes.
        let before = page.before.map(|cursor| {
            let nanoseconds = i128::from(cursor.created_us) * 1000;
            let instant = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds);
            (instant.unwrap_or(OffsetDateTime::UNIX_EPOCH), cursor.id)
        });
        let rows = orders!(
            select "where user_id = $1 \
              and (created_at, order_id) < (coalesce($2, 'infinity'::timestamptz), $3) \
              order by created_at desc, order_id desc limit $4",
            user.0,
            before.map(|(instant, _)| instant),
            before.map_or(Uuid::max(), |(_, id)| id),
            page.size + 1,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Order::try_from).collect()
    }

    /// Saves of many orders that they are being paid, and gives those of which it could; at most
    /// one of each buyer. The others are as they were.
    pub async fn mark_all_paying(
        &self,
        payments: &[&PaymentIntent],
        lease: Duration,
    ) -> Result<HashMap<OrderId, Order>, Error> {
        let orders: Vec<Uuid> = payments.iter().map(|payment| payment.order.0).collect();
        let users: Vec<Uuid> = payments.iter().map(|payment| payment.user.0).collect();
        let methods: Vec<&str> = payments.iter().map(|payment| payment.method.as_str()).collect();
        let addresses: Vec<Json<&Address>> =
            payments.iter().map(|payment| Json(&payment.address)).collect();
        // The other payment is counted, not anti-joined: a join might walk all payments under way,
        // and what is left of those that ended, where a count asks for this buyer's.
        let marked = orders!(
            change "update orders set step = 'pin', payment_method = mark.method, \
              address = mark.destination, next_step_at = now() + make_interval(secs => $5) \
              from unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[]) \
              as mark (id, buyer, method, destination) \
              where orders.order_id = mark.id and orders.user_id = mark.buyer \
              and orders.state = 'pending_payment' and orders.step = 'expire' \
              and (select count(*) from orders as other \
                where other.user_id = mark.buyer and other.paying) = 0",
            &orders,
            &users,
            &methods as &[&str],
            &addresses as &[Json<&Address>],
            lease.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        let orders = marked.into_iter().map(|row| {
            let order = Order::try_from(row)?;
            Ok((order.id, order))
        });
        orders.collect()
    }

    /// Saves that this order is being cancelled; `None` when it cannot be.
    pub async fn mark_cancelling(
        &self,
        user: UserId,
        id: OrderId,
        lease: Duration,
    ) -> Result<Option<Order>, Error> {
        let row = orders!(
            change "update orders set step = 'cancel', \
              next_step_at = now() + make_interval(secs => $3) \
              where order_id = $1 and user_id = $2 \
              and state = 'pending_payment' and step = 'expire'",
            id.0,
            user.0,
            lease.as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Order::try_from).transpose()
    }

    /// Makes each move whose order is where the move starts, and gives the time of the last
    /// change of state of each order that moved. The orders must be distinct.
    pub async fn make(&self, moves: &[Move]) -> Result<HashMap<OrderId, OffsetDateTime>, Error> {
        let orders: Vec<Uuid> = moves.iter().map(|step| step.order.0).collect();
        let froms: Vec<&str> = moves.iter().map(|step| step.from.word()).collect();
        let states: Vec<&str> = moves.iter().map(|step| step.state.word()).collect();
        let tos: Vec<Option<&str>> = moves.iter().map(|step| step.to.map(Step::word)).collect();
        let failures: Vec<Option<&str>> =
            moves.iter().map(|step| step.failure.map(Failure::word)).collect();
        let leases: Vec<f64> = moves.iter().map(|step| step.lease.as_secs_f64()).collect();
        let moved = sqlx::query!(
            r#"
            update orders
            set state = move.state,
                step = move.step,
                failure = coalesce(move.failure, orders.failure),
                -- A lease that has hardly begun is left as it is: the row's new version then
                -- concerns no index.
                next_step_at = case
                    when move.step is null then null
                    when orders.next_step_at between
                        now() + make_interval(secs => 0.75 * move.lease)
                        and now() + make_interval(secs => move.lease)
                    then orders.next_step_at
                    else now() + make_interval(secs => move.lease)
                end,
                updated_at = case
                    when move.state <> orders.state then now() else orders.updated_at
                end
            from unnest(
                $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::float8[]
            ) as move (order_id, from_step, state, step, failure, lease)
            where orders.order_id = move.order_id
              and orders.state = 'pending_payment'
              and orders.step = move.from_step
            returning orders.order_id, orders.updated_at
            "#,
            &orders,
            &froms as &[&str],
            &states as &[&str],
            &tos as &[Option<&str>],
            &failures as &[Option<&str>],
            &leases,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(moved.into_iter().map(|row| (OrderId(row.order_id), row.updated_at)).collect())
    }

    /// Takes orders whose next step is due, oldest first, and leases them; other replicas skip
    /// what this one takes. An unreadable row is logged and left. `now()`, the statement's own time, lets the index find them.
    pub async fn claim_due(&self, count: i64, lease: Duration) -> Result<Vec<Order>, Error> {
        let rows = orders!(
            change "with due as materialized ( \
                select order_id from orders where next_step_at <= now() \
                order by next_step_at limit $1 for update skip locked \
              ) \
              update orders set next_step_at = now() + make_interval(secs => $2) \
              from due where orders.order_id = due.order_id",
            count,
            lease.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        // A row that this build cannot read must not keep the others from being driven.
        let orders = rows.into_iter().filter_map(|row| {
            let order = Order::try_from(row);
            order.inspect_err(|fault| tracing::error!(%fault, "a due order is left")).ok()
        });
        Ok(orders.collect())
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

impl TryFrom<Row> for Order {
    type Error = Error;

    /// The schema admits nothing else; an older build may still meet a newer word.
    fn try_from(row: Row) -> Result<Self, Error> {
        let unknown = |what: &str| {
            let fault = format!("order {} has an unknown {what}", row.order_id);
            Error::Fault(sqlx::Error::Decode(fault.into()))
        };
        let currency = Currency::parse(&row.currency).ok_or_else(|| unknown("currency"))?;
        let fingerprint =
            row.fingerprint.as_slice().try_into().map_err(|_| unknown("fingerprint"))?;
        let amounts = row.quantities.iter().zip(&row.unit_prices_minor);
        let lines = row.sku_ids.iter().zip(amounts).map(|(&sku, (&quantity, &amount_minor))| {
            Line { sku: SkuId(sku), quantity, unit_price: Money { amount_minor, currency } }
        });
        Ok(Self {
            id: OrderId(row.order_id),
            user: UserId(row.user_id),
            fingerprint: Fingerprint(fingerprint),
            product: ProductId(row.product_id),
            state: State::from_word(&row.state).ok_or_else(|| unknown("state"))?,
            lines: lines.collect(),
            total: Money { amount_minor: row.total_minor, currency },
            sequence: row.sequence,
            pay_by: row.pay_by,
            step: match row.step.as_deref() {
                None => None,
                Some(word) => Some(Step::from_word(word).ok_or_else(|| unknown("step"))?),
            },
            failure: match row.failure.as_deref() {
                None => None,
                Some(word) => Some(Failure::from_word(word).ok_or_else(|| unknown("failure"))?),
            },
            payment_method: row.payment_method.clone(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
