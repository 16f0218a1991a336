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

/// Where each replica of each service listens on 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Ports(BTreeMap<Service, Vec<u16>>);

impl Ports {
    /// Chosen ones, for one replica of each.
    pub fn new(ports: impl IntoIterator<Item = (Service, u16)>) -> Self {
        Self(ports.into_iter().map(|(service, port)| (service, vec![port])).collect())
    }

    /// Any that nobody uses, for so many replicas of each.
    pub fn free(replicas: u16) -> Result<Self> {
        let services = u16::try_from(Service::ALL.len())?;
        let row = port::free_row(replicas * services)?;
        let of = |place| row.iter().skip(place).step_by(Service::ALL.len()).copied().collect();
        let ports =
            Service::ALL.into_iter().enumerate().map(|(place, service)| (service, of(place)));
        Ok(Self(ports.collect()))
    }

    /// One more replica of each, in a row from this port on.
    pub fn and_row(mut self, first: u16) -> Self {
        for (service, port) in Service::ALL.into_iter().zip(first..) {
            self.0.entry(service).or_default().push(port);
        }
        self
    }

    /// One service's, by replica.
    pub fn of(&self, service: Service) -> &[u16] {
        &self.0[&service]
    }

    /// One service's, of the first replica.
    pub fn first(&self, service: Service) -> u16 {
        *self.of(service).first().expect("a service has a replica")
    }

    /// An error that names a port on which somebody listens already.
    pub fn ensure_free(&self) -> Result<()> {
        for service in Service::ALL {
            for port in self.of(service) {
                port::ensure_free(*port, service.name())?;
            }
        }
        Ok(())
    }
}
