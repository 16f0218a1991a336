//! The three ways in which very many people weigh on a shop, with what each may cost: all of them
//! within one second of the opening, each on a connection of its own; thousands who look on; and
//! five times more of them than can be served.

mod buyers;
mod crowd;
mod cue;
mod overload;
mod watchers;

use std::time::Duration;

use anyhow::{Context as _, Result};
use firstcome_local::{Address, Checkout, Service};
use tokio::time::Instant;

pub use crowd::serve as serve_crowd;

use self::{
    buyers::{Bought, Buy, Buyer},
    crowd::{Crowd, Job},
    cue::{Cue, Opened},
    watchers::{Look, Seen},
};
use super::{
    findings::{Findings, Goal},
    ground::Ground,
    memory::{most_during, resident},
    schedule::Spread,
    shop::Shop,
};
use crate::{
    calls::Person,
    rush::crowd as people,
    verify::{self, VerifySources},
};

/// Between the last connection and the opening.
const OPENS_IN: Duration = Duration::from_secs(3);
/// A crowd of the largest size has opened its connections by then, also on a slow machine.
const OPENED_WITHIN: Duration = Duration::from_secs(180);
/// The edge with 10 000 watchers over 100 connections.
const WATCHED_EDGE_MIB_MAX: f64 = 300.0;
/// Orders that make the stock move before the watchers' eyes, and how often one is placed.
const MOVES: u32 = 30;
const MOVE_INTERVAL: Duration = Duration::from_millis(100);
/// Watchers of a product are told every second at least, however many they are.
const CHANGE_SEEN_WITHIN: Duration = Duration::from_secs(30);
/// The books come to rest when the last admission is written.
const SETTLE: Duration = Duration::from_secs(30);
/// Everybody holds what they got until the run is over.
const LIMIT_PER_BUYER: u32 = 1;

/// How many come, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct HerdArgs {
    /// Buyers, each with a connection of its own; the edge takes 16 384
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    pub connections: u32,
    /// Units of the drop
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub stock: u32,
    /// How the buyers come
    #[arg(long, value_enum, default_value = "evenly")]
    pub spread: Spread,
    /// They all come within this long of the opening
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub within: Duration,
    /// How long each waits for its answer
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    pub deadline: Duration,
    /// WatchStock streams
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub watchers: u32,
    /// Connections that carry the streams; each carries at most 4 096
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    pub watcher_connections: u32,
    /// How long five times too many call
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub overload_for: Duration,
    /// Only these steps
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Step>,
    /// Print one JSON array and nothing else
    #[arg(long)]
    pub json: bool,
}

/// What is done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// Everybody buys at the opening.
    Herd,
    /// Thousands watch the stock.
    Watchers,
    /// More call than can be served.
    Overload,
}

/// Runs the steps and says what was found; false when a goal was missed.
pub async fn herd(checkout: &Checkout, args: &HerdArgs) -> Result<bool> {
    let wanted = |step| args.only.is_empty() || args.only.contains(&step);
    // Before anything is started: the crowd and the edge have the same limits as this process.
    if wanted(Step::Herd) {
        cue::ensure_room(usize::try_from(args.connections)?)?;
    }
    let ground = Ground::start(checkout, &[]).await?;
    let mut findings = Findings::default();
    let run = async {
        if wanted(Step::Herd) {
            buy(&ground, args, &mut findings).await.context("the herd")?;
        }
        if wanted(Step::Watchers) {
            watch(&ground, args, &mut findings).await.context("the watchers")?;
        }
        if wanted(Step::Overload) {
            let overload = overload::overload(&ground, args.overload_for, &mut findings);
            Box::pin(overload).await.context("the overload")?;
        }
        anyhow::Ok(())
    };
    let ran = run.await;
    ground.stop().await;
    ran?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(findings.rows())?),
        false => println!("{findings}"),
    }
    Ok(findings.is_good())
}

/// The herd itself.
async fn buy(ground: &Ground, args: &HerdArgs, findings: &mut Findings) -> Result<()> {
    const STEP: &str = "herd";
    let mesh = ground.address();
    let buyers = args.connections;
    let shop = Shop::without_floor(mesh, 1).await?;
    let sale = shop.product(args.stock).await?;
    let crowd = gather(ground, buyers).await?;
    let idle = resident(ground).await?[&Service::Edge];

    eprintln!("opening {buyers} connections ...");
    let job = Job::Buy(Buy {
        edge: mesh.endpoint(Service::Edge).to_owned(),
        product: sale.product.to_string(),
        sku: sale.sku.to_string(),
        key: "herd".to_owned(),
        buyers: crowd.iter().map(Buyer::of).collect::<Result<_>>()?,
        spread: args.spread,
        within_ms: u64::try_from(args.within.as_millis())?,
        deadline_ms: u64::try_from(args.deadline.as_millis())?,
    });
    let mut crowd = Crowd::start(&job).await?;
    let opened: Opened = crowd.hear(OPENED_WITHIN).await?;
    let open = resident(ground).await?[&Service::Edge];

    eprintln!("the drop opens ...");
    let opening = shop.open_in(sale, OPENS_IN, LIMIT_PER_BUYER).await?;
    let left = opening.saturating_duration_since(Instant::now());
    crowd.cue(&Cue { in_ms: u64::try_from(left.as_millis())? + 1 }).await?;
    let patience = OPENS_IN + args.within + args.deadline * 2;
    let (bought, most) = most_during(ground, crowd.hear::<Bought>(patience)).await?;
    let bought = bought?;
    crowd.cue(&Cue { in_ms: 0 }).await?;
    crowd.end().await?;

    let heard = &bought.heard;
    findings.tell(STEP, "connections", opened.connections as f64, "");
    findings.tell(STEP, "time to open them", opened.took_ms as f64, "ms");
    findings.check(STEP, "answers", heard.answers() as f64, "", exactly(buyers));
    findings.check(STEP, "orders", heard.orders as f64, "", exactly(args.stock.min(buyers)));
    for (reason, count) in &heard.refused {
        findings.tell(STEP, format!("told {reason}"), *count as f64, "");
    }
    findings.unexplained(STEP, heard);
    findings.tell(STEP, "a hair too early, and asked again", bought.early as f64, "");
    findings.tell(STEP, "answer, p50", heard.answers_ms.p50, "ms");
    findings.tell(STEP, "answer, p99", heard.answers_ms.p99, "ms");
    findings.tell(STEP, "answer, the latest", heard.answers_ms.max, "ms");
    findings.tell(STEP, "order, p99", heard.orders_ms.p99, "ms");
    findings.tell(STEP, "memory of the edge, idle", idle, "MiB");
    findings.tell(STEP, "memory of the edge, connections open", open, "MiB");
    findings.tell(STEP, "memory of the edge, the most", most[&Service::Edge], "MiB");

    let verified = verify::verify(&VerifySources::of(mesh), None, SETTLE).await?;
    let sold = verified.sold(sale.product);
    let units = (sold.held + sold.settled) as f64;
    findings.check(
        STEP,
        "units given out, by the books",
        units,
        "",
        exactly(args.stock.min(buyers)),
    );
    findings.books(STEP, &verified);
    Ok(())
}

/// Thousands of streams on an edge that has done nothing else.
async fn watch(ground: &Ground, args: &HerdArgs, findings: &mut Findings) -> Result<()> {
    const STEP: &str = "watchers";
    let mesh = ground.address();
    ground.restart_with(Service::Edge, &[]).await?;
    let shop = Shop::without_floor(mesh, 1).await?;
    let sale = shop.sale(MOVES, 0).await?;
    let buyer = gather(ground, 1).await?.pop().context("a buyer")?;
    let idle = resident(ground).await?[&Service::Edge];

    eprintln!("opening {} streams ...", args.watchers);
    let job = Job::Look(Look {
        edge: mesh.endpoint(Service::Edge).to_owned(),
        product: sale.product.to_string(),
        connections: usize::try_from(args.watcher_connections)?,
        streams: usize::try_from(args.watchers)?,
        deadline_ms: u64::try_from(CHANGE_SEEN_WITHIN.as_millis())?,
    });
    let mut crowd = Crowd::start(&job).await?;
    let opened: Opened = crowd.hear(OPENED_WITHIN).await?;
    let watching = async {
        for number in 0..MOVES {
            shop.place(0, &buyer, sale, &format!("move-{number}")).await?;
            tokio::time::sleep(MOVE_INTERVAL).await;
        }
        crowd.hear::<Seen>(CHANGE_SEEN_WITHIN * 2).await
    };
    let (seen, most) = most_during(ground, watching).await?;
    let seen = seen?;
    crowd.cue(&Cue { in_ms: 0 }).await?;
    crowd.end().await?;

    findings.tell(STEP, "streams", opened.connections as f64, "");
    findings.tell(STEP, "connections", f64::from(args.watcher_connections), "");
    findings.tell(STEP, "time to open them", opened.took_ms as f64, "ms");
    findings.check(
        STEP,
        "streams that saw a change",
        seen.changed as f64,
        "",
        exactly(args.watchers),
    );
    findings.check(STEP, "streams that ended", seen.ended as f64, "", exactly(0));
    findings.tell(STEP, "memory of the edge, idle", idle, "MiB");
    let most = most[&Service::Edge];
    let goal = Goal::AtMost(WATCHED_EDGE_MIB_MAX);
    findings.check(STEP, "memory of the edge, the most", most, "MiB", goal);
    Ok(())
}

/// So many buyers with tokens.
async fn gather(ground: &Ground, count: u32) -> Result<Vec<Person>> {
    eprintln!("making {count} buyers ...");
    let (mesh, file, count): (&Address, _, _) =
        (ground.address(), ground.files().join("tokens"), usize::try_from(count)?);
    people::seed(mesh, count, &file).await?;
    people::sign(mesh, count, &file).await
}

fn exactly(count: u32) -> Goal {
    Goal::Exactly(count.into())
}
