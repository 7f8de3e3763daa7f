//! What a benchmark is: a distribution of which all modes are known, networks that learn it, and an eye for its modes.

use super::Sighting;
use crate::error::Result;
use crate::graph::Network;
use crate::net::Init;
use candle_core::Tensor;

/// What a method chooses of a benchmark's networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    /// Whether a generator of points has batch normalisation.
    pub generator_batch_norm: bool,
    /// Whether a discriminator of images has it.
    pub discriminator_batch_norm: bool,
    /// The standard deviation of all initial weights of networks for points; `None`: by the inputs of a layer.
    pub deviation: Option<f32>,
}

/// A benchmark of mode coverage. All that is random in it is a function of a seed and a number.
pub trait Protocol: Send + Sync {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// Modes of the distribution.
    fn modes(&self) -> usize;

    /// Samples that are measured.
    fn samples(&self) -> usize;

    /// Samples of the distribution that a run learns from.
    fn examples(&self) -> usize;

    /// The standard deviation of a coordinate; 1 where samples are in [-1, 1], as networks for images take them.
    fn deviation(&self) -> f64;

    /// Numbers that a sample has.
    fn numbers(&self) -> usize;

    /// Whether samples are images; else they are points.
    fn has_images(&self) -> bool;

    /// Whether samples can be of low quality.
    fn judges_quality(&self) -> bool;

    /// The method `plain`: that of the papers, as TOML.
    fn plain(&self) -> &'static str;

    /// Generator and discriminator with their initial weights. What is asked for of batch normalisation counts for a
    /// generator of points and a discriminator of images: the others are what they are in the paper.
    ///
    /// # Errors
    /// None but those of the device.
    fn networks(&self, variant: Variant, init: &mut Init) -> Result<[Network; 2]>;

    /// Latents number `first` and following of a seed and a purpose, [count, latent].
    ///
    /// # Errors
    /// None but those of the device.
    fn latents(&self, seed: u64, purpose: &str, first: u64, count: usize) -> Result<Tensor>;

    /// Samples of the distribution, [n, ..], by their numbers, for a seed and a purpose.
    ///
    /// # Errors
    /// None but those of the device.
    fn real(&self, seed: u64, purpose: &str, numbers: &[usize]) -> Result<Tensor>;

    /// What is seen in samples, [n, ..].
    ///
    /// # Errors
    /// Samples of another shape.
    fn look(&self, samples: &Tensor) -> Result<Vec<Sighting>>;
}
