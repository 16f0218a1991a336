//! Passwords made once per checkout and kept where only their owner can read them.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::checkout;

/// 256 bits: what AES wants, and it fits on a line.
const SECRET_BYTES: usize = 32;

/// A folder of secrets, one file each.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    /// Opens the folder, and makes it when there is none.
    pub fn open(folder: &Path) -> Result<Self> {
        checkout::create_private_folder(folder)
            .with_context(|| format!("create {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The secret of this name, made on first use: lower-case hexadecimal.
    pub fn get(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(secret) => Ok(secret.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = generate();
                write_private(&path, &secret)?;
                Ok(secret)
            }
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Where the secret of this name is kept.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A new secret.
pub fn generate() -> String {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, contents: &str) -> Result<()> {
    let mut file = fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("write {}", path.display()))?;
    file.write_all(contents.as_bytes())?;
    Ok(())
}
