//! Memory: of a service that nobody calls, and of an open hold in Redis.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use firstcome_local::RedisCluster;
use firstcome_proto::ProductId;
use firstcome_redis::keys;
use serde::Serialize;

use crate::bench::{
    cost::Part,
    ground::{Ground, part_of},
    memory::resident,
};

/// Between two looks at a shard that may still be clearing up.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);
/// A shard that goes on changing after so many looks is somebody else's, too.
const LOOKS: u32 = 50;
/// What two looks may differ by: clocks and statistics of the node itself.
const STILL_BYTES: u64 = 4_096;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Resident memory of each service before the first call, MiB.
    pub idle_mib: BTreeMap<Part, f64>,
    /// Of open holds.
    pub hold: HoldMemory,
}

/// What many open holds of one product take on its shard.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HoldMemory {
    /// How many.
    pub holds: u32,
    /// Bytes of each in `used_memory_dataset`: without the buffers of replication, append-only
    /// file and clients, which do not stay.
    pub dataset_bytes: f64,
    /// Bytes of each in `used_memory`, buffers included.
    pub used_bytes: f64,
}

/// A node's memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    used: u64,
    dataset: u64,
}

/// Resident memory of each service, MiB.
pub async fn idle(ground: &Ground) -> Result<BTreeMap<Part, f64>> {
    let resident = resident(ground).await?.into_iter();
    Ok(resident.map(|(service, mib)| (part_of(service), mib)).collect())
}

impl Shard {
    /// Looks at the node that serves this product until its memory stands still.
    pub async fn look(redis: &RedisCluster, product: ProductId) -> Result<Self> {
        let place = redis.node_serving(&keys::stock(product)).await?;
        let mut last = Self::read(&redis.info(place, "memory").await?)?;
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = Self::read(&redis.info(place, "memory").await?)?;
            if now.dataset.abs_diff(last.dataset) <= STILL_BYTES {
                return Ok(now);
            }
            last = now;
        }
        bail!("the memory of the product's shard does not come to rest");
    }

    /// What each of so many holds that were opened since then takes.
    pub fn per_hold(self, before: Self, holds: u32) -> HoldMemory {
        let each = |now: u64, then: u64| (now as f64 - then as f64) / f64::from(holds);
        HoldMemory {
            holds,
            dataset_bytes: each(self.dataset, before.dataset),
            used_bytes: each(self.used, before.used),
        }
    }

    fn read(info: &str) -> Result<Self> {
        let number = |name: &str| -> Result<u64> {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.with_context(|| format!("{name} in what redis says"))?;
            Ok(number.trim().parse()?)
        };
        Ok(Self { used: number("used_memory")?, dataset: number("used_memory_dataset")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_takes_what_the_shard_grew_by() {
        let info = |used, dataset| {
            format!(
                "# Memory\r\nused_memory:{used}\r\nused_memory_human:1M\r\n\
                 used_memory_dataset:{dataset}\r\nused_memory_dataset_perc:50%\r\n"
            )
        };
        let before = Shard::read(&info(2_000, 1_000)).unwrap();
        assert_eq!(before, Shard { used: 2_000, dataset: 1_000 });
        let each = Shard::read(&info(34_000, 31_000)).unwrap().per_hold(before, 100);
        assert_eq!((each.dataset_bytes, each.used_bytes), (300.0, 320.0));
    }
}
