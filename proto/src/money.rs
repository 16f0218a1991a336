//! Amounts in minor units with their currency.

use std::fmt;

use crate::{Refusal, money_v1};

/// ISO 4217, three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads a code; `None` unless it is three capital letters.
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_uppercase).then_some(Self(bytes))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three capital letters are text")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount of money: never negative, never without its currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Money {
    /// Minor units: 1290 for 12.90 EUR, 12900 for 12 900 KRW.
    pub amount_minor: i64,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// Reads and checks a field; `field` names it in the refusal.
    pub fn from_field(field: &str, value: Option<money_v1::Money>) -> Result<Self, Refusal> {
        let value = value.ok_or_else(|| Refusal::invalid(field, "want an amount"))?;
        let currency = Currency::parse(&value.currency_code)
            .ok_or_else(|| Refusal::invalid(field, "want a currency code, as in KRW"))?;
        if value.amount_minor < 0 {
            return Err(Refusal::invalid(field, "want an amount of zero or more"));
        }
        Ok(Self { amount_minor: value.amount_minor, currency })
    }

    /// This many times the amount; `None` on overflow.
    pub fn times(self, quantity: i32) -> Option<Self> {
        let amount_minor = self.amount_minor.checked_mul(i64::from(quantity))?;
        Some(Self { amount_minor, ..self })
    }

    /// The sum; `None` on overflow or when the currencies differ.
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        let amount_minor = self.amount_minor.checked_add(other.amount_minor)?;
        Some(Self { amount_minor, ..self })
    }
}

impl From<Money> for money_v1::Money {
    fn from(money: Money) -> Self {
        Self { currency_code: money.currency.as_str().to_owned(), amount_minor: money.amount_minor }
    }
}
