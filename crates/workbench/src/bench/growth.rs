//! Whether a purchase costs the same when there is more of everything: holds that are open,
//! products on sale, edges that take calls. Each grows alone, and what is compared is processor
//! time, because client and shop share the machine.

mod memory;
mod origin;
mod picture;
mod plan;
mod report;
mod stage;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use firstcome_local::Checkout;

use self::{memory::Memory, origin::Origin, plan::Plan, report::Report, stage::Stage};
use super::ground::Ground;

/// Where the picture goes in a checkout.
const PICTURE: &str = "bench/results/growth.svg";

/// Stopping the mesh, when all is measured.
const STOPPING: Duration = Duration::from_secs(15);

/// What to measure, and where to draw it.
#[derive(Clone, Debug, clap::Args)]
pub struct GrowthArgs {
    /// Rounds; the settings take turns in each, and the median of the rounds counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub rounds: u8,
    /// No further round is begun when it would take longer than this in all
    #[arg(long, default_value_t = 8)]
    pub minutes_max: u64,
    /// HTTP/2 connections to each edge
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Open holds and calls are multiplied by this
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    pub scale: f64,
    /// The picture; the numbers go beside it as JSON [default: bench/results/growth.svg]
    #[arg(long, value_name = "PATH")]
    pub picture: Option<PathBuf>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Measures, draws and says what was found; false when a goal was missed.
pub async fn growth(checkout: &Checkout, args: &GrowthArgs) -> Result<bool> {
    let picture = args.picture.clone().unwrap_or_else(|| checkout.root().join(PICTURE));
    // Before anything is measured, so that a picture names what was built and not a later change.
    let origin = Origin::of(checkout)?;
    let give_up = Instant::now() + Duration::from_secs(60 * args.minutes_max);
    let ground = Ground::start(checkout, &[]).await?;
    let measured = measure(&ground, args, origin, give_up).await;
    ground.stop().await;
    let report = measured?;
    let numbers = serde_json::to_string_pretty(&report)?;
    if let Some(folder) = picture.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    for (path, contents) in
        [(&picture, &picture::draw(&report)?), (&picture.with_extension("json"), &numbers)]
    {
        fs::write(path, contents).with_context(|| format!("write {}", path.display()))?;
    }
    match args.json {
        true => println!("{numbers}"),
        false => println!("{report}\npicture: {}", picture.display()),
    }
    Ok(report.is_good())
}

async fn measure(
    ground: &Ground,
    args: &GrowthArgs,
    origin: Origin,
    give_up: Instant,
) -> Result<Report> {
    // First, while nobody has called yet.
    let idle_mib = memory::idle(ground).await?;
    let plan = Plan::of(args.scale);
    let mut stage = Stage::prepare(ground, &plan, args.connections).await?;
    let hold = stage.hold_many(plan.most_holds()).await.context("open many holds")?;
    let mut samples = BTreeMap::<_, Vec<_>>::new();
    for round in 1..=args.rounds {
        let started = Instant::now();
        eprintln!("round {round} of {}", args.rounds);
        for setting in plan.settings() {
            let pair = stage.measure(setting).await;
            let pair = pair.with_context(|| format!("round {round}, {setting}"))?;
            eprintln!("  {:<60} {pair}", setting.to_string());
            samples.entry(setting).or_default().push(pair);
        }
        if round < args.rounds && Instant::now() + started.elapsed() + STOPPING > give_up {
            eprintln!("no time for another round: {round} of {} count", args.rounds);
            break;
        }
    }
    Ok(Report::new(origin, &plan, &samples, Memory { idle_mib, hold }))
}

fn scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "a number, as in 0.1".to_owned())?;
    // Holds are opened by as many buyers, who must first be made.
    if scale > 0.0 && scale <= 4.0 { Ok(scale) } else { Err("above 0, at most 4".to_owned()) }
}
