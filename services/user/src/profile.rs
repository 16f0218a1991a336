//! Profiles: what a user tells of itself, and how all of it is taken back.

use std::net::IpAddr;

use firstcome_mesh::failpoint;
use firstcome_proto::UserId;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    account::{Greeting, ImageUrl, Name, Password, Phone, State},
    error::Error,
    guard::Guard,
    language::Language,
};

/// A profile, opened for its owner.
#[derive(Clone)]
pub struct Profile {
    /// Whose.
    pub user: UserId,
    /// Where mail goes.
    pub email: Zeroizing<String>,
    /// What to call its owner.
    pub name: Zeroizing<String>,
    /// The owner's number; empty for operators.
    pub phone: Zeroizing<String>,
    /// May be empty.
    pub greeting: Zeroizing<String>,
    /// May be empty.
    pub image_url: Zeroizing<String>,
    /// Of mails and pages.
    pub language: Language,
    /// Where the account stands.
    pub state: State,
    /// When it signed up.
    pub created_at: OffsetDateTime,
}

/// What of a profile is set anew; the rest stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// What to call its owner.
    pub name: Option<Name>,
    /// The owner's number.
    pub phone: Option<Phone>,
    /// May be empty.
    pub greeting: Option<Greeting>,
    /// May be empty.
    pub image_url: Option<ImageUrl>,
    /// Of mails and pages.
    pub language: Option<Language>,
}

/// Everybody's profile.
#[derive(Clone)]
pub struct Profiles {
    /// The rows, and whether a password is right.
    pub guard: Guard,
}

impl Profiles {
    /// The caller's.
    pub async fn get(&self, user: UserId) -> Result<Profile, Error> {
        self.guard.store.profile(user).await?.ok_or(Error::TokenRevoked)
    }

    /// Sets parts of the caller's.
    pub async fn update(&self, user: UserId, update: &Update) -> Result<Profile, Error> {
        self.guard.store.update_profile(user, update).await?.ok_or(Error::TokenRevoked)
    }

    /// Erases the caller's account, once its password is proved. One that is gone stays so: who
    /// lost the answer asks again.
    pub async fn delete(
        &self,
        user: UserId,
        password: &Password,
        from: Option<IpAddr>,
    ) -> Result<(), Error> {
        let account = match self.guard.prove(user, &[password], from).await {
            Err(Error::TokenRevoked) => return Ok(()),
            proved => proved?.0,
        };
        if account.state == State::Banned {
            // What an operator has shut stays on record.
            return Err(Error::AccountBanned);
        }
        if !self.guard.store.delete(user, &account.password_hash).await? {
            // Another password has come meanwhile, or the same call in parallel.
            let is_gone = self.guard.store.account_of(user).await?.is_none();
            return if is_gone { Ok(()) } else { Err(Error::BadCredentials) };
        }
        failpoint::hit("user.after_deletion");
        Ok(())
    }
}
