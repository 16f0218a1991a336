//! Building `firstcome-workbench`, with the services where it needs them, and becoming it.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Error, Result, bail};

/// What drives the services.
const WORKBENCH: &str = "firstcome-workbench";
/// The services; each package has a program of its name.
pub const SERVICES: [&str; 5] = [
    "firstcome-user",
    "firstcome-inventory",
    "firstcome-order",
    "firstcome-payment",
    "firstcome-edge",
];

/// How to build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Services and workbench, as they are measured.
    Release,
    /// The workbench alone, quickly.
    Dev,
    /// Every program of the workspace with it, in dev, and the tests with them: apart, each would
    /// build what it depends on once more, with other features.
    Tested,
    /// Whichever workbench there is; a dev one when there is none.
    Any,
}

/// Builds what the profile needs; cargo shows its progress.
pub fn build(profile: Profile) -> Result<()> {
    let arguments: Vec<&str> = match profile {
        Profile::Release => {
            let packages = SERVICES.iter().flat_map(|package| ["--package", package]);
            ["build", "--release", "--package", WORKBENCH].into_iter().chain(packages).collect()
        }
        Profile::Dev => vec!["build", "--package", WORKBENCH],
        Profile::Tested => vec!["build", "--workspace", "--bins", "--tests"],
        Profile::Any if program(profile)?.exists() => return Ok(()),
        Profile::Any => vec!["build", "--package", WORKBENCH],
    };
    let status = cargo().args(arguments).status().context("run cargo")?;
    if !status.success() {
        bail!("the build failed");
    }
    Ok(())
}

/// Becomes the workbench: its signals and its exit code are ours. The answer is why not.
pub fn replace_us(profile: Profile, command: &str, arguments: &[OsString]) -> Error {
    match program(profile) {
        Ok(program) => {
            let mut workbench = Command::new(&program);
            forget_our_package(&mut workbench);
            let error = workbench.arg(command).args(arguments).exec();
            Error::new(error).context(format!("run {}", program.display()))
        }
        Err(error) => error,
    }
}

/// The workbench of this profile, about to do a step. What it builds is what we built.
pub fn step(profile: Profile, arguments: &[&str]) -> Result<Command> {
    let mut workbench = Command::new(program(profile)?);
    forget_our_package(&mut workbench);
    workbench.args(arguments);
    Ok(workbench)
}

/// The workbench of this profile.
pub fn program(profile: Profile) -> Result<PathBuf> {
    let target = target_folder()?;
    let release = target.join("release").join(WORKBENCH);
    let debug = target.join("debug").join(WORKBENCH);
    Ok(match profile {
        Profile::Release => release,
        Profile::Dev | Profile::Tested => debug,
        Profile::Any if release.exists() => release,
        Profile::Any => debug,
    })
}

/// Another program of the workspace, of this profile.
pub fn beside(profile: Profile, name: &str) -> Result<PathBuf> {
    Ok(program(profile)?.with_file_name(name))
}

/// The cargo that runs us, in the workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    forget_our_package(&mut cargo);
    cargo
}

/// Takes back what `cargo run` told us about this package: some build scripts look at the same
/// variables, and would take every other build for a new one.
fn forget_our_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
}

/// The folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace")
}

/// Where cargo builds: the user's configuration may have moved it.
fn target_folder() -> Result<PathBuf> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let output = metadata.output().context("run cargo metadata")?;
    let text = String::from_utf8(output.stdout).context("read cargo metadata")?;
    // One string of one large object: not worth a parser.
    let (_, rest) = text.split_once(r#""target_directory":""#).context("no target folder")?;
    let (folder, _) = rest.split_once('"').context("no target folder")?;
    Ok(PathBuf::from(folder))
}
