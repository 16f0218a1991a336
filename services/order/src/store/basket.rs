//! Carts and wishlists.

use firstcome_proto::{ProductId, SkuId, UserId};
use sqlx::Connection as _;
use uuid::Uuid;

use super::{Error, Store};
use crate::{
    basket::{BASKET_LINES_MAX, Basket, Item},
    wanted::Wanted,
};

/// The constraint that bounds a line's units.
const LINE_QUANTITY: &str = "basket_lines_quantity";

/// What became of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The line has so many units now.
    Units(i32),
    /// The key was used for something else.
    KeyReused,
    /// There is no room in the list, or in the line.
    Full,
}

impl Store {
    /// Adds units to a list, once for each key.
    pub async fn add_to_basket(
        &self,
        user: UserId,
        basket: Basket,
        key: &str,
        wanted: Wanted,
    ) -> Result<Added, Error> {
        let mut lent = self.pool.acquire().await?;
        let mut tx = lent.begin().await?;
        // One addition of a list at a time, so that its lines can be counted.
        sqlx::query!(
            "select pg_advisory_xact_lock(hashtextextended($1::uuid::text || $2, 0))",
            user.0,
            basket.word(),
        )
        .execute(&mut *tx)
        .await?;
        let is_new = sqlx::query!(
            "insert into basket_keys (user_id, basket, idempotency_key, sku_id, quantity) \
             values ($1, $2, $3, $4, $5) on conflict do nothing",
            user.0,
            basket.word(),
            key,
            wanted.sku.0,
            wanted.quantity,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected()
            == 1;
        let added = if is_new {
            let line = sqlx::query_scalar!(
                "insert into basket_lines as line (user_id, basket, sku_id, product_id, quantity) \
                 select $1, $2, $3, $4, $5 \
                 where (select count(*) from basket_lines \
                        where user_id = $1 and basket = $2 and sku_id <> $3) < $6 \
                 on conflict (user_id, basket, sku_id) \
                 do update set quantity = line.quantity + excluded.quantity \
                 returning quantity",
                user.0,
                basket.word(),
                wanted.sku.0,
                wanted.product.0,
                wanted.quantity,
                i64::try_from(BASKET_LINES_MAX).expect("a small number"),
            )
            .fetch_optional(&mut *tx)
            .await
            .map_err(Error::from);
            match line {
                Ok(Some(quantity)) => Added::Units(quantity),
                Ok(None) => Added::Full,
                Err(fault) if fault.broke(LINE_QUANTITY) => Added::Full,
                Err(fault) => return Err(fault),
            }
        } else {
            self::replayed(&mut tx, user, basket, key, wanted).await?
        };
        match added {
            Added::Units(_) => tx.commit().await?,
            // The key is not used up: what was refused may be tried again with it.
            Added::KeyReused | Added::Full => tx.rollback().await?,
        }
        lent.give_back();
        Ok(added)
    }

    /// Sets a line's units; false when there is no such line.
    pub async fn set_in_basket(
        &self,
        user: UserId,
        basket: Basket,
        sku: SkuId,
        quantity: i32,
    ) -> Result<bool, Error> {
        let set = sqlx::query!(
            "update basket_lines set quantity = $4 \
             where user_id = $1 and basket = $2 and sku_id = $3",
            user.0,
            basket.word(),
            sku.0,
            quantity,
        )
        .execute(&self.pool)
        .await?;
        Ok(set.rows_affected() == 1)
    }

    /// Takes a line out, or with no SKU all of them.
    pub async fn remove_from_basket(
        &self,
        user: UserId,
        basket: Basket,
        sku: Option<SkuId>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "delete from basket_lines \
             where user_id = $1 and basket = $2 and ($3::uuid is null or sku_id = $3)",
            user.0,
            basket.word(),
            sku.map(|sku| sku.0),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The whole list, oldest line first.
    pub async fn basket(&self, user: UserId, basket: Basket) -> Result<Vec<Item>, Error> {
        let rows = sqlx::query!(
            "select product_id, sku_id, quantity, added_at from basket_lines \
             where user_id = $1 and basket = $2 order by added_at, sku_id",
            user.0,
            basket.word(),
        )
        .fetch_all(&self.pool)
        .await?;
        let item = |product: Uuid, sku: Uuid, quantity| Wanted {
            product: ProductId(product),
            sku: SkuId(sku),
            quantity,
        };
        Ok(rows
            .into_iter()
            .map(|row| Item {
                wanted: item(row.product_id, row.sku_id, row.quantity),
                added_at: row.added_at,
            })
            .collect())
    }

    /// Forgets keys of additions that nobody retries any more, so many at once; gives how many.
    pub async fn forget_basket_keys(&self, count_max: i64) -> Result<u64, Error> {
        let forgotten = sqlx::query!(
            "delete from basket_keys where (user_id, basket, idempotency_key) in ( \
                 select user_id, basket, idempotency_key from basket_keys \
                 where used_at < now() - interval '1 day' order by used_at limit $1 \
                 for update skip locked \
             )",
            count_max,
        )
        .execute(&self.pool)
        .await?;
        Ok(forgotten.rows_affected())
    }
}

/// What a key that was used before answers: the line as it is now.
async fn replayed(
    connection: &mut sqlx::PgConnection,
    user: UserId,
    basket: Basket,
    key: &str,
    wanted: Wanted,
) -> Result<Added, Error> {
    let used = sqlx::query!(
        "select k.sku_id, k.quantity, line.quantity as \"units?\" \
         from basket_keys k left join basket_lines line using (user_id, basket, sku_id) \
         where user_id = $1 and basket = $2 and idempotency_key = $3",
        user.0,
        basket.word(),
        key,
    )
    .fetch_one(connection)
    .await?;
    if (used.sku_id, used.quantity) != (wanted.sku.0, wanted.quantity) {
        return Ok(Added::KeyReused);
    }
    Ok(Added::Units(used.units.unwrap_or(0)))
}
