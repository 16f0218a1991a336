//! Mail leaves over SMTP, or, where there is no mail server, as files in a folder.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor, message::Mailbox};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::{account::Email, code::Code, config::Mail as Config};

/// A mail server that takes longer is down.
const SMTP_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a file's name: what most file systems allow, less what we put in front.
const FILE_ADDRESS_BYTES_MAX: usize = 150;

/// What there is to say.
pub enum Letter {
    /// To somebody who signs up.
    Code {
        /// To whom.
        to: Email,
        /// The proof.
        code: Code,
        /// How long it lives.
        ttl: Duration,
    },
    /// To somebody whose address was given in a sign-up although the account exists.
    AlreadyHere {
        /// To whom.
        to: Email,
    },
}

impl Letter {
    fn to(&self) -> &Email {
        match self {
            Self::Code { to, .. } | Self::AlreadyHere { to } => to,
        }
    }

    fn subject(&self) -> &'static str {
        match self {
            Self::Code { .. } => "Your firstcome code",
            Self::AlreadyHere { .. } => "You already have a firstcome account",
        }
    }

    fn body(&self) -> String {
        match self {
            Self::Code { code, ttl, .. } => format!(
                "Your code is {}. It is good for {}.\n\
                 If you did not sign up at firstcome, ignore this mail: nothing will happen.\n",
                code.expose(),
                humantime::format_duration(*ttl)
            ),
            Self::AlreadyHere { .. } => "Somebody signed up at firstcome with this address, but \
                 it has an account already.\nIf that was you, log in with your password. If not, \
                 ignore this mail: nothing was changed.\n"
                .to_owned(),
        }
    }
}

/// Sends letters.
#[derive(Clone)]
pub struct Mailer {
    way: Way,
}

#[derive(Clone)]
enum Way {
    Smtp { transport: AsyncSmtpTransport<Tokio1Executor>, from: Mailbox },
    Folder(PathBuf),
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailer")
    }
}

impl Mailer {
    /// As configured; says in the log where mail goes.
    pub async fn new(config: &Config) -> anyhow::Result<Self> {
        let way = match (&config.smtp_url, &config.mail_dir) {
            (Some(url), _) => {
                let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())
                    .context("read the mail server's address")?
                    .timeout(Some(SMTP_TIMEOUT))
                    .build();
                tracing::info!(from = %config.mail_from, "send mail over SMTP");
                Way::Smtp { transport, from: config.mail_from.clone() }
            }
            (None, Some(folder)) => {
                tokio::fs::create_dir_all(folder)
                    .await
                    .with_context(|| format!("create {}", folder.display()))?;
                tracing::warn!(folder = %folder.display(), "no mail server, write mail to files");
                Way::Folder(folder.clone())
            }
            (None, None) => anyhow::bail!("nothing says how mail leaves"),
        };
        Ok(Self { way })
    }

    /// Sends a letter.
    pub async fn send(&self, letter: &Letter) -> anyhow::Result<()> {
        match &self.way {
            Way::Folder(folder) => write(folder, letter).await,
            Way::Smtp { transport, from } => {
                let message = Message::builder()
                    .from(from.clone())
                    .to(Mailbox::new(None, letter.to().as_str().parse()?))
                    .subject(letter.subject())
                    .body(letter.body())?;
                transport.send(message).await?;
                Ok(())
            }
        }
    }
}

/// Whole or not at all: whoever watches the folder never reads half a mail.
async fn write(folder: &Path, letter: &Letter) -> anyhow::Result<()> {
    let to = letter.to().as_str();
    let text = format!("To: {to}\nSubject: {}\n\n{}", letter.subject(), letter.body());
    let unsent = folder.join(format!(".{}", Uuid::new_v4()));
    tokio::fs::write(&unsent, text).await?;
    tokio::fs::rename(&unsent, folder.join(file_name(to))).await?;
    Ok(())
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
}
