//! The real app, a real Postgres for payment and another for the provider.

mod it {
    mod charge;
    mod crash;
    mod harness;
    mod payment;
    mod state;
}
