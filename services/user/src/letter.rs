//! What we write to people: each letter in its reader's language, as plain text and as HTML. No
//! I/O.

mod form;
mod templates;
mod words;

use std::time::Duration;

use firstcome_proto::{Money, OrderId};
use minijinja::{Value, context};

pub use form::Unreadable;

use crate::{account::Email, code::Code, language::Language, news::News};

/// How long news are worth telling that name no end of their own.
const NEWS_TTL: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Something to be written to somebody.
pub struct Letter {
    /// To whom.
    pub to: Email,
    /// What the reader reads.
    pub language: Language,
    /// What there is to say.
    pub matter: Matter,
}

/// What there is to say.
#[derive(Clone)]
pub enum Matter {
    /// To somebody who signs up.
    SignUpCode {
        /// The proof.
        code: Code,
        /// How long it lives.
        ttl: Duration,
    },
    /// To somebody whose address was given in a sign-up although the account exists.
    AlreadyHere,
    /// To somebody who forgot a password.
    ResetCode {
        /// The proof.
        code: Code,
        /// How long it lives.
        ttl: Duration,
    },
    /// To somebody whose password was changed or reset, in case it was somebody else.
    PasswordChanged,
    /// To somebody whose order got on.
    Order {
        /// Which order.
        order: OrderId,
        /// Its sum.
        total: Money,
        /// How it got on.
        news: News,
    },
}

/// How soon a letter is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for it.
    Awaited,
    /// It comes by itself, with many others after a rush.
    Unasked,
}

/// A letter as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// One line.
    pub subject: String,
    /// For those who read plain text.
    pub text: String,
    /// The same for those who read HTML: nothing in it is fetched from anywhere.
    pub html: String,
}

impl Letter {
    /// Writes it out.
    pub fn write(&self) -> Written {
        templates::write(self.language, self.matter.name(), self.matter.context(self.language))
    }
}

impl Matter {
    /// After that, nobody needs the letter.
    pub fn ttl(&self) -> Duration {
        match self {
            Self::SignUpCode { ttl, .. } | Self::ResetCode { ttl, .. } => *ttl,
            Self::AlreadyHere | Self::PasswordChanged | Self::Order { .. } => NEWS_TTL,
        }
    }

    /// Whether somebody waits for the letter.
    pub fn urgency(&self) -> Urgency {
        match self {
            Self::Order { .. } => Urgency::Unasked,
            _ => Urgency::Awaited,
        }
    }

    /// The name of its templates.
    fn name(&self) -> &'static str {
        match self {
            Self::SignUpCode { .. } => "sign_up_code",
            Self::AlreadyHere => "already_here",
            Self::ResetCode { .. } => "reset_code",
            Self::PasswordChanged => "password_changed",
            Self::Order { .. } => "order",
        }
    }

    fn context(&self, language: Language) -> Value {
        match self {
            Self::SignUpCode { code, ttl } | Self::ResetCode { code, ttl } => {
                context! { code => code.expose(), span => words::span(*ttl, language) }
            }
            Self::AlreadyHere | Self::PasswordChanged => context! {},
            Self::Order { order, total, news } => context! {
                order => order.to_string(),
                total => words::amount(total),
                news => news.word(),
            },
        }
    }
}
