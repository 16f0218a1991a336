//! Epochs: who may make the next gate, and from what.

use std::collections::HashMap;

use firstcome_proto::{BuyerId, ProductId, SkuId};
use sqlx::{Connection as _, Postgres, Transaction};
use time::OffsetDateTime;

use super::{
    Store,
    catalog::read_product,
    edits::{Refused, cancel_drop, describe, edit_skus, mark_changed, set_status},
    ledger::HoldRow,
};
use crate::{
    catalog::{Edit, Product},
    gate::Image,
    hold::Hold,
};

/// What to change while the product's stock is locked.
#[derive(Clone, Debug)]
pub enum Change {
    /// A SKU's total.
    Total {
        /// Which.
        sku: SkuId,
        /// Units that exist from now on.
        total: i32,
    },
    /// The window, the limit and the hold time.
    Drop(crate::catalog::Drop),
    /// No window any more.
    NoDrop,
    /// What the product says of itself, its status and its SKUs.
    Edit(Edit),
}

/// What became of an attempt to start the next epoch.
#[derive(Debug)]
pub enum Advance {
    /// Somebody else started a newer one; its gate is theirs to make.
    Adopted(Product),
    /// This process, and nobody else, is to make the gate of this epoch.
    Started(Product, Box<Image>),
    /// The change cannot be made.
    Refused(Refused),
}

struct StockRow {
    sku_id: uuid::Uuid,
    total: i32,
    held: i32,
    settled: i32,
    epoch: i64,
}

impl StockRow {
    /// Of a SKU that was just made.
    fn added((sku, total): (SkuId, i32)) -> Self {
        Self { sku_id: sku.0, total, held: 0, settled: 0, epoch: 0 }
    }
}

impl Store {
    /// Starts the next epoch, unless one newer than `failed` has been started; with a change,
    /// always. Everything that commits to this product waits meanwhile or finds its epoch over.
    pub async fn advance(
        &self,
        product: ProductId,
        failed: i64,
        change: Option<&Change>,
    ) -> Result<Advance, sqlx::Error> {
        let mut lent = self.pool.acquire().await?;
        let mut tx = lent.begin().await?;
        // The product first, in a statement of its own: whoever waits for stock rows alone does not
        // see the SKU that the transaction before them has added, and makes a gate without it. It
        // stands in nobody's way who only refers to the product.
        let locked = sqlx::query_scalar!(
            "select product_id from products where product_id = $1 for no key update",
            product.0,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if locked.is_none() {
            return Ok(Advance::Refused(Refused::NotFound("product")));
        }
        let mut stock = sqlx::query_as!(
            StockRow,
            "select sku_id, total, held, settled, epoch from stock
             where product_id = $1 order by sku_id for update",
            product.0,
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(epoch) = stock.iter().map(|row| row.epoch).max() else {
            return Ok(Advance::Refused(Refused::NotFound("product")));
        };
        if let Some(change) = change {
            if let Err(refused) = apply(&mut tx, product, &mut stock, change).await? {
                return Ok(Advance::Refused(refused));
            }
            mark_changed(&mut tx, product).await?;
        } else if epoch > failed {
            let product = read_product(&mut *tx, product).await?;
            return Ok(
                product.map_or(Advance::Refused(Refused::NotFound("product")), Advance::Adopted)
            );
        }

        let epoch = epoch + 1;
        sqlx::query!(
            "update stock set epoch = $2, touched_at = clock_timestamp() where product_id = $1",
            product.0,
            epoch,
        )
        .execute(&mut *tx)
        .await?;
        let Some(view) = read_product(&mut *tx, product).await? else {
            return Ok(Advance::Refused(Refused::NotFound("product")));
        };
        let image = image(&mut tx, &view, &stock, epoch).await?;
        // Committed before the gate is touched: one epoch is never issued twice.
        tx.commit().await?;
        lent.give_back();
        Ok(Advance::Started(view, Box::new(image)))
    }
}

async fn apply(
    tx: &mut Transaction<'_, Postgres>,
    product: ProductId,
    stock: &mut Vec<StockRow>,
    change: &Change,
) -> Result<Result<(), Refused>, sqlx::Error> {
    match change {
        Change::Total { sku, total } => {
            let Some(row) = stock.iter_mut().find(|row| row.sku_id == sku.0) else {
                return Ok(Err(Refused::NotFound("SKU")));
            };
            if *total < row.held + row.settled {
                return Ok(Err(Refused::BelowCommitted(row.held + row.settled)));
            }
            sqlx::query!(
                "insert into stock_changes (sku_id, total_from, total_to) values ($1, $2, $3)",
                sku.0,
                row.total,
                total,
            )
            .execute(&mut **tx)
            .await?;
            sqlx::query!("update stock set total = $2 where sku_id = $1", sku.0, total)
                .execute(&mut **tx)
                .await?;
            row.total = *total;
        }
        Change::Drop(drop) => {
            let scheduled = sqlx::query!(
                "update products set opens_at = $2, closes_at = $3, limit_per_buyer = $4,
                                     hold_ttl_ms = $5
                 where product_id = $1 and status = 'active'",
                product.0,
                drop.opens_at,
                drop.closes_at,
                drop.limit_per_buyer,
                drop.hold_ttl_ms,
            )
            .execute(&mut **tx)
            .await?;
            if scheduled.rows_affected() == 0 {
                return Ok(Err(Refused::Discontinued));
            }
        }
        Change::NoDrop => cancel_drop(tx, product).await?,
        Change::Edit(edit) => {
            if let Err(refused) = describe(tx, product, edit).await? {
                return Ok(Err(refused));
            }
            if let Some(status) = edit.status {
                set_status(tx, product, status).await?;
            }
            match edit_skus(tx, product, edit).await? {
                Ok(added) => stock.extend(added.into_iter().map(StockRow::added)),
                Err(refused) => return Ok(Err(refused)),
            }
        }
    }
    Ok(Ok(()))
}

/// Reads what the new gate is made of, under the lock of the stock rows: whoever was told "yes"
/// is in here, and whoever commits later needs the new epoch.
async fn image(
    tx: &mut Transaction<'_, Postgres>,
    product: &Product,
    stock: &[StockRow],
    epoch: i64,
) -> Result<Image, sqlx::Error> {
    let rows = sqlx::query_as!(
        HoldRow,
        "select reservation_id, buyer_id, seq, state, fingerprint, sku_ids, quantities,
                expires_at, forgotten
         from holds where product_id = $1 and state in ('held', 'pinned', 'settled')",
        product.id.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    let last =
        sqlx::query!("select max(seq) as seq from holds where product_id = $1", product.id.0)
            .fetch_one(&mut **tx)
            .await?;

    let mut units_of: HashMap<BuyerId, i64> = HashMap::new();
    let mut records = Vec::with_capacity(rows.len());
    let drop = product.drop.as_ref();
    let limit_per_buyer = drop.map_or(0, |drop| drop.limit_per_buyer);
    for hold in rows.into_iter().map(Hold::from) {
        if limit_per_buyer > 0 {
            let units: i64 = hold.wish.lines.iter().map(|line| i64::from(line.quantity)).sum();
            *units_of.entry(hold.wish.buyer).or_default() += units;
        }
        if hold.is_in_gate() {
            records.push((hold.wish, hold.seq));
        }
    }
    let ms =
        |instant: Option<OffsetDateTime>| instant.map_or(0, firstcome_proto::timestamp::unix_ms);
    Ok(Image {
        epoch,
        opens_ms: ms(drop.map(|drop| drop.opens_at)),
        closes_ms: ms(drop.and_then(|drop| drop.closes_at)),
        limit_per_buyer,
        seq: last.seq.unwrap_or(0),
        available: stock
            .iter()
            .map(|row| (SkuId(row.sku_id), row.total - row.held - row.settled))
            .collect(),
        records,
        units_of,
    })
}
