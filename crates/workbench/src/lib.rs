//! The commands run against a local mesh: `up` brings it up, `rush` storms it, `verify` holds its
//! books against what the buyers were told.

pub mod apart;
pub mod bench;
pub mod calls;
pub mod counter;
pub mod docs;
pub mod doors;
pub mod down;
pub mod ghz;
pub mod journal;
pub mod prepare;
pub mod receipts;
pub mod report;
pub mod roll;
pub mod rush;
pub mod state;
pub mod up;
pub mod verify;
pub mod welcome;
