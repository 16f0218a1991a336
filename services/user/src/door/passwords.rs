//! Another password: by the old one, or by a mailed code.

use std::{net::IpAddr, time::Duration};

use firstcome_mesh::{Identity, failpoint};
use uuid::Uuid;

use super::Door;
use crate::{
    account::{Account, Email, Password},
    code::{Code, Demand, Purpose, Subject},
    error::Error,
    letter::{Letter, Matter},
    store::Ending,
};

/// The namespace of what a code for a new password is bound to; any constant would do.
const REPLACED_NAMESPACE: Uuid = Uuid::from_u128(0x7d52_0a9e_4c1b_4be3_8f60_2a95_c7d3_1e08);

impl Door {
    /// Sets a new password in place of the old one and ends every session but the caller's.
    pub async fn change_password(
        &self,
        caller: Identity,
        old: &Password,
        new: &Password,
        from: Option<IpAddr>,
    ) -> Result<(), Error> {
        // Once more when a parallel change comes in between: then the old one is wrong, or both
        // calls were for the same new one.
        for _ in 0..2 {
            let (account, place) = self.guard.prove(caller.user, &[old, new], from).await?;
            if place == 1 {
                // The new one is in force: a retry.
                return Ok(());
            }
            if self.set_password(&account, new, Ending::AllBut(caller.session)).await? {
                return Ok(());
            }
        }
        Err(Error::BadCredentials)
    }

    /// Mails a code for a new password to the owner of a verified address, and nothing to anybody
    /// else. Answers how long the code lives.
    pub async fn request_password_reset(
        &self,
        email: Email,
        from: Option<IpAddr>,
    ) -> Result<Duration, Error> {
        self.codes.pace(Purpose::Reset, &email, Demand::Reader, from).await?;
        let account = self.verified(&email).await?;
        let code = Code::generate(Purpose::Reset);
        let subject = account.as_ref().map_or_else(Subject::nothing, replaced_by);
        self.codes.put(Purpose::Reset, &email, &code, subject).await?;
        let ttl = self.codes.ttl();
        match account {
            Some(Account { language, .. }) => {
                let matter = Matter::ResetCode { code, ttl };
                self.letters.post(Letter { to: email, language, matter }).await?;
            }
            None => self.letters.post_to_nobody(ttl).await?,
        }
        Ok(ttl)
    }

    /// Sets a new password by a mailed code and ends all sessions. The code is bound to the
    /// password that it replaces, so it sets one new password and no second.
    pub async fn reset_password(
        &self,
        email: &Email,
        code: &Code,
        new: &Password,
        from: Option<IpAddr>,
    ) -> Result<(), Error> {
        let replaced = self.codes.check(Purpose::Reset, email, code, None).await?;
        let replaced = replaced.ok_or(Error::CodeInvalid)?;
        let account = self.verified(email).await?.ok_or(Error::CodeInvalid)?;
        if replaced_by(&account).id == replaced
            && self.set_password(&account, new, Ending::All).await?
        {
            // Whoever guessed at the old one does not keep the owner out.
            self.guard.throttle.clear(email, from).await;
            return Ok(());
        }
        // The password that this code replaces is gone: a retry, or somebody who wants a second.
        let account = self.verified(email).await?.ok_or(Error::CodeInvalid)?;
        if self.guard.hasher.verify(new.clone(), Some(account.password_hash)).await? {
            return Ok(());
        }
        // A right code is never counted, and must not become a way to guess the new password.
        self.codes.burn(Purpose::Reset, email, code).await?;
        Err(Error::CodeInvalid)
    }

    /// Sets a password in the place of the one that was looked at; false when another has come
    /// meanwhile. Whoever did not do this hears of it: the letter is posted with the change, so
    /// that no crash comes between.
    async fn set_password(
        &self,
        account: &Account,
        new: &Password,
        ending: Ending,
    ) -> Result<bool, Error> {
        let hash = self.guard.hasher.hash(new.clone()).await?;
        let letter = Letter {
            to: account.email.clone(),
            language: account.language,
            matter: Matter::PasswordChanged,
        };
        let (letter, urgency) =
            (self.letters.seal(Uuid::new_v4(), &letter), letter.matter.urgency());
        let (store, replaced) = (&self.guard.store, &account.password_hash);
        let is_set = store.set_password(account.id, replaced, &hash, ending, &letter).await?;
        if is_set {
            failpoint::hit("user.after_password");
            self.letters.ring(urgency);
        }
        Ok(is_set)
    }

    async fn verified(&self, email: &Email) -> Result<Option<Account>, Error> {
        let account = self.guard.store.account(email).await?;
        Ok(account.filter(|account| account.state.is_verified()))
    }
}

/// What a code for a new password is mailed for. The hash has a salt of its own, so the same
/// password set twice is another one.
fn replaced_by(account: &Account) -> Subject {
    let id = Uuid::new_v5(&REPLACED_NAMESPACE, account.password_hash.as_bytes());
    Subject { id, since: 0 }
}
