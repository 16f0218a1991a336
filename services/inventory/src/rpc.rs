//! The contract's side: converts and validates once, on receipt, and answers.

pub mod catalog;
pub mod offer_service;
pub mod reservation;
pub mod stock;
