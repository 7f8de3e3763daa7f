//! A generator of dense layers, as in introductory tutorials: a latent, hidden layers with leaky ReLU, all pixels at once.

use super::{Init, Layers, Subject};
use crate::graph::Network;
use crate::ops::Activation;
use candle_core::{Result, bail};
use runtime::INPUT_LATENT;
use serde::{Deserialize, Serialize};

/// Recipe of the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Elements of the latent.
    pub latent: usize,
    /// Width of each hidden layer, first to last.
    pub hidden: Vec<usize>,
}

/// `[latent]` -> [H, W, C] in [-1, 1]. Weights start as N(0, 2 / (in + out)) (Glorot & Bengio, 2010).
///
/// # Errors
/// Classes, which it does not know.
pub fn generator(recipe: &Generator, subject: impl Into<Subject>, init: &mut Init) -> Result<Network> {
    let Subject { image, classes, .. } = subject.into();
    if classes > 0 {
        bail!("dense: this generator has no classes; allowed is architecture dcgan, or conditional = false")
    }
    let mut layers = Layers::new(init);
    let mut x = layers.graph.input(INPUT_LATENT, &[recipe.latent]);
    let widths = recipe.hidden.iter().copied().chain([image.len()]);
    for (i, outputs) in widths.enumerate() {
        let deviation = (2. / (layers.channels(x) + outputs) as f32).sqrt();
        let activation = if i < recipe.hidden.len() { Activation::LeakyRelu(0.2) } else { Activation::Tanh };
        x = layers.linear(&format!("dense{}", i + 1), x, outputs, deviation, true, activation)?;
    }
    x = layers.reshape(x, &[image.height, image.width, image.channels])?;
    layers.graph.finish(&[x])
}
