//! The form in which a letter waits: bytes to be sealed, which tell by their length neither whom
//! the letter is for nor whether there is anybody at all.

use std::time::Duration;

use firstcome_proto::{Money, OrderId, money::Currency};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Letter, Matter};
use crate::{
    account::Email,
    code::{Code, Purpose},
    language::Language,
    news::News,
};

/// Every letter fits into one of these, unless its address is of the strangest.
const FORM_BYTES: usize = 512;

/// Why bytes are no letter; without the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the letter cannot be read")]
pub struct Unreadable;

#[derive(Serialize, Deserialize)]
struct Form {
    to: String,
    language: String,
    matter: MatterForm,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MatterForm {
    SignUpCode { code: String, ttl_ms: u64 },
    AlreadyHere,
    ResetCode { code: String, ttl_ms: u64 },
    PasswordChanged,
    Order { order: Uuid, amount_minor: i64, currency: String, news: String },
}

impl Letter {
    /// The bytes of a letter, or of one to nobody.
    pub fn to_bytes(letter: Option<&Self>) -> Zeroizing<Vec<u8>> {
        let form = letter.map(|letter| Form {
            to: letter.to.as_str().to_owned(),
            language: letter.language.word().to_owned(),
            matter: MatterForm::of(&letter.matter),
        });
        // The room is made beforehand: bytes that move leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * FORM_BYTES));
        serde_json::to_writer(&mut *bytes, &form).expect("texts and numbers are JSON");
        let length = bytes.len().next_multiple_of(FORM_BYTES);
        bytes.resize(length, b' ');
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote; `None` is a letter to nobody.
    pub fn from_bytes(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let form: Option<Form> = serde_json::from_slice(bytes).map_err(|_| Unreadable)?;
        let Some(form) = form else { return Ok(None) };
        Ok(Some(Self {
            to: Email::from_field("to", &form.to).map_err(|_| Unreadable)?,
            language: Language::from_word(&form.language).ok_or(Unreadable)?,
            matter: form.matter.read()?,
        }))
    }
}

impl MatterForm {
    fn of(matter: &Matter) -> Self {
        let ms = |ttl: &Duration| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        match matter {
            Matter::SignUpCode { code, ttl } => {
                Self::SignUpCode { code: code.expose().to_owned(), ttl_ms: ms(ttl) }
            }
            Matter::AlreadyHere => Self::AlreadyHere,
            Matter::ResetCode { code, ttl } => {
                Self::ResetCode { code: code.expose().to_owned(), ttl_ms: ms(ttl) }
            }
            Matter::PasswordChanged => Self::PasswordChanged,
            Matter::Order { order, total, news } => Self::Order {
                order: order.0,
                amount_minor: total.amount_minor,
                currency: total.currency.as_str().to_owned(),
                news: news.word().to_owned(),
            },
        }
    }

    fn read(self) -> Result<Matter, Unreadable> {
        let code =
            |purpose, text: &str| Code::from_field(purpose, "code", text).map_err(|_| Unreadable);
        Ok(match self {
            Self::SignUpCode { code: text, ttl_ms } => Matter::SignUpCode {
                code: code(Purpose::Verify, &text)?,
                ttl: Duration::from_millis(ttl_ms),
            },
            Self::AlreadyHere => Matter::AlreadyHere,
            Self::ResetCode { code: text, ttl_ms } => Matter::ResetCode {
                code: code(Purpose::Reset, &text)?,
                ttl: Duration::from_millis(ttl_ms),
            },
            Self::PasswordChanged => Matter::PasswordChanged,
            Self::Order { order, amount_minor, currency, news } => {
                let currency = Currency::parse(&currency).ok_or(Unreadable)?;
                let news = News::from_word(&news).ok_or(Unreadable)?;
                let total = Money { amount_minor, currency };
                Matter::Order { order: OrderId(order), total, news }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_read_as_it_was_written_and_looks_like_any_other() {
        let code = Code::from_field(Purpose::Verify, "code", "000042").unwrap();
        let reset = Code::generate(Purpose::Reset);
        let ttl = Duration::from_millis(1_500);
        let total = Money { amount_minor: i64::MAX, currency: Currency::parse("KRW").unwrap() };
        let mut matters = vec![
            Matter::SignUpCode { code, ttl },
            Matter::AlreadyHere,
            Matter::ResetCode { code: reset, ttl },
            Matter::PasswordChanged,
        ];
        let order = OrderId(Uuid::from_u128(7));
        matters.extend(News::ALL.map(|news| Matter::Order { order, total, news }));
        let addresses = ["a@b.io", &format!("{}@example.com", "a".repeat(64))];
        for (matter, address) in matters.into_iter().zip(addresses.into_iter().cycle()) {
            for language in Language::ALL {
                let to = Email::from_field("to", address).unwrap();
                let letter = Letter { to, language, matter: matter.clone() };
                let bytes = Letter::to_bytes(Some(&letter));
                assert_eq!(bytes.len(), FORM_BYTES);
                let read = Letter::from_bytes(&bytes).unwrap().expect("a reader");
                assert_eq!((&read.to, read.language), (&letter.to, letter.language));
                assert_eq!(read.write(), letter.write());
                assert_eq!(read.matter.ttl(), letter.matter.ttl());
            }
        }
        let nobody = Letter::to_bytes(None);
        assert_eq!(nobody.len(), FORM_BYTES);
        assert!(Letter::from_bytes(&nobody).unwrap().is_none());
        assert!(Letter::from_bytes(b"{}").is_err());
    }
}
