//! A rolling restart in the middle of a rush: every process of two of each service ends and is
//! started anew, one after the other, while buyers come at a steady rate; and nobody is to notice
//! more than what a client's normal retry survives, nor a service to log a fault of its own.

mod arrivals;
mod logs;
mod report;
pub mod steps;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use firstcome_local::{Checkout, Mesh, Service, service::Ports};
use firstcome_mesh::upstream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use report::RollReport;

use crate::{
    apart::{self, Apart, Setup},
    doors::Doors,
    journal::{self, Journal},
    receipts::Ledger,
    rush::crowd,
    up,
    verify::{self, VerifySources},
};
use arrivals::{Arrivals, Shelf};
use logs::Logs;
use steps::Step;

/// The rush goes on for so long before the first restart and after the last.
const CALM: Duration = Duration::from_secs(3);
/// Buyers, who come again and again: one who comes every twenty seconds is no robot to the edge.
const PEOPLE_SECONDS: u32 = 20;
/// Fewer would be the same ones over and over.
const PEOPLE_MIN: u32 = 200;
/// HTTP/2 connections to each edge that all buyers share.
const CONNECTIONS: u16 = 16;
/// Names the folder of the run, and what it makes.
const NAME: &str = "roll";

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct RollArgs {
    /// Buyers who come each second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Rolls in a row, each of which must hold
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub runs: u16,
    /// Between a replica that is ready again and the next one's end: whoever calls it has noticed
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub pause: Duration,
    /// How long a unit is held for its payment
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub hold: Duration,
    /// How long `verify` waits for the books to come to rest
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// Ports in a row from this one, as in `up`; free ones unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..=i64::from(up::PORT_BASE_MAX)))]
    pub port_base: Option<u16>,
    /// Begin with the programs of this revision of the repository, and roll to today's
    #[arg(long, value_name = "REVISION")]
    pub from: Option<String>,
    /// How many of each service the old revision runs: 1 when it knew no lists of endpoints, and
    /// then the second of each is one of today's, beside it
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=2),
          requires = "from")]
    pub from_replicas: u16,
    /// The folder with the old programs; `cargo xtask` builds them
    #[arg(long, hide = true, requires = "from")]
    pub from_programs: Option<PathBuf>,
    /// Print one JSON object for each run and nothing else
    #[arg(long)]
    pub json: bool,
}

/// One roll on a mesh that runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Buyers who come each second.
    pub rate: u32,
    /// Between a replica that is ready again and the next one's end.
    pub pause: Duration,
    /// How long a unit is held for its payment.
    pub hold: Duration,
    /// How long `verify` waits for the books to come to rest.
    pub settle: Duration,
    /// What is done, one after the other.
    pub steps: Vec<Step>,
    /// Where receipts go.
    pub files: PathBuf,
}

/// Rolls as often as it was asked for; false when one of them did not hold.
pub async fn roll(checkout: &Checkout, args: &RollArgs) -> Result<bool> {
    let mesh = start(checkout, args).await?;
    let rolled = roll_all(&mesh, args).await;
    eprintln!("stopping ...");
    mesh.stop().await;
    rolled
}

async fn start(checkout: &Checkout, args: &RollArgs) -> Result<Apart> {
    let today = apart::programs()?;
    let (store_ports, ports) = match args.port_base {
        Some(base) => {
            let (stores, ports) = up::ports(Some(base));
            (Some(stores), ports.and_row(up::second_replicas(base)))
        }
        None => (None, Ports::free(2)?),
    };
    ports.ensure_free()?;
    eprintln!("starting a mesh to roll ...");
    let programs = match (&args.from, &args.from_programs) {
        (None, _) => today,
        (Some(_), Some(folder)) => folder.clone(),
        (Some(revision), None) => anyhow::bail!("the programs of {revision} are not built here"),
    };
    let setup = Setup { name: NAME, programs, store_ports, ports, env: Vec::new() };
    let apart = Apart::prepare(checkout, setup).await?;
    match args.from_replicas {
        1 => apart.mesh().serve_first_replicas().await?,
        _ => apart.mesh().serve().await?,
    }
    Ok(apart)
}

async fn roll_all(apart: &Apart, args: &RollArgs) -> Result<bool> {
    let mut all_held = true;
    for run in 1..=args.runs {
        eprintln!("roll {run} of {}", args.runs);
        let steps = match (&args.from, run) {
            (Some(_), 1) if args.from_replicas == 1 => steps::beside(&apart::programs()?),
            (Some(_), 1) => steps::to(&apart::programs()?),
            _ => steps::all(),
        };
        let plan = Plan {
            rate: args.rate,
            pause: args.pause,
            hold: args.hold,
            settle: args.settle,
            steps,
            files: apart.files().join("receipts"),
        };
        let report = run_plan(apart.mesh(), &plan).await?;
        match args.json {
            true => println!("{}", report.to_json()),
            false => println!("{report}"),
        }
        all_held &= report.is_success();
    }
    Ok(all_held)
}

/// Takes every step of a plan during a rush, and checks the books. The error is for a roll that
/// could not be run; one that somebody noticed is a report that says so.
pub async fn run_plan(mesh: &Mesh, plan: &Plan) -> Result<RollReport> {
    let run = format!("{:08x}", rand::random::<u32>());
    let address = mesh.address();
    let logs = Logs::from_now(&address.logs)?;
    fs::create_dir_all(&plan.files).with_context(|| format!("{}", plan.files.display()))?;
    let journal = Journal::begin();
    let edges = address.endpoints_of(Service::Edge);
    let doors = Arc::new(Doors::of_all(edges, CONNECTIONS, journal.clone())?);
    let count = usize::try_from((plan.rate * PEOPLE_SECONDS).max(PEOPLE_MIN))?;
    let file = plan.files.join(format!("{run}.tokens"));
    crowd::seed(address, count, &file).await?;
    let first = upstream::channel(address.endpoint(Service::Edge))?;
    let admin = crowd::admin(address, first.clone()).await?;
    let people = crowd::sign(address, count, &file).await?;
    let shelf = Shelf { channel: first, admin, run: run.clone(), hold: plan.hold };
    let arrivals = Arc::new(Arrivals::prepare(doors, &shelf, people, plan.rate).await?);
    let receipts_file = plan.files.join(format!("{run}.jsonl"));
    let ledger = Ledger::create(&receipts_file)?;

    let begun_ms = journal.ms(Instant::now());
    let closing = CancellationToken::new();
    let rush = tokio::spawn({
        let (arrivals, entry, closing) = (Arc::clone(&arrivals), ledger.entry(), closing.clone());
        async move { arrivals.run(entry, closing).await }
    });
    let restarts = async {
        tokio::time::sleep(CALM).await;
        let restarts = steps::take_all(mesh, &plan.steps, plan.pause, &journal).await;
        tokio::time::sleep(CALM).await;
        restarts
    };
    let restarts = restarts.await;
    closing.cancel();
    let sent = rush.await.context("the rush panicked")??;
    let restarts = restarts?;
    let receipts = ledger.close()?;
    eprintln!("checking the books ...");
    // Nothing was broken: who serves frees in time.
    let sources = VerifySources { served: true, ..VerifySources::of(address) };
    let verified = verify::verify(&sources, Some(&receipts), plan.settle).await?;
    let calls = journal.calls();
    ensure!(!calls.is_empty(), "nobody called");
    Ok(RollReport {
        run,
        rate: plan.rate,
        sent,
        seconds: journal::by_second(&calls, begun_ms, sent.span),
        whole: journal::between(&calls, begun_ms, u64::MAX),
        faults: journal.faults(),
        restarts: report::witnessed(&restarts, &calls),
        steps: plan.steps.len(),
        errors_logged: logs.faults()?,
        receipts: receipts_file,
        verified,
    })
}
