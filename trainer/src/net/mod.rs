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

/// What a discriminator gives of an image, by the place among its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The logit of "real", or the numbers of a critic.
    Outputs = 0,
    /// The features that these are made of.
    Features = 1,
    /// The logits of all classes, if they are to be told.
    Classes = 2,
}

/// What a generator makes and a discriminator judges.
///
/// What is to be judged is a generator's first output, and what is to be sampled its last: the same, unless several sizes are
/// judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The shape of an image.
    pub image: ImageShape,
    /// How many classes are told apart; 0 where they are not looked at.
    pub classes: usize,
    /// Whether images are judged at all sizes that the generator has on its way, as a mipmap
    /// ([`crate::graph::operators::Mipmap`]).
    pub multi_scale: bool,
}

impl From<ImageShape> for Subject {
    fn from(image: ImageShape) -> Self {
        Self { image, classes: 0, multi_scale: false }
    }
}
