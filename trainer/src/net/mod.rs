//! Architectures: functions that build graphs, a file each.

pub mod dcgan;
pub mod dense;
mod init;
mod layers;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use init::Init;
pub use layers::{Layers, Window};
