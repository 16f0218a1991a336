//! Programs that only some steps need: installed under `.dev/tools` by the machine's own npm, Go
//! or Python, or else the step is skipped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::workbench::{self, Profile, root};

/// Lints and formats the contract.
const BUF: &str = "@bufbuild/buf@1.75.0";
/// Calls the edge as a stranger would.
const GRPCURL: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3";
/// Checks what we ask of Stripe against the description of its API.
const STRIPE_MOCK: &str = "github.com/stripe/stripe-mock@v0.203.0";
/// What edge/web/package.json asks for.
const NODE_MIN: (u32, u32) = (20, 19);
/// Renders what a cluster gets, where there is no kubectl.
const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.3";
/// Takes mail as mail servers do.
const AIOSMTPD: &str = "aiosmtpd==1.4.6";

/// buf, or why there is none.
pub fn buf() -> Result<PathBuf> {
    let folder = tools().join("npm");
    let program = folder.join("node_modules/.bin/buf");
    let version = BUF.rsplit('@').next().unwrap_or_default();
    if answers(&program, &["--version"], version) {
        return Ok(program);
    }
    if !exists("npm") {
        bail!("no npm on this machine to install {BUF} with");
    }
    eprintln!("installing {BUF} with npm into {} ...", folder.display());
    fs::create_dir_all(&folder)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-save", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).arg(BUF);
    run(&mut npm)?;
    Ok(program)
}

/// Whether there is a Node that is new enough, or why not.
pub fn node() -> Result<()> {
    let node = Command::new("node").arg("--version").output().context("no node on this machine")?;
    let version = String::from_utf8_lossy(&node.stdout);
    let mut parts = version.trim().trim_start_matches('v').split('.').map(str::parse::<u32>);
    let (major, minor) = (parts.next(), parts.next());
    let (Some(Ok(major)), Some(Ok(minor))) = (major, minor) else {
        bail!("node says that it is {:?}", version.trim());
    };
    if (major, minor) < NODE_MIN {
        bail!("node {} is older than {}.{}", version.trim(), NODE_MIN.0, NODE_MIN.1);
    }
    Ok(())
}

/// The storefront's folder with what its tests need, or why it has not.
pub fn storefront() -> Result<PathBuf> {
    node()?;
    let folder = root().join("edge/web");
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
    run(&mut npm).context("install what edge/web/package-lock.json names")?;
    Ok(folder)
}

/// A browser, and what the storefront's stories are told with; or why there is none.
pub fn chromium() -> Result<PathBuf> {
    if !root().join("edge/web/node_modules").exists() {
        storefront()?;
    }
    found_by_workbench("--browser")
}

/// Prometheus with its promtool, or why there is none.
pub fn prometheus() -> Result<PathBuf> {
    found_by_workbench("--prometheus")
}

/// What the workbench gets from the distribution.
fn found_by_workbench(flag: &str) -> Result<PathBuf> {
    workbench::build(Profile::Tested)?;
    let mut finds = Command::new(workbench::program(Profile::Tested)?);
    let output = finds.args(["tools", flag]).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("run tools {flag}"))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        bail!("{said}");
    }
    Ok(PathBuf::from(said))
}

/// grpcurl, or why there is none.
pub fn grpcurl() -> Result<PathBuf> {
    go_program("grpcurl", GRPCURL)
}

/// stripe-mock, or why there is none.
pub fn stripe_mock() -> Result<PathBuf> {
    go_program("stripe-mock", STRIPE_MOCK)
}

/// kubectl, which renders overlays as kustomize does; else kustomize, or why there is neither.
pub fn kustomize() -> Result<PathBuf> {
    match on_path("kubectl") {
        Some(kubectl) => Ok(kubectl),
        None => go_program("kustomize", KUSTOMIZE),
    }
}

/// A Python that has aiosmtpd, or why there is none.
pub fn aiosmtpd() -> Result<PathBuf> {
    let folder = tools().join("python");
    let program = folder.join("bin/python");
    let version = AIOSMTPD.rsplit('=').next().unwrap_or_default();
    if answers(&program, &["-m", "aiosmtpd", "--version"], version) {
        return Ok(program);
    }
    if !exists("python3") {
        bail!("no python3 on this machine to install {AIOSMTPD} with");
    }
    eprintln!("installing {AIOSMTPD} with python3 into {} ...", folder.display());
    // Debian's python3 may come without the module that does this.
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(&program).args(["-m", "pip", "install", "--quiet", AIOSMTPD]))?;
    Ok(program)
}

fn go_program(name: &str, module: &str) -> Result<PathBuf> {
    let folder = tools().join("bin");
    let program = folder.join(name);
    if program.exists() {
        return Ok(program);
    }
    if !exists("go") {
        bail!("no go on this machine to install {module} with");
    }
    eprintln!("installing {module} with go into {} ...", folder.display());
    run(Command::new("go").args(["install", module]).env("GOBIN", &folder))?;
    Ok(program)
}

/// Whether PATH leads to a program.
pub fn exists(program: &str) -> bool {
    on_path(program).is_some()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file())
}

/// Runs a command in front of the user.
pub fn run(command: &mut Command) -> Result<()> {
    let name = Path::new(command.get_program()).display().to_string();
    let status = command.status().with_context(|| format!("run {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Whether a program says what is wanted.
pub fn answers(program: &Path, arguments: &[&str], wanted: &str) -> bool {
    let mut command = Command::new(program);
    let output = command.args(arguments).stderr(Stdio::piped()).output();
    output.is_ok_and(|output| {
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains(wanted)
    })
}

/// Where programs are installed that only some steps need.
pub fn tools() -> PathBuf {
    root().join(".dev/tools")
}
