//! Who likes what: one row per user and product, and a count that moves with the rows.

use firstcome_proto::{ProductId, UserId};

use super::Store;

impl Store {
    /// Says that a user likes a product; gives how many do now, `None` when there is no product.
    pub async fn like(&self, product: ProductId, user: UserId) -> Result<Option<i32>, sqlx::Error> {
        // The count of a like that was there before is read as it was when the statement began.
        let counted = sqlx::query!(
            r#"
            with liked as (
                insert into likes (product_id, user_id)
                select product_id, $2 from product_marks where product_id = $1
                on conflict on constraint likes_pkey do nothing
                returning product_id
            ),
            counted as (
                update product_marks
                set like_count = product_marks.like_count + 1, changed_in = this_transaction()
                from liked
                where product_marks.product_id = liked.product_id
                returning product_marks.like_count
            )
            select coalesce((select like_count from counted), like_count) as "like_count!"
            from product_marks where product_id = $1
            "#,
            product.0,
            user.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(counted.map(|row| row.like_count))
    }

    /// Takes a like back; gives how many like it now, `None` when there is no product.
    pub async fn unlike(
        &self,
        product: ProductId,
        user: UserId,
    ) -> Result<Option<i32>, sqlx::Error> {
        let counted = sqlx::query!(
            r#"
            with unliked as (
                delete from likes where product_id = $1 and user_id = $2 returning product_id
            ),
            counted as (
                update product_marks
                set like_count = product_marks.like_count - 1, changed_in = this_transaction()
                from unliked
                where product_marks.product_id = unliked.product_id
                returning product_marks.like_count
            )
            select coalesce((select like_count from counted), like_count) as "like_count!"
            from product_marks where product_id = $1
            "#,
            product.0,
            user.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(counted.map(|row| row.like_count))
    }
}
