//! Pages of products, by what they are filtered.

use std::collections::HashMap;

use firstcome_mesh::page::Cursor;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{
    Store,
    catalog::{ProductRow, SkuRow, assemble},
};
use crate::catalog::{Kind, Listing, Product};

impl Store {
    /// Reads a page of active products, newest first. Each way of asking walks an index of its own.
    pub async fn products(&self, listing: &Listing) -> Result<Vec<Product>, sqlx::Error> {
        let rows = match (&listing.filters.query, &listing.filters.category) {
            (Some(_), _) => self.products_found(listing).await?,
            (None, Some(_)) => self.products_of_category(listing).await?,
            (None, None) => self.products_on_sale(listing).await?,
        };
        let ids: Vec<Uuid> = rows.iter().map(|row| row.product_id).collect();
        let mut skus: HashMap<Uuid, Vec<SkuRow>> = HashMap::new();
        for sku in read_skus(&self.pool, &ids).await? {
            skus.entry(sku.product_id).or_default().push(sku);
        }
        Ok(rows
            .into_iter()
            .map(|row| {
                let skus = skus.remove(&row.product_id).unwrap_or_default();
                assemble(row, skus)
            })
            .collect())
    }

    async fn products_on_sale(&self, listing: &Listing) -> Result<Vec<ProductRow>, sqlx::Error> {
        let before = listing.page.before.unwrap_or(Cursor::END);
        sqlx::query_as!(
            ProductRow,
            "select product_id, name, description, currency, category, kind, status, opens_at,
                    closes_at, limit_per_buyer, hold_ttl_ms, created_at, like_count
             from products join product_marks using (product_id)
             where status = 'active'
                   and (created_at, product_id) <
                       (timestamptz 'epoch' + $1 * interval '1 microsecond', $2)
                   and ($4::text is null or kind = $4)
             order by created_at desc, product_id desc limit $3",
            before.created_us as f64,
            before.id,
            listing.page.size,
            listing.filters.kind.map(Kind::as_str),
        )
        .fetch_all(&self.pool)
        .await
    }

    async fn products_of_category(
        &self,
        listing: &Listing,
    ) -> Result<Vec<ProductRow>, sqlx::Error> {
        let before = listing.page.before.unwrap_or(Cursor::END);
        sqlx::query_as!(
            ProductRow,
            "select product_id, name, description, currency, category, kind, status, opens_at,
                    closes_at, limit_per_buyer, hold_ttl_ms, created_at, like_count
             from products join product_marks using (product_id)
             where status = 'active' and category = $5
                   and (created_at, product_id) <
                       (timestamptz 'epoch' + $1 * interval '1 microsecond', $2)
                   and ($4::text is null or kind = $4)
             order by created_at desc, product_id desc limit $3",
            before.created_us as f64,
            before.id,
            listing.page.size,
            listing.filters.kind.map(Kind::as_str),
            listing.filters.category,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// What is found is gathered first and put in order then: walking the list from its top until
    /// enough rows were found would read all of it for a rare word. What is searched for is made
    /// once, and not for each row. Of a text search each word is quoted, and begins what is found;
    /// what would end the quotes is taken out after folding, which makes a quote of U+FF07 and a
    /// backslash of U+FF3C.
    async fn products_found(&self, listing: &Listing) -> Result<Vec<ProductRow>, sqlx::Error> {
        let before = listing.page.before.unwrap_or(Cursor::END);
        let query = listing.filters.query.as_ref().expect("the caller has one");
        sqlx::query_as!(
            ProductRow,
            "with found as materialized (
                 select product_id, created_at from products
                 where status = 'active'
                       and (created_at, product_id) <
                           (timestamptz 'epoch' + $1 * interval '1 microsecond', $2)
                       and ($4::text is null or kind = $4)
                       and ($5::text is null or category = $5)
                       and (name_doubled like (select part(doubled(folded($6))))
                            and name_folded like all (array(select part(folded(word))
                                                            from unnest($7::text[]) as word))
                            or words @@ (select to_tsquery('simple',
                                   string_agg('''' || translate(folded(word), '''\\', '  ')
                                                   || ''':*', ' & '))
                                         from unnest($7::text[]) as word))
             ),
             page as (
                 select product_id from found
                 order by created_at desc, product_id desc limit $3
             )
             select product_id, name, description, currency, category, kind, status, opens_at,
                    closes_at, limit_per_buyer, hold_ttl_ms, created_at, like_count
             from page join products using (product_id) join product_marks using (product_id)
             order by created_at desc, product_id desc",
            before.created_us as f64,
            before.id,
            listing.page.size,
            listing.filters.kind.map(Kind::as_str),
            listing.filters.category,
            query.longest(),
            query.words(),
        )
        .fetch_all(&self.pool)
        .await
    }
}

async fn read_skus(
    executor: impl PgExecutor<'_>,
    products: &[Uuid],
) -> Result<Vec<SkuRow>, sqlx::Error> {
    sqlx::query_as!(
        SkuRow,
        "select k.product_id, k.sku_id, k.label, k.color, k.size, k.price_minor, s.total, s.epoch
         from skus k join stock s using (sku_id)
         where k.product_id = any($1) order by k.position",
        products,
    )
    .fetch_all(executor)
    .await
}
