//! Mail as files in a folder, for whoever develops or tests: plain text alone.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use crate::{account::Email, letter::Written};

/// Of a file's name: what most file systems allow, less what we put in front.
const FILE_ADDRESS_BYTES_MAX: usize = 150;
/// A folder is there to be looked at: it keeps the newest mails, whatever a rush makes of them.
const FILES_KEPT: usize = 5_000;
/// Mails between two looks for those that are too many.
const FILES_BETWEEN_LOOKS: usize = 1_000;

/// One file for each mail.
#[derive(Clone)]
pub struct Folder {
    path: PathBuf,
    written: Arc<AtomicUsize>,
}

impl Folder {
    /// This one, made where there is none.
    pub async fn open(path: &Path) -> std::io::Result<Self> {
        tokio::fs::create_dir_all(path).await?;
        Ok(Self { path: path.to_owned(), written: Arc::default() })
    }

    /// Whole or not at all: whoever watches the folder never reads half a mail.
    pub async fn put(&self, to: &Email, mail: &Written) -> std::io::Result<()> {
        let to = to.as_str();
        let text = format!("To: {to}\nSubject: {}\n\n{}", mail.subject, mail.text);
        let unsent = self.path.join(format!(".{}", Uuid::new_v4()));
        tokio::fs::write(&unsent, text).await?;
        tokio::fs::rename(&unsent, self.path.join(file_name(to))).await?;
        let written = self.written.fetch_add(1, Ordering::Relaxed);
        if written.is_multiple_of(FILES_BETWEEN_LOOKS) {
            let path = self.path.clone();
            // Beside the mail, which has arrived.
            tokio::task::spawn_blocking(move || remove_oldest(&path, FILES_KEPT));
        }
        Ok(())
    }
}

/// Names begin with the time, so the oldest are the first.
fn remove_oldest(folder: &Path, kept: usize) {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mails = files.map(|file| file.path());
    let mut mails: Vec<PathBuf> =
        mails.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect();
    mails.sort();
    let surplus = mails.len().saturating_sub(kept);
    for mail in &mails[..surplus] {
        // Somebody else may have been tidying too.
        let _ = std::fs::remove_file(mail);
    }
}

/// In the order of sending, with the address in plain sight: `1712345678901234-ann@example.com.txt`.
fn file_name(to: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let harmless = |letter: char| letter.is_ascii_alphanumeric() || "@.+-_".contains(letter);
    let address: String = to
        .chars()
        .take(FILE_ADDRESS_BYTES_MAX)
        .map(|letter| if harmless(letter) { letter } else { '_' })
        .collect();
    format!("{:016}-{address}.txt", now.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_address_stays_in_the_folder() {
        let name = file_name("../../etc/passwd@example.com");
        assert!(name.ends_with("-.._.._etc_passwd@example.com.txt"), "{name}");
        assert!(file_name(&"x".repeat(300)).len() < 200);
    }

    #[test]
    fn a_folder_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["1-a.txt", "3-c.txt", "2-b.txt", "0-notes.md"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        remove_oldest(folder.path(), 2);
        let left = std::fs::read_dir(folder.path()).unwrap();
        let mut left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["0-notes.md", "2-b.txt", "3-c.txt"]);
    }
}
