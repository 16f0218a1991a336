//! The programs of an earlier revision, for `roll --from`: built out of a git worktree of their own
//! with the third parties that are built already, and kept apart from today's.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    tool,
    workbench::{self, Profile, SERVICES, root},
};

/// How a revision is named on the command line.
const OPTION: &str = "--from";

/// Builds the revision that `--from` names, and says where its programs are; nothing where it names
/// none.
pub fn build_named(arguments: &[OsString]) -> Result<Option<PathBuf>> {
    named(arguments).map(|revision| build(&revision)).transpose()
}

fn named(arguments: &[OsString]) -> Option<String> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    let found = arguments.find_map(|argument| {
        let rest = argument.strip_prefix(OPTION)?.to_owned();
        (rest.is_empty() || rest.starts_with('=')).then_some(rest)
    })?;
    match found.strip_prefix('=') {
        Some(revision) => Some(revision.to_owned()),
        None => arguments.next().map(|revision| revision.into_owned()),
    }
}

fn build(revision: &str) -> Result<PathBuf> {
    let commit = format!("{revision}^{{commit}}");
    let output = git().args(["rev-parse", "--verify", "--quiet", &commit]).output();
    let output = output.context("run git")?;
    if !output.status.success() {
        bail!("--from {revision}: no such revision of this repository");
    }
    let hash = String::from_utf8(output.stdout).context("read a revision")?.trim().to_owned();
    let folder = root().join(".dev/revisions").join(&hash);
    let programs = folder.join("programs");
    if SERVICES.iter().all(|name| programs.join(name).exists()) {
        return Ok(programs);
    }
    let source = folder.join("source");
    remove_source(&source);
    fs::create_dir_all(&programs)?;
    tool::run(git().args(["worktree", "add", "--quiet", "--detach"]).arg(&source).arg(&hash))?;
    eprintln!("building the services of {revision} ({hash}) ...");
    let built = build_in(&source, &programs);
    remove_source(&source);
    built?;
    Ok(programs)
}

/// Cargo puts them where today's are, too: so they are copied, and today's are linked anew by the
/// next build.
fn build_in(source: &Path, programs: &Path) -> Result<()> {
    let target = workbench::program(Profile::Release)?;
    let release = target.parent().context("a program lies in a folder")?;
    let mut cargo = workbench::cargo();
    cargo.args(["build", "--release", "--bins"]).current_dir(source);
    cargo.args(SERVICES.iter().flat_map(|service| ["--package", service]));
    cargo.env("CARGO_TARGET_DIR", release.parent().context("a profile lies in a folder")?);
    tool::run(&mut cargo)?;
    for service in SERVICES {
        fs::copy(release.join(service), programs.join(service))
            .with_context(|| format!("keep the old {service}"))?;
    }
    Ok(())
}

/// Where there is none, there is none to remove.
fn remove_source(source: &Path) {
    let _ = git().args(["worktree", "remove", "--force"]).arg(source).output();
    let _ = git().args(["worktree", "prune"]).output();
}

fn git() -> Command {
    let mut git = Command::new(OsStr::new("git"));
    git.current_dir(root());
    git
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_found_in_both_ways_of_writing_it() {
        let named = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
            named(&arguments)
        };
        assert_eq!(named("--runs 3 --from HEAD~4 --json").as_deref(), Some("HEAD~4"));
        assert_eq!(named("--from=v1").as_deref(), Some("v1"));
        assert_eq!(named("--from-replicas 1"), None);
        assert_eq!(named("--from"), None);
    }
}
