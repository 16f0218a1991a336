//! The parties of the mesh, as their certificates name them, and which of them calls what.

use prost_reflect::MethodDescriptor;

use super::{Access, of_method};

/// Whoever holds a certificate of the mesh that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The public port.
    Edge,
    /// Accounts, sessions, tokens.
    User,
    /// Products, stock, holds.
    Inventory,
    /// Orders.
    Order,
    /// Charges.
    Payment,
    /// Who looks after them: may ask how a service is, and nothing else.
    Operator,
}

/// The one caller of each service whose methods are internal. Every other method of the contract is
/// the edge's to call, and nobody else's.
const CALLERS: [(&str, Peer); 8] = [
    ("firstcome.user.v1.TokenKeyService", Peer::Edge),
    ("firstcome.user.v1.RevocationService", Peer::Edge),
    ("firstcome.user.v1.AddressBookService", Peer::Order),
    ("firstcome.order.v1.OrderIntakeService", Peer::Edge),
    ("firstcome.inventory.v1.OfferService", Peer::Order),
    ("firstcome.inventory.v1.ReservationService", Peer::Order),
    ("firstcome.payment.v1.ChargeService", Peer::Order),
    ("firstcome.payment.v1.WebhookService", Peer::Edge),
];

impl Peer {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Edge, Self::User, Self::Inventory, Self::Order, Self::Payment, Self::Operator];

    /// The DNS name in its certificate.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge.firstcome.internal",
            Self::User => "user.firstcome.internal",
            Self::Inventory => "inventory.firstcome.internal",
            Self::Order => "order.firstcome.internal",
            Self::Payment => "payment.firstcome.internal",
            Self::Operator => "operator.firstcome.internal",
        }
    }

    /// Its name without the mesh's, as in `order`.
    pub fn short_name(self) -> &'static str {
        let name = self.name();
        name.split_once('.').map_or(name, |(first, _)| first)
    }

    /// The name of its program, which is also what its health calls it.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Edge => "firstcome-edge",
            Self::User => "firstcome-user",
            Self::Inventory => "firstcome-inventory",
            Self::Order => "firstcome-order",
            Self::Payment => "firstcome-payment",
            Self::Operator => "firstcome-operator",
        }
    }

    /// Who has this DNS name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }
}

/// The one peer that may call a method; nobody where the contract does not say.
pub fn caller_of(method: &MethodDescriptor) -> Option<Peer> {
    match of_method(method) {
        Access::Public | Access::User | Access::Admin | Access::Development => Some(Peer::Edge),
        Access::Internal => {
            let service = method.parent_service();
            let caller = CALLERS.iter().find(|(name, _)| *name == service.full_name());
            caller.map(|(_, peer)| *peer)
        }
        Access::Unspecified => None,
    }
}
