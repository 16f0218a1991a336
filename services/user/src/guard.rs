//! The guard: whether a password is right. Every password that anybody gives goes through here, so
//! that all of them are counted, and a wrong one costs the same whether or not there is an account:
//! one hash, or two where a sign-up of the address waits for its code, which nobody verified or
//! nobody ever can because the address is taken.

use std::net::IpAddr;

use firstcome_proto::UserId;

use crate::{
    account::{Account, Email, Password},
    error::Error,
    password::Hasher,
    store::{Credentials, Store},
    throttle::Throttle,
};

/// Looks at passwords.
#[derive(Clone)]
pub struct Guard {
    /// Accounts.
    pub store: Store,
    /// Passwords.
    pub hasher: Hasher,
    /// How often they may be guessed.
    pub throttle: Throttle,
}

impl Guard {
    /// The account of an address, once its password is proved.
    ///
    /// # Errors
    /// [`Error::EmailNotVerified`] for the password of a sign-up that waits for its code, and
    /// [`Error::BadCredentials`] for any other.
    pub async fn let_in(
        &self,
        email: &Email,
        password: Password,
        from: Option<IpAddr>,
    ) -> Result<Account, Error> {
        let attempt = self.throttle.take(email, from).await?;
        let Credentials { account, unverified_hash } = self.store.credentials(email).await?;
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        // Without an account in vain, and as long.
        let right = self.hasher.verify(password.clone(), hash).await?;
        if let (true, Some(account)) = (right, account) {
            attempt.was_right().await;
            return Ok(account);
        }
        if unverified_hash.is_some() && self.hasher.verify(password, unverified_hash).await? {
            attempt.was_unverified().await;
            return Err(Error::EmailNotVerified);
        }
        attempt.was_wrong();
        Err(Error::BadCredentials)
    }

    /// The account of a caller whose token is good, and which of these is its password. However
    /// many there are, it is one try: whoever gives two has forgotten one.
    ///
    /// # Errors
    /// [`Error::TokenRevoked`] for an account that is gone, [`Error::BadCredentials`] when none is.
    pub async fn prove(
        &self,
        user: UserId,
        passwords: &[&Password],
        from: Option<IpAddr>,
    ) -> Result<(Account, usize), Error> {
        let account = self.store.account_of(user).await?.ok_or(Error::TokenRevoked)?;
        let attempt = self.throttle.take(&account.email, from).await?;
        for (place, &password) in passwords.iter().enumerate() {
            let hash = Some(account.password_hash.clone());
            if self.hasher.verify(password.clone(), hash).await? {
                attempt.was_right().await;
                return Ok((account, place));
            }
        }
        attempt.was_wrong();
        Err(Error::BadCredentials)
    }
}
