//! One type per identifier. On public methods an id is a UUID as text, on internal ones 16 bytes.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use uuid::Uuid;

use crate::Refusal;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Reads the text form of a public field; `field` names it in the refusal.
            pub fn from_field(field: &str, value: &str) -> Result<Self, Refusal> {
                // Only the canonical form: one thing has one name, for queues and caches too.
                let canonical =
                    value.len() == 36 && !value.bytes().any(|byte| byte.is_ascii_uppercase());
                match Uuid::try_parse(value) {
                    Ok(id) if canonical => Ok(Self(id)),
                    _ => Err(Refusal::invalid(field, "want a UUID in lower case, as in 2f1d3a52-5f6e-4c8b-9d0a-7b1c2e3f4a5b")),
                }
            }

            /// Reads the 16-byte form of an internal field; `field` names it in the refusal.
            pub fn from_wire(field: &str, value: &[u8]) -> Result<Self, Refusal> {
                Uuid::from_slice(value)
                    .map(Self)
                    .map_err(|_| Refusal::invalid(field, "want 16 bytes"))
            }

            /// The 16-byte form of an internal field.
            pub fn to_wire(self) -> Bytes {
                Bytes::copy_from_slice(self.0.as_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// An account.
    UserId,
    /// The account that buys; for inventory an opaque name to count by.
    BuyerId,
    /// A signed-in device.
    SessionId,
    /// What the shop sells; its live stock is on one Redis shard.
    ProductId,
    /// One variant of a product.
    SkuId,
    /// A hold: the idempotency key of everything that happens to it.
    ReservationId,
    /// A purchase.
    OrderId,
    /// A charge: the idempotency key of everything that happens to it.
    PaymentId,
    /// An entry of somebody's address book.
    AddressId,
}

/// The namespace of order ids; any constant would do, this one is firstcome's own.
const ORDER_NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_51e0_0a4b_4b5d_8c83_5f0d_3a76_19c2);

/// The namespace of ids of addresses, likewise.
const ADDRESS_NAMESPACE: Uuid = Uuid::from_u128(0xd1f6_2a3e_7c58_4b09_9e41_c3a7_15b8_604d);

/// What a user's key names in this namespace.
fn named_by(namespace: Uuid, user: UserId, idempotency_key: &str) -> Uuid {
    let mut name = Vec::with_capacity(16 + idempotency_key.len());
    name.extend_from_slice(user.0.as_bytes());
    name.extend_from_slice(idempotency_key.as_bytes());
    Uuid::new_v5(&namespace, &name)
}

impl AddressId {
    /// The address that this user's key adds, so that the same key adds once.
    pub fn of(user: UserId, idempotency_key: &str) -> Self {
        Self(named_by(ADDRESS_NAMESPACE, user, idempotency_key))
    }
}

impl OrderId {
    /// The order that this buyer's key names, known before anything happens.
    pub fn of(user: UserId, idempotency_key: &str) -> Self {
        Self(named_by(ORDER_NAMESPACE, user, idempotency_key))
    }

    /// The reservation of a one-product order.
    pub fn reservation(self) -> ReservationId {
        ReservationId(self.0)
    }

    /// The reservations of one attempt to place an order of several products. Attempts never share
    /// a number, so that undoing one cannot free what another was told.
    pub fn reservation_of_attempt(self, attempt: i64) -> ReservationId {
        ReservationId(Uuid::new_v5(&self.0, &attempt.to_be_bytes()))
    }

    /// The payment of an order.
    pub fn payment(self) -> PaymentId {
        PaymentId(self.0)
    }
}

impl From<UserId> for BuyerId {
    fn from(user: UserId) -> Self {
        Self(user.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_is_known_from_buyer_and_key() {
        let (ann, bob) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        assert_eq!(OrderId::of(ann, "k"), OrderId::of(ann, "k"));
        assert_ne!(OrderId::of(ann, "k"), OrderId::of(bob, "k"));
        assert_ne!(OrderId::of(ann, "k"), OrderId::of(ann, "k "));
    }

    #[test]
    fn only_the_canonical_text_is_an_id() {
        let id = "2f1d3a52-5f6e-4c8b-9d0a-7b1c2e3f4a5b";
        assert!(SkuId::from_field("sku_id", id).is_ok());
        let shouted = id.to_uppercase();
        for wrong in ["", "2f1d3a525f6e4c8b9d0a7b1c2e3f4a5b", &format!("{{{id}}}"), "x", &shouted] {
            let refusal = SkuId::from_field("sku_id", wrong).expect_err(wrong);
            assert_eq!(refusal.violations[0].field, "sku_id");
        }
    }
}
