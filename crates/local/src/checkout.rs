//! Where things lie in a checkout: everything that firstcome makes is under `.dev`, except the
//! Postgres data of root, which another user must be able to reach.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    process::{self, User},
    secret,
};

/// A clone of this repository.
#[derive(Clone, Debug)]
pub struct Checkout {
    root: PathBuf,
    state: PathBuf,
}

impl Checkout {
    /// The one that this program was built from.
    pub fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let root = root.expect("the crate lies two folders deep").to_owned();
        Self { state: root.join(".dev"), root }
    }

    /// The same clone with data, logs and secrets of their own, so that what is measured or broken
    /// there leaves the mesh of `up` alone.
    pub fn apart(&self, name: &str) -> Self {
        Self { root: self.root.clone(), state: self.state.join(name) }
    }

    /// The folder with the workspace manifest.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything made while running.
    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// Programs that were unpacked or built here, because the machine had none.
    pub fn tools(&self) -> PathBuf {
        self.root.join(".dev/tools")
    }

    /// One log per process.
    pub fn logs(&self) -> PathBuf {
        self.state().join("logs")
    }

    /// Generated passwords and keys, readable by their owner only.
    pub fn secrets(&self) -> PathBuf {
        self.state().join("secrets")
    }

    /// Who the services are to one another: an authority, certificates, and their keys.
    pub fn certificates(&self) -> PathBuf {
        self.secrets().join("certificates")
    }

    /// Mails, unless an SMTP server is configured.
    pub fn mail(&self) -> PathBuf {
        self.state().join("mail")
    }

    /// What the stores keep.
    pub fn data(&self) -> PathBuf {
        self.state().join("data")
    }

    /// Where root keeps Postgres' data: a home such as `/root` is closed to the user it runs as.
    pub fn data_of_root(&self) -> PathBuf {
        let path_hash = fnv1a(self.state.as_os_str().as_encoded_bytes());
        Path::new("/var/tmp").join(format!("firstcome-{path_hash:016x}"))
    }
}

/// Makes a folder that only its owner may enter.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A folder for one run, which goes when this process has ended, however it ends.
pub fn create_throwaway_folder() -> Result<PathBuf> {
    // The user that Postgres runs as must reach it, and a home need not be open to others.
    let parent = if User::is_root() { PathBuf::from("/var/tmp") } else { std::env::temp_dir() };
    let folder = parent.join(format!("firstcome-test-{}", &secret::generate()[..12]));
    create_private_folder(&folder).with_context(|| format!("create {}", folder.display()))?;
    // Others may pass through; what is inside is closed by itself.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
    process::remove_after_us(&folder)?;
    Ok(folder)
}

/// A hash that stays the same between builds, unlike the standard library's.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
