//! What the networks minimise: criteria of what the discriminator says ([`criterion`]) and penalties ([`penalty`]), a file
//! each.
//!
#![doc = include_str!("../../objectives.md")]

pub mod criterion;
pub mod penalty;

/// All of this for one who trains: `trainer objectives` prints it.
pub const GUIDE: &str = include_str!("../../objectives.md");

pub use criterion::{Criterion, Loss};
pub use penalty::{Kind, Penalty};
