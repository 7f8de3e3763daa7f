//! Architectures: functions that build graphs, a file each.

pub mod dcgan;
pub mod dense;
mod init;
mod layers;
pub mod points;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use init::Init;
pub use layers::{Layers, Window};

use runtime::ImageShape;

/// What a generator makes and a discriminator judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The shape of an image.
    pub image: ImageShape,
    /// How many classes are told apart; 0 where they are not looked at.
    pub classes: usize,
}

impl From<ImageShape> for Subject {
    fn from(image: ImageShape) -> Self {
        Self { image, classes: 0 }
    }
}
