//! The door: who signs up, proves an address, comes in, stays in and leaves.
//!
//! Nothing here tells a stranger whether an address has an account: known and unknown ones take
//! the same steps and get the same answers.

use std::time::Duration;

use firstcome_mesh::failpoint;
use firstcome_proto::{SessionId, UserId};
use uuid::Uuid;

use crate::{
    account::{Account, Email, Password, Role, SignUp, SignUpId, State},
    code::{Code, Codes},
    error::Error,
    language::Language,
    letter::{Letter, Matter},
    outbox::Outbox,
    password::Hasher,
    session::{self, RefreshSecret, RefreshToken, Verdict},
    store::Store,
    token::Signer,
};

/// The five things that happen at the door, with what they need.
#[derive(Clone)]
pub struct Door {
    /// Accounts and sessions.
    pub store: Store,
    /// The codes that are out.
    pub codes: Codes,
    /// Passwords.
    pub hasher: Hasher,
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
    /// Saves the account, keeps a code, and mails it; answers how long the code lives. An address
    /// with an account takes the same steps: its code is mailed to nobody and activates nothing.
    pub async fn sign_up(&self, signup: SignUp) -> Result<Duration, Error> {
        let id = SignUpId(Uuid::new_v4());
        let password_hash = self.hasher.hash(signup.password.clone()).await?;
        let new = self.store.sign_up(id, &signup, &password_hash).await?;
        failpoint::hit("user.after_signup");
        let code = Code::generate();
        self.codes.put(&signup.email, &code, id).await?;
        failpoint::hit("user.after_code");
        let (to, ttl) = (signup.email, self.codes.ttl());
        let matter = if new { Matter::SignUpCode { code, ttl } } else { Matter::AlreadyHere };
        self.letters.post(Letter { to, language: Language::default(), matter }).await?;
        Ok(ttl)
    }

    /// Activates the account whose newest code this is.
    pub async fn verify_email(&self, email: &Email, code: &Code) -> Result<(), Error> {
        let signup = self.codes.check(email, code).await?.ok_or(Error::CodeInvalid)?;
        let active = self.store.activate(email, signup).await?;
        failpoint::hit("user.after_activation");
        if active { Ok(()) } else { Err(Error::CodeInvalid) }
    }

    /// Opens the session that the key names, or finds it open.
    pub async fn log_in(
        &self,
        email: &Email,
        password: Password,
        idempotency_key: &str,
    ) -> Result<(UserId, Tokens), Error> {
        let account = self.store.account(email).await?;
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let right = self.hasher.verify(password, hash).await?;
        let Account { id: user, state, role, .. } = match account {
            Some(account) if right => account,
            _ => return Err(Error::BadCredentials),
        };
        match state {
            State::Active | State::Dormant => {}
            State::Inactive => return Err(Error::EmailNotVerified),
            State::Banned | State::Deleted => return Err(Error::BadCredentials),
        }
        let id = session::id_of(user, idempotency_key);
        let first = self.refresh_secret.token(id, 0);
        self.store.open_session(user, &first, self.refresh_ttl).await?;
        failpoint::hit("user.after_session");
        let session = self.store.session(id, self.refresh_replay).await?;
        let session = session.ok_or(Error::Internal)?;
        if session.ended {
            // A retry that comes after the log-out; a new log-in brings a new key.
            return Err(Error::TokenRevoked);
        }
        if session.expired {
            return Err(Error::TokenExpired);
        }
        let refresh = self.refresh_secret.token(id, session.generation);
        Ok((user, self.tokens(user, role, refresh)?))
    }

    /// Trades a refresh token for the next one.
    pub async fn refresh(&self, token: &str) -> Result<Tokens, Error> {
        let spent = self.refresh_secret.read(token).ok_or(Error::TokenInvalid)?;
        let generation = spent.generation.checked_add(1).ok_or(Error::TokenInvalid)?;
        let next = self.refresh_secret.token(spent.session, generation);
        if let Some((user, role)) = self.store.rotate(&spent, &next, self.refresh_ttl).await? {
            failpoint::hit("user.after_rotation");
            return self.tokens(user, role, next);
        }
        let session = self.store.session(spent.session, self.refresh_replay).await?;
        let session = session.ok_or(Error::TokenInvalid)?;
        match session::judge(&session, &spent) {
            Verdict::Replay => self.tokens(session.user, session.role, next),
            Verdict::Reused => {
                if self.store.end_reused(&spent, self.refresh_replay).await? {
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

    /// Ends a session; within a second no edge takes its access tokens.
    pub async fn log_out(&self, user: UserId, session: SessionId) -> Result<(), Error> {
        self.store.end_session(user, session).await
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
