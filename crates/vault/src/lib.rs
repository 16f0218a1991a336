//! Personal data at rest. A [`Vault`] seals one field of one row with AES-256-GCM, under one of
//! several keys; an [`Index`] finds a row by a field that is sealed.
//!
//! A sealed field opens only where it was sealed: the column and the row's id are authenticated
//! with it, so that a copy in another row, or another column, is a forgery. It says in front which
//! key it is under, so that keys can be changed while everybody serves: put the new key behind the
//! old one everywhere, so that all can open what it seals; then in front of it everywhere; then seal
//! what is under the old one anew; then drop the old one.
//!
//! It never sees a database, and knows nothing of whose data it is.

mod index;
mod keys;
mod vault;

pub use index::Index;
pub use keys::{DataKeys, KeyFault, Keyring};
pub use vault::{Place, Sealed, Unopened, Vault};
