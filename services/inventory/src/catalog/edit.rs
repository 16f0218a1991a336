//! A change of what a product says of itself, and what it comes to.

use std::collections::HashSet;

use firstcome_proto::{Money, Refusal, SkuId, inventory_v1 as wire};

use super::{
    DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, NewSku, Product, SKUS_MAX, Sku, Status, check_category,
    check_text, check_total, check_variant, wire::status_of,
};

/// What `update_mask` may name.
const PATHS: [&str; 5] = ["name", "description", "category", "status", "skus"];

/// What to change; what is `None` or empty stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edit {
    /// Unique in the shop.
    pub name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// A slug; empty: in none.
    pub category: Option<String>,
    /// Whether it is still part of the shop.
    pub status: Option<Status>,
    /// SKUs to change or to add.
    pub skus: Vec<SkuEdit>,
}

/// What a SKU is from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct SkuEdit {
    /// Which one; `None`: the one of this label, which is added when there is none.
    pub id: Option<SkuId>,
    /// Unique in its product.
    pub label: String,
    /// As in "white".
    pub color: String,
    /// As in "270 mm".
    pub size: String,
    /// Of one unit.
    pub price: Money,
    /// Units that exist, if it is added.
    pub total: i32,
}

/// What edits of SKUs come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SkuPlan {
    /// SKUs that are there, as they will be.
    pub changed: Vec<Sku>,
    /// SKUs to be made.
    pub added: Vec<NewSku>,
}

/// A field that does not fit the product it is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Which field of the request.
    pub field: String,
    /// What would be right.
    pub want: &'static str,
}

impl Edit {
    /// True when it changes what may be bought or for how much: then it takes a new epoch, so that
    /// no replica admits anybody under what was before.
    pub fn reaches_gate(&self) -> bool {
        self.status.is_some() || !self.skus.is_empty()
    }

    /// What the edits of SKUs come to on this product. Doing it twice comes to the same.
    pub fn plan(&self, product: &Product) -> Result<SkuPlan, Misfit> {
        let mut plan = SkuPlan::default();
        let mut named = HashSet::new();
        let currency = product.skus.first().map(|sku| sku.price.currency);
        for (place, edit) in self.skus.iter().enumerate() {
            let misfit =
                |field: &str, want| Misfit { field: format!("skus[{place}].{field}"), want };
            if Some(edit.price.currency) != currency {
                return Err(misfit("price", "want the product's currency"));
            }
            let there = match edit.id {
                Some(id) => {
                    let there = product.sku(id);
                    Some(there.ok_or_else(|| misfit("sku_id", "want a SKU of this product"))?)
                }
                None => product.skus.iter().find(|sku| sku.label == edit.label),
            };
            let Some(there) = there else {
                plan.added.push(NewSku {
                    label: edit.label.clone(),
                    color: edit.color.clone(),
                    size: edit.size.clone(),
                    price_minor: edit.price.amount_minor,
                    total: edit.total,
                });
                continue;
            };
            if !named.insert(there.id) {
                return Err(misfit("sku_id", "want each SKU once"));
            }
            plan.changed.push(Sku {
                id: there.id,
                label: edit.label.clone(),
                color: edit.color.clone(),
                size: edit.size.clone(),
                price: edit.price,
                total: there.total,
            });
        }
        if product.skus.len() + plan.added.len() > SKUS_MAX {
            let want = "want no more than 100 SKUs of one product";
            return Err(Misfit { field: "skus".into(), want });
        }
        // Labels that stay, and then those that are given.
        let mut labels: HashSet<&str> = product
            .skus
            .iter()
            .filter(|sku| !named.contains(&sku.id))
            .map(|sku| sku.label.as_str())
            .collect();
        for (place, edit) in self.skus.iter().enumerate() {
            if !labels.insert(&edit.label) {
                let want = "want a label that no other SKU has";
                return Err(Misfit { field: format!("skus[{place}].label"), want });
            }
        }
        Ok(plan)
    }
}

impl TryFrom<wire::UpdateProductRequest> for Edit {
    type Error = Refusal;

    fn try_from(request: wire::UpdateProductRequest) -> Result<Self, Refusal> {
        let mask = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        if mask.is_empty() || mask.iter().any(|path| !PATHS.contains(&path.as_str())) {
            let want = format!("want at least one of {}", PATHS.join(", "));
            return Err(Refusal::invalid("update_mask", want));
        }
        let names = |path: &str| mask.iter().any(|named| named == path);
        let mut edit = Self::default();
        if names("name") {
            check_text("name", &request.name, 1, NAME_CHARS_MAX)?;
            edit.name = Some(request.name);
        }
        if names("description") {
            check_text("description", &request.description, 0, DESCRIPTION_CHARS_MAX)?;
            edit.description = Some(request.description);
        }
        if names("category") {
            check_category(&request.category)?;
            edit.category = Some(request.category);
        }
        if names("status") {
            edit.status = Some(status_of(request.status)?);
        }
        if names("skus") {
            if request.skus.is_empty() || request.skus.len() > SKUS_MAX {
                return Err(Refusal::invalid("skus", format!("want 1 to {SKUS_MAX}")));
            }
            let skus = request.skus.into_iter().enumerate();
            edit.skus = skus.map(|(place, sku)| sku_edit(place, sku)).collect::<Result<_, _>>()?;
        }
        Ok(edit)
    }
}

fn sku_edit(place: usize, sku: wire::SkuChange) -> Result<SkuEdit, Refusal> {
    let at = |field: &str| format!("skus[{place}].{field}");
    let id = match sku.sku_id.as_str() {
        "" => None,
        id => Some(SkuId::from_field(&at("sku_id"), id)?),
    };
    check_variant(at, &sku.label, &sku.color, &sku.size)?;
    check_total(&at("total"), sku.total)?;
    Ok(SkuEdit {
        id,
        label: sku.label,
        color: sku.color,
        size: sku.size,
        price: Money::from_field(&at("price"), sku.price)?,
        total: sku.total,
    })
}

#[cfg(test)]
mod tests {
    use firstcome_proto::{ProductId, money::Currency};
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::catalog::Kind;

    fn money(code: &str) -> Money {
        Money { amount_minor: 5, currency: Currency::parse(code).unwrap() }
    }

    fn sku(number: u128, label: &str) -> Sku {
        let id = SkuId(Uuid::from_u128(number));
        let (label, color, size) = (label.to_owned(), String::new(), String::new());
        Sku { id, label, color, size, price: money("KRW"), total: 7 }
    }

    fn edit(id: Option<u128>, label: &str) -> SkuEdit {
        let id = id.map(|number| SkuId(Uuid::from_u128(number)));
        let (label, color, size) = (label.to_owned(), "red".to_owned(), String::new());
        SkuEdit { id, label, color, size, price: money("KRW"), total: 9 }
    }

    fn product(skus: Vec<Sku>) -> Product {
        Product {
            id: ProductId(Uuid::nil()),
            name: String::new(),
            description: String::new(),
            category: String::new(),
            kind: Kind::Limited,
            status: Status::Active,
            like_count: 0,
            skus,
            drop: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            epoch: 0,
        }
    }

    #[test]
    fn edits_come_to_changes_and_additions() {
        let goods = || product(vec![sku(1, "a"), sku(2, "b")]);
        let check = |skus: Vec<SkuEdit>, want: Result<(&[&str], &[&str]), &str>| {
            let plan = Edit { skus: skus.clone(), ..Edit::default() }.plan(&goods());
            let labels = plan.as_ref().map(|plan| {
                let changed: Vec<_> = plan.changed.iter().map(|sku| sku.label.as_str()).collect();
                let added: Vec<_> = plan.added.iter().map(|sku| sku.label.as_str()).collect();
                (changed, added)
            });
            let want = want.map(|(changed, added)| (changed.to_vec(), added.to_vec()));
            assert_eq!(labels.map_err(|misfit| misfit.field.as_str()), want, "{skus:?}");
        };
        check(vec![edit(Some(1), "a")], Ok((&["a"], &[])));
        check(vec![edit(Some(1), "c"), edit(None, "d")], Ok((&["c"], &["d"])));
        // A label names a SKU that has it, so that an addition may be repeated.
        check(vec![edit(None, "b")], Ok((&["b"], &[])));
        // Labels may be swapped and handed on.
        check(vec![edit(Some(1), "b"), edit(Some(2), "a")], Ok((&["b", "a"], &[])));
        check(vec![edit(Some(1), "b")], Err("skus[0].label"));
        check(vec![edit(None, "c"), edit(None, "c")], Err("skus[1].label"));
        check(vec![edit(Some(1), "a"), edit(None, "a")], Err("skus[1].sku_id"));
        check(vec![edit(Some(3), "a")], Err("skus[0].sku_id"));
        check(vec![SkuEdit { price: money("EUR"), ..edit(None, "c") }], Err("skus[0].price"));
        let many: Vec<_> = (0..99).map(|number| edit(None, &format!("n{number}"))).collect();
        check(many, Err("skus"));
    }

    #[test]
    fn a_change_leaves_the_total_alone() {
        let plan = Edit { skus: vec![edit(Some(1), "a")], ..Edit::default() };
        let plan = plan.plan(&product(vec![sku(1, "a")])).unwrap();
        assert_eq!((plan.changed[0].total, plan.changed[0].color.as_str()), (7, "red"));
    }
}
