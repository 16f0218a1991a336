//! Mail over SMTP. We hold the conversation ourselves, step by step, because only the step at which
//! it broke tells whether a letter may have left: up to the first byte of its content, it did not.

mod server;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use lettre::{
    Message,
    message::{Mailbox, MultiPart, header},
    transport::smtp::{
        self,
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt},
        response::Response,
    },
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::Fault;
use crate::{account::Email, letter::Written};

pub use server::Server;

/// Connections at once: what a mail server grants one client without asking why.
pub const CONNECTIONS_MAX: usize = 12;
/// Mail servers hang up on those that are silent for a few minutes; we do so before them.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Connecting, with handshakes and the log-in: a mail server that takes longer is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The answer to one command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// The answer to the whole letter, which some mail servers look through before they take it.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A mail server, and the connections to it. Clones share them.
#[derive(Clone)]
pub struct Smtp {
    shared: Arc<Shared>,
}

struct Shared {
    server: Server,
    from: Mailbox,
    turns: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

/// A connection that nobody uses.
struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

/// Where a conversation broke.
enum Break {
    /// Before the mail server said anything about this letter: another connection may do.
    Silent(Broken),
    /// At the letter.
    Told(Fault),
}

impl Break {
    fn fault(self) -> Fault {
        match self {
            // Who does not take mail from us blames no letter.
            Self::Silent(broken) => Fault::Unreachable(broken.words()),
            Self::Told(fault) => fault,
        }
    }
}

/// Written by a machine: nobody's absence is to be answered to it.
#[derive(Clone)]
struct AutoSubmitted;

impl header::Header for AutoSubmitted {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Smtp {
    /// To this server, from this sender.
    pub fn new(server: Server, from: Mailbox) -> Self {
        let (turns, idle) = (Semaphore::new(CONNECTIONS_MAX), Mutex::default());
        Self { shared: Arc::new(Shared { server, from, turns, idle }) }
    }

    /// Sends a letter over a connection of its own, new or used before.
    pub async fn send(&self, id: Uuid, to: &Email, written: Written) -> Result<(), Fault> {
        let message = self.message(id, to, written)?;
        let _turn = self.shared.turns.acquire().await.expect("nobody closes it");
        while let Some(mut connection) = self.idle() {
            match deliver(&mut connection, &message).await {
                Ok(()) => {
                    self.park(connection);
                    return Ok(());
                }
                // The way there is lost, and the others went the same: one wait is enough.
                Err(Break::Silent(broken)) if broken.is_late() => self.hang_up(),
                // It was closed while nobody looked.
                Err(Break::Silent(_)) => {}
                Err(Break::Told(fault)) => return Err(fault),
            }
        }
        let connecting = self.shared.server.connect(CONNECT_TIMEOUT);
        let connected = within(CONNECT_TIMEOUT, connecting).await;
        let mut connection = connected.map_err(|broken| Fault::Unreachable(broken.words()))?;
        let delivered = deliver(&mut connection, &message).await;
        delivered.map_err(Break::fault)?;
        self.park(connection);
        Ok(())
    }

    fn message(&self, id: Uuid, to: &Email, written: Written) -> Result<Message, Fault> {
        let from = &self.shared.from;
        let to = to.as_str().parse();
        let to = to.map_err(|_| Fault::Refused("the address is none".to_owned()))?;
        let Written { subject, text, html } = written;
        Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .date_now()
            .message_id(Some(format!("<{id}@{}>", from.email.domain())))
            .header(AutoSubmitted)
            .multipart(MultiPart::alternative_plain_html(text, html))
            .map_err(|_| Fault::Refused("the letter cannot be written".to_owned()))
    }

    /// The connection that was used last; those that were silent for long are hung up.
    fn idle(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.shared.idle.lock();
        idle.retain(|it| it.since.elapsed() < IDLE_MAX);
        idle.pop().map(|it| it.connection)
    }

    /// All connections that nobody uses.
    fn hang_up(&self) {
        self.shared.idle.lock().clear();
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        // No more than there are turns.
        self.shared.idle.lock().push(Idle { connection, since: Instant::now() });
    }
}

/// One letter. Whoever is told a fault hangs up: the conversation is in nobody's hands then.
async fn deliver(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), Break> {
    let envelope = message.envelope();
    let sender = Mail::new(envelope.from().cloned(), Vec::new());
    within(COMMAND_TIMEOUT, connection.command(sender)).await.map_err(Break::Silent)?;
    for to in envelope.to() {
        let reader = Rcpt::new(to.clone(), Vec::new());
        within(COMMAND_TIMEOUT, connection.command(reader)).await.map_err(Broken::at_command)?;
    }
    within(COMMAND_TIMEOUT, connection.command(Data)).await.map_err(Broken::at_command)?;
    let content = message.formatted();
    let told: Result<Response, _> = within(CONTENT_TIMEOUT, connection.message(&content)).await;
    told.map_err(Broken::at_content)?;
    Ok(())
}

/// A step that failed.
enum Broken {
    Error(smtp::Error),
    Late,
}

impl Broken {
    /// Nothing was heard for as long as we wait.
    fn is_late(&self) -> bool {
        match self {
            Self::Late => true,
            Self::Error(error) => error.is_timeout(),
        }
    }

    /// Before the content. Silence may be about this reader alone, so the others are tried.
    fn at_command(self) -> Break {
        Break::Told(self.refusal().unwrap_or_else(|broken| Fault::NotNow(broken.words())))
    }

    /// When the content was on its way.
    fn at_content(self) -> Break {
        Break::Told(self.refusal().unwrap_or_else(|broken| Fault::Unknown(broken.words())))
    }

    /// What an answer means to the letter; gives itself back when there was none.
    fn refusal(self) -> Result<Fault, Self> {
        let Self::Error(error) = &self else { return Err(self) };
        let Some(code) = error.status() else { return Err(self) };
        Ok(match u16::from(code) {
            // It closes, or does not believe who we are: no letter is to blame.
            421 | 530 | 534 | 535 | 538 => Fault::Unreachable(self.words()),
            400..500 => Fault::NotNow(self.words()),
            _ => Fault::Refused(self.words()),
        })
    }

    /// Without what the server said, which may repeat the address.
    fn words(&self) -> String {
        match self {
            Self::Late => "the mail server is silent".to_owned(),
            Self::Error(error) => match error.status() {
                Some(code) => format!("the mail server said {code}"),
                None if error.is_response() => "the mail server makes no sense".to_owned(),
                // Ours, rustls's or the operating system's words.
                None => error.to_string(),
            },
        }
    }
}

async fn within<T>(
    span: Duration,
    step: impl Future<Output = Result<T, smtp::Error>>,
) -> Result<T, Broken> {
    match tokio::time::timeout(span, step).await {
        Ok(done) => done.map_err(Broken::Error),
        Err(_) => Err(Broken::Late),
    }
}
