//! A generator of dense layers, as in introductory tutorials: a latent, hidden layers with leaky ReLU, all pixels at once.

use super::{Init, Layer, Network, Weights};
use crate::ops::Activation;
use candle_core::Result;
use runtime::ImageShape;
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

/// [N, latent] -> [N, H, W, C] in [-1, 1]. Weights start as N(0, sqrt(2 / (in + out))) (Glorot & Bengio, 2010).
///
/// # Errors
/// None but those of the device.
pub fn generator(recipe: &Generator, image: ImageShape, init: &mut Init) -> Result<Network> {
    let (mut layers, mut inputs) = (Vec::new(), recipe.latent);
    let widths = recipe.hidden.iter().copied().chain([image.len()]);
    for (i, outputs) in widths.enumerate() {
        let deviation = (2. / (inputs + outputs) as f32).sqrt();
        layers.push(Layer::Linear(Weights {
            name: format!("dense{}", i + 1),
            weight: init.normal(&[outputs, inputs], 0., deviation)?,
            bias: Some(init.zeros(&[outputs])?),
            activation: if i < recipe.hidden.len() { Activation::LeakyRelu(0.2) } else { Activation::Tanh },
        }));
        inputs = outputs;
    }
    layers.push(Layer::Reshape(vec![image.height, image.width, image.channels]));
    Ok(Network::new(layers))
}
