//! The real app, a real Postgres, a real Redis Cluster, mail in a folder.

mod it {
    mod addresses;
    mod codes;
    mod commands;
    mod devices;
    mod harness;
    mod hostile;
    mod letters;
    mod mail;
    mod order_mail;
    mod passwords;
    mod profile;
    mod revocations;
    mod sealed;
    mod session;
    mod sign_up;
    mod signing_keys;
    mod smtp;
    mod states;
    mod strangers;
    mod throttle;
    mod tidy;
}
