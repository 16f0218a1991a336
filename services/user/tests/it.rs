//! The real app, a real Postgres, a real Redis Cluster, mail in a folder.

mod it {
    mod addresses;
    mod commands;
    mod harness;
    mod letters;
    mod mail;
    mod order_mail;
    mod revocations;
    mod session;
    mod sign_up;
    mod signing_keys;
    mod smtp;
}
