//! The commands of `cargo xtask` that work with running services.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use firstcome_local::{
    Address, Checkout,
    tools::{self, Programs},
};
use firstcome_workbench::{
    bench::{self, BenchArgs, EchoArgs},
    docs::{self, DocsArgs},
    down::{self, DownArgs},
    prepare::{self, PrepareArgs},
    receipts::Receipts,
    roll::{self, RollArgs},
    rush::{self, RushArgs},
    state::State,
    up::{self, Up, UpArgs},
    verify::{self, VerifyArgs, VerifySources},
};

/// firstcome on this machine.
#[derive(Parser)]
#[command(name = "firstcome-workbench", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything, say what to try, and stop it on Ctrl-C
    Up(UpArgs),
    /// Stop what `up` started
    Down(DownArgs),
    /// Let a crowd storm a drop, and check the books
    Rush {
        #[command(flatten)]
        rush: RushArgs,
        #[command(flatten)]
        up: UpArgs,
    },
    /// Restart every process during a rush, two of each service, and check that nobody noticed
    Roll(RollArgs),
    /// Check the books
    Verify {
        #[command(flatten)]
        verify: VerifyArgs,
        #[command(flatten)]
        up: UpArgs,
    },
    /// Measure what a purchase costs, against floors of the same run
    Bench(BenchArgs),
    /// Renew what the query macros know of the database
    Prepare(PrepareArgs),
    /// Write docs/api.md from the contract
    Docs(DocsArgs),
    /// Find the stores' programs, or install them
    #[command(hide = true)]
    Tools {
        /// A browser instead: prints where it is, or why there is none
        #[arg(long, conflicts_with = "prometheus")]
        browser: bool,
        /// Prometheus instead: prints where it is, or why there is none
        #[arg(long)]
        prometheus: bool,
    },
    /// The floor that `bench` measures against
    #[command(hide = true)]
    Echo(EchoArgs),
    /// The buyers and watchers of `bench herd`
    #[command(hide = true)]
    Crowd,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(CommandLine::parse().command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False when it ran to its end, and what it found is not good.
async fn run(command: Command) -> Result<bool> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FIRSTCOME_LOG")
        .unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let checkout = Checkout::here();
    match command {
        Command::Up(args) => up::up(&checkout, &args).await.map(|()| true),
        Command::Down(args) => down::down(&checkout, &args).await.map(|()| true),
        Command::Prepare(args) => prepare::prepare(&checkout, &args).await.map(|()| true),
        Command::Docs(args) => docs::docs(&checkout, &args).map(|()| true),
        Command::Bench(args) => bench::bench(&checkout, &args).await,
        Command::Echo(args) => bench::serve_echo(&args).await.map(|()| true),
        Command::Crowd => bench::serve_crowd().await.map(|()| true),
        // Boxed: two replicas of everything and a crowd wait in it.
        Command::Roll(args) => Box::pin(roll::roll(&checkout, &args)).await,
        Command::Tools { browser: true, .. } => {
            Ok(print_place(tools::find_or_install_browser(&checkout)))
        }
        Command::Tools { prometheus: true, .. } => {
            Ok(print_place(tools::find_or_unpack_prometheus(&checkout)))
        }
        Command::Tools { .. } => Programs::find_or_install(&checkout).map(|_| true),
        Command::Rush { rush: args, up } => {
            let report =
                on_mesh(&checkout, &up, async |mesh| rush::rush(mesh, &args).await).await?;
            print(args.json, report.to_json(), &report);
            Ok(report.is_success())
        }
        Command::Verify { verify: args, up } => {
            let receipts = args.receipts()?.or(newest_receipts(&checkout)?);
            // Holds may have expired while the mesh that is started here was down.
            let served = State::find(&checkout)?.is_some();
            let report = on_mesh(&checkout, &up, async |mesh| {
                let sources = VerifySources { served, ..VerifySources::of(mesh) };
                verify::verify(&sources, receipts.as_ref(), args.settle).await
            });
            let report = report.await?;
            print(args.json, report.to_json(), &report);
            Ok(report.is_clean())
        }
    }
}

/// Works on the mesh that is up, or on one of our own that is stopped afterwards.
async fn on_mesh<T>(
    checkout: &Checkout,
    args: &UpArgs,
    work: impl AsyncFnOnce(&Address) -> Result<T>,
) -> Result<T> {
    if let Some(state) = State::find(checkout)? {
        return work(&state.address).await;
    }
    let up = Up::start(checkout, args).await?;
    let worked = work(&up.state().address).await;
    eprintln!("stopping ...");
    up.stop().await;
    worked
}

/// What the last rush of this checkout was told, if there was one.
fn newest_receipts(checkout: &Checkout) -> Result<Option<Receipts>> {
    let entries = std::fs::read_dir(checkout.state().join("receipts")).into_iter().flatten();
    let receipts = entries.flatten().map(|entry| entry.path());
    let mut receipts: Vec<PathBuf> =
        receipts.filter(|path| path.extension().is_some_and(|name| name == "jsonl")).collect();
    receipts.sort_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok());
    receipts.pop().map(|path| Receipts::read(&path)).transpose()
}

fn print(json: bool, object: serde_json::Value, words: &dyn std::fmt::Display) {
    if json { println!("{object}") } else { println!("{words}") }
}

/// Prints where a program is, or why there is none.
fn print_place(found: Result<PathBuf>) -> bool {
    match &found {
        Ok(program) => println!("{}", program.display()),
        Err(error) => println!("{error:#}"),
    }
    found.is_ok()
}
