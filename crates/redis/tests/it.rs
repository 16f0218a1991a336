//! The pool against a real cluster.

mod it {
    mod apart;
    mod failover;
    mod functions;
}
