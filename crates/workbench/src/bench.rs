//! What a purchase costs, measured: fixed work on every path, the processor time of each of our
//! processes taken from the operating system, and everything as a ratio to floors of the same run,
//! because machines are shared and noisy.

mod collector;
mod companion;
mod cost;
mod echo;
mod findings;
mod gate;
mod ground;
mod growth;
mod heard;
mod herd;
mod load;
mod login_storm;
mod memory;
mod otherwise;
mod path;
mod paths;
mod report;
mod schedule;
mod setting;
mod shop;

use anyhow::{Context as _, Result};
use firstcome_local::Checkout;

pub use echo::{EchoArgs, serve as serve_echo};
pub use herd::{HerdArgs, serve_crowd};

use self::{
    ground::Ground, growth::GrowthArgs, login_storm::LoginStormArgs, path::Path, paths::Bench,
    report::Report,
};

/// What to measure, and how long.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    /// Something else than the paths of a purchase
    #[command(subcommand)]
    pub other: Option<Other>,
    /// Rounds; the paths take turns in each, and the median of the rounds counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub rounds: u8,
    /// Calls in flight
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub in_flight: u16,
    /// HTTP/2 connections that carry them
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Calls of one round and path are multiplied by this
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Only these paths, and the floors that they are measured against
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Path>,
    /// Leave out the runs with traces on, and with batching off at one hop
    #[arg(long)]
    pub as_shipped: bool,
    /// Print one JSON array and nothing else
    #[arg(long)]
    pub json: bool,
}

/// What else can be measured.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Other {
    /// Measure whether the cost stays the same with more holds, products and edges, and draw it
    Growth(GrowthArgs),
    /// Measure how the shop bears very many: 10 000 connections that buy in one second, 10 000 streams,
    /// and five times more calls than it can serve
    Herd(HerdArgs),
    /// Measure whether a thousand log-ins at once slow those who place orders
    LoginStorm(LoginStormArgs),
}

/// Measures and says what was found; false when a goal was missed.
pub async fn bench(checkout: &Checkout, args: &BenchArgs) -> Result<bool> {
    // Boxed, because they are the largest by far.
    match &args.other {
        Some(Other::Growth(args)) => Box::pin(growth::growth(checkout, args)).await,
        Some(Other::Herd(args)) => Box::pin(herd::herd(checkout, args)).await,
        Some(Other::LoginStorm(args)) => Box::pin(login_storm::login_storm(checkout, args)).await,
        None => Box::pin(bench_paths(checkout, args)).await,
    }
}

async fn bench_paths(checkout: &Checkout, args: &BenchArgs) -> Result<bool> {
    let ground = Ground::start(checkout, &[]).await?;
    let measured = measure(&ground, args).await;
    ground.stop().await;
    let report = measured?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report.rows)?),
        false => println!("{report}"),
    }
    Ok(report.is_good())
}

async fn measure(ground: &Ground, args: &BenchArgs) -> Result<Report> {
    let mut bench = Bench::prepare(ground, args).await?;
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        bench.round().await.with_context(|| format!("round {round}"))?;
    }
    if !args.as_shipped {
        eprintln!("set otherwise than as shipped");
        bench.otherwise().await.context("set otherwise")?;
    }
    Ok(bench.report())
}
