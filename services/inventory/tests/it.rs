//! The real app on a real Postgres and a real Redis Cluster.
#![allow(clippy::unwrap_used, reason = "a test ends at any surprise")]

mod it {
    mod app;
    mod books;

    mod admission;
    mod epochs;
    mod holds;
    mod lost;
    mod stock;

    mod adjusting;
    mod catalogue;
    mod edits;
    mod likes;
    mod migrations;
    mod offers;
    mod search;
    mod shelf;

    mod model;
}
