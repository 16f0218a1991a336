//! A running shop for stories: the five services as processes on real stores, an operator, and as
//! many buyers as a story needs.

pub mod baseline;
pub mod buyer;
pub mod collector;
pub mod gate;
pub mod load;
pub mod member;
pub mod scenario;
pub mod shop;

pub use buyer::Buyer;
pub use collector::Collector;
pub use shop::{Sale, Shop};
