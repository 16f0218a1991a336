//! The commands of this repository. Everything that works with running services is done by
//! `firstcome-workbench`, which is built first; this program itself compiles in seconds.

mod check;
mod contract;
mod example;
mod revision;
mod tool;
mod workbench;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use workbench::Profile;

/// firstcome's own commands
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything on this machine; Ctrl-C stops it, a second `up` continues with the data
    #[command(disable_help_flag = true)]
    Up(Arguments),
    /// Stop what `up` started; --wipe removes its data
    #[command(disable_help_flag = true)]
    Down(Arguments),
    /// Let 20 000 buyers storm a drop of 500, and check the books
    #[command(disable_help_flag = true)]
    Rush(Arguments),
    /// Restart every process during a rush of 1 000 a second, and check that nobody noticed
    #[command(disable_help_flag = true)]
    Roll(Arguments),
    /// Check the books
    #[command(disable_help_flag = true)]
    Verify(Arguments),
    /// Measure what a purchase costs, as ratios to floors of the same run
    #[command(disable_help_flag = true)]
    Bench(Arguments),
    /// Renew what the query macros know of the database; --check only looks
    #[command(disable_help_flag = true)]
    Prepare(Arguments),
    /// Hold what deploy/ says against what the programs take and clusters know, without a cluster
    Check,
    /// Take today's contract and schemas as those that later changes must keep; a release does
    Baseline,
    /// Write docs/api.md from the contract; --check only looks
    #[command(disable_help_flag = true)]
    Docs(Arguments),
    /// Everything that CI runs
    Test(check::TestArgs),
}

/// Where the workbench is told of the programs of an older revision.
const FROM_PROGRAMS: &str = "--from-programs";

/// Passed on as they are; `--help` too.
#[derive(clap::Args)]
struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let (name, profile, arguments) = match command {
        Command::Test(args) => return check::test(&args),
        Command::Check => return check::deployment().map(|()| ExitCode::SUCCESS),
        Command::Baseline => return contract::take_baseline().map(|()| ExitCode::SUCCESS),
        Command::Up(passed) => ("up", Profile::Release, passed.arguments),
        Command::Rush(passed) => ("rush", Profile::Release, passed.arguments),
        Command::Roll(passed) => ("roll", Profile::Release, passed.arguments),
        Command::Verify(passed) => ("verify", Profile::Release, passed.arguments),
        Command::Bench(passed) => ("bench", Profile::Release, passed.arguments),
        Command::Down(passed) => ("down", Profile::Any, passed.arguments),
        Command::Prepare(passed) => ("prepare", Profile::Dev, passed.arguments),
        Command::Docs(passed) => ("docs", Profile::Dev, passed.arguments),
    };
    // Nobody waits minutes to read a page of help.
    let is_help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    let profile = if is_help { Profile::Any } else { profile };
    // Before today's: both lie where cargo puts them, and the old ones are moved out of the way.
    let old = if is_help { None } else { revision::build_named(&arguments)? };
    let mut arguments = arguments;
    arguments.extend(old.into_iter().flat_map(|programs| [FROM_PROGRAMS.into(), programs.into()]));
    workbench::build(profile)?;
    // Returns only when it fails: the workbench takes this process's place, signals and all.
    Err(workbench::replace_us(profile, name, &arguments))
}
