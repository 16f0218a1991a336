//! `test`: everything that CI runs, in one list. What cannot run here is skipped, and said so.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    contract, example, tool,
    workbench::{self, Profile, cargo},
};

/// Where e2e finds grpcurl.
const GRPCURL_VARIABLE: &str = "FIRSTCOME_GRPCURL";
/// Where races find how often they are run.
const ROUNDS_VARIABLE: &str = "FIRSTCOME_RACE_ROUNDS";
/// Where payment's tests find stripe-mock.
const STRIPE_MOCK_VARIABLE: &str = "FIRSTCOME_STRIPE_MOCK";
/// Where e2e finds a browser.
const CHROMIUM_VARIABLE: &str = "FIRSTCOME_CHROMIUM";
/// Where e2e finds Prometheus, with promtool beside it.
const PROMETHEUS_VARIABLE: &str = "FIRSTCOME_PROMETHEUS";
/// Where the check of deploy/ finds what renders it.
const KUSTOMIZE_VARIABLE: &str = "FIRSTCOME_KUSTOMIZE";
/// Where user's tests find a Python with aiosmtpd.
const AIOSMTPD_VARIABLE: &str = "FIRSTCOME_AIOSMTPD";

/// Which steps.
#[derive(clap::Args)]
pub struct TestArgs {
    /// Run this step only; may be given several times
    #[arg(long, value_enum, conflicts_with_all = ["release", "long"])]
    only: Vec<Step>,
    /// Instead: the stories of a sale, on release builds and under load
    #[arg(long, conflicts_with = "long")]
    release: bool,
    /// Instead: every race 200 times, and the loads of the systems before us for their minutes
    #[arg(long)]
    long: bool,
}

/// How often `--long` runs each race.
const LONG_ROUNDS: &str = "200";
/// What `--long` runs of e2e, by these words in their names.
const LONG_TESTS: [&str; 3] = ["races::", "webhooks::", "scenarios::"];

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Step {
    /// rustfmt finds nothing to do
    Format,
    /// clippy finds nothing to say
    Clippy,
    /// buf finds nothing to say about the contract
    Contract,
    /// The storefront's tests pass, and its committed bundle is what its sources build
    Web,
    /// docs/api.md is what the contract says
    Docs,
    /// The stores' programs are there, or get there
    Tools,
    /// The binaries that e2e runs
    Build,
    /// What deploy/ says is what the programs take
    Deployment,
    /// Every test of the workspace
    Test,
    /// The committed query data fits the migrations
    Prepare,
    /// Release builds, as they are measured
    #[value(skip)]
    ReleaseBuild,
    /// The stories of a sale while others storm the shop, and faults in rushes of full size
    #[value(skip)]
    Load,
    /// The services' own tests, with their races run many times
    #[value(skip)]
    Races,
    /// Races through the edge, many times, and steady loads
    #[value(skip)]
    Scenarios,
}

impl Step {
    /// What fails soonest comes first; the programs of the stores before whatever starts them.
    const ALL: [Self; 10] = [
        Self::Format,
        Self::Contract,
        Self::Web,
        Self::Clippy,
        Self::Build,
        Self::Docs,
        Self::Tools,
        Self::Deployment,
        Self::Test,
        Self::Prepare,
    ];

    /// Outside CI: building takes as long again as everything else.
    const RELEASE: [Self; 3] = [Self::Tools, Self::ReleaseBuild, Self::Load];

    /// Outside CI: it takes as long as it says.
    const LONG: [Self; 4] = [Self::Tools, Self::ReleaseBuild, Self::Races, Self::Scenarios];

    fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Clippy => "clippy",
            Self::Contract => "contract",
            Self::Web => "web",
            Self::Docs => "docs",
            Self::Tools => "tools",
            Self::Build => "build",
            Self::Deployment => "deployment",
            Self::Test => "test",
            Self::Prepare => "prepare",
            Self::ReleaseBuild => "release build",
            Self::Load => "load",
            Self::Races => "races",
            Self::Scenarios => "scenarios",
        }
    }
}

/// Runs the steps until one fails.
pub fn test(args: &TestArgs) -> Result<ExitCode> {
    let started = Instant::now();
    let mut skipped = Vec::new();
    let steps: &[Step] = match args {
        TestArgs { release: true, .. } => &Step::RELEASE,
        TestArgs { long: true, .. } => &Step::LONG,
        _ => &Step::ALL,
    };
    for &step in steps {
        if !args.only.is_empty() && !args.only.contains(&step) {
            continue;
        }
        eprintln!("\n=== {}", step.name());
        let begun = Instant::now();
        let outcome = run(step, &mut skipped);
        let took = seconds(begun.elapsed());
        match outcome {
            Ok(()) => eprintln!("=== {}: {took}", step.name()),
            Err(error) => {
                eprintln!("=== {} FAILED after {took}: {error:#}", step.name());
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    eprintln!();
    for what in &skipped {
        eprintln!("skipped: {what}");
    }
    if skipped.is_empty() {
        eprintln!("skipped: nothing");
    }
    eprintln!("all passed in {}", seconds(started.elapsed()));
    Ok(ExitCode::SUCCESS)
}

fn run(step: Step, skipped: &mut Vec<String>) -> Result<()> {
    match step {
        Step::Format => tool::run(cargo().args(["fmt", "--all", "--check"])),
        Step::Clippy => {
            let flags = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            tool::run(cargo().args(flags))
        }
        Step::Contract => contract_holds(skipped),
        Step::Web => match tool::storefront() {
            Ok(folder) => {
                let npm = |script| {
                    let mut command = Command::new("npm");
                    command.args(["run", "--silent", script]).current_dir(&folder);
                    tool::run(&mut command)
                };
                npm("test")?;
                npm("check-dist")
            }
            Err(error) => {
                skipped.push(format!("the storefront's tests and bundle: {error:#}"));
                Ok(())
            }
        },
        Step::Docs => run_workbench(&["docs", "--check"]),
        Step::Tools => run_workbench(&["tools"]),
        Step::Build => workbench::build(Profile::Tested),
        Step::Deployment => match tool::kustomize() {
            Ok(_) => deployment(),
            Err(error) => {
                skipped.push(format!("the check of deploy/: {error:#}"));
                Ok(())
            }
        },
        Step::Test => every_test(skipped),
        Step::Prepare => run_workbench(&["prepare", "--check"]),
        Step::ReleaseBuild => workbench::build(Profile::Release),
        Step::Load => {
            let mut tests = cargo();
            tests.args(["test", "--release", "--package", "firstcome-e2e"]);
            // Two stories at a time: each shop takes what two cores give.
            tool::run(tests.args(["--", "--test-threads", "2"]))
        }
        Step::Races => {
            let mut tests = cargo();
            tests.env(ROUNDS_VARIABLE, LONG_ROUNDS);
            tool::run(tests.args(["test", "--workspace", "--exclude", "firstcome-e2e"]))
        }
        Step::Scenarios => {
            let mut tests = cargo();
            tests.env(ROUNDS_VARIABLE, LONG_ROUNDS);
            tests.args(["test", "--release", "--package", "firstcome-e2e", "--"]);
            // One at a time, and heard: they report figures.
            tests.args(["--test-threads", "1", "--nocapture"]);
            tool::run(tests.args(LONG_TESTS))
        }
    }
}

/// Lints the contract, and holds it against the last release's.
fn contract_holds(skipped: &mut Vec<String>) -> Result<()> {
    let buf = match tool::buf() {
        Ok(buf) => buf,
        Err(error) => {
            skipped.push(format!("buf lint, buf format and buf breaking: {error:#}"));
            return Ok(());
        }
    };
    let buf = || {
        let mut command = Command::new(&buf);
        command.current_dir(workbench::root());
        command
    };
    tool::run(buf().arg("lint"))?;
    tool::run(buf().args(["format", "--diff", "--exit-code"]))?;
    let Some(baseline) = contract::baseline() else {
        let why = "there is no baseline yet; cargo xtask baseline takes one";
        skipped.push(format!("buf breaking: {why}"));
        return Ok(());
    };
    tool::run(buf().arg("breaking").arg("--against").arg(baseline))
}

/// A program that some tests want: where they find it, who looks for it, what is skipped without it.
type Wanted = (&'static str, fn() -> Result<PathBuf>, &'static str);

const WANTED: [Wanted; 6] = [
    (GRPCURL_VARIABLE, tool::grpcurl, "the grpcurl story of e2e"),
    (STRIPE_MOCK_VARIABLE, tool::stripe_mock, "payment's test on stripe-mock"),
    (KUSTOMIZE_VARIABLE, tool::kustomize, "what breaks deploy/"),
    (AIOSMTPD_VARIABLE, tool::aiosmtpd, "user's tests on aiosmtpd"),
    (CHROMIUM_VARIABLE, tool::chromium, "the storefront in a browser"),
    (PROMETHEUS_VARIABLE, tool::prometheus, "what Prometheus says of our dashboards and alerts"),
];

fn every_test(skipped: &mut Vec<String>) -> Result<()> {
    let mut tests = cargo();
    for (variable, find, what) in WANTED {
        match find() {
            Ok(program) => drop(tests.env(variable, program)),
            Err(error) => skipped.push(format!("{what}: {error:#}")),
        }
    }
    for example in &example::ALL {
        match (example.install)() {
            Ok(runner) => {
                (example.build)(&runner)?;
                tests.env(example.variable, runner);
            }
            Err(error) => {
                skipped.push(format!("the story of the buyer in {}: {error:#}", example.name));
            }
        }
    }
    tool::run(tests.args(["test", "--workspace"]))
}

/// Checks `deploy/`: builds the programs whose word counts, and lets them say it.
pub fn deployment() -> Result<()> {
    let kustomize = tool::kustomize()?;
    workbench::build(Profile::Tested)?;
    let mut check = Command::new(workbench::beside(Profile::Tested, "firstcome-deployment")?);
    tool::run(check.env(KUSTOMIZE_VARIABLE, kustomize))
}

/// Lets the workbench do a step.
fn run_workbench(arguments: &[&str]) -> Result<()> {
    workbench::build(Profile::Tested)?;
    tool::run(&mut workbench::step(Profile::Tested, arguments)?)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
