//! The two lists that a buyer keeps, and what is chosen of them. No I/O.

use std::collections::HashMap;

use firstcome_proto::{ProductId, Refusal, SkuId, order_v1};
use time::OffsetDateTime;

use crate::wanted::{Faults, LINES_MAX, Wanted};

/// Lines of one list, and so of one order.
pub const BASKET_LINES_MAX: usize = 50;

/// One of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basket {
    /// What is to be ordered.
    Cart,
    /// What may be ordered one day.
    Wishlist,
}

/// A line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What is wanted.
    pub wanted: Wanted,
    /// When it was added.
    pub added_at: OffsetDateTime,
}

/// Lines that are chosen of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The list.
    pub basket: Basket,
    /// Sorted, each once; empty: all of them.
    pub skus: Vec<SkuId>,
}

impl Basket {
    /// The word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cart => "cart",
            Self::Wishlist => "wishlist",
        }
    }

    /// Reads the word in the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Cart, Self::Wishlist].into_iter().find(|basket| basket.word() == word)
    }
}

impl Selection {
    /// Reads what a buyer chose; the refusal names every faulty field, inside `selection`.
    pub fn read(selection: &order_v1::BasketSelection) -> Result<Self, Refusal> {
        let mut faults = Faults::default();
        let basket = match selection.basket() {
            order_v1::Basket::Cart => Some(Basket::Cart),
            order_v1::Basket::Wishlist => Some(Basket::Wishlist),
            order_v1::Basket::Unspecified => None,
        };
        if basket.is_none() {
            faults.add("basket", "want the cart or the wishlist");
        }
        if selection.sku_ids.len() > BASKET_LINES_MAX {
            faults.add("sku_ids", "want at most 50");
            return Err(faults.refusal().within("selection"));
        }
        let mut skus = Vec::with_capacity(selection.sku_ids.len());
        for (place, sku) in selection.sku_ids.iter().enumerate() {
            match SkuId::from_field(&format!("sku_ids[{place}]"), sku) {
                Ok(sku) => skus.push(sku),
                Err(refusal) => faults.join(refusal),
            }
        }
        skus.sort_unstable();
        skus.dedup();
        match basket {
            Some(basket) if faults.is_empty() => Ok(Self { basket, skus }),
            _ => Err(faults.refusal().within("selection")),
        }
    }

    /// The chosen lines among these, sorted by product and SKU; INVALID_ARGUMENT when one is not
    /// there, when there is none, or when a product has more than a hold may carry.
    pub fn of(&self, items: &[Item]) -> Result<Vec<Wanted>, Refusal> {
        let mut faults = Faults::default();
        let mut lines: Vec<Wanted> = Vec::with_capacity(items.len());
        if self.skus.is_empty() {
            lines.extend(items.iter().map(|item| item.wanted));
            if lines.is_empty() {
                faults.add("selection", "want a list that has a line");
            }
        }
        for sku in &self.skus {
            match items.iter().find(|item| item.wanted.sku == *sku) {
                Some(item) => lines.push(item.wanted),
                None => {
                    faults.add("selection.sku_ids", &format!("want SKUs of the list, not {sku}"))
                }
            }
        }
        let mut of_product: HashMap<ProductId, usize> = HashMap::new();
        for line in &lines {
            *of_product.entry(line.product).or_default() += 1;
        }
        if of_product.values().any(|&count| count > LINES_MAX) {
            faults.add("selection", "want at most 10 SKUs of one product");
        }
        if !faults.is_empty() {
            return Err(faults.refusal());
        }
        lines.sort_unstable_by_key(|line| (line.product, line.sku));
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn item(product: u128, sku: u128, quantity: i32) -> Item {
        let (product, sku) = (ProductId(Uuid::from_u128(product)), SkuId(Uuid::from_u128(sku)));
        Item { wanted: Wanted { product, sku, quantity }, added_at: OffsetDateTime::UNIX_EPOCH }
    }

    /// Chosen SKUs of a list, as numbers; a faulty field instead when it is refused.
    fn chosen(skus: &[u128], items: &[Item]) -> Result<Vec<u128>, String> {
        let skus = skus.iter().map(|sku| SkuId(Uuid::from_u128(*sku))).collect();
        let selection = Selection { basket: Basket::Cart, skus };
        match selection.of(items) {
            Ok(lines) => Ok(lines.iter().map(|line| line.sku.0.as_u128()).collect()),
            Err(refusal) => Err(refusal.violations[0].field.clone()),
        }
    }

    #[test]
    fn what_is_chosen_is_there_or_named() {
        let list = [item(2, 7, 1), item(1, 9, 2), item(1, 8, 3)];
        assert_eq!(chosen(&[], &list), Ok(vec![8, 9, 7]), "sorted by product, then SKU");
        assert_eq!(chosen(&[7], &list), Ok(vec![7]));
        assert_eq!(chosen(&[6], &list), Err("selection.sku_ids".into()));
        assert_eq!(chosen(&[], &[]), Err("selection".into()));
        let many: Vec<Item> = (0..11).map(|sku| item(1, sku, 1)).collect();
        assert_eq!(chosen(&[], &many), Err("selection".into()));
        assert_eq!(chosen(&[], &many[..10]).map(|lines| lines.len()), Ok(10));
    }

    #[test]
    fn a_faulty_selection_names_its_fields() {
        let read = |basket: i32, sku_ids: &[&str]| {
            let sku_ids = sku_ids.iter().map(|&sku| sku.to_owned()).collect();
            Selection::read(&order_v1::BasketSelection { basket, sku_ids })
        };
        let fields = |basket, skus: &[&str]| -> Vec<String> {
            let refusal = read(basket, skus).expect_err("it is faulty");
            refusal.violations.into_iter().map(|fault| fault.field).collect()
        };
        assert_eq!(fields(0, &["x"]), ["selection.basket", "selection.sku_ids[0]"]);
        assert_eq!(fields(7, &[]), ["selection.basket"]);
        assert_eq!(fields(1, &["x"; 51]), ["selection.sku_ids"]);
        let sku = "00000000-0000-0000-0000-0000000000b1";
        assert_eq!(read(1, &[sku, sku]).unwrap().skus.len(), 1, "twice is once");
    }
}
