//! What the services' logs say of faults of ours during one run. Every life of a process and every run
//! writes to the end of the same files: what stood there before is not this run's.
//!
//! A peer that drains or is gone is no fault and logged below ERROR; so each such line, and each
//! panic, counts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// What the lines say that count.
const WORDS: [&str; 2] = ["ERROR", "panicked"];

/// The logs of a folder, from an instant on.
pub struct Logs {
    folder: PathBuf,
    /// How long each was at that instant.
    before: BTreeMap<PathBuf, u64>,
}

impl Logs {
    /// From now on.
    pub fn from_now(folder: &Path) -> Result<Self> {
        let length = |path: PathBuf| {
            let length = fs::metadata(&path).with_context(|| format!("{}", path.display()))?.len();
            Ok((path, length))
        };
        let before = of_services(folder)?.into_iter().map(length).collect::<Result<_>>()?;
        Ok(Self { folder: folder.to_owned(), before })
    }

    /// The lines since then that tell of a fault of ours.
    pub fn faults(&self) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        for path in of_services(&self.folder)? {
            let before = self.before.get(&path).copied().unwrap_or_default();
            let text = read_from(&path, before).with_context(|| format!("{}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let told = text.lines().filter(|line| WORDS.iter().any(|word| line.contains(word)));
            faults.extend(told.map(|line| format!("{name}: {line}")));
        }
        Ok(faults)
    }
}

/// Those of the five, whichever of them have begun to write.
fn of_services(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("firstcome-") && name.ends_with(".log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_from(path: &Path, start: u64) -> Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use firstcome_local::checkout;

    use super::*;

    #[test]
    fn only_what_this_run_has_logged_counts() {
        let folder = checkout::create_throwaway_folder().unwrap();
        let order = folder.join("firstcome-order.log");
        let write = |path: &Path, text: &str| {
            let mut all = fs::read_to_string(path).unwrap_or_default();
            all += text;
            fs::write(path, all).unwrap();
        };
        write(&order, "10:00 ERROR a statement failed\n");
        let logs = Logs::from_now(&folder).unwrap();
        assert_eq!(logs.faults().unwrap(), Vec::<String>::new());

        write(&order, "10:01  INFO serve\n10:02 ERROR a statement failed\n");
        write(&folder.join("firstcome-user-2.log"), "thread 'main' panicked at a.rs:1\n");
        write(&folder.join("redis-7101.log"), "ERROR of somebody else\n");
        assert_eq!(
            logs.faults().unwrap(),
            [
                "firstcome-order.log: 10:02 ERROR a statement failed",
                "firstcome-user-2.log: thread 'main' panicked at a.rs:1",
            ]
        );
        let next = Logs::from_now(&folder).unwrap();
        assert_eq!(next.faults().unwrap(), Vec::<String>::new());
    }
}
