//! The relay and the consumer on a real Redis Cluster, between an outbox and a handler that do as
//! they are told.

mod it {
    mod harness;

    mod consumer;
    mod loss;
    mod relay;
}
