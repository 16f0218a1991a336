//! How a mesh may be set for a measurement, beside as it is shipped.

use std::fmt;

use firstcome_local::Service;

use super::path::Path;

/// How a mesh is set otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// As shipped after all, for the next two: started anew like these, and for as few calls.
    AsShipped,
    /// A collector is told of one call in a hundred, which is the default where there is one.
    OneInAHundredTraced,
    /// A collector is told of every call.
    AllTraced,
    /// Placements from the edge to order go one by one, as many at once as there are callers.
    EdgeToOrder,
    /// Placements from order to inventory do.
    OrderToInventory,
    /// Wishes from inventory to Redis do.
    InventoryToRedis,
    /// Admissions from inventory to Postgres do.
    InventoryToPostgres,
    /// Rows from order to Postgres do.
    OrderToPostgres,
}

impl Setting {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AsShipped,
        Self::OneInAHundredTraced,
        Self::AllTraced,
        Self::EdgeToOrder,
        Self::OrderToInventory,
        Self::InventoryToRedis,
        Self::InventoryToPostgres,
        Self::OrderToPostgres,
    ];

    pub fn services(self) -> &'static [Service] {
        match self {
            Self::AsShipped | Self::OneInAHundredTraced | Self::AllTraced => &Service::ALL,
            Self::EdgeToOrder => &[Service::Edge],
            Self::OrderToInventory | Self::OrderToPostgres => &[Service::Order],
            Self::InventoryToRedis | Self::InventoryToPostgres => &[Service::Inventory],
        }
    }

    /// What each of its services is told.
    pub fn variables<'a>(
        self,
        in_flight: &'a str,
        collector: &'a str,
    ) -> Vec<(&'static str, &'a str)> {
        let exported = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
        let one_by_one = |items, batches| vec![(items, "1"), (batches, in_flight)];
        match self {
            Self::AsShipped => Vec::new(),
            Self::OneInAHundredTraced => vec![exported],
            Self::AllTraced => vec![exported, ("OTEL_TRACES_SAMPLER_ARG", "1")],
            Self::EdgeToOrder => {
                one_by_one("FIRSTCOME_BATCH_ITEMS_MAX", "FIRSTCOME_BATCHES_IN_FLIGHT_MAX")
            }
            Self::OrderToInventory => one_by_one(
                "FIRSTCOME_PLACEMENT_BATCH_ITEMS_MAX",
                "FIRSTCOME_PLACEMENT_BATCHES_IN_FLIGHT_MAX",
            ),
            Self::InventoryToRedis => {
                one_by_one("FIRSTCOME_GATE_BATCH_ITEMS_MAX", "FIRSTCOME_GATE_BATCHES_IN_FLIGHT_MAX")
            }
            Self::InventoryToPostgres => one_by_one(
                "FIRSTCOME_LEDGER_BATCH_ITEMS_MAX",
                "FIRSTCOME_LEDGER_BATCHES_IN_FLIGHT_MAX",
            ),
            Self::OrderToPostgres => {
                one_by_one("FIRSTCOME_ROW_BATCH_ITEMS_MAX", "FIRSTCOME_ROW_BATCHES_IN_FLIGHT_MAX")
            }
        }
    }

    /// Losers never reach Postgres.
    pub fn paths(self) -> &'static [Path] {
        match self {
            Self::InventoryToPostgres | Self::OrderToPostgres => &[Path::Winner],
            _ => &[Path::Refused, Path::Winner],
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsShipped => "as shipped",
            Self::OneInAHundredTraced => "one in a hundred traced",
            Self::AllTraced => "all traced",
            Self::EdgeToOrder => "edge to order one by one",
            Self::OrderToInventory => "order to inventory one by one",
            Self::InventoryToRedis => "inventory to redis one by one",
            Self::InventoryToPostgres => "inventory to postgres one by one",
            Self::OrderToPostgres => "order to postgres one by one",
        })
    }
}
