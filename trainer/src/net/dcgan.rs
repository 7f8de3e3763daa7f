//! DCGAN (Radford, Metz & Chintala, 2016): transposed convolutions against strided ones.
//!
//! Every stage doubles or halves the side with a 4x4 kernel, stride 2 and padding 1, and halves or doubles the channels.
//! The smallest map is the first one that is odd or at most 4 wide: 28 x 28 has stages 28, 14, 7.

use super::{Init, Layers, Window};
use crate::graph::Network;
use crate::graph::operators::BatchNorm;
use crate::ops::Activation;
use candle_core::{Result, bail};
use runtime::{INPUT_LATENT, ImageShape};
use serde::{Deserialize, Serialize};

const KERNEL: usize = 4;
const EPS: f64 = 1e-5;
const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// The paper's initialisation: N(0, 0.02) for weights, N(1, 0.02) for the scales of batch normalisation.
const DEVIATION: f32 = 0.02;

/// Recipe of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Elements of the latent.
    pub latent: usize,
    /// Channels of the last hidden map; every stage before has twice as many.
    pub width: usize,
}

/// Recipe of the discriminator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discriminator {
    /// Channels of the first map; every stage after has twice as many.
    pub width: usize,
    /// Batch normalisation in all stages but the first.
    pub batch_norm: bool,
}

/// How often the sides can be halved.
fn stages(image: ImageShape) -> Result<u32> {
    let (mut h, mut w, mut stages) = (image.height, image.width, 0);
    while h % 2 == 0 && w % 2 == 0 && h.min(w) > 4 {
        (h, w, stages) = (h / 2, w / 2, stages + 1);
    }
    if stages == 0 {
        bail!(
            "dcgan: images of {} x {} cannot be halved; both sides must be even and at least 6",
            image.width,
            image.height
        )
    }
    Ok(stages)
}

/// `[latent]` -> [H, W, C] in [-1, 1].
///
/// # Errors
/// Images whose sides cannot be halved even once.
pub fn generator(recipe: &Generator, image: ImageShape, init: &mut Init) -> Result<Network> {
    let stages = stages(image)?;
    let (h, w) = (image.height >> stages, image.width >> stages);
    let mut channels = recipe.width << (stages - 1);
    let mut layers = Layers::new(init);
    let z = layers.graph.input(INPUT_LATENT, &[recipe.latent]);
    let mut x = layers.linear("project", z, h * w * channels, DEVIATION, false, Activation::None)?;
    x = layers.reshape(x, &[h, w, channels])?;
    for stage in 1..=stages {
        x = layers.batch_norm(&format!("norm{stage}"), x, DEVIATION, norm(Activation::RELU))?;
        let last = stage == stages;
        channels = if last { image.channels } else { channels / 2 };
        let activation = if last { Activation::Tanh } else { Activation::None };
        x = layers.transposed(&format!("up{stage}"), x, (channels, &window()), DEVIATION, last, activation)?;
    }
    layers.graph.finish(&[x])
}

/// [H, W, C] -> `[1]`, the logit of "real".
///
/// # Errors
/// Images whose sides cannot be halved even once.
pub fn discriminator(recipe: &Discriminator, image: ImageShape, init: &mut Init) -> Result<Network> {
    let stages = stages(image)?;
    let mut layers = Layers::new(init);
    let mut x = layers.graph.input("image", &[image.height, image.width, image.channels]);
    for stage in 1..=stages {
        let outputs = recipe.width << (stage - 1);
        let normalised = recipe.batch_norm && stage > 1;
        let activation = if normalised { Activation::None } else { LEAKY };
        x = layers.convolution(&format!("down{stage}"), x, (outputs, &window()), DEVIATION, !normalised, activation)?;
        if normalised {
            x = layers.batch_norm(&format!("norm{stage}"), x, DEVIATION, norm(LEAKY))?;
        }
    }
    let features = layers.graph.shape(x).iter().product();
    x = layers.reshape(x, &[features])?;
    x = layers.linear("logit", x, 1, DEVIATION, true, Activation::None)?;
    layers.graph.finish(&[x])
}

fn window() -> Window {
    Window::square(KERNEL, 2, 1)
}

fn norm(activation: Activation) -> BatchNorm {
    BatchNorm { eps: EPS, activation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_those_of_the_image() -> Result<()> {
        for (channels, height, width) in [(1, 28, 28), (3, 64, 64), (3, 12, 20), (1, 6, 6)] {
            let image = ImageShape { channels, height, width };
            let g = generator(&Generator { latent: 8, width: 4 }, image, &mut Init::new(0))?;
            assert_eq!(g.output_shape(), [height, width, channels]);
            let d = discriminator(&Discriminator { width: 4, batch_norm: true }, image, &mut Init::new(0))?;
            assert_eq!(d.output_shape(), [1]);
            let z = Init::new(1).normal(&[2, 8], 0., 1.)?;
            assert_eq!(d.forward(&[&g.forward(&[&z])?])?.dims(), [2, 1]);
        }
        let odd = ImageShape { channels: 1, height: 27, width: 28 };
        assert!(generator(&Generator { latent: 8, width: 4 }, odd, &mut Init::new(0)).is_err());
        Ok(())
    }
}
