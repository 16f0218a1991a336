//! The real app, a real Postgres for payment and another for the provider.

mod it {
    mod charge;
    mod crash;
    mod harness;
    mod inbox;
    mod merchant;
    mod payment;
    mod provider;
    mod refund;
    mod state;
    mod stripe;
    mod stripe_mock;
    mod stripe_peer;
    mod webhook;
}
