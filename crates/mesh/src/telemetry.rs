//! What a process tells about itself while it runs: [`logs`] and [`traces`].

pub mod logs;
pub mod traces;

pub use logs::init;
pub use traces::export::export;
