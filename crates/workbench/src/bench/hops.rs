//! Each hop with batching off: one item a call, and as many calls at once as there are callers.
//! What that costs more is what batching gives.

use std::fmt;

use anyhow::{Context as _, Result};
use firstcome_local::Service;

use super::paths::{Bench, Path};

/// A hop whose batches hold one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unbatched {
    /// Placements from the edge to order.
    EdgeToOrder,
    /// Placements from order to inventory.
    OrderToInventory,
    /// Wishes from inventory to Redis.
    InventoryToRedis,
    /// Admissions from inventory to Postgres.
    InventoryToPostgres,
    /// Rows from order to Postgres.
    OrderToPostgres,
}

impl Unbatched {
    const ALL: [Self; 5] = [
        Self::EdgeToOrder,
        Self::OrderToInventory,
        Self::InventoryToRedis,
        Self::InventoryToPostgres,
        Self::OrderToPostgres,
    ];

    fn service(self) -> Service {
        match self {
            Self::EdgeToOrder => Service::Edge,
            Self::OrderToInventory | Self::OrderToPostgres => Service::Order,
            Self::InventoryToRedis | Self::InventoryToPostgres => Service::Inventory,
        }
    }

    /// The variables for items of one call, and for calls at once.
    fn variables(self) -> [&'static str; 2] {
        match self {
            Self::EdgeToOrder => ["FIRSTCOME_BATCH_ITEMS_MAX", "FIRSTCOME_BATCHES_IN_FLIGHT_MAX"],
            Self::OrderToInventory => {
                ["FIRSTCOME_PLACEMENT_BATCH_ITEMS_MAX", "FIRSTCOME_PLACEMENT_BATCHES_IN_FLIGHT_MAX"]
            }
            Self::InventoryToRedis => {
                ["FIRSTCOME_GATE_BATCH_ITEMS_MAX", "FIRSTCOME_GATE_BATCHES_IN_FLIGHT_MAX"]
            }
            Self::InventoryToPostgres => {
                ["FIRSTCOME_LEDGER_BATCH_ITEMS_MAX", "FIRSTCOME_LEDGER_BATCHES_IN_FLIGHT_MAX"]
            }
            Self::OrderToPostgres => {
                ["FIRSTCOME_ROW_BATCH_ITEMS_MAX", "FIRSTCOME_ROW_BATCHES_IN_FLIGHT_MAX"]
            }
        }
    }

    /// Losers never reach Postgres.
    fn paths(self) -> &'static [Path] {
        match self {
            Self::EdgeToOrder | Self::OrderToInventory | Self::InventoryToRedis => {
                &[Path::Refused, Path::Winner]
            }
            Self::InventoryToPostgres | Self::OrderToPostgres => &[Path::Winner],
        }
    }
}

impl fmt::Display for Unbatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EdgeToOrder => "edge to order",
            Self::OrderToInventory => "order to inventory",
            Self::InventoryToRedis => "inventory to redis",
            Self::InventoryToPostgres => "inventory to postgres",
            Self::OrderToPostgres => "order to postgres",
        })
    }
}

/// Fewer calls than with batching: these are slow.
const SHARE_OF_CALLS: u32 = 5;

impl Bench<'_> {
    /// Measures each hop with batching off there, and on everywhere else.
    pub async fn hops(&mut self) -> Result<()> {
        for hop in Unbatched::ALL {
            let [items, in_flight] = hop.variables();
            let calls = self.in_flight().to_string();
            let off = [(items, Some("1")), (in_flight, Some(calls.as_str()))];
            self.ground.restart_with(hop.service(), &off).await?;
            for path in hop.paths() {
                let measured = self.without_batches(hop, *path).await;
                measured.with_context(|| format!("{path:?} with batching off at {hop}"))?;
            }
            self.ground.restart_with(hop.service(), &off.map(|(name, _)| (name, None))).await?;
        }
        Ok(())
    }

    async fn without_batches(&mut self, hop: Unbatched, path: Path) -> Result<()> {
        let scene = self.scene().await?;
        let calls = self.calls(path) / SHARE_OF_CALLS;
        // A service that was started anew knows neither tokens nor products.
        self.place_all(&scene, Path::Refused, calls, &format!("warm {hop} {path:?}")).await?;
        let sample = self.place_all(&scene, path, calls, &format!("{hop} {path:?}")).await?;
        eprintln!("  {}", self.samples.add_unbatched(hop, path, &sample));
        Ok(())
    }
}
