//! What the networks minimise: criteria of the discriminator's logits ([`criterion`]) and penalties on their slopes
//! ([`penalty`]), a file each.

pub mod criterion;
pub mod penalty;

pub use criterion::{Criterion, Loss};
pub use penalty::{Kind, Penalty};
