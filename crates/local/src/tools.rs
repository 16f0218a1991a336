//! The programs of the stores: found where the machine has them, else installed or unpacked from
//! the distribution's own packages.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::Checkout;

mod install;

/// Functions came with it.
const REDIS_MAJOR_MIN: u32 = 7;
/// The oldest that the migrations are tested with.
const POSTGRES_MAJOR_MIN: u32 = 14;

/// redis-server is a link to a program of redis-tools.
const REDIS_PACKAGES: [&str; 2] = ["redis-server", "redis-tools"];
/// Brings the distribution's own version.
const POSTGRES_PACKAGES: [&str; 1] = ["postgresql"];

/// As Debian, its children and Google call it.
const BROWSERS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Brings one, where the system's package manager may be used.
const BROWSER_PACKAGES: [&str; 1] = ["chromium"];

/// Debian's Prometheus. Installed, it would run as a service of the machine from the next start on;
/// its two programs stand alone, so they are unpacked wherever they are missing.
const PROMETHEUS_PACKAGES: [&str; 1] = ["prometheus"];
/// What asks, and what checks its rules.
const PROMETHEUS_PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// Not in every container.
const TIME_ZONES: &str = "/usr/share/zoneinfo";

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
    /// Finds both, or gets what is missing, and says what it runs.
    pub fn find_or_install(checkout: &Checkout) -> Result<Self> {
        if let Ok(found) = Self::find(checkout) {
            return Ok(found);
        }
        let folder = checkout.tools();
        let _lock = lock(&folder)?;
        let mut packages = Vec::new();
        if find_redis(checkout).is_none() {
            packages.extend(REDIS_PACKAGES);
        }
        if find_postgres(checkout).is_none() {
            packages.extend(POSTGRES_PACKAGES);
        }
        if !packages.is_empty() {
            install::packages(&packages, &folder)?;
        }
        // Debian's Postgres reads the machine's own time zones, wherever it lies itself.
        if !Path::new(TIME_ZONES).exists() {
            bail!("postgres needs {TIME_ZONES}; ask whoever may to install tzdata");
        }
        Self::find(checkout)
    }

    /// Finds both.
    pub fn find(checkout: &Checkout) -> Result<Self> {
        let redis = find_redis(checkout)
            .with_context(|| format!("no redis-server of version {REDIS_MAJOR_MIN} or newer"))?;
        let postgres = find_postgres(checkout)
            .with_context(|| format!("no postgres of version {POSTGRES_MAJOR_MIN} or newer"))?;
        Ok(Self { redis, postgres })
    }
}

/// A Chromium of the machine, or one that the system's package manager brings. It is not unpacked for
/// an ordinary user: it wants half a desktop.
pub fn find_or_install_browser(checkout: &Checkout) -> Result<PathBuf> {
    if let Some(found) = find_browser() {
        return Ok(found);
    }
    if !install::may_install() {
        bail!("no {} in PATH, and none may be installed", BROWSERS.join(", "));
    }
    let folder = checkout.tools();
    let _lock = lock(&folder)?;
    install::packages(&BROWSER_PACKAGES, &folder)?;
    find_browser().context("the package brought no browser")
}

fn find_browser() -> Option<PathBuf> {
    let folders = path_folders();
    let paths = BROWSERS.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    // A stub that only says where to get one does not run.
    paths.into_iter().find(|path| {
        let version = Command::new(path).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// The machine's Prometheus, or one that is unpacked; promtool lies beside it.
pub fn find_or_unpack_prometheus(checkout: &Checkout) -> Result<PathBuf> {
    if let Some(found) = find_prometheus(checkout) {
        return Ok(found);
    }
    let folder = checkout.tools();
    let _lock = lock(&folder)?;
    install::unpack_alone(&PROMETHEUS_PACKAGES, &folder)?;
    find_prometheus(checkout).context("the package brought no prometheus that runs")
}

fn find_prometheus(checkout: &Checkout) -> Option<PathBuf> {
    let mut folders = path_folders();
    folders.push(checkout.tools().join("root/usr/bin"));
    let runs = |program: PathBuf| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let has_both =
        |folder: &PathBuf| PROMETHEUS_PROGRAMS.iter().all(|name| runs(folder.join(name)));
    folders.into_iter().find(has_both).map(|folder| folder.join(PROMETHEUS_PROGRAMS[0]))
}

/// Two tests of a bare machine would otherwise install side by side.
fn lock(folder: &Path) -> Result<fs::File> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let lock = folder.join("lock");
    let lock = fs::File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
    lock.lock().context("wait for another installation")?;
    Ok(lock)
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
    // As in usr/lib/x86_64-linux-gnu; some packages still ship lib/x86_64-linux-gnu.
    let entries = ["usr/lib", "lib"].map(|folder| fs::read_dir(unpacked.join(folder)));
    let folders = entries.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    let of_architecture = folders.filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().contains("-linux-gnu"))
    });
    env::join_paths(of_architecture).ok()
}

fn library_env(library_path: Option<&OsString>) -> Vec<(OsString, OsString)> {
    library_path.map(|path| (OsString::from("LD_LIBRARY_PATH"), path.clone())).into_iter().collect()
}
