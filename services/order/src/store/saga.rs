//! The saga's statements: marks, moves and claims.

use std::{collections::HashMap, time::Duration};

use firstcome_proto::OrderId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Store, row::orders};
use crate::order::{Failure, Order, PaymentIntent, State, Step};

/// One change of one order: from where, to where, and when a worker may look at it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub order: OrderId,
    /// Only if it is in this state and at this step.
    pub from: (State, Step),
    /// The state afterwards.
    pub state: State,
    /// The step afterwards; `None` exactly when the state is final.
    pub to: Option<Step>,
    /// Why the payment fails, when this is where it turns out.
    pub failure: Option<Failure>,
    /// How long a worker leaves it alone.
    pub wait: Duration,
    /// Only if it came to its state no longer ago than this.
    pub within: Option<Duration>,
}

impl Store {
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
        let addresses: Vec<Vec<u8>> =
            payments.iter().map(|payment| self.seal(payment.order, &payment.address)).collect();
        // The other payment is counted, not anti-joined: a join might walk all payments under way,
        // and what is left of those that ended, where a count asks for this buyer's.
        let marked = orders!(
            change "update orders set step = 'pin', payment_method = mark.method, \
              address_sealed = mark.destination, next_step_at = now() + make_interval(secs => $5), \
              due_since = null \
              from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[]) \
              as mark (id, buyer, method, destination) \
              where orders.order_id = mark.id and orders.user_id = mark.buyer \
              and orders.state = 'pending_payment' and orders.step = 'expire' \
              and (select count(*) from orders as other \
                where other.user_id = mark.buyer and other.paying) = 0",
            &orders,
            &users,
            &methods as &[&str],
            &addresses,
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

    /// Makes each move whose order is where the move starts, and gives the time of the last change
    /// of state of each order that moved. A change of state writes its event with it. The orders
    /// must be distinct.
    pub async fn make(&self, moves: &[Move]) -> Result<HashMap<OrderId, OffsetDateTime>, Error> {
        let orders: Vec<Uuid> = moves.iter().map(|step| step.order.0).collect();
        let from_states: Vec<&str> = moves.iter().map(|step| step.from.0.word()).collect();
        let froms: Vec<&str> = moves.iter().map(|step| step.from.1.word()).collect();
        let states: Vec<&str> = moves.iter().map(|step| step.state.word()).collect();
        let tos: Vec<Option<&str>> = moves.iter().map(|step| step.to.map(Step::word)).collect();
        let failures: Vec<Option<&str>> =
            moves.iter().map(|step| step.failure.map(Failure::word)).collect();
        let waits: Vec<f64> = moves.iter().map(|step| step.wait.as_secs_f64()).collect();
        let withins: Vec<Option<f64>> =
            moves.iter().map(|step| step.within.map(|span| span.as_secs_f64())).collect();
        let moved = sqlx::query!(
            r#"
            with moved as (
                update orders
                set state = move.state,
                    step = move.step,
                    failure = coalesce(move.failure, orders.failure),
                    -- A lease that has hardly begun is left as it is: the row's new version then
                    -- concerns no index.
                    next_step_at = case
                        when move.step is null then null
                        when move.state = orders.state
                            and orders.next_step_at between
                            now() + make_interval(secs => 0.75 * move.wait)
                            and now() + make_interval(secs => move.wait)
                        then orders.next_step_at
                        else now() + make_interval(secs => move.wait)
                    end,
                    -- Trying the same step again makes it no younger.
                    due_since = case
                        when move.state = orders.state and move.step = orders.step
                        then orders.due_since
                    end,
                    updated_at = case
                        when move.state <> orders.state then now() else orders.updated_at
                    end
                from unnest(
                    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::float8[], $8::float8[]
                ) as move (order_id, from_state, from_step, state, step, failure, wait, within)
                where orders.order_id = move.order_id
                  and orders.state = move.from_state
                  and orders.step = move.from_step
                  and (move.within is null
                       or now() <= orders.updated_at + make_interval(secs => move.within))
                returning orders.order_id, orders.user_id, move.from_state, orders.state,
                          orders.total_minor, orders.currency, orders.updated_at
            ), told as (
                insert into outbox (order_id, user_id, from_state, state, total_minor, currency)
                select order_id, user_id, from_state, state, total_minor, currency
                from moved where state <> from_state
            )
            select order_id, updated_at from moved
            "#,
            &orders,
            &from_states as &[&str],
            &froms as &[&str],
            &states as &[&str],
            &tos as &[Option<&str>],
            &failures as &[Option<&str>],
            &waits,
            &withins as &[Option<f64>],
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(moved.into_iter().map(|row| (OrderId(row.order_id), row.updated_at)).collect())
    }

    /// Takes orders whose next step is due, oldest first, and leases them; other replicas skip
    /// what this one takes. An unreadable row is logged and left. `now()`, the statement's own time,
    /// lets the index find them.
    pub async fn claim_due(&self, count: i64, lease: Duration) -> Result<Vec<Order>, Error> {
        let rows = orders!(
            change "with due as materialized ( \
                select order_id from orders where next_step_at <= now() \
                order by next_step_at limit $1 for update skip locked \
              ) \
              update orders set next_step_at = now() + make_interval(secs => $2), \
              due_since = coalesce(due_since, next_step_at) \
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
