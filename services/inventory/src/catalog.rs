//! What is sold: products, their SKUs, their drops. Pure.

use firstcome_mesh::page::Cursor;
use firstcome_proto::{
    Money, ProductId, Refusal, SkuId, inventory_v1 as wire, money::Currency, timestamp,
};
use time::OffsetDateTime;

/// How long a hold waits for its payment when the drop does not say.
pub const HOLD_TTL_MS_DEFAULT: i32 = 5 * 60 * 1000;
/// The bounds of a drop's hold time.
const HOLD_TTL_MS: std::ops::RangeInclusive<i32> = 1_000..=3_600_000;
/// Units of one SKU at most.
pub const TOTAL_MAX: i32 = 10_000_000;
/// The per-buyer limit at most; beyond it nobody means a limit.
const LIMIT_MAX: i32 = 1_000_000;
/// SKUs of one product at most: the gate reads them all at once.
const SKUS_MAX: usize = 100;
/// Characters of a name, a label, a description.
const NAME_CHARS_MAX: usize = 200;
const LABEL_CHARS_MAX: usize = 100;
const DESCRIPTION_CHARS_MAX: usize = 10_000;
/// Characters of an idempotency key.
const KEY_CHARS_MAX: usize = 64;

/// A product as everybody sees it, with the epoch of its gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Unique in the shop.
    pub name: String,
    /// Free text.
    pub description: String,
    /// In the order given at its creation.
    pub skus: Vec<Sku>,
    /// `None` until scheduled.
    pub drop: Option<Drop>,
    /// When it was registered.
    pub created_at: OffsetDateTime,
    /// The gate that may admit.
    pub epoch: i64,
}

/// A variant of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Sku {
    /// Its id.
    pub id: SkuId,
    /// Unique in its product.
    pub label: String,
    /// Of one unit.
    pub price: Money,
    /// Units that exist.
    pub total: i32,
}

/// When and how a product sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// The first instant at which it sells.
    pub opens_at: OffsetDateTime,
    /// The first instant at which it no longer does.
    pub closes_at: Option<OffsetDateTime>,
    /// 0: no limit.
    pub limit_per_buyer: i32,
    /// How long a hold waits for its payment.
    pub hold_ttl_ms: i32,
}

/// A product to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewProduct {
    /// The same key gives the same product.
    pub idempotency_key: String,
    /// Unique in the shop.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Of all SKUs.
    pub currency: Currency,
    /// At least one.
    pub skus: Vec<NewSku>,
}

/// A SKU to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSku {
    /// Unique in its product.
    pub label: String,
    /// Of one unit.
    pub price_minor: i64,
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
        self.skus.iter().find(|candidate| candidate.id == sku).map(|sku| sku.price)
    }

    /// Its place in the list of products.
    pub fn cursor(&self) -> Cursor {
        let created_us = i64::try_from(self.created_at.unix_timestamp_nanos() / 1000)
            .expect("microseconds of the years 1 to 9999 fit");
        Cursor { created_us, id: self.id.0 }
    }
}

impl NewProduct {
    /// What the key was used for: the same key with another of these is a fault of the client.
    pub fn fingerprint(&self) -> Vec<u8> {
        // Version 5 ids are SHA-1 digests: enough to tell one operator's requests apart.
        let contents = format!("{:?}", (&self.name, &self.description, &self.skus, self.currency));
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, contents.as_bytes()).as_bytes().to_vec()
    }
}

impl TryFrom<wire::CreateProductRequest> for NewProduct {
    type Error = Refusal;

    fn try_from(request: wire::CreateProductRequest) -> Result<Self, Refusal> {
        check_key(&request.idempotency_key)?;
        check_text("name", &request.name, 1, NAME_CHARS_MAX)?;
        check_text("description", &request.description, 0, DESCRIPTION_CHARS_MAX)?;
        if request.skus.is_empty() || request.skus.len() > SKUS_MAX {
            return Err(Refusal::invalid("skus", format!("want 1 to {SKUS_MAX}")));
        }
        let mut skus: Vec<NewSku> = Vec::with_capacity(request.skus.len());
        let mut currency = None;
        for (place, sku) in request.skus.into_iter().enumerate() {
            let at = |field: &str| format!("skus[{place}].{field}");
            check_text(&at("label"), &sku.label, 1, LABEL_CHARS_MAX)?;
            if skus.iter().any(|other| other.label == sku.label) {
                return Err(Refusal::invalid(at("label"), "want a label that no other SKU has"));
            }
            let price = Money::from_field(&at("price"), sku.price)?;
            if *currency.get_or_insert(price.currency) != price.currency {
                return Err(Refusal::invalid(at("price"), "want one currency for all SKUs"));
            }
            check_total(&at("total"), sku.total)?;
            skus.push(NewSku {
                label: sku.label,
                price_minor: price.amount_minor,
                total: sku.total,
            });
        }
        Ok(Self {
            idempotency_key: request.idempotency_key,
            name: request.name,
            description: request.description,
            currency: currency.expect("there is a SKU"),
            skus,
        })
    }
}

impl TryFrom<wire::Drop> for Drop {
    type Error = Refusal;

    fn try_from(drop: wire::Drop) -> Result<Self, Refusal> {
        // After 1970 and before 10000, so that milliseconds are positive and 0 can mean "none".
        let instant = |field: &str, stamp: &prost_types::Timestamp| {
            timestamp::from_wire(stamp)
                .filter(|instant| instant.unix_timestamp() > 0)
                .ok_or_else(|| Refusal::invalid(field, "want a time after 1970"))
        };
        let opens_at = drop.opens_at.as_ref();
        let opens_at = opens_at.ok_or_else(|| Refusal::invalid("drop.opens_at", "want a time"))?;
        let opens_at = instant("drop.opens_at", opens_at)?;
        let closes_at =
            drop.closes_at.as_ref().map(|stamp| instant("drop.closes_at", stamp)).transpose()?;
        if closes_at.is_some_and(|closes_at| closes_at <= opens_at) {
            return Err(Refusal::invalid("drop.closes_at", "want a time after opens_at"));
        }
        if !(0..=LIMIT_MAX).contains(&drop.limit_per_buyer) {
            let want = format!("want 0 to {LIMIT_MAX}");
            return Err(Refusal::invalid("drop.limit_per_buyer", want));
        }
        let hold_ttl_ms = match drop.hold_ttl {
            None => HOLD_TTL_MS_DEFAULT,
            Some(span) => timestamp::duration_from_wire(&span)
                .and_then(|span| i32::try_from(span.as_millis()).ok())
                .filter(|ms| HOLD_TTL_MS.contains(ms))
                .ok_or_else(|| Refusal::invalid("drop.hold_ttl", "want 1 s to 1 h"))?,
        };
        Ok(Self { opens_at, closes_at, limit_per_buyer: drop.limit_per_buyer, hold_ttl_ms })
    }
}

/// Checks a total that a request sets.
pub fn check_total(field: &str, total: i32) -> Result<(), Refusal> {
    if (0..=TOTAL_MAX).contains(&total) {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("want 0 to {TOTAL_MAX}")))
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let printable = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if (1..=KEY_CHARS_MAX).contains(&key.len()) && printable {
        return Ok(());
    }
    Err(Refusal::invalid("idempotency_key", "want 1 to 64 printable ASCII characters"))
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

impl From<&Product> for wire::Product {
    fn from(product: &Product) -> Self {
        Self {
            product_id: product.id.to_string(),
            name: product.name.clone(),
            description: product.description.clone(),
            skus: product.skus.iter().map(wire::Sku::from).collect(),
            drop: product.drop.as_ref().map(wire::Drop::from),
            create_time: Some(timestamp::to_wire(product.created_at)),
        }
    }
}

impl From<&Sku> for wire::Sku {
    fn from(sku: &Sku) -> Self {
        Self {
            sku_id: sku.id.to_string(),
            label: sku.label.clone(),
            price: Some(sku.price.into()),
            total: sku.total,
        }
    }
}

impl From<&Drop> for wire::Drop {
    fn from(drop: &Drop) -> Self {
        let hold_ttl_ms = u64::try_from(drop.hold_ttl_ms).expect("a hold time is positive");
        Self {
            opens_at: Some(timestamp::to_wire(drop.opens_at)),
            closes_at: drop.closes_at.map(timestamp::to_wire),
            limit_per_buyer: drop.limit_per_buyer,
            hold_ttl: Some(timestamp::duration_to_wire(std::time::Duration::from_millis(
                hold_ttl_ms,
            ))),
        }
    }
}
