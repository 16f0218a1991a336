//! Mail leaves over SMTP, or, where there is no mail server, as files in a folder.

mod folder;
mod smtp;

use std::fmt;

use anyhow::Context as _;
use uuid::Uuid;

use crate::{config::Mail as Config, letter::Letter};

use folder::Folder;
pub use smtp::{CONNECTIONS_MAX, Server, Smtp};

/// Why a letter is not known to have left.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing can leave at the moment; this did not.
    #[error("mail cannot leave: {0}")]
    Unreachable(String),
    /// This letter was turned away for now, or was not answered, and did not leave.
    #[error("mail is turned away: {0}")]
    NotNow(String),
    /// This letter will never leave.
    #[error("mail is refused: {0}")]
    Refused(String),
    /// It may have left.
    #[error("mail may have left: {0}")]
    Unknown(String),
}

impl From<std::io::Error> for Fault {
    /// Of the folder.
    fn from(error: std::io::Error) -> Self {
        Self::Unreachable(error.kind().to_string())
    }
}

/// Sends letters. Clones share the connections.
#[derive(Clone)]
pub struct Mailer {
    way: Way,
}

#[derive(Clone)]
enum Way {
    Smtp(Smtp),
    Folder(Folder),
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailer")
    }
}

impl Mailer {
    /// As configured; says in the log where mail goes.
    pub async fn new(config: &Config) -> anyhow::Result<Self> {
        let way = match (config.server(), &config.mail_dir) {
            (Some(server), _) => {
                let server = server.map_err(anyhow::Error::msg)?;
                tracing::info!(from = %config.mail_from, "send mail over SMTP");
                Way::Smtp(Smtp::new(server, config.mail_from.clone()))
            }
            (None, Some(path)) => {
                let folder = Folder::open(path).await;
                tracing::warn!(folder = %path.display(), "no mail server, write mail to files");
                Way::Folder(folder.with_context(|| format!("create {}", path.display()))?)
            }
            (None, None) => anyhow::bail!("nothing says how mail leaves"),
        };
        Ok(Self { way })
    }

    /// Sends a letter; its id tells the reader's mail server when it sees it twice.
    ///
    /// # Errors
    /// Whether it may have left, and whether it may leave later.
    pub async fn send(&self, id: Uuid, letter: &Letter) -> Result<(), Fault> {
        let written = letter.write();
        match &self.way {
            Way::Folder(folder) => Ok(folder.put(&letter.to, &written).await?),
            Way::Smtp(smtp) => smtp.send(id, &letter.to, written).await,
        }
    }
}
