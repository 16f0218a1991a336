//! A release as it was: the contract whose promises must hold ever after, and what its shop leaves
//! behind, which later programs must take over.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    tool,
    workbench::{self, Profile, root},
};

/// An image of buf: the contract of the last release, comments left out. The folder's README.md
/// says when it is renewed.
const BASELINE: &str = "proto/baseline/v1.binpb";

/// The committed one, if there is one.
pub fn baseline() -> Option<PathBuf> {
    let path = root().join(BASELINE);
    path.exists().then_some(path)
}

/// Takes today's contract, and what today's shop leaves, as the baseline. A contract that breaks the
/// last one is refused: remove that file first, and say in CHANGELOG.md what is broken.
pub fn take_baseline() -> Result<()> {
    let buf = tool::buf()?;
    let buf = || {
        let mut command = Command::new(&buf);
        command.current_dir(root());
        command
    };
    if let Some(baseline) = baseline() {
        tool::run(buf().arg("breaking").arg("--against").arg(baseline))?;
    }
    fs::create_dir_all(root().join(BASELINE).parent().unwrap_or(Path::new(".")))?;
    tool::run(buf().args(["build", "--exclude-source-info", "--output", BASELINE]))?;
    println!("{BASELINE} is today's contract; commit it");
    // Debug builds, because it stops a process between two steps.
    workbench::build(Profile::Tested)?;
    tool::run(&mut Command::new(workbench::beside(Profile::Tested, "firstcome-baseline")?))
}
