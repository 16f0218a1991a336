//! Mail leaves over SMTP, or, where there is no mail server, as files in a folder.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use firstcome_proto::{Money, OrderId};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor, message::Mailbox,
    transport::smtp,
};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::{account::Email, code::Code, config::Mail as Config, news::News};

/// A mail server that takes longer is down.
const SMTP_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a file's name: what most file systems allow, less what we put in front.
const FILE_ADDRESS_BYTES_MAX: usize = 150;
/// A folder is there to be looked at: it keeps the newest mails, whatever a rush makes of them.
const FILES_KEPT: usize = 5_000;
/// Mails between two looks for those that are too many.
const FILES_BETWEEN_LOOKS: usize = 1_000;
/// Currencies without minor units.
const WHOLE_CURRENCIES: [&str; 4] = ["CLP", "JPY", "KRW", "VND"];

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
    /// To somebody who forgot a password.
    Reset {
        /// To whom.
        to: Email,
        /// The proof.
        code: Code,
        /// How long it lives.
        ttl: Duration,
    },
    /// To somebody whose order got on.
    Order {
        /// To whom.
        to: Email,
        /// Which order.
        order: OrderId,
        /// Its sum.
        total: Money,
        /// How it got on.
        news: News,
    },
}

/// Why a letter is not known to have left.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing can leave at the moment; this did not.
    #[error("mail cannot leave: {0}")]
    Unreachable(String),
    /// This letter was turned away for now, and did not leave.
    #[error("mail is turned away: {0}")]
    NotNow(String),
    /// This letter will never leave.
    #[error("mail is refused: {0}")]
    Refused(String),
    /// It may have left.
    #[error("mail may have left: {0}")]
    Unknown(String),
}

impl From<smtp::Error> for Fault {
    /// Without what the server said, which may repeat the address.
    fn from(error: smtp::Error) -> Self {
        if let Some(code) = error.status() {
            let said = format!("the mail server said {code}");
            return match u16::from(code) {
                // It closes, or does not believe who we are: no letter is to blame.
                421 | 530 | 534 | 535 | 538 => Self::Unreachable(said),
                400..500 => Self::NotNow(said),
                _ => Self::Refused(said),
            };
        }
        let text = error.to_string();
        // Nothing else tells a connection that never was from one that broke.
        if text.starts_with("Connection error") {
            Self::Unreachable(text)
        } else if error.is_client() {
            Self::Refused("the letter cannot be sent".to_owned())
        } else {
            Self::Unknown("the mail server gave no answer that can be read".to_owned())
        }
    }
}

impl From<std::io::Error> for Fault {
    /// Of the folder.
    fn from(error: std::io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl Letter {
    fn to(&self) -> &Email {
        match self {
            Self::Code { to, .. }
            | Self::AlreadyHere { to }
            | Self::Reset { to, .. }
            | Self::Order { to, .. } => to,
        }
    }

    fn subject(&self) -> &'static str {
        match self {
            Self::Code { .. } => "Your firstcome code",
            Self::Reset { .. } => "Your code for a new firstcome password",
            Self::AlreadyHere { .. } => "You already have a firstcome account",
            Self::Order { news, .. } => match news {
                News::Ordered => "Your firstcome order",
                News::Shipped => "Your firstcome order is on its way",
                News::Cancelled { .. } => "Your firstcome order is cancelled",
                News::Refunded => "Your firstcome order is refunded",
            },
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
            Self::Reset { code, ttl, .. } => format!(
                "Your code for a new password is {}. It is good for {}.\n\
                 If you did not ask for one, ignore this mail: nothing was changed.\n",
                code.expose(),
                humantime::format_duration(*ttl)
            ),
            Self::AlreadyHere { .. } => "Somebody signed up at firstcome with this address, but \
                 it has an account already.\nIf that was you, log in with your password. If not, \
                 ignore this mail: nothing was changed.\n"
                .to_owned(),
            Self::Order { order, total, news, .. } => {
                let total = amount(total);
                let said = match news {
                    News::Ordered => {
                        format!("Thank you for your order. {total} was paid; we prepare it now.")
                    }
                    News::Shipped => "Your order is with the carrier.".to_owned(),
                    News::Cancelled { refunded: false } => {
                        "Your order is cancelled. Nothing was charged.".to_owned()
                    }
                    News::Cancelled { refunded: true } => {
                        format!("Your order is cancelled. {total} goes back to your card.")
                    }
                    News::Refunded => {
                        format!("Your return has arrived. {total} goes back to your card.")
                    }
                };
                format!("{said}\n\nOrder: {order}\nTotal: {total}\n")
            }
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
    Folder { path: PathBuf, written: Arc<AtomicUsize> },
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
                Way::Folder { path: folder.clone(), written: Arc::default() }
            }
            (None, None) => anyhow::bail!("nothing says how mail leaves"),
        };
        Ok(Self { way })
    }

    /// Sends a letter.
    ///
    /// # Errors
    /// Whether it may have left, and whether it may leave later.
    pub async fn send(&self, letter: &Letter) -> Result<(), Fault> {
        match &self.way {
            Way::Folder { path, written } => {
                write(path, letter).await?;
                if written.fetch_add(1, Ordering::Relaxed) % FILES_BETWEEN_LOOKS == 0 {
                    let path = path.clone();
                    // Beside the mail, which has arrived.
                    tokio::task::spawn_blocking(move || remove_oldest(&path, FILES_KEPT));
                }
                Ok(())
            }
            Way::Smtp { transport, from } => {
                let refused = |_| Fault::Refused("the letter cannot be written".to_owned());
                let to = letter.to().as_str().parse();
                let to = to.map_err(|_| Fault::Refused("the address is none".to_owned()))?;
                let message = Message::builder()
                    .from(from.clone())
                    .to(Mailbox::new(None, to))
                    .subject(letter.subject())
                    .body(letter.body())
                    .map_err(refused)?;
                transport.send(message).await?;
                Ok(())
            }
        }
    }
}

/// As in `129,000 KRW` and `12.90 EUR`.
fn amount(money: &Money) -> String {
    let currency = money.currency.as_str();
    let (whole, minor) = if WHOLE_CURRENCIES.contains(&currency) {
        (money.amount_minor, String::new())
    } else {
        (money.amount_minor / 100, format!(".{:02}", money.amount_minor % 100))
    };
    let digits = whole.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}{minor} {currency}")
}

/// Whole or not at all: whoever watches the folder never reads half a mail.
async fn write(folder: &Path, letter: &Letter) -> std::io::Result<()> {
    let to = letter.to().as_str();
    let text = format!("To: {to}\nSubject: {}\n\n{}", letter.subject(), letter.body());
    let unsent = folder.join(format!(".{}", Uuid::new_v4()));
    tokio::fs::write(&unsent, text).await?;
    tokio::fs::rename(&unsent, folder.join(file_name(to))).await?;
    Ok(())
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
    use firstcome_proto::money::Currency;

    use super::*;

    #[test]
    fn a_hostile_address_stays_in_the_folder() {
        let name = file_name("../../etc/passwd@example.com");
        assert!(name.ends_with("-.._.._etc_passwd@example.com.txt"), "{name}");
        assert!(file_name(&"x".repeat(300)).len() < 200);
    }

    #[test]
    fn a_letter_tells_order_and_total() {
        let check = |news, said: &str| {
            let to = Email::from_field("to", "ann@example.com").unwrap();
            let order = OrderId(Uuid::from_u128(7));
            let currency = Currency::parse("KRW").unwrap();
            let total = Money { amount_minor: 1_129_000, currency };
            let body = Letter::Order { to, order, total, news }.body();
            assert!(body.contains(said), "{body}");
            assert!(body.contains("Order: 00000000-0000-0000-0000-000000000007\n"), "{body}");
            assert!(body.contains("Total: 1,129,000 KRW\n"), "{body}");
        };
        check(News::Ordered, "1,129,000 KRW was paid");
        check(News::Shipped, "with the carrier");
        check(News::Cancelled { refunded: false }, "Nothing was charged");
        check(News::Cancelled { refunded: true }, "1,129,000 KRW goes back");
        check(News::Refunded, "return has arrived");
    }

    #[test]
    fn amounts_have_the_minor_units_of_their_currency() {
        let check = |amount_minor, code, text| {
            let currency = Currency::parse(code).unwrap();
            assert_eq!(amount(&Money { amount_minor, currency }), text);
        };
        check(0, "KRW", "0 KRW");
        check(999, "KRW", "999 KRW");
        check(1_290, "EUR", "12.90 EUR");
        check(5, "USD", "0.05 USD");
        check(123_456_789, "USD", "1,234,567.89 USD");
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
