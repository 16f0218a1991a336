//! The commands run against a local mesh: `rush` storms it, `verify` holds its books against what
//! the buyers were told.

pub mod receipts;
pub mod report;
pub mod rush;
pub mod verify;
