//! What an account is made of, and what each part must look like. No I/O.

use std::{fmt, str::FromStr as _};

use firstcome_proto::{Refusal, UserId, access};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

/// The longest address that SMTP can carry.
const EMAIL_BYTES_MAX: usize = 254;
const NAME_CHARS_MAX: usize = 100;
const PASSWORD_CHARS_MIN: usize = 8;
/// Nobody's memory is longer; hashing costs the same for all.
const PASSWORD_CHARS_MAX: usize = 128;

/// An address in its one spelling: trimmed, lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Reads and checks a field; `field` names it in the refusal.
    pub fn from_field(field: &str, text: &str) -> Result<Self, Refusal> {
        let email = text.trim().to_ascii_lowercase();
        // Addresses outside ASCII need mail servers that few have.
        let plausible = email.len() <= EMAIL_BYTES_MAX
            && email.bytes().all(|byte| byte.is_ascii_graphic())
            && lettre::Address::from_str(&email).is_ok();
        if plausible {
            Ok(Self(email))
        } else {
            Err(Refusal::invalid(field, "want an address, as in ann@example.com"))
        }
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

/// What to call somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Reads and checks a field.
    pub fn from_field(field: &str, text: &str) -> Result<Self, Refusal> {
        let name = text.trim();
        let count = name.chars().take(NAME_CHARS_MAX + 1).count();
        if (1..=NAME_CHARS_MAX).contains(&count) && !name.chars().any(char::is_control) {
            Ok(Self(name.to_owned()))
        } else {
            Err(Refusal::invalid(field, "want 1 to 100 characters"))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
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

/// A password that keeps the rules.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

impl Password {
    /// Checks a field.
    pub fn new(field: &str, secret: SecretString) -> Result<Self, Refusal> {
        let text = secret.expose_secret();
        let count = text.chars().take(PASSWORD_CHARS_MAX + 1).count();
        let special = |letter: char| !letter.is_alphanumeric() && !letter.is_control();
        let strong = (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&count)
            && text.chars().any(char::is_alphabetic)
            && text.chars().any(|letter| letter.is_ascii_digit())
            && text.chars().any(special)
            && !text.chars().any(char::is_control);
        if strong {
            Ok(Self(secret))
        } else {
            let want = "want 8 to 128 characters with a letter, a digit and a special character";
            Err(Refusal::invalid(field, want))
        }
    }

    /// Checks what is given at a log-in: only that it can be a password at all.
    pub fn attempt(field: &str, secret: SecretString) -> Result<Self, Refusal> {
        let count = secret.expose_secret().chars().take(PASSWORD_CHARS_MAX + 1).count();
        if (1..=PASSWORD_CHARS_MAX).contains(&count) {
            Ok(Self(secret))
        } else {
            Err(Refusal::invalid(field, "want 1 to 128 characters"))
        }
    }

    /// The bytes to hash.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

/// Somebody wants an account.
#[derive(Clone)]
pub struct SignUp {
    /// The way to reach and to name the account.
    pub email: Email,
    /// What to call its owner.
    pub name: Name,
    /// The owner's number.
    pub phone: Phone,
    /// The owner's password.
    pub password: Password,
}

/// Names one sign-up among several of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignUpId(pub Uuid);

/// Where an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The address is not verified.
    Inactive,
    /// In use.
    Active,
    /// Not used for long; a log-in wakes it.
    Dormant,
    /// Shut by an operator.
    Banned,
    /// Given up by its owner.
    Deleted,
}

impl State {
    /// Reads the database's word.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "INACTIVE" => Self::Inactive,
            "ACTIVE" => Self::Active,
            "DORMANT" => Self::Dormant,
            "BANNED" => Self::Banned,
            "DELETED" => Self::Deleted,
            _ => return None,
        })
    }
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Shop.
    User,
    /// Run the shop.
    Admin,
}

impl Role {
    /// Reads the database's word.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "USER" => Some(Self::User),
            "ADMIN" => Some(Self::Admin),
            _ => None,
        }
    }

    /// The word in access tokens.
    pub fn claim(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

impl From<Role> for access::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Admin => Self::Admin,
        }
    }
}

/// What a log-in needs to know of an account.
#[derive(Clone)]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// A PHC string.
    pub password_hash: String,
    /// Where it stands.
    pub state: State,
    /// What it may do.
    pub role: Role,
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
    }

    #[test]
    fn passwords_keep_the_rules() {
        let strong = |text: &str| Password::new("password", text.into()).is_ok();
        for right in ["passw0rd!", "파스워드 1234", "a1 bcdef", &format!("a1!{}", "x".repeat(125))]
        {
            assert!(strong(right), "{right}");
        }
        for wrong in ["", "sh0rt!", "n0specials", "nodigits!", "12345678!", "passw0rd!\0"] {
            assert!(!strong(wrong), "{wrong}");
        }
        assert!(!strong(&format!("a1!{}", "x".repeat(126))));
    }

    #[test]
    fn names_and_numbers_are_bounded_and_printable() {
        assert!(Name::from_field("name", "Ann").is_ok());
        for wrong in ["", "   ", "An\0n", "A\nnn", &"x".repeat(101)] {
            assert!(Name::from_field("name", wrong).is_err(), "{wrong:?}");
        }
        assert!(Phone::from_field("phone", "+821012345678").is_ok());
        for wrong in ["", "+", "821012345678", "+0123456789", "+12345", "+1234567890123456"] {
            assert!(Phone::from_field("phone", wrong).is_err(), "{wrong:?}");
        }
    }
}
