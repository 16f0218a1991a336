//! What people tell of themselves: each field has a type that is read and checked on receipt, is
//! sealed where it is stored, and stays out of logs.

use std::{fmt, str::FromStr as _};

use firstcome_proto::Refusal;
use tonic::codegen::http::Uri;
use unicode_normalization::UnicodeNormalization as _;

/// The longest address that SMTP can carry.
const EMAIL_BYTES_MAX: usize = 254;
/// The longest spelling of one: full-width letters take three bytes for one.
const EMAIL_SPELLING_BYTES_MAX: usize = 4 * EMAIL_BYTES_MAX;
const NAME_CHARS_MAX: usize = 100;
const DEVICE_CHARS_MAX: usize = 100;
const GREETING_CHARS_MAX: usize = 200;
const IMAGE_URL_BYTES_MAX: usize = 500;

/// An address in its one spelling: trimmed, in Unicode's compatibility form (NFKC), in lower case.
/// Full-width letters, ligatures and capitals of any kind make no second account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Reads and checks a field; `field` names it in the refusal.
    pub fn from_field(field: &str, text: &str) -> Result<Self, Refusal> {
        let spelling = if text.len() > EMAIL_SPELLING_BYTES_MAX { "" } else { text };
        let email = spelling.nfkc().collect::<String>().trim().to_lowercase();
        // Addresses that are outside ASCII even now need mail servers that few have.
        let plausible = email.len() <= EMAIL_BYTES_MAX
            && email.bytes().all(|byte| byte.is_ascii_graphic())
            && lettre::Address::from_str(&email).is_ok();
        if plausible {
            Ok(Self(email))
        } else {
            Err(Refusal::invalid(field, "want an address, as in ann@example.com"))
        }
    }

    /// An address that was checked when it was stored.
    pub fn from_store(text: &str) -> Option<Self> {
        Self::from_field("email", text).ok().filter(|email| email.as_str() == text)
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    /// An address is personal and stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(***)")
    }
}

/// Trims a text of one line and bounds it in characters.
fn line(field: &str, text: &str, count_min: usize, count_max: usize) -> Result<String, Refusal> {
    let text = text.trim();
    let count = text.chars().take(count_max + 1).count();
    if (count_min..=count_max).contains(&count) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        let want = format!("want {count_min} to {count_max} characters, none of them for control");
        Err(Refusal::invalid(field, want))
    }
}

/// Texts of one line: each is personal, reads and checks its field, and stays out of logs.
macro_rules! lines {
    ($($(#[$doc:meta])* $name:ident: $min:literal to $max:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Reads and checks a field; `field` names it in the refusal.
            pub fn from_field(field: &str, text: &str) -> Result<Self, Refusal> {
                line(field, text, $min, $max).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(***)"))
            }
        }
    )*};
}

lines! {
    /// What to call somebody.
    Name: 1 to NAME_CHARS_MAX,
    /// What somebody calls a device; may be empty.
    Device: 0 to DEVICE_CHARS_MAX,
    /// What somebody says of itself; may be empty.
    Greeting: 0 to GREETING_CHARS_MAX,
}

/// Where somebody's picture is; may be empty. It is shown in the pages of others, so it carries no
/// name and password, and nothing that ends an attribute of HTML.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageUrl(String);

impl ImageUrl {
    /// Reads and checks a field.
    pub fn from_field(field: &str, text: &str) -> Result<Self, Refusal> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>`\\{|}".contains(&byte);
        let is_https = |uri: &Uri| {
            uri.scheme_str() == Some("https")
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        };
        let fits = text.len() <= IMAGE_URL_BYTES_MAX
            && text.bytes().all(is_plain)
            && text.parse().is_ok_and(|uri| is_https(&uri));
        if text.is_empty() || fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::invalid(field, "want an https address of at most 500 bytes, or nothing"))
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ImageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImageUrl(***)")
    }
}

/// A number in E.164.
#[derive(Clone, PartialEq, Eq)]
pub struct Phone(String);

impl Phone {
    /// Reads and checks a field.
    pub fn from_field(field: &str, text: &str) -> Result<Self, Refusal> {
        let digits = text.strip_prefix('+').unwrap_or_default().as_bytes();
        let plausible = (7..=15).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit)
            && digits[0] != b'0';
        if plausible {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::invalid(field, "want E.164, as in +821012345678"))
        }
    }

    /// The number.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_spelling() {
        let check = |text: &str, want: Option<&str>| {
            let email = Email::from_field("email", text).ok();
            assert_eq!(email.as_ref().map(Email::as_str), want, "{text:?}");
        };
        check(" Ann@Example.COM ", Some("ann@example.com"));
        check("ann+drop@example.com", Some("ann+drop@example.com"));
        for wrong in ["", "ann", "@example.com", "ann@", "a b@example.com", "ann@exam\0ple.com"] {
            check(wrong, None);
        }
        check("ann@example.com\r\nbcc: bob@example.com", None);
        check(&format!("{}@example.com", "a".repeat(250)), None);
        check("änn@example.com", None);
        // Full width, an ideographic space, a ligature, a long s, the sign for kelvin: whatever
        // looks like the address is the address. Whoever has it gets the mail, in any case.
        check("ａｎｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", Some("ann@example.com"));
        check("\u{3000}ANN@Ｅxample.com\u{a0}", Some("ann@example.com"));
        check("oﬃce@example.com", Some("office@example.com"));
        check("ſam@example.com", Some("sam@example.com"));
        check("\u{212a}im@example.com", Some("kim@example.com"));
        check("ⓐⓝⓝ@example.com", Some("ann@example.com"));
        // Composed and decomposed are the same letter, outside ASCII; what cannot be seen is none.
        for wrong in ["\u{e9}va@example.com", "e\u{301}va@example.com", "ann\u{200b}@example.com"] {
            check(wrong, None);
        }
        // Alike to the eye alone: Cyrillic.
        check("\u{430}nn@example.com", None);
    }

    #[test]
    fn names_and_numbers_are_bounded_and_printable() {
        assert!(Name::from_field("name", "Ann").is_ok());
        for wrong in ["", "   ", "An\0n", "A\nnn", &"x".repeat(101)] {
            assert!(Name::from_field("name", wrong).is_err(), "{wrong:?}");
        }
        for right in ["", "Ann's phone", "앤의 전화", &"x".repeat(100)] {
            assert!(Device::from_field("device", right).is_ok(), "{right:?}");
        }
        assert!(Device::from_field("device", &"x".repeat(101)).is_err());
        assert!(Greeting::from_field("greeting", &"안".repeat(200)).is_ok());
        for wrong in ["\0", "a\u{7f}b", &"x".repeat(201)] {
            assert!(Greeting::from_field("greeting", wrong).is_err(), "{wrong:?}");
        }
        assert!(Phone::from_field("phone", "+821012345678").is_ok());
        for wrong in ["", "+", "821012345678", "+0123456789", "+12345", "+1234567890123456"] {
            assert!(Phone::from_field("phone", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn pictures_are_on_https_and_end_no_attribute() {
        let check = |text: &str| ImageUrl::from_field("image_url", text).is_ok();
        for right in ["", "https://example.com/a.png?b=c#d", "https://example.com:8443/%ED%95%9C"] {
            assert!(check(right), "{right}");
        }
        for wrong in [
            "http://example.com/a.png",
            "javascript:alert(1)",
            "data:image/png;base64,AA==",
            "//example.com/a.png",
            "https://",
            "https:///a.png",
            "https://ann:secret@example.com/",
            "https://example.com/\"onload=x",
            "https://example.com/<b>",
            "https://example.com/a b",
            "https://example.com/\0",
            "https://example.com/é",
            &format!("https://example.com/{}", "x".repeat(500)),
        ] {
            assert!(!check(wrong), "{wrong}");
        }
    }
}
