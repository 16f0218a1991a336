//! user knows who people are: accounts, sessions, and the tokens that let them in.
//!
//! Postgres holds everything that must last, personal data sealed. Redis holds the mailed codes and
//! counts wrong passwords; both may be lost: a code is asked for again, and a count begins again.
//! The edge verifies tokens by itself, with the keys from here, and asks here which sessions have
//! ended.
//!
//! Mails about orders go out by order's events, which come through Redis streams. Every letter
//! waits in an outbox, sealed, until the postman of some replica takes it.
//!
//! Failpoints: `user.after_signup` (the account is saved, no code yet), `user.after_code` (the
//! code is good, no mail yet), `user.after_activation`, `user.after_session`,
//! `user.after_rotation` (the row has moved, the caller does not know), `user.after_password`,
//! `user.after_deletion`, `user.after_mail_record` (mails about orders are on record and in the
//! outbox, none has left), `user.after_letters_taken` (letters are out of the outbox, none has
//! left).

pub mod app;
pub mod config;
pub mod error;
pub mod metrics;

pub mod account;
pub mod customer;
pub mod language;
pub mod letter;
pub mod news;
pub mod session;
pub mod token;

pub mod code;
pub mod guard;
pub mod mail;
pub mod order_mail;
pub mod outbox;
pub mod password;
pub mod postman;
pub mod throttle;

pub mod address_book;
pub mod door;
pub mod dormancy;
pub mod profile;
pub mod revocation;
pub mod rpc;
pub mod seed;
pub mod signing;
pub mod store;
pub mod tidy;
