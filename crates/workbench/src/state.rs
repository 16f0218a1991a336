//! What a running mesh leaves in `.dev` for others to find it: a lock that the kernel takes back
//! when its owner dies, and the places of everything.

use std::{
    fs::{self, File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use firstcome_local::{Address, Checkout, checkout, secret};
use serde::{Deserialize, Serialize};

/// How often a lock without its owner's number is looked at.
const PID_LOOKS: u32 = 20;
/// How long between two looks.
const PID_POLL: Duration = Duration::from_millis(50);

/// A mesh, found or to be found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Whose children everything is.
    pub pid: u32,
    /// The services and stores.
    pub address: Address,
    /// The operator, who may schedule drops.
    pub admin_email: String,
    /// The operator's password.
    pub admin_password: String,
}

impl State {
    /// The mesh that another process of this checkout runs, if any.
    pub fn find(checkout: &Checkout) -> Result<Option<Self>> {
        if Lock::holder(checkout)?.is_none() {
            return Ok(None);
        }
        match fs::read_to_string(path(checkout)) {
            Ok(text) => Ok(Some(serde_json::from_str(&text).context("read the running mesh")?)),
            Err(_) => bail!("a mesh of this checkout is starting or stopping; try again soon"),
        }
    }

    /// Lets others find it; it carries passwords, so only the same user can.
    pub fn write(&self, checkout: &Checkout) -> Result<()> {
        secret::write_private(&path(checkout), &serde_json::to_string_pretty(self)?)
    }

    /// Nobody finds it any more.
    pub fn remove(checkout: &Checkout) {
        // Where there is none, there is none to remove.
        let _ = fs::remove_file(path(checkout));
    }
}

/// At most one process runs the mesh of a checkout.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it; the error says who has it.
    pub fn take(checkout: &Checkout) -> Result<Self> {
        let mut file = open(checkout)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => bail!(
                "the mesh of this checkout is up already (process {}); `cargo xtask down` stops it",
                read_pid(&mut file)?
            ),
            Err(TryLockError::Error(error)) => Err(error).context("lock the mesh"),
        }
    }

    /// The process that has it.
    pub fn holder(checkout: &Checkout) -> Result<Option<u32>> {
        let mut file = open(checkout)?;
        match file.try_lock() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&mut file)?)),
            Err(TryLockError::Error(error)) => Err(error).context("look at the mesh's lock"),
        }
    }
}

/// Who has the lock; it writes its number right after taking it.
fn read_pid(file: &mut File) -> Result<u32> {
    let mut text = String::new();
    for _ in 0..PID_LOOKS {
        text.clear();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        if let Ok(pid) = text.parse() {
            return Ok(pid);
        }
        std::thread::sleep(PID_POLL);
    }
    bail!("the lock of the mesh names no process: {text:?}");
}

fn open(checkout: &Checkout) -> Result<File> {
    let folder = checkout.state();
    checkout::create_private_folder(&folder)
        .with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join("up.lock");
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    file.with_context(|| format!("open {}", path.display()))
}

fn path(checkout: &Checkout) -> PathBuf {
    checkout.state().join("mesh.json")
}
