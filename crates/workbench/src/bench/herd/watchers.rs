//! Watchers: thousands of streams over a few connections, each told every change of the stock.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use firstcome_proto::inventory_v1::{
    WatchStockRequest, WatchStockResponse, stock_service_client::StockServiceClient,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tonic::{Request, Streaming, transport::Channel};

use super::cue::{Cue, Opened, connect, ensure_room, next_cue, say};
use crate::rush::crowd::address_of;

/// Streams that are being opened at once.
const OPENING_MAX: usize = 256;

/// The job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Look {
    /// Where the shop is.
    pub edge: String,
    /// What is looked at.
    pub product: String,
    pub connections: usize,
    /// In all; the connections share them.
    pub streams: usize,
    /// By then everybody has seen a change.
    pub deadline_ms: u64,
}

/// What they saw.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Streams that were told a change.
    pub changed: usize,
    /// Streams that ended, which none should.
    pub ended: usize,
}

/// What a watcher tells.
enum Sight {
    Changed,
    Ended,
}

/// Opens the streams, waits until each has seen the stock change, and keeps them open for the cue.
pub async fn run(look: Look) -> Result<()> {
    ensure!(look.connections > 0, "streams need a connection");
    ensure_room(look.connections)?;
    let started = Instant::now();
    let channels = (0..look.connections).map(|_| connect(&look.edge));
    let channels: Vec<Channel> = stream::iter(channels).buffered(OPENING_MAX).try_collect().await?;
    let streams = (0..look.streams).map(|number| {
        let channel = channels[number % channels.len()].clone();
        open(channel, &look.product, number)
    });
    let streams: Vec<_> = stream::iter(streams).buffer_unordered(OPENING_MAX).try_collect().await?;
    let took_ms = u64::try_from(started.elapsed().as_millis())?;
    say(&Opened { connections: streams.len(), took_ms })?;

    let deadline = Instant::now() + Duration::from_millis(look.deadline_ms);
    let (sights, mut seen_by) = mpsc::unbounded_channel();
    let mut watchers = JoinSet::new();
    for stream in streams {
        watchers.spawn(watch(stream, sights.clone()));
    }
    let mut seen = Seen { changed: 0, ended: 0 };
    while seen.changed + seen.ended < look.streams {
        match timeout_at(deadline, seen_by.recv()).await {
            Ok(Some(Sight::Changed)) => seen.changed += 1,
            Ok(Some(Sight::Ended)) => seen.ended += 1,
            Ok(None) | Err(_) => break,
        }
    }
    say(&seen)?;
    let _: Cue = next_cue().await?;
    Ok(())
}

/// A stream that has told the stock once.
async fn open(
    channel: Channel,
    product: &str,
    number: usize,
) -> Result<Streaming<WatchStockResponse>> {
    let mut request = Request::new(WatchStockRequest { product_id: product.to_owned() });
    request.metadata_mut().insert("x-forwarded-for", address_of(number)?);
    let stream = StockServiceClient::new(channel).watch_stock(request).await;
    let mut stream = stream.context("open a stream")?.into_inner();
    stream.message().await?.context("a stream that says nothing")?;
    Ok(stream)
}

async fn watch(mut stream: Streaming<WatchStockResponse>, sights: mpsc::UnboundedSender<Sight>) {
    let mut is_first = true;
    while let Ok(Some(_)) = stream.message().await {
        if std::mem::take(&mut is_first) {
            // Whoever counts may have stopped counting.
            let _ = sights.send(Sight::Changed);
        }
    }
    if is_first {
        let _ = sights.send(Sight::Ended);
    }
}
