//! The five services by name.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;
use firstcome_proto::access::Peer;
use serde::{Deserialize, Serialize};

use crate::{Role, port};

/// One of the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Accounts, sessions, tokens.
    User,
    /// Products, stock, holds.
    Inventory,
    /// Orders.
    Order,
    /// Charges.
    Payment,
    /// The public port.
    Edge,
}

impl Service {
    /// Every one; whoever calls another comes after it.
    pub const ALL: [Self; 5] =
        [Self::User, Self::Inventory, Self::Payment, Self::Order, Self::Edge];

    /// As in `firstcome-user`: the program, its log, its name in the health service.
    pub fn name(self) -> &'static str {
        self.peer().program()
    }

    /// Who it is for the others.
    pub fn peer(self) -> Peer {
        match self {
            Self::User => Peer::User,
            Self::Inventory => Peer::Inventory,
            Self::Order => Peer::Order,
            Self::Payment => Peer::Payment,
            Self::Edge => Peer::Edge,
        }
    }

    /// Who it is for Postgres; the edge is nobody.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::User => Some(Role::User),
            Self::Inventory => Some(Role::Inventory),
            Self::Order => Some(Role::Order),
            Self::Payment => Some(Role::Payment),
            Self::Edge => None,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where each service listens on 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Ports(BTreeMap<Service, u16>);

impl Ports {
    /// Chosen ones.
    pub fn new(ports: impl IntoIterator<Item = (Service, u16)>) -> Self {
        Self(ports.into_iter().collect())
    }

    /// Any that nobody uses.
    pub fn free() -> Result<Self> {
        let row = port::free_row(u16::try_from(Service::ALL.len())?)?;
        Ok(Self(Service::ALL.into_iter().zip(row).collect()))
    }

    /// One service's.
    pub fn of(&self, service: Service) -> u16 {
        self.0[&service]
    }
}
