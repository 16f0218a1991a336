//! The real app, a real Postgres, a real Redis Cluster, mail in a folder.

mod it {
    mod codes;
    mod commands;
    mod devices;
    mod harness;
    mod hostile;
    mod mail;
    mod order_mail;
    mod passwords;
    mod profile;
    mod sealed;
    mod session;
    mod sign_up;
    mod states;
    mod throttle;
}
