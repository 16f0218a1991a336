//! The same paths in a mesh that is set otherwise than as shipped: what that costs more is what
//! batching gives, and what watching takes.

use std::fmt;

use anyhow::{Context as _, Result};
use firstcome_local::Service;

use super::{collector::Collector, path::Path, paths::Bench};

/// Fewer calls than as shipped: some of these are slow.
const SHARE_OF_CALLS: u32 = 5;

/// How a mesh is set otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Otherwise {
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

impl Otherwise {
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

    fn services(self) -> &'static [Service] {
        match self {
            Self::AsShipped | Self::OneInAHundredTraced | Self::AllTraced => &Service::ALL,
            Self::EdgeToOrder => &[Service::Edge],
            Self::OrderToInventory | Self::OrderToPostgres => &[Service::Order],
            Self::InventoryToRedis | Self::InventoryToPostgres => &[Service::Inventory],
        }
    }

    /// What each of its services is told.
    fn variables<'a>(self, in_flight: &'a str, collector: &'a str) -> Vec<(&'static str, &'a str)> {
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
    fn paths(self) -> &'static [Path] {
        match self {
            Self::InventoryToPostgres | Self::OrderToPostgres => &[Path::Winner],
            _ => &[Path::Refused, Path::Winner],
        }
    }
}

impl fmt::Display for Otherwise {
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

impl Bench<'_> {
    /// Measures with each of these settings, one at a time.
    pub async fn otherwise(&mut self) -> Result<()> {
        let collector = Collector::start().await?;
        for setting in Otherwise::ALL {
            let in_flight = self.in_flight().to_string();
            let told = setting.variables(&in_flight, collector.endpoint());
            let on: Vec<_> = told.iter().map(|(name, value)| (*name, Some(*value))).collect();
            let off: Vec<_> = told.iter().map(|(name, _)| (*name, None)).collect();
            for service in setting.services() {
                self.ground.restart_with(*service, &on).await?;
            }
            for path in setting.paths() {
                let measured = self.measure_otherwise(setting, *path).await;
                measured.with_context(|| format!("{path:?}, {setting}"))?;
            }
            for service in setting.services() {
                self.ground.restart_with(*service, &off).await?;
            }
        }
        collector.check()
    }

    async fn measure_otherwise(&mut self, setting: Otherwise, path: Path) -> Result<()> {
        let scene = self.scene().await?;
        let calls = self.calls(path) / SHARE_OF_CALLS;
        // A service that was started anew knows neither tokens nor products.
        self.place_all(&scene, Path::Refused, calls, &format!("warm {setting} {path:?}")).await?;
        let sample = self.place_all(&scene, path, calls, &format!("{setting} {path:?}")).await?;
        eprintln!("  {}", self.samples.add_otherwise(setting, path, &sample));
        Ok(())
    }
}
