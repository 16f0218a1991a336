//! Getting the stores' programs from the distribution: installed where we may, else unpacked into
//! the checkout. Nothing is started by it, and nothing outside is changed without a line about it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::process::User;

/// Unpacked, these would take half a gigabyte; Postgres loads them only to compile long queries.
const NEEDLESS_PREFIXES: [&str; 2] = ["libllvm", "libz3"];

/// Installs as root: the policy file keeps the packages from starting services of their own.
const INSTALL_AS_ROOT: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends "$@"
"#;

/// Whether the system's package manager is there and ours to use.
pub fn may_install() -> bool {
    which("apt-get").is_some() && (User::is_root() || may_sudo())
}

/// Gets packages: with apt-get as root or through sudo, else by unpacking them into `folder`.
pub fn packages(names: &[&str], folder: &Path) -> Result<()> {
    if which("apt-get").is_none() {
        bail!(
            "this machine has no apt-get; install redis-server 7.0 or newer and postgres 14 or newer"
        );
    }
    let listed = names.join(" ");
    if User::is_root() {
        eprintln!("installing {listed} with apt-get ...");
        let mut command = Command::new("sh");
        return run(command.args(["-c", INSTALL_AS_ROOT, "install"]).args(names));
    }
    if may_sudo() {
        eprintln!("installing {listed} with sudo apt-get ...");
        let mut command = Command::new("sudo");
        return run(command.args(["-n", "sh", "-c", INSTALL_AS_ROOT, "install"]).args(names));
    }
    unpack(names, folder)
}

/// Unpacks these packages and nothing that they ask for: their programs stand alone. Nothing of them
/// is installed, so nothing of them ever starts by itself.
pub fn unpack_alone(names: &[&str], folder: &Path) -> Result<()> {
    if which("apt-get").is_none() {
        bail!("this machine has no apt-get to get {} with", names.join(" "));
    }
    unpack_with(names, folder, |_| Ok(names.iter().map(|name| (*name).to_owned()).collect()))
}

/// Downloads the packages with all that they need and the machine lacks, and unpacks them.
fn unpack(names: &[&str], folder: &Path) -> Result<()> {
    unpack_with(names, folder, |lists| lists.closure(names))
}

fn unpack_with(
    names: &[&str],
    folder: &Path,
    wanted: impl Fn(&PackageLists) -> Result<BTreeSet<String>>,
) -> Result<()> {
    let root = folder.join("root");
    eprintln!("unpacking {} into {} ...", names.join(" "), root.display());
    let downloads = folder.join("packages");
    fs::create_dir_all(&downloads)?;
    fs::create_dir_all(&root)?;

    // The machine's package lists will do, unless it has none, or they are out of date.
    let ours = PackageLists::private(folder)?;
    let downloaded =
        download(&wanted, &PackageLists::of_machine(), &downloads).or_else(|error| {
            eprintln!("fetching package lists of our own ({error:#}) ...");
            ours.update()?;
            download(&wanted, &ours, &downloads)
        })?;
    for package in downloaded {
        let mut command = Command::new("dpkg-deb");
        run(command.arg("--extract").arg(&package).arg(&root))?;
    }
    fs::remove_dir_all(&downloads)?;
    Ok(())
}

/// Where apt keeps what it knows.
struct PackageLists {
    options: Vec<String>,
}

impl PackageLists {
    fn of_machine() -> Self {
        Self { options: Vec::new() }
    }

    fn private(folder: &Path) -> Result<Self> {
        let (state, cache) = (folder.join("apt/state"), folder.join("apt/cache"));
        fs::create_dir_all(state.join("lists/partial"))?;
        fs::create_dir_all(cache.join("archives/partial"))?;
        let options = vec![
            format!("-oDir::State={}", state.display()),
            format!("-oDir::Cache={}", cache.display()),
            // What is installed remains the machine's.
            "-oDir::State::status=/var/lib/dpkg/status".to_owned(),
        ];
        Ok(Self { options })
    }

    fn update(&self) -> Result<()> {
        run(self.apt_get().args(["--quiet", "--quiet", "update"]))
    }

    /// The packages and what else an installation would bring.
    fn closure(&self, names: &[&str]) -> Result<BTreeSet<String>> {
        let mut command = self.apt_get();
        command.args(["--simulate", "--no-install-recommends", "install"]).args(names);
        let output = command.stderr(Stdio::null()).output().context("run apt-get")?;
        if !output.status.success() {
            bail!("apt-get knows no way to install {}", names.join(" "));
        }
        let plan = String::from_utf8_lossy(&output.stdout).into_owned();
        let new = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
        let needless =
            |name: &&str| NEEDLESS_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let mut closure: BTreeSet<String> =
            new.filter(|name| !needless(name)).map(str::to_owned).collect();
        // Also what is installed already, but too old or broken; a link may lead from one of our
        // packages into another.
        closure.extend(names.iter().map(|name| name.to_string()));
        Ok(closure)
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.args(&self.options).env("LC_ALL", "C");
        command
    }
}

fn download(
    wanted: impl Fn(&PackageLists) -> Result<BTreeSet<String>>,
    lists: &PackageLists,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let packages = wanted(lists)?;
    let mut command = lists.apt_get();
    run(command.args(["--quiet", "--quiet", "download"]).args(packages).current_dir(folder))?;
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

fn may_sudo() -> bool {
    let mut command = Command::new("sudo");
    command.args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn which(program: &str) -> Option<PathBuf> {
    super::path_folders().into_iter().map(|folder| folder.join(program)).find(|path| path.exists())
}

/// Runs a command in front of the user; its output goes where ours goes, but never into a result.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().with_context(|| format!("run {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}
