//! Products and SKUs, and the counters as people see them.

use std::collections::HashMap;

use firstcome_postgres::broken_constraint;
use firstcome_proto::{Money, ProductId, SkuId, money::Currency};
use sqlx::{Connection as _, PgConnection, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Store;
use crate::catalog::{Drop, Kind, NewProduct, NewSku, Product, Sku, Status};

/// Why a product was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Another product has the name.
    #[error("the name is taken")]
    NameTaken,
    /// The key made another product.
    #[error("the key was used with other contents")]
    KeyReused,
    /// Postgres is in trouble.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A SKU's counters in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Units that exist.
    pub total: i32,
    /// Units held or pinned.
    pub held: i32,
    /// Units sold.
    pub settled: i32,
}

impl Counters {
    /// Units that nobody has, as far as the ledger knows.
    pub fn available(self) -> i32 {
        self.total - self.held - self.settled
    }
}

/// A product's counters, all read at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// The gate that may admit.
    pub epoch: i64,
    /// Each SKU's.
    pub skus: HashMap<SkuId, Counters>,
}

/// A row of `products` with its marks.
pub(super) struct ProductRow {
    pub product_id: Uuid,
    pub name: String,
    pub description: String,
    pub currency: String,
    pub category: String,
    pub kind: String,
    pub status: String,
    pub opens_at: Option<OffsetDateTime>,
    pub closes_at: Option<OffsetDateTime>,
    pub limit_per_buyer: i32,
    pub hold_ttl_ms: i32,
    pub created_at: OffsetDateTime,
    pub like_count: i32,
}

/// A row of `skus` with its total and epoch.
pub(super) struct SkuRow {
    pub product_id: Uuid,
    pub sku_id: Uuid,
    pub label: String,
    pub color: String,
    pub size: String,
    pub price_minor: i64,
    pub total: i32,
    pub epoch: i64,
}

impl Store {
    /// Makes a product; the same key gives the one it made. A general one is on sale from now on.
    pub async fn create_product(&self, new: &NewProduct) -> Result<Product, CreateError> {
        let product = ProductId(Uuid::now_v7());
        let mut lent = self.pool.acquire().await?;
        let mut tx = lent.begin().await?;
        let made = sqlx::query!(
            "insert into products (product_id, name, description, currency, idempotency_key,
                                   fingerprint, category, kind, opens_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8,
                     case when $8 = 'general'
                          then date_trunc('milliseconds', clock_timestamp()) end)
             on conflict on constraint products_idempotency_key do nothing",
            product.0,
            new.name,
            new.description,
            new.currency.as_str(),
            new.idempotency_key,
            new.fingerprint(),
            new.category,
            new.kind.as_str(),
        )
        .execute(&mut *tx)
        .await;
        let is_made = match made {
            Ok(made) => made.rows_affected() == 1,
            // By another product, or by this very one, made by a parallel call with the same key.
            Err(error) if broken_constraint(&error) == Some("products_name_key") => false,
            Err(error) => return Err(error.into()),
        };
        if !is_made {
            tx.rollback().await?;
            lent.give_back();
            return self.product_of_key(new).await;
        }
        insert_skus(&mut tx, product, &new.skus).await?;
        let made = read_product(&mut *tx, product).await?;
        tx.commit().await?;
        lent.give_back();
        Ok(made.expect("it was made in this transaction"))
    }

    async fn product_of_key(&self, new: &NewProduct) -> Result<Product, CreateError> {
        let made = sqlx::query!(
            "select product_id, fingerprint from products where idempotency_key = $1",
            new.idempotency_key,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(CreateError::NameTaken)?;
        if made.fingerprint != new.fingerprint() {
            return Err(CreateError::KeyReused);
        }
        let product = read_product(&self.pool, ProductId(made.product_id)).await?;
        Ok(product.expect("products are never deleted"))
    }

    /// Reads a product.
    pub async fn product(&self, product: ProductId) -> Result<Option<Product>, sqlx::Error> {
        read_product(&self.pool, product).await
    }

    /// Reads a product's counters.
    pub async fn books(&self, product: ProductId) -> Result<Books, sqlx::Error> {
        let rows = sqlx::query!(
            "select sku_id, total, held, settled, epoch from stock where product_id = $1",
            product.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut books = Books::default();
        for row in rows {
            books.epoch = books.epoch.max(row.epoch);
            let counters = Counters { total: row.total, held: row.held, settled: row.settled };
            books.skus.insert(SkuId(row.sku_id), counters);
        }
        Ok(books)
    }

    /// The products that ever had a gate and may have one now, for those who look after them.
    pub async fn products_with_gate(&self) -> Result<Vec<ProductId>, sqlx::Error> {
        let rows = sqlx::query!("select distinct product_id from stock where epoch > 0")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|row| ProductId(row.product_id)).collect())
    }

    /// The products whose counters changed within this span.
    pub async fn products_touched(&self, within_ms: i64) -> Result<Vec<ProductId>, sqlx::Error> {
        let rows = sqlx::query!(
            "select distinct product_id from stock
             where touched_at > now() - $1 * interval '1 millisecond' and epoch > 0",
            within_ms as f64,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| ProductId(row.product_id)).collect())
    }
}

/// Inserts SKUs after those that are there, with the rows that count them; gives their ids.
pub(super) async fn insert_skus(
    tx: &mut PgConnection,
    product: ProductId,
    skus: &[NewSku],
) -> Result<Vec<SkuId>, sqlx::Error> {
    let ids: Vec<Uuid> = skus.iter().map(|_| Uuid::now_v7()).collect();
    let places: Vec<i32> = (1..).take(skus.len()).collect();
    let labels: Vec<String> = skus.iter().map(|sku| sku.label.clone()).collect();
    let colors: Vec<String> = skus.iter().map(|sku| sku.color.clone()).collect();
    let sizes: Vec<String> = skus.iter().map(|sku| sku.size.clone()).collect();
    let prices: Vec<i64> = skus.iter().map(|sku| sku.price_minor).collect();
    let totals: Vec<i32> = skus.iter().map(|sku| sku.total).collect();
    sqlx::query!(
        "insert into skus (sku_id, product_id, position, label, color, size, price_minor)
         select sku_id, $1,
                place + coalesce((select max(position) from skus where product_id = $1), -1),
                label, color, size, price_minor
         from unnest($2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::bigint[])
              as new (sku_id, place, label, color, size, price_minor)",
        product.0,
        &ids,
        &places,
        &labels,
        &colors,
        &sizes,
        &prices,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into stock (sku_id, product_id, total)
         select sku_id, $1, total from unnest($2::uuid[], $3::integer[]) as new (sku_id, total)",
        product.0,
        &ids,
        &totals,
    )
    .execute(&mut *tx)
    .await?;
    Ok(ids.into_iter().map(SkuId).collect())
}

/// Reads a product inside or outside a transaction.
pub(super) async fn read_product<'e>(
    executor: impl PgExecutor<'e>,
    product: ProductId,
) -> Result<Option<Product>, sqlx::Error> {
    let rows = sqlx::query!(
        "select p.product_id, p.name, p.description, p.currency, p.category, p.kind, p.status,
                p.opens_at, p.closes_at, p.limit_per_buyer, p.hold_ttl_ms, p.created_at,
                m.like_count, k.sku_id, k.label, k.color, k.size, k.price_minor, s.total, s.epoch
         from products p join product_marks m using (product_id)
              join skus k using (product_id) join stock s using (sku_id)
         where p.product_id = $1 order by k.position",
        product.0,
    )
    .fetch_all(executor)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let product = ProductRow {
        product_id: first.product_id,
        name: first.name.clone(),
        description: first.description.clone(),
        currency: first.currency.clone(),
        category: first.category.clone(),
        kind: first.kind.clone(),
        status: first.status.clone(),
        opens_at: first.opens_at,
        closes_at: first.closes_at,
        limit_per_buyer: first.limit_per_buyer,
        hold_ttl_ms: first.hold_ttl_ms,
        created_at: first.created_at,
        like_count: first.like_count,
    };
    let skus = rows.into_iter().map(|row| SkuRow {
        product_id: row.product_id,
        sku_id: row.sku_id,
        label: row.label,
        color: row.color,
        size: row.size,
        price_minor: row.price_minor,
        total: row.total,
        epoch: row.epoch,
    });
    Ok(Some(assemble(product, skus.collect())))
}

/// Makes a product of its rows.
pub(super) fn assemble(row: ProductRow, skus: Vec<SkuRow>) -> Product {
    let currency = Currency::parse(&row.currency).expect("a currency was checked on receipt");
    Product {
        id: ProductId(row.product_id),
        name: row.name,
        description: row.description,
        category: row.category,
        kind: Kind::parse(&row.kind).expect("products_kind_check"),
        status: Status::parse(&row.status).expect("products_status_check"),
        like_count: row.like_count,
        drop: row.opens_at.map(|opens_at| Drop {
            opens_at,
            closes_at: row.closes_at,
            limit_per_buyer: row.limit_per_buyer,
            hold_ttl_ms: row.hold_ttl_ms,
        }),
        created_at: row.created_at,
        epoch: skus.iter().map(|sku| sku.epoch).max().unwrap_or(0),
        skus: skus
            .into_iter()
            .map(|sku| Sku {
                id: SkuId(sku.sku_id),
                label: sku.label,
                color: sku.color,
                size: sku.size,
                price: Money { amount_minor: sku.price_minor, currency },
                total: sku.total,
            })
            .collect(),
    }
}
