//! Where goods go: checked once, on receipt, wherever somebody writes an address. What was kept is
//! read without being judged again, so that a rule of today takes no address from an order of
//! yesterday.

use prost::Message as _;

use crate::{Refusal, address_v1};

/// E.164: a plus sign and at most fifteen digits.
const PHONE_DIGITS_MAX: usize = 15;
/// Shorter than any number that can be called from abroad.
const PHONE_DIGITS_MIN: usize = 7;

/// A checked address. No `Debug`: it is personal and belongs in no log.
#[derive(Clone, PartialEq)]
pub struct Address(address_v1::Address);

impl Address {
    /// As the contract writes it.
    pub fn to_wire(&self) -> address_v1::Address {
        self.0.clone()
    }

    /// The bytes that are sealed and kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    /// Reads the bytes that were kept; `None` when they are none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        address_v1::Address::decode(bytes).ok().map(Self::kept)
    }

    /// An address that was checked when it was written, by the rules of its time.
    pub fn kept(address: address_v1::Address) -> Self {
        Self(address)
    }
}

impl TryFrom<address_v1::Address> for Address {
    type Error = Refusal;

    /// Names every faulty field, inside `address`.
    fn try_from(address: address_v1::Address) -> Result<Self, Refusal> {
        let faults: Vec<(&str, &str)> = [
            text("recipient", &address.recipient, 1, 100, "want 1 to 100 characters"),
            phone(&address.phone),
            text("line1", &address.line1, 1, 200, "want 1 to 200 characters"),
            text("line2", &address.line2, 0, 200, "want at most 200 characters"),
            text("city", &address.city, 1, 100, "want 1 to 100 characters"),
            text("postal_code", &address.postal_code, 1, 20, "want 1 to 20 characters"),
            country(&address.country_code),
        ]
        .into_iter()
        .flatten()
        .collect();
        if let Some(((field, description), others)) = faults.split_first() {
            let first = Refusal::invalid(*field, *description);
            let all = others.iter().fold(first, |refusal, (field, description)| {
                refusal.and_violation(*field, *description)
            });
            return Err(all.within("address"));
        }
        Ok(Self(address))
    }
}

type Fault = Option<(&'static str, &'static str)>;

/// Control characters print nowhere, and Postgres keeps no NUL.
fn text(field: &'static str, value: &str, min: usize, max: usize, want: &'static str) -> Fault {
    let length = value.chars().count();
    if !(min..=max).contains(&length) || (min > 0 && value.trim().is_empty()) {
        return Some((field, want));
    }
    value.chars().any(char::is_control).then_some((field, "want no control characters"))
}

fn phone(value: &str) -> Fault {
    let digits = value.strip_prefix('+').unwrap_or_default();
    let good = (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    (!good).then_some(("phone", "want E.164, as in +821012345678"))
}

fn country(value: &str) -> Fault {
    let good = value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase());
    (!good).then_some(("country_code", "want ISO 3166-1 alpha-2, as in KR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> address_v1::Address {
        address_v1::Address {
            recipient: "Kim".into(),
            phone: "+821012345678".into(),
            line1: "1 Main".into(),
            line2: String::new(),
            city: "Seoul".into(),
            postal_code: "04524".into(),
            country_code: "KR".into(),
        }
    }

    fn faulty_fields(spoil: impl FnOnce(&mut address_v1::Address)) -> Vec<String> {
        let mut address = good();
        spoil(&mut address);
        match Address::try_from(address) {
            Ok(_) => Vec::new(),
            Err(refusal) => refusal.violations.into_iter().map(|fault| fault.field).collect(),
        }
    }

    #[test]
    fn an_address_is_kept_as_it_was() {
        let address = Address::try_from(good()).expect("a good one");
        let kept = Address::from_bytes(&address.to_bytes()).expect("ours");
        assert!(kept == address);
        assert!(Address::from_bytes(b"\xff").is_none());
    }

    #[test]
    fn a_later_rule_takes_no_address_away() {
        let older = address_v1::Address { phone: "010".into(), ..good() };
        assert!(Address::try_from(older.clone()).is_err(), "nobody may write it today");
        let kept = Address::from_bytes(&older.encode_to_vec()).expect("it was kept");
        assert!(kept.to_wire() == older);
    }

    #[test]
    fn every_faulty_field_is_named() {
        assert!(faulty_fields(|_| {}).is_empty());
        assert_eq!(faulty_fields(|a| a.phone = "010".into()), ["address.phone"]);
        assert_eq!(faulty_fields(|a| a.city = "a\0b".into()), ["address.city"]);
        assert_eq!(faulty_fields(|a| a.recipient = "  ".into()), ["address.recipient"]);
        assert_eq!(faulty_fields(|a| a.line2 = "x".repeat(201)), ["address.line2"]);
        let both = faulty_fields(|a| {
            a.line1 = String::new();
            a.country_code = "kr".into();
        });
        assert_eq!(both, ["address.line1", "address.country_code"]);
    }
}
