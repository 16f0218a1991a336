//! What SKUs cost now and whether they can be had: for carts and previews. Nothing is held by it.

use std::{collections::HashMap, sync::Arc};

use firstcome_proto::{
    ProductId, Refusal, SkuId,
    inventory_v1::{Availability, Offer, SaleState},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    catalog::{Product, Status},
    gate::Snapshot,
    shelf::Shelf,
    stock::{Stock, state_of},
};

/// Products that one call looks at at once; each costs one read of its gate.
const PRODUCTS_AT_ONCE: usize = 16;

/// Names and prices from the shelf, what is left from the live stock.
#[derive(Clone)]
pub struct Offers {
    /// Products, at most a second old.
    pub shelf: Shelf,
    /// What is left at this moment.
    pub stock: Stock,
}

/// A product as it was just looked at; `stock` is an error while its gate cannot be read.
struct Look {
    product: Arc<Product>,
    stock: Result<Option<Snapshot>, Refusal>,
}

impl Offers {
    /// Answers each key, in their order.
    pub async fn of(&self, keys: &[(ProductId, SkuId)]) -> Result<Vec<Offer>, Refusal> {
        let mut products: Vec<ProductId> = keys.iter().map(|(product, _)| *product).collect();
        products.sort_unstable();
        products.dedup();
        let looks: HashMap<ProductId, Option<Look>> = stream::iter(products)
            .map(|product| async move { Ok::<_, Refusal>((product, self.look(product).await?)) })
            .buffer_unordered(PRODUCTS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(keys.iter().map(|(product, sku)| offer(looks[product].as_ref(), *sku)).collect())
    }

    async fn look(&self, id: ProductId) -> Result<Option<Look>, Refusal> {
        let Some(product) = self.shelf.product(id).await? else { return Ok(None) };
        let stock = match product.status {
            Status::Active => self.stock.snapshot(id).await.map(|(_, snapshot)| snapshot),
            // Whatever its gate says.
            Status::Discontinued => Ok(None),
        };
        Ok(Some(Look { product, stock }))
    }
}

fn offer(look: Option<&Look>, sku: SkuId) -> Offer {
    let found = look.and_then(|look| Some((look, look.product.sku(sku)?)));
    let Some((Look { product, stock }, sku)) = found else {
        return Offer { availability: Availability::UnknownSku as i32, ..Offer::default() };
    };
    let (availability, available) = match stock {
        _ if product.status == Status::Discontinued => (Availability::Discontinued, 0),
        Err(_) => (Availability::StockUnknown, 0),
        Ok(None) => (Availability::NotOpen, 0),
        Ok(Some(snapshot)) => match state_of(snapshot) {
            SaleState::Closed => (Availability::Closed, 0),
            SaleState::Open => match snapshot.available.get(&sku.id).copied().unwrap_or(0) {
                ..=0 => (Availability::SoldOut, 0),
                available => (Availability::Available, available),
            },
            _ => (Availability::NotOpen, 0),
        },
    };
    Offer {
        product_name: product.name.clone(),
        sku_label: sku.label.clone(),
        unit_price: Some(sku.price.into()),
        availability: availability as i32,
        available,
    }
}
