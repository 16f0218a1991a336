//! What an account is made of, and what each part must look like. No I/O.

mod personal;

use firstcome_proto::{Refusal, UserId, access};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::language::Language;

pub use personal::{Device, Email, Greeting, ImageUrl, Name, Phone};

const PASSWORD_CHARS_MIN: usize = 8;
/// Nobody's memory is longer; hashing costs the same for all.
const PASSWORD_CHARS_MAX: usize = 128;

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
#[derive(Clone, Debug)]
pub struct SignUp {
    /// The way to reach and to name the account.
    pub email: Email,
    /// What to call its owner.
    pub name: Name,
    /// The owner's number.
    pub phone: Phone,
    /// The owner's password.
    pub password: Password,
    /// What the owner's device speaks, until the profile says otherwise.
    pub language: Language,
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

    /// The database's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inactive => "INACTIVE",
            Self::Active => "ACTIVE",
            Self::Dormant => "DORMANT",
            Self::Banned => "BANNED",
            Self::Deleted => "DELETED",
        }
    }

    /// Its owner has proved the address, and it is still there.
    pub fn is_verified(self) -> bool {
        matches!(self, Self::Active | Self::Dormant | Self::Banned)
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

/// What it takes to let somebody in.
#[derive(Clone)]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// Its address.
    pub email: Email,
    /// A PHC string.
    pub password_hash: String,
    /// Where it stands.
    pub state: State,
    /// What it may do.
    pub role: Role,
    /// What its letters speak.
    pub language: Language,
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn nothing_personal_is_shown_for_debugging() {
        let signup = SignUp {
            email: Email::from_field("email", "ann@example.com").expect("an address"),
            name: Name::from_field("name", "Ann").expect("a name"),
            phone: Phone::from_field("phone", "+821012345678").expect("a number"),
            password: Password::new("password", "passw0rd!".into()).expect("a password"),
            language: Language::English,
        };
        let shown = format!("{signup:?}");
        for secret in ["example", "Ann", "8210", "passw0rd"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
