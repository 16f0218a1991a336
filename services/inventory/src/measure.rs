//! What the gate alone costs: reserves of a product that nobody sells, straight against Redis.
//!
//! `cargo xtask bench` runs this as a child. It says `ready` when the gate is loaded, begins at the
//! first line of its input, says what it did as one line of JSON, and takes the gate away again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use firstcome_proto::{BuyerId, ProductId, ReservationId, SkuId};
use firstcome_redis::{RedisPool, keys};
use fred::{interfaces::KeysInterface as _, types::Value};
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    config::MeasureGate,
    gate::{Gate, Image, Verdict},
    hold::{Line, Wish},
};

/// Nobody rebuilds this gate, so that any epoch will do.
const EPOCH: i64 = 1;

/// Reserves as many units as told, so many in one call, one call at a time on each connection.
pub async fn run(wanted: &MeasureGate) -> anyhow::Result<()> {
    let (product, sku) = (ProductId(Uuid::new_v4()), SkuId(Uuid::new_v4()));
    let mut pools = Vec::new();
    for _ in 0..wanted.connections {
        pools.push(RedisPool::connect(wanted.redis_url.expose_secret()).await?);
    }
    let first = pools.first().context("at least one connection")?.clone();
    load(&Gate::new(&first), product, sku, wanted.items).await.context("load a gate")?;

    say("ready")?;
    if std::io::stdin().read_line(&mut String::new())? == 0 {
        return take_away(&first, product).await;
    }
    let took = reserve_all(pools, product, sku, wanted).await?;
    say(&format!("{{\"items\":{},\"took_us\":{}}}", wanted.items, took.as_micros()))?;
    take_away(&first, product).await
}

async fn load(gate: &Gate, product: ProductId, sku: SkuId, items: u32) -> anyhow::Result<()> {
    gate.install().await?;
    let image = Image {
        epoch: EPOCH,
        opens_ms: 1,
        closes_ms: 0,
        limit_per_buyer: 1,
        seq: 0,
        available: vec![(sku, i32::try_from(items)?)],
        records: Vec::new(),
        units_of: [].into(),
    };
    Ok(gate.load(product, &image).await?)
}

async fn reserve_all(
    pools: Vec<RedisPool>,
    product: ProductId,
    sku: SkuId,
    wanted: &MeasureGate,
) -> anyhow::Result<Duration> {
    let left = Arc::new(AtomicU32::new(wanted.items));
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for pool in pools {
        let (left, batch, gate) = (Arc::clone(&left), wanted.batch.into(), Gate::new(&pool));
        callers.spawn(async move {
            loop {
                let take = |left: u32| (left > 0).then(|| left.saturating_sub(batch));
                let Ok(before) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                else {
                    return anyhow::Ok(());
                };
                let wishes: Vec<Wish> = (0..before.min(batch)).map(|_| wish(sku)).collect();
                let verdicts = gate.reserve(product, EPOCH, &wishes).await?.verdicts;
                if !verdicts.iter().all(|verdict| matches!(verdict, Verdict::Admitted(_))) {
                    bail!("the gate says {verdicts:?}");
                }
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(started.elapsed())
}

fn wish(sku: SkuId) -> Wish {
    Wish {
        reservation: ReservationId(Uuid::new_v4()),
        buyer: BuyerId(Uuid::new_v4()),
        fingerprint: [7; 16],
        lines: vec![Line { sku, quantity: 1 }],
    }
}

async fn take_away(pool: &RedisPool, product: ProductId) -> anyhow::Result<()> {
    let ours = [
        keys::stock(product),
        keys::taken(product),
        keys::buyers(product),
        keys::unconfirmed(product),
    ];
    for key in &ours {
        let unlink = |client: fred::clients::Client| async move { client.unlink(key).await };
        let _: Value = pool.on_shard_of(key, unlink).await?;
    }
    Ok(())
}

/// A line that the parent reads at once.
fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}
