//! Carts, wishlists and previews: what stands in a list, with what inventory says of it now.
//!
//! Prices are never kept here: whoever looks sees what an order would cost at this moment.

use firstcome_proto::{
    Money, Refusal, SkuId, UserId,
    inventory_v1::{Availability, Offer},
    order_v1, timestamp,
};
use time::OffsetDateTime;

use crate::{
    basket::Basket,
    error::Error,
    peers::Offers,
    place::{Source, Wanted, sum},
    store::{Added, Store},
};

/// Everybody's lists.
#[derive(Clone)]
pub struct Baskets {
    store: Store,
    offers: Offers,
}

/// Lines as they could be ordered now.
#[derive(Debug)]
pub struct Priced {
    /// Each line.
    pub items: Vec<order_v1::BasketItem>,
    /// The sum of those that could be had, in the quantity wanted.
    pub total: Option<Money>,
    /// True when all could be had, and have a sum.
    pub orderable: bool,
}

impl Baskets {
    /// Over these parts.
    pub fn new(store: Store, offers: Offers) -> Self {
        Self { store, offers }
    }

    /// Adds units, once for each key; gives how many there are then.
    pub async fn add(
        &self,
        user: UserId,
        basket: Basket,
        key: &str,
        wanted: Wanted,
    ) -> Result<i32, Error> {
        let offers = self.offers.of(&[wanted]).await?;
        let unknown = |offer: &Offer| offer.availability() == Availability::UnknownSku;
        if offers.first().is_none_or(unknown) {
            return Err(Refusal::not_found("sku").into());
        }
        match self.store.add_to_basket(user, basket, key, wanted).await? {
            Added::Units(units) => Ok(units),
            Added::KeyReused => Err(Error::KeyReused),
            Added::Full => Err(Error::BasketFull),
        }
    }

    /// Sets how many units a line has.
    pub async fn set(
        &self,
        user: UserId,
        basket: Basket,
        sku: SkuId,
        quantity: i32,
    ) -> Result<(), Error> {
        match self.store.set_in_basket(user, basket, sku, quantity).await? {
            true => Ok(()),
            false => Err(Refusal::not_found("line").into()),
        }
    }

    /// Takes a line out, or with no SKU all of them.
    pub async fn remove(
        &self,
        user: UserId,
        basket: Basket,
        sku: Option<SkuId>,
    ) -> Result<(), Error> {
        Ok(self.store.remove_from_basket(user, basket, sku).await?)
    }

    /// The whole list.
    pub async fn list(&self, user: UserId, basket: Basket) -> Result<Priced, Error> {
        let items = self.store.basket(user, basket).await?;
        let lines: Vec<_> = items.iter().map(|item| (item.wanted, Some(item.added_at))).collect();
        self.price(lines).await
    }

    /// What an order would hold.
    pub async fn preview(&self, user: UserId, source: Source) -> Result<Priced, Error> {
        let wanted = match source {
            Source::Lines(lines) => lines,
            Source::Basket(selection) => {
                selection.of(&self.store.basket(user, selection.basket).await?)?
            }
        };
        self.price(wanted.into_iter().map(|wanted| (wanted, None)).collect()).await
    }

    async fn price(&self, lines: Vec<(Wanted, Option<OffsetDateTime>)>) -> Result<Priced, Error> {
        let wanted: Vec<Wanted> = lines.iter().map(|(wanted, _)| *wanted).collect();
        let offers = self.offers.of(&wanted).await?;
        let mut items = Vec::with_capacity(lines.len());
        let mut amounts = Vec::with_capacity(lines.len());
        for ((wanted, added_at), offer) in lines.into_iter().zip(offers) {
            if can_be_had(&offer, wanted.quantity) {
                let unit_price = Money::from_field("offer.unit_price", offer.unit_price.clone())?;
                amounts.push((unit_price, wanted.quantity));
            }
            items.push(item_to_wire(wanted, added_at, offer));
        }
        let all = amounts.len() == items.len();
        let total = sum(amounts.into_iter());
        Ok(Priced { items, orderable: all && total.is_some(), total })
    }
}

fn can_be_had(offer: &Offer, quantity: i32) -> bool {
    offer.availability() == Availability::Available && offer.available >= quantity
}

fn item_to_wire(
    wanted: Wanted,
    added_at: Option<OffsetDateTime>,
    offer: Offer,
) -> order_v1::BasketItem {
    order_v1::BasketItem {
        product_id: wanted.product.to_string(),
        sku_id: wanted.sku.to_string(),
        quantity: wanted.quantity,
        availability: offer.availability,
        available: offer.available,
        product_name: offer.product_name,
        sku_label: offer.sku_label,
        unit_price: offer.unit_price,
        add_time: added_at.map(timestamp::to_wire),
    }
}
