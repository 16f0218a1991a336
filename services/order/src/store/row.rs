//! An order's row, and the queries that give whole ones.

use firstcome_proto::{Money, OrderId, ProductId, SkuId, UserId, money::Currency};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Error;
use crate::order::{Failure, Fingerprint, Line, Order, State, Step};

/// The columns of `orders` that are ever read back.
pub(super) struct Row {
    pub order_id: Uuid,
    pub user_id: Uuid,
    pub state: String,
    pub fingerprint: Vec<u8>,
    pub product_id: Uuid,
    pub sku_ids: Vec<Uuid>,
    pub quantities: Vec<i32>,
    pub unit_prices_minor: Vec<i64>,
    pub currency: String,
    pub total_minor: i64,
    pub sequence: i64,
    pub pay_by: OffsetDateTime,
    pub attempt: Option<i64>,
    pub line_product_ids: Option<Vec<Uuid>>,
    pub line_sequences: Option<Vec<i64>>,
    pub step: Option<String>,
    pub failure: Option<String>,
    pub payment_method: Option<String>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A query that gives whole orders, so that their columns are listed in one place. Without the
/// address, which few may see: [`Store::address_of`](super::Store::address_of) reads it.
macro_rules! orders {
    (select $tail:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::store::row::Row,
            "select order_id, user_id, state, fingerprint, product_id, sku_ids, quantities, \
             unit_prices_minor, currency, total_minor, sequence, pay_by, attempt, \
             line_product_ids, line_sequences, step, failure, payment_method, created_at, \
             updated_at from orders "
                + $tail
            $(, $argument)*
        )
    };
    (change $head:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::store::row::Row,
            $head
                + " returning orders.order_id, user_id, state, fingerprint, product_id, sku_ids, \
                   quantities, unit_prices_minor, currency, total_minor, sequence, pay_by, \
                   attempt, line_product_ids, line_sequences, step, failure, payment_method, \
                   created_at, updated_at"
            $(, $argument)*
        )
    };
}

pub(super) use orders;

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
        // An order of one product says so once.
        let line = |place: usize| {
            let nth =
                |ids: &Option<Vec<Uuid>>| ids.as_ref().and_then(|ids| ids.get(place).copied());
            let sequences = row.line_sequences.as_ref();
            Some(Line {
                product: ProductId(nth(&row.line_product_ids).unwrap_or(row.product_id)),
                sku: SkuId(*row.sku_ids.get(place)?),
                quantity: *row.quantities.get(place)?,
                unit_price: Money { amount_minor: *row.unit_prices_minor.get(place)?, currency },
                sequence: sequences
                    .and_then(|sequences| sequences.get(place).copied())
                    .unwrap_or(row.sequence),
            })
        };
        let lines = (0..row.sku_ids.len()).map(|place| line(place).ok_or_else(|| unknown("line")));
        Ok(Self {
            id: OrderId(row.order_id),
            user: UserId(row.user_id),
            fingerprint: Fingerprint(fingerprint),
            product: ProductId(row.product_id),
            state: State::from_word(&row.state).ok_or_else(|| unknown("state"))?,
            lines: lines.collect::<Result<_, _>>()?,
            total: Money { amount_minor: row.total_minor, currency },
            sequence: row.sequence,
            pay_by: row.pay_by,
            attempt: row.attempt,
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
