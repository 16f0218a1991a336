//! A product to be made.

use firstcome_proto::{Money, Refusal, inventory_v1 as wire, money::Currency};

use super::{
    DESCRIPTION_CHARS_MAX, Kind, NAME_CHARS_MAX, SKUS_MAX, check_category, check_text, check_total,
    check_variant, wire::kind_of,
};

/// Characters of an idempotency key.
const KEY_CHARS_MAX: usize = 64;

/// A product to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewProduct {
    /// The same key gives the same product.
    pub idempotency_key: String,
    /// Unique in the shop.
    pub name: String,
    /// Free text.
    pub description: String,
    /// A slug; empty: in none.
    pub category: String,
    /// How it is meant to be sold.
    pub kind: Kind,
    /// Of all SKUs.
    pub currency: Currency,
    /// At least one.
    pub skus: Vec<NewSku>,
}

/// A SKU to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewSku {
    /// Unique in its product.
    pub label: String,
    /// As in "white".
    pub color: String,
    /// As in "270 mm".
    pub size: String,
    /// Of one unit.
    pub price_minor: i64,
    /// Units that exist.
    pub total: i32,
}

impl NewProduct {
    /// What the key was used for: the same key with another of these is a fault of the client.
    pub fn fingerprint(&self) -> Vec<u8> {
        /// What a SKU was when the first fingerprints were taken, which must stay as they are.
        #[derive(Debug)]
        #[allow(dead_code, reason = "read by Debug")]
        struct NewSku<'a> {
            label: &'a str,
            price_minor: i64,
            total: i32,
        }
        let skus = self.skus.iter().map(|sku| NewSku {
            label: &sku.label,
            price_minor: sku.price_minor,
            total: sku.total,
        });
        let skus: Vec<_> = skus.collect();
        let mut contents = format!("{:?}", (&self.name, &self.description, &skus, self.currency));
        let variants: Vec<_> = self.skus.iter().map(|sku| (&sku.color, &sku.size)).collect();
        let says_more = variants.iter().any(|(color, size)| !color.is_empty() || !size.is_empty());
        if says_more || !self.category.is_empty() || self.kind != Kind::Limited {
            contents.push_str(&format!("{:?}", (&self.category, self.kind, variants)));
        }
        // Version 5 ids are SHA-1 digests: enough to tell one operator's requests apart.
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, contents.as_bytes()).as_bytes().to_vec()
    }
}

impl TryFrom<wire::CreateProductRequest> for NewProduct {
    type Error = Refusal;

    fn try_from(request: wire::CreateProductRequest) -> Result<Self, Refusal> {
        check_key(&request.idempotency_key)?;
        check_text("name", &request.name, 1, NAME_CHARS_MAX)?;
        check_text("description", &request.description, 0, DESCRIPTION_CHARS_MAX)?;
        check_category(&request.category)?;
        let kind = kind_of(request.kind)?.unwrap_or(Kind::Limited);
        if request.skus.is_empty() || request.skus.len() > SKUS_MAX {
            return Err(Refusal::invalid("skus", format!("want 1 to {SKUS_MAX}")));
        }
        let mut skus: Vec<NewSku> = Vec::with_capacity(request.skus.len());
        let mut currency = None;
        for (place, sku) in request.skus.into_iter().enumerate() {
            let at = |field: &str| format!("skus[{place}].{field}");
            check_variant(at, &sku.label, &sku.color, &sku.size)?;
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
                color: sku.color,
                size: sku.size,
                price_minor: price.amount_minor,
                total: sku.total,
            });
        }
        Ok(Self {
            idempotency_key: request.idempotency_key,
            name: request.name,
            description: request.description,
            category: request.category,
            kind,
            currency: currency.expect("there is a SKU"),
            skus,
        })
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let printable = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if (1..=KEY_CHARS_MAX).contains(&key.len()) && printable {
        return Ok(());
    }
    Err(Refusal::invalid("idempotency_key", "want 1 to 64 printable ASCII characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_used_before_there_were_variants_still_fits() {
        let sku =
            NewSku { label: "265 mm".into(), price_minor: 9900, total: 3, ..NewSku::default() };
        let old = NewProduct {
            idempotency_key: "k".into(),
            name: "shoe".into(),
            description: "a \"shoe\"".into(),
            category: String::new(),
            kind: Kind::Limited,
            currency: Currency::parse("KRW").unwrap(),
            skus: vec![sku.clone()],
        };
        // Written out as the first version did.
        let written = format!(
            r#"("shoe", "a \"shoe\"", [{}], {:?})"#,
            r#"NewSku { label: "265 mm", price_minor: 9900, total: 3 }"#, old.currency,
        );
        let want = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, written.as_bytes());
        assert_eq!(old.fingerprint(), want.as_bytes());

        let others = [
            NewProduct { category: "sneakers".into(), ..old.clone() },
            NewProduct { kind: Kind::General, ..old.clone() },
            NewProduct { skus: vec![NewSku { color: "red".into(), ..sku.clone() }], ..old.clone() },
            NewProduct { skus: vec![NewSku { size: "red".into(), ..sku }], ..old.clone() },
        ];
        let mut seen = vec![old.fingerprint()];
        for other in others {
            assert!(!seen.contains(&other.fingerprint()), "{other:?}");
            seen.push(other.fingerprint());
        }
    }
}
