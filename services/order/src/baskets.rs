//! Carts, wishlists and previews: what stands in a list, with what inventory says of it now.
//!
//! Prices are never kept here: whoever looks sees what an order would cost at this moment.

use std::sync::Arc;

use firstcome_proto::{
    Money, Refusal, SkuId, UserId,
    inventory_v1::{Availability, Offer},
};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::{
    basket::Basket,
    error::Error,
    peers::Offers,
    place::Source,
    store::{Added, Store},
    wanted::{Wanted, sum},
};

/// Additions written at once: each keeps a connection while it waits for others of its list, and
/// most connections belong to those who buy.
const ADDITIONS_AT_ONCE: usize = 3;

/// Everybody's lists.
#[derive(Clone)]
pub struct Baskets {
    store: Store,
    offers: Offers,
    additions: Arc<Semaphore>,
}

/// Lines as they could be ordered now.
#[derive(Debug)]
pub struct Priced {
    /// Each line.
    pub items: Vec<PricedItem>,
    /// The sum of those that could be had, in the quantity wanted.
    pub total: Option<Money>,
    /// True when all could be had, and have a sum.
    pub orderable: bool,
}

/// A line with what inventory says of it now.
#[derive(Debug)]
pub struct PricedItem {
    /// What is wanted.
    pub wanted: Wanted,
    /// When it was added to a list.
    pub added_at: Option<OffsetDateTime>,
    /// What it is, costs, and whether it can be had.
    pub offer: Offer,
}

impl Baskets {
    /// Over these parts.
    pub fn new(store: Store, offers: Offers) -> Self {
        Self { store, offers, additions: Arc::new(Semaphore::new(ADDITIONS_AT_ONCE)) }
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
        let _turn = self.additions.acquire().await.expect("nobody closes it");
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
                let price = Money::from_field("offer.unit_price", offer.unit_price.clone());
                let price = price.map_err(|fault| {
                    tracing::error!(?fault, sku = %wanted.sku, "an offer has no price");
                    Error::Internal
                })?;
                amounts.push((price, wanted.quantity));
            }
            items.push(PricedItem { wanted, added_at, offer });
        }
        let all = amounts.len() == items.len();
        let total = sum(amounts.into_iter());
        Ok(Priced { items, orderable: all && total.is_some(), total })
    }
}

fn can_be_had(offer: &Offer, quantity: i32) -> bool {
    offer.availability() == Availability::Available && offer.available >= quantity
}
