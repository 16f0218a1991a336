//! What is sold: products, their SKUs, their drops. Pure.

mod drop;
mod edit;
mod filter;
mod new;
mod wire;

use firstcome_mesh::page::Cursor;
use firstcome_proto::{Money, ProductId, Refusal, SkuId};
use time::OffsetDateTime;

pub use drop::{Drop, HOLD_TTL_MS_DEFAULT};
pub use edit::{Edit, Misfit, SkuEdit, SkuPlan};
pub use filter::{Filters, Listing, Query};
pub use new::{NewProduct, NewSku};

/// Units of one SKU at most.
pub const TOTAL_MAX: i32 = 10_000_000;
/// SKUs of one product at most: the gate reads them all at once.
const SKUS_MAX: usize = 100;
/// Characters of a name, a description, a category.
const NAME_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 10_000;
const CATEGORY_CHARS_MAX: usize = 50;
/// Characters of a label, a colour, a size.
const LABEL_CHARS_MAX: usize = 100;

/// A product as everybody sees it, with the epoch of its gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Unique in the shop.
    pub name: String,
    /// Free text.
    pub description: String,
    /// A slug; empty: in none.
    pub category: String,
    /// How it is meant to be sold.
    pub kind: Kind,
    /// Whether it is still part of the shop.
    pub status: Status,
    /// Users who like it.
    pub like_count: i32,
    /// In the order in which they were given.
    pub skus: Vec<Sku>,
    /// `None` until scheduled.
    pub drop: Option<Drop>,
    /// When it was registered.
    pub created_at: OffsetDateTime,
    /// The gate that may admit.
    pub epoch: i64,
}

/// How a product is meant to be sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From its creation, without end.
    General,
    /// In the windows that are scheduled for it.
    Limited,
}

/// Whether a product is still part of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Listed, and may be sold.
    Active,
    /// Neither; still readable, for the sake of old orders.
    Discontinued,
}

/// A variant of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Sku {
    /// Its id.
    pub id: SkuId,
    /// Unique in its product.
    pub label: String,
    /// As in "white"; empty: it says nothing.
    pub color: String,
    /// As in "270 mm"; empty: it says nothing.
    pub size: String,
    /// Of one unit.
    pub price: Money,
    /// Units that exist.
    pub total: i32,
}

impl Product {
    /// How long a hold waits for its payment.
    pub fn hold_ttl_ms(&self) -> i64 {
        i64::from(self.drop.map_or(HOLD_TTL_MS_DEFAULT, |drop| drop.hold_ttl_ms))
    }

    /// The price of one unit.
    pub fn price_of(&self, sku: SkuId) -> Option<Money> {
        self.sku(sku).map(|sku| sku.price)
    }

    /// One of its SKUs.
    pub fn sku(&self, id: SkuId) -> Option<&Sku> {
        self.skus.iter().find(|sku| sku.id == id)
    }

    /// Its place in the list of products.
    pub fn cursor(&self) -> Cursor {
        let created_us = i64::try_from(self.created_at.unix_timestamp_nanos() / 1000)
            .expect("microseconds of the years 1 to 9999 fit");
        Cursor { created_us, id: self.id.0 }
    }
}

impl Kind {
    /// As its column has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Limited => "limited",
        }
    }

    /// Reads its column.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::General, Self::Limited].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Status {
    /// As its column has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Discontinued => "discontinued",
        }
    }

    /// Reads its column.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Discontinued].into_iter().find(|status| status.as_str() == text)
    }
}

/// Checks a total that a request sets.
pub fn check_total(field: &str, total: i32) -> Result<(), Refusal> {
    if (0..=TOTAL_MAX).contains(&total) {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("want 0 to {TOTAL_MAX}")))
}

/// Checks what a SKU says of itself; `at` names its fields.
fn check_variant(
    at: impl Fn(&str) -> String,
    label: &str,
    color: &str,
    size: &str,
) -> Result<(), Refusal> {
    check_text(&at("label"), label, 1, LABEL_CHARS_MAX)?;
    check_text(&at("color"), color, 0, LABEL_CHARS_MAX)?;
    check_text(&at("size"), size, 0, LABEL_CHARS_MAX)
}

fn check_category(category: &str) -> Result<(), Refusal> {
    let is_slug =
        category.chars().all(|c| c == '-' || c.is_alphanumeric() && c.to_lowercase().eq([c]));
    if is_slug && category.chars().count() <= CATEGORY_CHARS_MAX {
        return Ok(());
    }
    let want = format!("want up to {CATEGORY_CHARS_MAX} lower-case letters, digits and hyphens");
    Err(Refusal::invalid("category", want))
}

fn check_text(field: &str, text: &str, min: usize, max: usize) -> Result<(), Refusal> {
    let length = text.chars().count();
    if !(min..=max).contains(&length) {
        return Err(Refusal::invalid(field, format!("want {min} to {max} characters")));
    }
    if text.chars().any(|character| character == '\0') {
        return Err(Refusal::invalid(field, "want text without NUL"));
    }
    Ok(())
}
