//! The contract as it was released: what was promised then must hold ever after.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{tool, workbench::root};

/// An image of buf: the contract of the last release, comments left out. The folder's README.md
/// says when it is renewed.
const BASELINE: &str = "proto/baseline/v1.binpb";

/// The committed one, if there is one.
pub fn baseline() -> Option<PathBuf> {
    let path = root().join(BASELINE);
    path.exists().then_some(path)
}

/// Takes today's contract as the baseline. One that breaks the last baseline is refused: remove
/// that file first, and say in CHANGELOG.md what is broken.
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
    Ok(())
}
