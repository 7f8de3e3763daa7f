//! A generator of dense layers, as in introductory tutorials: a latent, hidden layers with leaky ReLU, all pixels at once.

use super::{Init, Layer, Network, Weights};
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

/// [N, latent] -> [N, C, H, W] in [-1, 1]. Weights start as N(0, sqrt(2 / (in + out))) (Glorot & Bengio, 2010).
///
/// # Errors
/// None but those of the device.
pub fn generator(recipe: &Generator, image: ImageShape, init: &mut Init) -> Result<Network> {
    let (mut layers, mut inputs) = (Vec::new(), recipe.latent);
    let widths = recipe.hidden.iter().copied().chain([image.len()]);
    for (i, outputs) in widths.enumerate() {
        if i > 0 {
            layers.push(Layer::LeakyRelu(0.2));
        }
        let deviation = (2. / (inputs + outputs) as f32).sqrt();
        layers.push(Layer::Linear(Weights {
            name: format!("dense{}", i + 1),
            weight: init.normal(&[inputs, outputs], 0., deviation)?,
            bias: Some(init.zeros(&[outputs])?),
        }));
        inputs = outputs;
    }
    layers.push(Layer::Tanh);
    layers.push(Layer::Reshape(vec![image.channels, image.height, image.width]));
    Ok(Network::new(layers))
}
