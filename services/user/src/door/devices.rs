//! A user's devices: which are logged in, and how each is logged out.

use firstcome_mesh::page::{Cursor, Page};
use firstcome_proto::{SessionId, UserId};

use super::Door;
use crate::{error::Error, session::Listed, store::Ending};

impl Door {
    /// A page of the living sessions, latest used first, and the token of the next page.
    pub async fn sessions(&self, user: UserId, page: Page) -> Result<(Vec<Listed>, String), Error> {
        let mut sessions = self.guard.store.list_sessions(user, page).await?;
        let next = page.cut(&mut sessions, cursor_of);
        Ok((sessions, next))
    }

    /// Ends the session that asks.
    pub async fn log_out(&self, user: UserId, session: SessionId) -> Result<(), Error> {
        self.guard.store.end(user, Ending::One(session)).await
    }

    /// Ends all sessions.
    pub async fn log_out_everywhere(&self, user: UserId) -> Result<(), Error> {
        self.guard.store.end(user, Ending::All).await
    }

    /// Ends any one session.
    pub async fn revoke(&self, user: UserId, session: SessionId) -> Result<(), Error> {
        if !self.guard.store.owns_session(user, session).await? {
            return Err(Error::NotFound("session"));
        }
        self.guard.store.end(user, Ending::One(session)).await
    }
}

/// A session's place in the list: by its last use, where other lists go by creation.
fn cursor_of(session: &Listed) -> Cursor {
    let last_used_us = session.last_used_at.unix_timestamp_nanos() / 1_000;
    Cursor {
        created_us: i64::try_from(last_used_us).expect("microseconds of the years 1 to 9999 fit"),
        id: session.id.0,
    }
}
