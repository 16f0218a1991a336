//! Orders as people look at them.

use firstcome_mesh::page::{Cursor, Page};
use firstcome_proto::{OrderId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Store, row::orders};
use crate::order::Order;

impl Store {
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

    /// Those of these orders whose state has changed since the instant beside them.
    pub async fn changed_since(
        &self,
        watched: &[(OrderId, OffsetDateTime)],
    ) -> Result<Vec<Order>, Error> {
        let ids: Vec<Uuid> = watched.iter().map(|(id, _)| id.0).collect();
        let known: Vec<OffsetDateTime> = watched.iter().map(|(_, instant)| *instant).collect();
        let rows = orders!(
            select "join unnest($1::uuid[], $2::timestamptz[]) as watched (id, known) \
              on orders.order_id = watched.id where orders.updated_at > watched.known",
            &ids,
            &known,
        )
        .fetch_all(&self.pool)
        .await?;
        // One row that this build cannot read must not blind whoever watches another.
        Ok(rows.into_iter().filter_map(|row| Order::try_from(row).ok()).collect())
    }

    /// A page of somebody's orders, newest first, and one more if there is one.
    pub async fn list(&self, user: UserId, page: Page) -> Result<Vec<Order>, Error> {
        let (instant, id) = before(page);
        let rows = orders!(
            select "where user_id = $1 and (created_at, order_id) < ($2, $3) \
              order by created_at desc, order_id desc limit $4",
            user.0,
            instant,
            id,
            page.size + 1,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Order::try_from).collect()
    }

    /// A page of everybody's orders, newest first, and one more if there is one.
    pub async fn list_all(&self, page: Page) -> Result<Vec<Order>, Error> {
        let (instant, id) = before(page);
        let rows = orders!(
            select "where (created_at, order_id) < ($1, $2) \
              order by created_at desc, order_id desc limit $3",
            instant,
            id,
            page.size + 1,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Order::try_from).collect()
    }
}

/// Where a page begins, as a row's place in the list.
fn before(page: Page) -> (OffsetDateTime, Uuid) {
    let Cursor { created_us, id } = page.before.unwrap_or(Cursor::END);
    let instant = OffsetDateTime::from_unix_timestamp_nanos(i128::from(created_us) * 1000);
    // Later than time can say, and so later than every row.
    (instant.unwrap_or(LAST_INSTANT), id)
}

/// The last that `time` can say.
const LAST_INSTANT: OffsetDateTime = time::macros::datetime!(9999-12-31 23:59:59 UTC);
