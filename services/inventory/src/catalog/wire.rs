//! The contract's form of what is sold.

use firstcome_proto::{
    Refusal,
    inventory_v1::{self as wire, ProductKind, ProductStatus, StockBadge},
    timestamp,
};

use super::{Kind, Product, Sku, Status};

impl Product {
    /// What visitors see, with what its live stock says.
    pub fn to_wire(&self, badge: StockBadge) -> wire::Product {
        wire::Product {
            product_id: self.id.to_string(),
            name: self.name.clone(),
            description: self.description.clone(),
            skus: self.skus.iter().map(wire::Sku::from).collect(),
            drop: self.drop.as_ref().map(wire::Drop::from),
            create_time: Some(timestamp::to_wire(self.created_at)),
            category: self.category.clone(),
            kind: match self.kind {
                Kind::General => ProductKind::General,
                Kind::Limited => ProductKind::Limited,
            } as i32,
            status: match self.status {
                Status::Active => ProductStatus::Active,
                Status::Discontinued => ProductStatus::Discontinued,
            } as i32,
            like_count: self.like_count,
            badge: badge as i32,
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
            color: sku.color.clone(),
            size: sku.size.clone(),
        }
    }
}

/// Reads a field `kind`; `None` when it says nothing.
pub(super) fn kind_of(kind: i32) -> Result<Option<Kind>, Refusal> {
    match ProductKind::try_from(kind) {
        Ok(ProductKind::Unspecified) => Ok(None),
        Ok(ProductKind::General) => Ok(Some(Kind::General)),
        Ok(ProductKind::Limited) => Ok(Some(Kind::Limited)),
        Err(_) => Err(Refusal::invalid("kind", "want GENERAL or LIMITED")),
    }
}

/// Reads a field `status`.
pub(super) fn status_of(status: i32) -> Result<Status, Refusal> {
    match ProductStatus::try_from(status) {
        Ok(ProductStatus::Active) => Ok(Status::Active),
        Ok(ProductStatus::Discontinued) => Ok(Status::Discontinued),
        _ => Err(Refusal::invalid("status", "want ACTIVE or DISCONTINUED")),
    }
}
