//! Changes of what products say of themselves, and the mark that tells replicas of any change.

use firstcome_postgres::broken_constraint;
use firstcome_proto::{ProductId, SkuId};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{
    Store,
    catalog::{insert_skus, read_product},
};
use crate::catalog::{Edit, HOLD_TTL_MS_DEFAULT, Misfit, NewSku, Product, Sku, Status};

/// Changes that one look takes up; after more, whoever asked had better forget everything.
pub const CHANGES_MAX: usize = 10_000;

/// Why a change was refused; nothing was changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such product or SKU.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The total would be below what is held and sold.
    #[error("{0} units are held or sold")]
    BelowCommitted(i32),
    /// Another product has the name.
    #[error("the name is taken")]
    NameTaken,
    /// Nothing is scheduled for what is no longer sold.
    #[error("the product is discontinued")]
    Discontinued,
    /// A field does not fit the product as it is.
    #[error("{}: {}", .0.field, .0.want)]
    Misfit(Misfit),
}

/// What was changed since somebody asked last.
#[derive(Debug)]
pub struct Changes {
    /// Transactions below this number had ended: where to ask from next time.
    pub horizon: i64,
    /// Products, each with the transaction that changed it last; some may have been told before.
    pub products: Vec<(ProductId, i64)>,
}

impl Store {
    /// Makes an edit that does not reach the gate.
    pub async fn edit_product(
        &self,
        product: ProductId,
        edit: &Edit,
    ) -> Result<Result<Product, Refused>, sqlx::Error> {
        assert!(!edit.reaches_gate(), "such an edit takes an epoch");
        let mut lent = self.pool.acquire().await?;
        let mut tx = lent.begin().await?;
        if let Err(refused) = describe(&mut tx, product, edit).await? {
            return Ok(Err(refused));
        }
        mark_changed(&mut tx, product).await?;
        let Some(edited) = read_product(&mut *tx, product).await? else {
            return Ok(Err(Refused::NotFound("product")));
        };
        tx.commit().await?;
        lent.give_back();
        Ok(Ok(edited))
    }

    /// What was changed by transactions that had not ended at this horizon; without one, nothing
    /// but where to begin.
    pub async fn changes(&self, horizon: Option<i64>) -> Result<Changes, sqlx::Error> {
        // Rows of a transaction that this snapshot cannot have seen come from another server's
        // dump; its numbers mean nothing here.
        let rows = sqlx::query!(
            r#"select now.horizon as "horizon!", marks.product_id as "product_id?",
                      marks.changed_in as "changed_in?"
               from (select pg_snapshot_xmin(snapshot)::text::bigint as horizon,
                            pg_snapshot_xmax(snapshot)::text::bigint as unseen
                     from pg_current_snapshot() as snapshot) as now
                    left join product_marks as marks
                         on marks.changed_in >= $1 and marks.changed_in < now.unseen
               limit $2"#,
            horizon.unwrap_or(i64::MAX),
            CHANGES_MAX as i64,
        )
        .fetch_all(&self.pool)
        .await?;
        let horizon = rows.first().map_or(0, |row| row.horizon);
        let products = rows.into_iter().filter_map(|row| {
            let (product, changed_in) = row.product_id.zip(row.changed_in)?;
            Some((ProductId(product), changed_in))
        });
        Ok(Changes { horizon, products: products.collect() })
    }
}

/// Says that visitors see something else of this product from now on; the last step of each
/// transaction that changes it.
pub(super) async fn mark_changed(
    tx: &mut PgConnection,
    product: ProductId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update product_marks set changed_in = this_transaction() where product_id = $1",
        product.0,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Changes name, description and category.
pub(super) async fn describe(
    tx: &mut PgConnection,
    product: ProductId,
    edit: &Edit,
) -> Result<Result<(), Refused>, sqlx::Error> {
    let described = sqlx::query!(
        "update products set name = coalesce($2, name), description = coalesce($3, description),
                             category = coalesce($4, category)
         where product_id = $1",
        product.0,
        edit.name,
        edit.description,
        edit.category,
    )
    .execute(tx)
    .await;
    match described {
        Ok(described) if described.rows_affected() == 0 => Ok(Err(Refused::NotFound("product"))),
        Ok(_) => Ok(Ok(())),
        Err(error) if broken_constraint(&error) == Some("products_name_key") => {
            Ok(Err(Refused::NameTaken))
        }
        Err(error) => Err(error),
    }
}

/// Ends a product, with its window, or makes it part of the shop again.
pub(super) async fn set_status(
    tx: &mut PgConnection,
    product: ProductId,
    status: Status,
) -> Result<(), sqlx::Error> {
    if status == Status::Discontinued {
        cancel_drop(tx, product).await?;
    }
    sqlx::query!(
        "update products set status = $2,
                opens_at = case when $2 = 'active' and status = 'discontinued' and kind = 'general'
                                then date_trunc('milliseconds', clock_timestamp())
                                else opens_at end
         where product_id = $1",
        product.0,
        status.as_str(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes the window away, and limit and hold time with it.
pub(super) async fn cancel_drop(
    tx: &mut PgConnection,
    product: ProductId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update products set opens_at = null, closes_at = null, limit_per_buyer = 0,
                             hold_ttl_ms = $2
         where product_id = $1",
        product.0,
        HOLD_TTL_MS_DEFAULT,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Changes and adds SKUs; the product and its stock rows are locked. Gives the added ones with their
/// totals.
pub(super) async fn edit_skus(
    tx: &mut PgConnection,
    product: ProductId,
    edit: &Edit,
) -> Result<Result<Vec<(SkuId, i32)>, Refused>, sqlx::Error> {
    if edit.skus.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let Some(before) = read_product(&mut *tx, product).await? else {
        return Ok(Err(Refused::NotFound("product")));
    };
    let plan = match edit.plan(&before) {
        Ok(plan) => plan,
        Err(misfit) => return Ok(Err(Refused::Misfit(misfit))),
    };
    change_skus(tx, &plan.changed).await?;
    let added = insert_skus(tx, product, &plan.added).await?;
    let totals = plan.added.iter().map(|sku: &NewSku| sku.total);
    Ok(Ok(added.into_iter().zip(totals).collect()))
}

async fn change_skus(tx: &mut PgConnection, skus: &[Sku]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = skus.iter().map(|sku| sku.id.0).collect();
    let labels: Vec<String> = skus.iter().map(|sku| sku.label.clone()).collect();
    let colors: Vec<String> = skus.iter().map(|sku| sku.color.clone()).collect();
    let sizes: Vec<String> = skus.iter().map(|sku| sku.size.clone()).collect();
    let prices: Vec<i64> = skus.iter().map(|sku| sku.price.amount_minor).collect();
    // One statement, at whose end labels are unique again, also when two were swapped.
    sqlx::query!(
        "update skus set label = new.label, color = new.color, size = new.size,
                         price_minor = new.price_minor
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[])
              as new (sku_id, label, color, size, price_minor)
         where skus.sku_id = new.sku_id",
        &ids,
        &labels,
        &colors,
        &sizes,
        &prices,
    )
    .execute(tx)
    .await?;
    Ok(())
}
