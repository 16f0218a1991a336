//! The outbox: where a letter waits until the postman takes it.
//!
//! Who posts a letter is told once it is saved, and waits for no mail server. A letter to nobody is
//! posted like any other, so that an answer takes the same time whether there is a reader or not.

use std::{sync::Arc, time::Duration};

use firstcome_vault::{Place, Unopened, Vault};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    error::Error,
    letter::{Letter, Unreadable, Urgency},
    store::{LETTER, Store},
};

/// Letters that are to leave. Clones share one bell.
#[derive(Clone)]
pub struct Outbox {
    store: Store,
    vault: Vault,
    bells: Arc<Bells>,
}

/// Each rings when a letter is posted in this process; other processes look by themselves.
#[derive(Default)]
struct Bells {
    awaited: Notify,
    unasked: Notify,
}

/// A letter as it is saved.
pub struct Sealed {
    /// Whose row it is.
    pub id: Uuid,
    /// What only the vault opens.
    pub bytes: Vec<u8>,
    /// Whether somebody waits for it.
    pub urgency: Urgency,
    /// After that, nobody needs it.
    pub ttl: Duration,
}

/// A letter that one process alone may send.
pub struct Taken {
    /// Whose row it is.
    pub id: Uuid,
    /// What only the vault opens.
    pub sealed: Vec<u8>,
    /// Which taking this was.
    pub taking: i32,
    /// Its time was over before it was taken.
    pub is_over: bool,
    /// How often it was turned away.
    pub refusals: i32,
}

/// Why a letter that was taken cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The vault does not open it.
    #[error(transparent)]
    Unopened(#[from] Unopened),
    /// It opens, and is no letter.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Outbox {
    /// In these rows, sealed by this vault.
    pub fn new(store: Store, vault: Vault) -> Self {
        Self { store, vault, bells: Arc::default() }
    }

    /// Saves a letter; it leaves soon, at most once.
    pub async fn post(&self, letter: Letter) -> Result<(), Error> {
        let sealed = self.seal(Uuid::new_v4(), &letter);
        self.save(&sealed).await
    }

    /// Does all that [`Self::post`] does for an awaited letter of this life, and nothing leaves.
    pub async fn post_to_nobody(&self, ttl: Duration) -> Result<(), Error> {
        let id = Uuid::new_v4();
        let bytes = self.seal_bytes(id, None);
        self.save(&Sealed { id, bytes, urgency: Urgency::Awaited, ttl }).await
    }

    /// Seals a letter that somebody saves together with what it tells of; [`Self::ring`] then.
    pub fn seal(&self, id: Uuid, letter: &Letter) -> Sealed {
        let (urgency, ttl) = (letter.matter.urgency(), letter.matter.ttl());
        Sealed { id, bytes: self.seal_bytes(id, Some(letter)), urgency, ttl }
    }

    /// Wakes this process's postman.
    pub fn ring(&self, urgency: Urgency) {
        self.bell(urgency).notify_one();
    }

    /// Waits for a ring.
    pub async fn rung(&self, urgency: Urgency) {
        self.bell(urgency).notified().await;
    }

    /// Reads a letter that was taken; `None` is a letter to nobody.
    pub fn open(&self, taken: &Taken) -> Result<Option<Letter>, Closed> {
        let plain = self.vault.open(place(taken.id), &taken.sealed)?;
        Ok(Letter::from_bytes(&plain)?)
    }

    async fn save(&self, sealed: &Sealed) -> Result<(), Error> {
        self.store.save_letter(sealed).await?;
        self.ring(sealed.urgency);
        Ok(())
    }

    fn seal_bytes(&self, id: Uuid, letter: Option<&Letter>) -> Vec<u8> {
        self.vault.seal(place(id), &Letter::to_bytes(letter))
    }

    fn bell(&self, urgency: Urgency) -> &Notify {
        match urgency {
            Urgency::Awaited => &self.bells.awaited,
            Urgency::Unasked => &self.bells.unasked,
        }
    }
}

fn place(row: Uuid) -> Place {
    Place { column: LETTER, row }
}
