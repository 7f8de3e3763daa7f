//! Architectures: functions that build graphs, a file each.

pub mod dcgan;
pub mod dense;
mod init;
mod layers;

pub use init::Init;
pub use layers::{Layers, Window};
