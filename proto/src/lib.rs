//! The contract of firstcome: generated messages and stubs, and the few hand-written things that
//! everybody who speaks it needs: typed identifiers, money, refusals and who may call what.
//!
//! It never opens a connection and holds no rule of the business.

pub mod access;
pub mod address;
pub mod id;
pub mod money;
pub mod refusal;
pub mod timestamp;

pub use address::Address;
pub use id::{
    AddressId, BuyerId, OrderId, PaymentId, ProductId, ReservationId, SessionId, SkuId, UserId,
};
pub use money::Money;
pub use refusal::{Reason, Refusal, SharedRefusals};

/// Every file of the contract with its imports and options, as a `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The generated code, in the packages of the contract.
pub mod firstcome {
    macro_rules! package {
        ($($noun:ident = $package:literal),* $(,)?) => {$(
            #[allow(missing_docs, clippy::all, clippy::pedantic)]
            pub mod $noun {
                pub mod v1 {
                    tonic::include_proto!($package);
                }
            }
        )*};
    }
    package! {
        access = "firstcome.access.v1",
        address = "firstcome.address.v1",
        edge = "firstcome.edge.v1",
        error = "firstcome.error.v1",
        event = "firstcome.event.v1",
        inventory = "firstcome.inventory.v1",
        money = "firstcome.money.v1",
        order = "firstcome.order.v1",
        payment = "firstcome.payment.v1",
        user = "firstcome.user.v1",
    }
}

pub use firstcome::{
    access::v1 as access_v1, address::v1 as address_v1, edge::v1 as edge_v1, error::v1 as error_v1,
    event::v1 as event_v1, inventory::v1 as inventory_v1, money::v1 as money_v1,
    order::v1 as order_v1, payment::v1 as payment_v1, user::v1 as user_v1,
};
