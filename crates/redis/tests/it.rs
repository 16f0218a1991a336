//! The pool against a real cluster.

mod it {
    mod failover;
    mod functions;
}
