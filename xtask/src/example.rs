//! What the buyers under `examples/` need before they run: their libraries and their generated
//! clients, made by the commands that examples/README.md names. The one in Rust is a program of the
//! workspace and needs nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    tool::{self, exists, run},
    workbench::root,
};

/// An example, and how it gets ready.
pub struct Example {
    /// What it is written in or for.
    pub name: &'static str,
    /// The variable in which its test finds what runs it.
    pub variable: &'static str,
    /// Installs its libraries and says what runs it, or why that is not possible here.
    pub install: fn() -> Result<PathBuf>,
    /// Generates its client and builds it; what fails here is a fault of ours.
    pub build: fn(&Path) -> Result<()>,
}

/// Every one that needs something.
pub const ALL: [Example; 4] = [
    Example {
        name: "Node",
        variable: "FIRSTCOME_EXAMPLE_NODE",
        install: || packages("node").map(|()| "node".into()),
        build: |_| run(npm("node").args(["run", "--silent", "generate"])),
    },
    Example {
        name: "a browser",
        variable: "FIRSTCOME_EXAMPLE_CHROMIUM",
        install: chromium,
        build: |_| run(npm("browser").args(["run", "--silent", "build", "--", "--logLevel=warn"])),
    },
    Example {
        name: "Python",
        variable: "FIRSTCOME_EXAMPLE_PYTHON",
        install: python,
        build: |python| {
            let mut generate = Command::new("sh");
            run(generate.arg("generate.sh").env("PYTHON", python).current_dir(folder("python")))
        },
    },
    Example {
        name: "Go",
        variable: "FIRSTCOME_EXAMPLE_GO",
        install: go,
        build: |program| {
            run(Command::new(tool::buf()?).arg("generate").current_dir(folder("go")))?;
            let mut build = Command::new("go");
            run(build.args(["build", "-o"]).arg(program).arg(".").current_dir(folder("go")))
        },
    },
];

/// The browser that opens the page.
fn chromium() -> Result<PathBuf> {
    let chromium = tool::chromium()?;
    packages("browser")?;
    Ok(chromium)
}

/// A Python that has the libraries.
fn python() -> Result<PathBuf> {
    let requirements = fs::read_to_string(folder("python").join("requirements.txt"))?;
    let packages = tool::tools().join("examples-python");
    let program = packages.join("bin/python");
    // pip writes them as they are named.
    if tool::answers(&program, &["-m", "pip", "freeze"], requirements.trim()) {
        return Ok(program);
    }
    if !exists("python3") {
        bail!("no python3 on this machine");
    }
    eprintln!("installing examples/python/requirements.txt into {} ...", packages.display());
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&packages))?;
    let mut pip = Command::new(&program);
    pip.args(["-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"]);
    run(pip.current_dir(folder("python")))?;
    Ok(program)
}

/// The program that is built.
fn go() -> Result<PathBuf> {
    if !exists("go") {
        bail!("no go on this machine");
    }
    tool::buf()?;
    run(Command::new("go").args(["mod", "download"]).current_dir(folder("go")))?;
    Ok(tool::tools().join("bin/firstcome-example-buyer"))
}

/// Installs what an example's package-lock.json names, unless it is there.
fn packages(name: &str) -> Result<()> {
    tool::node()?;
    // npm leaves a copy of what it has installed.
    let modified = |file: &str| folder(name).join(file).metadata()?.modified();
    if modified("node_modules/.package-lock.json").ok() >= Some(modified("package-lock.json")?) {
        return Ok(());
    }
    run(npm(name).args(["ci", "--no-audit", "--no-fund", "--silent"]))
}

fn npm(name: &str) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder(name));
    npm
}

fn folder(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made on a machine that could not fetch some, a lock leaves them out, and npm refuses it: what
    /// looks like a machine without packages is a fault of ours.
    #[test]
    fn every_lock_names_what_other_systems_need() {
        for folder in [folder("node"), folder("browser"), root().join("edge/web")] {
            let lock = fs::read_to_string(folder.join("package-lock.json")).unwrap();
            for group in lock.split("\"optionalDependencies\": {").skip(1) {
                let (group, _) = group.split_once('}').unwrap();
                for name in group.lines().filter_map(|line| line.split('"').nth(1)) {
                    let place = format!("node_modules/{name}\": {{");
                    assert!(lock.contains(&place), "{name} in {}", folder.display());
                }
            }
        }
    }
}
