//! The main job, seen: very many buyers go for a few units at once, some walk away, some are
//! declined, what they leave is sold to others, and then the books are checked against what every
//! buyer was told.

pub(crate) mod buyer;
pub(crate) mod crowd;
mod progress;
pub(crate) mod sale;
pub(crate) mod stampede;
mod tally;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args as _, FromArgMatches as _};
use firstcome_local::{Address, Checkout, Service};
use firstcome_proto::{ProductId, Reason, order_v1::OrderState};
use rand::seq::SliceRandom as _;
use tonic::transport::Channel;

pub use crowd::mailed_code;
pub use tally::Latency;

use crate::{
    calls::Person,
    doors::Doors,
    receipts::{Acknowledged, Call, Ledger, Receipt, Receipts},
    report::RushReport,
    verify::{self, VerifySources},
};
use progress::Progress;
use sale::Sale;
use stampede::{Keys, Stampede};

/// Between the drop's scheduling and its opening: everybody is at the door by then.
const OPENS_IN: Duration = Duration::from_secs(2);

/// What to run. The defaults are the main job.
#[derive(Clone, Debug, clap::Args)]
pub struct RushArgs {
    /// People who want a pair
    #[arg(long, default_value_t = 20_000)]
    pub buyers: u32,
    /// Pairs
    #[arg(long, default_value_t = 500)]
    pub stock: u32,
    /// How long a pair is held for its payment
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub hold: Duration,
    /// Pairs one buyer may hold or own
    #[arg(long, default_value_t = 1)]
    pub limit: u32,
    /// Buyers who sign up through the edge; the others are made in bulk
    #[arg(long, default_value_t = 20)]
    pub sign_ups: u32,
    /// HTTP/2 connections that all buyers share
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// PlaceOrder calls in flight at most
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// The sale ends by then, sold out or not
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    pub deadline: Duration,
    /// How long `verify` waits for the books to come to rest
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// Where the receipts go [default: .dev/receipts]
    #[arg(long)]
    pub receipts_folder: Option<PathBuf>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
    /// Nobody breaks anything meanwhile, so that no hold may be overdue for long
    #[arg(skip = true)]
    pub served: bool,
}

impl Default for RushArgs {
    /// What an empty command line gives.
    fn default() -> Self {
        let command = RushArgs::augment_args(clap::Command::new("rush"));
        let matches = command.get_matches_from(["rush"]);
        RushArgs::from_arg_matches(&matches).expect("every argument has a default")
    }
}

impl RushArgs {
    /// The folder of the run's files, made when there is none.
    fn files(&self) -> Result<PathBuf> {
        let folder = match &self.receipts_folder {
            Some(folder) => std::path::absolute(folder)?,
            None => Checkout::here().state().join("receipts"),
        };
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }
}

/// The page that shows a rush as it runs.
pub fn rush_view(mesh: &Address) -> String {
    format!("{}/rush", mesh.endpoint(Service::Edge))
}

/// A rush that is over, its books unchecked.
struct Storm {
    run: String,
    progress: Progress,
    stampede: Arc<Stampede>,
    product: ProductId,
    duration: Duration,
    receipts: Receipts,
    file: PathBuf,
}

/// Runs the whole of it. The error is for a rush that could not be run; one that broke a promise
/// is a report that says so.
pub async fn rush(mesh: &Address, args: &RushArgs) -> Result<RushReport> {
    let Storm { run, progress, stampede, product, duration, receipts, file } =
        storm(mesh, args).await?;
    progress.says("check the books");
    let sources = VerifySources { served: args.served, ..VerifySources::of(mesh) };
    let verified = verify::verify(&sources, Some(&receipts), args.settle).await?;
    progress.finish();

    let tally = &stampede.tally;
    let sold = verified.sold(product);
    Ok(RushReport {
        run,
        buyers: args.buyers,
        stock: args.stock,
        sold: sold.settled,
        oversold: (sold.settled + sold.held - i64::from(args.stock)).max(0),
        refused: tally.refused(),
        refusals: tally.refusals(),
        abandoned: tally.abandoned(),
        declined: tally.declined(),
        resold: resold(&receipts, args.stock),
        duration_s: duration.as_secs_f64(),
        place_order_ms: tally.place_order_ms(),
        receipts: file,
        verified,
    })
}

/// Rush after rush, as load for whatever else is done to the shop; gives why one could not be run,
/// or what went wrong. The books are for others to check: they are never at rest.
pub async fn without_end(mesh: &Address, args: &RushArgs) -> anyhow::Error {
    loop {
        match storm(mesh, args).await.and_then(|storm| storm.ensure_served()) {
            Ok(()) => {}
            Err(error) => return error,
        }
    }
}

impl Storm {
    /// Whether buyers paid, and nobody heard of a fault of ours.
    fn ensure_served(self) -> Result<()> {
        self.progress.finish();
        let is_paid = |(receipt, order): (&Receipt, &Acknowledged)| {
            receipt.call == Call::Pay && order.state == OrderState::Preparing
        };
        ensure!(self.receipts.orders().any(is_paid), "nobody got a pair in rush {}", self.run);
        let internal = Reason::Internal.name();
        let refusals = self.stampede.tally.refusals();
        ensure!(!refusals.contains_key(internal), "{internal} in rush {}", self.run);
        Ok(())
    }
}

async fn storm(mesh: &Address, args: &RushArgs) -> Result<Storm> {
    let run = format!("{:08x}", rand::random::<u32>());
    let progress = Progress::start(mesh, args, &run);
    let doors = Arc::new(Doors::of_one(mesh.endpoint(Service::Edge), args.connections)?);
    let first = doors.channel();
    let files = args.files()?;

    progress.says("make a product");
    let admin = crowd::admin(mesh, first.clone()).await?;
    let sale = Sale::create(first.clone(), &admin, &run, args.stock).await?;
    progress.says("gather the buyers");
    let people = gather(mesh, args, &run, &first, &files).await?;

    let file = files.join(format!("{run}.jsonl"));
    let ledger = Ledger::create(&file)?;
    progress.says("schedule the drop");
    let opening = sale.open_in(first, &admin, OPENS_IN, args.limit, args.hold).await?;

    let in_flight = usize::try_from(args.in_flight).unwrap_or(usize::MAX);
    let stampede = Arc::new(Stampede::new(doors, in_flight, sale));
    progress.watch(&stampede);
    let (entry, deadline) = (ledger.entry(), opening + args.deadline);
    stampede.run(people, &Keys::of(&run), entry, opening, deadline).await;
    let duration = opening.elapsed();
    let receipts = ledger.close()?;
    Ok(Storm { run, progress, stampede, product: sale.product, duration, receipts, file })
}

/// Everybody, in an order that has nothing to do with how they were made.
async fn gather(
    mesh: &Address,
    args: &RushArgs,
    run: &str,
    channel: &Channel,
    files: &Path,
) -> Result<Vec<Person>> {
    let sign_ups = usize::try_from(args.sign_ups.min(args.buyers))?;
    let seeds = usize::try_from(args.buyers)? - sign_ups;
    let file = files.join(format!("{run}.tokens"));
    crowd::seed(mesh, seeds, &file).await?;
    let signed_up = crowd::sign_up(channel, &mesh.mail, run, sign_ups, seeds).await?;
    let mut people = crowd::sign(mesh, seeds, &file).await?;
    people.extend(signed_up);
    people.shuffle(&mut rand::rng());
    Ok(people)
}

/// Units that were sold after they had come back: those whose admission came after the last unit
/// had been given out once.
fn resold(receipts: &Receipts, stock: u32) -> u64 {
    let sold_again: std::collections::HashSet<_> = receipts
        .orders()
        .filter(|(receipt, order)| {
            receipt.call == Call::Pay
                && order.state == OrderState::Preparing
                && order.sequence > i64::from(stock)
        })
        .map(|(_, order)| order.order)
        .collect();
    sold_again.len().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_main_job() {
        let args = RushArgs::default();
        assert_eq!((args.buyers, args.stock, args.limit, args.sign_ups), (20_000, 500, 1, 20));
        assert_eq!(args.hold, Duration::from_secs(5));
        assert!(args.served);
    }
}
