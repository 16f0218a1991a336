//! The door: who signs up, proves an address, comes in, stays in and leaves.
//!
//! Nothing here tells a stranger whether an address has an account: known and unknown ones take
//! the same steps and get the same answers.

mod devices;
mod passwords;

use std::{net::IpAddr, time::Duration};

use firstcome_mesh::failpoint;
use firstcome_proto::UserId;
use uuid::Uuid;

use crate::{
    account::{Device, Email, Password, Role, SignUp, SignUpId, State},
    code::{Code, Codes, Demand, Purpose, SignUpToken, Subject},
    error::Error,
    guard::Guard,
    letter::{Letter, Matter},
    outbox::Outbox,
    session::{self, RefreshSecret, RefreshToken, Verdict},
    token::Signer,
};

/// Everything that happens at the door, with what it needs.
#[derive(Clone)]
pub struct Door {
    /// Accounts and sessions, and whether a password is right.
    pub guard: Guard,
    /// The codes that are out.
    pub codes: Codes,
    /// Mail, which leaves after the answer.
    pub letters: Outbox,
    /// Access tokens.
    pub signer: Signer,
    /// Refresh tokens.
    pub refresh_secret: RefreshSecret,
    /// How long a refresh token lives.
    pub refresh_ttl: Duration,
    /// How long a spent one gives the same answer again.
    pub refresh_replay: Duration,
}

/// Somebody wants to come in.
pub struct LogIn {
    /// Whose account.
    pub email: Email,
    /// Its password, perhaps.
    pub password: Password,
    /// Names the session.
    pub idempotency_key: String,
    /// On what.
    pub device: Device,
    /// From where, when the edge said.
    pub from: Option<IpAddr>,
}

/// What lets a client in, and keeps it in.
pub struct Tokens {
    /// A JWT.
    pub access: String,
    /// How long it lives.
    pub access_ttl: Duration,
    /// The session's newest.
    pub refresh: RefreshToken,
    /// How long it lives.
    pub refresh_ttl: Duration,
}

impl Door {
    /// Saves the account, keeps a code, and mails it; answers how long the code lives, and with the
    /// token that it is good with. An address with an account takes the same steps: its code is
    /// mailed to nobody and activates nothing.
    pub async fn sign_up(
        &self,
        signup: SignUp,
        from: Option<IpAddr>,
    ) -> Result<(Duration, SignUpToken), Error> {
        let id = SignUpId(Uuid::new_v4());
        // First, so that a call that is refused because too many wait takes none of the mails that
        // the address may be sent. Before anything is saved: whoever has had them leaves no trace.
        let password_hash = self.guard.hasher.hash(signup.password.clone()).await?;
        self.codes.pace(Purpose::Verify, &signup.email, Demand::SignUp, from).await?;
        let saved = self.guard.store.sign_up(id, &signup, &password_hash).await?;
        failpoint::hit("user.after_signup");
        let code = Code::generate(Purpose::Verify);
        self.codes.put(Purpose::Verify, &signup.email, &code, saved.subject).await?;
        failpoint::hit("user.after_code");
        let (to, ttl) = (signup.email, self.codes.ttl());
        let (language, matter) = match saved.owner {
            None => (signup.language, Matter::SignUpCode { code, ttl }),
            // Who reads it is not who signed up.
            Some(language) => (language, Matter::AlreadyHere),
        };
        self.letters.post(Letter { to, language, matter }).await?;
        Ok((ttl, self.codes.sign_up_token(id)))
    }

    /// Mails another code for a sign-up that waits for one, in place of the last; of any other
    /// address nobody is mailed. Answers how long the code lives.
    pub async fn resend_verification(
        &self,
        email: Email,
        from: Option<IpAddr>,
    ) -> Result<Duration, Error> {
        self.codes.pace(Purpose::Verify, &email, Demand::Reader, from).await?;
        let unverified = self.guard.store.unverified(&email).await?;
        let code = Code::generate(Purpose::Verify);
        let subject = unverified.map_or_else(Subject::nothing, |(subject, _)| subject);
        self.codes.put(Purpose::Verify, &email, &code, subject).await?;
        let ttl = self.codes.ttl();
        match unverified.and_then(|(_, language)| language) {
            Some(language) => {
                let matter = Matter::SignUpCode { code, ttl };
                self.letters.post(Letter { to: email, language, matter }).await?;
            }
            None => self.letters.post_to_nobody(ttl).await?,
        }
        Ok(ttl)
    }

    /// Activates the account whose newest code and token these are.
    pub async fn verify_email(
        &self,
        email: &Email,
        code: &Code,
        token: &SignUpToken,
    ) -> Result<(), Error> {
        let signup = self.codes.check(Purpose::Verify, email, code, Some(token)).await?;
        let signup = SignUpId(signup.ok_or(Error::CodeInvalid)?);
        let active = self.guard.store.activate(email, signup).await?;
        failpoint::hit("user.after_activation");
        if active { Ok(()) } else { Err(Error::CodeInvalid) }
    }

    /// Opens the session that the key names, or finds it open.
    pub async fn log_in(&self, wanted: LogIn) -> Result<(UserId, Tokens), Error> {
        let LogIn { email, password, idempotency_key, device, from } = wanted;
        let account = self.guard.let_in(&email, password, from).await?;
        match account.state {
            State::Active | State::Dormant => {}
            State::Banned => return Err(Error::AccountBanned),
            // The guard lets neither in.
            State::Inactive | State::Deleted => return Err(Error::BadCredentials),
        }
        let id = session::id_of(account.id, &idempotency_key);
        let first = self.refresh_secret.token(id, session::first_generation());
        let store = &self.guard.store;
        if !store.open_session(&account, &first, self.refresh_ttl, &device, from).await? {
            // Another password has come since this one was looked at, or a ban.
            return Err(Error::BadCredentials);
        }
        failpoint::hit("user.after_session");
        let session = store.session(id, self.refresh_replay).await?.ok_or(Error::Internal)?;
        if session.ended {
            // A retry that comes after the log-out; a new log-in brings a new key.
            return Err(Error::TokenRevoked);
        }
        if session.expired {
            return Err(Error::TokenExpired);
        }
        let refresh = self.refresh_secret.token(id, session.generation);
        Ok((account.id, self.tokens(account.id, account.role, refresh)?))
    }

    /// Trades a refresh token for the next one.
    pub async fn refresh(&self, token: &str, from: Option<IpAddr>) -> Result<Tokens, Error> {
        let spent = self.refresh_secret.read(token).ok_or(Error::TokenInvalid)?;
        let generation = spent.generation.checked_add(1).ok_or(Error::TokenInvalid)?;
        let next = self.refresh_secret.token(spent.session, generation);
        let store = &self.guard.store;
        if let Some((user, role)) = store.rotate(&spent, &next, self.refresh_ttl, from).await? {
            failpoint::hit("user.after_rotation");
            return self.tokens(user, role, next);
        }
        let session = store.session(spent.session, self.refresh_replay).await?;
        let session = session.ok_or(Error::TokenInvalid)?;
        match session::judge(&session, &spent) {
            Verdict::Replay => self.tokens(session.user, session.role, next),
            Verdict::Reused => {
                if store.end_reused(&spent, self.refresh_replay).await? {
                    tracing::warn!(session = %spent.session, user = %session.user,
                        "spent refresh token came back, session ended");
                }
                Err(Error::TokenRevoked)
            }
            Verdict::Revoked => Err(Error::TokenRevoked),
            Verdict::Expired => Err(Error::TokenExpired),
            Verdict::Unknown => Err(Error::TokenInvalid),
        }
    }

    /// Bans an account, or lets it in again.
    pub async fn set_user_state(&self, user: UserId, wanted: State) -> Result<(), Error> {
        self.guard.store.set_state(user, wanted).await
    }

    fn tokens(&self, user: UserId, role: Role, refresh: RefreshToken) -> Result<Tokens, Error> {
        Ok(Tokens {
            access: self.signer.sign(user, refresh.session, role)?,
            access_ttl: self.signer.ttl(),
            refresh,
            refresh_ttl: self.refresh_ttl,
        })
    }
}
