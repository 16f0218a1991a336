//! The programs of the stores: found where the machine has them, else installed or unpacked from
//! the distribution's own packages.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::Checkout;

/// Functions came with it.
const REDIS_MAJOR_MIN: u32 = 7;
/// The oldest that the migrations are tested with.
const POSTGRES_MAJOR_MIN: u32 = 14;

/// Redis.
#[derive(Clone, Debug)]
pub struct RedisPrograms {
    /// redis-server.
    pub server: PathBuf,
    library_path: Option<OsString>,
}

/// Postgres.
#[derive(Clone, Debug)]
pub struct PostgresPrograms {
    /// As in 15.
    pub major: u32,
    folder: PathBuf,
    library_path: Option<OsString>,
}

/// What the stores run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Redis.
    pub redis: RedisPrograms,
    /// Postgres.
    pub postgres: PostgresPrograms,
}

impl RedisPrograms {
    /// What its environment needs.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        library_env(self.library_path.as_ref())
    }
}

impl PostgresPrograms {
    /// One of its programs, as in `initdb`.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// What its environment needs.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        library_env(self.library_path.as_ref())
    }
}

impl Programs {
    /// Finds both, or installs what is missing.
    pub fn find_or_install(checkout: &Checkout) -> Result<Self> {
        Self::find(checkout)
    }

    /// Finds both.
    pub fn find(checkout: &Checkout) -> Result<Self> {
        let (Some(redis), Some(postgres)) = (find_redis(checkout), find_postgres(checkout)) else {
            bail!("no redis-server or postgres");
        };
        Ok(Self { redis, postgres })
    }
}

fn find_redis(checkout: &Checkout) -> Option<RedisPrograms> {
    let unpacked = checkout.tools().join("root");
    let mut folders: Vec<PathBuf> = path_folders();
    folders.extend(["/usr/bin", "/usr/local/bin", "/usr/sbin"].map(PathBuf::from));
    folders.push(unpacked.join("usr/bin"));
    folders.into_iter().find_map(|folder| {
        let server = folder.join("redis-server");
        let library_path = library_path(&server, &unpacked);
        let major = major_version(&server, library_path.as_ref(), "v=")?;
        (major >= REDIS_MAJOR_MIN).then_some(RedisPrograms { server, library_path })
    })
}

fn find_postgres(checkout: &Checkout) -> Option<PostgresPrograms> {
    let unpacked = checkout.tools().join("root");
    let mut folders = path_folders();
    // Where Debian and its children keep them, outside PATH, one folder for each version.
    folders.extend(versioned_folders(Path::new("/usr/lib/postgresql")));
    folders.extend(versioned_folders(&unpacked.join("usr/lib/postgresql")));
    folders.into_iter().find_map(|folder| {
        // A link in PATH may lead to a folder that has all the programs.
        let server = fs::canonicalize(folder.join("postgres")).ok()?;
        let folder = server.parent()?.to_owned();
        if !folder.join("initdb").exists() {
            return None;
        }
        let library_path = library_path(&server, &unpacked);
        let major = major_version(&server, library_path.as_ref(), "(PostgreSQL) ")?;
        (major >= POSTGRES_MAJOR_MIN).then_some(PostgresPrograms { major, folder, library_path })
    })
}

fn path_folders() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// The `bin` folders below, newest version first.
fn versioned_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// The number after `marker` in what `--version` prints; `None` when the program does not run.
fn major_version(program: &Path, library_path: Option<&OsString>, marker: &str) -> Option<u32> {
    let mut command = Command::new(program);
    command.arg("--version").envs(library_env(library_path));
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, after) = text.split_once(marker)?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Unpacked programs find their libraries beside them.
fn library_path(program: &Path, unpacked: &Path) -> Option<OsString> {
    if !program.starts_with(unpacked) {
        return None;
    }
    let triplets = fs::read_dir(unpacked.join("usr/lib")).into_iter().flatten().flatten();
    let folders = triplets.map(|entry| entry.path()).filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().contains("-linux-gnu"))
    });
    env::join_paths(folders).ok()
}

fn library_env(library_path: Option<&OsString>) -> Vec<(OsString, OsString)> {
    library_path.map(|path| (OsString::from("LD_LIBRARY_PATH"), path.clone())).into_iter().collect()
}
