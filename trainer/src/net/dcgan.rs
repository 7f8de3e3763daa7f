//! DCGAN (Radford, Metz & Chintala, 2016): transposed convolutions against strided ones.
//!
//! Every stage doubles or halves the side with a 4x4 kernel, stride 2 and padding 1, and halves or doubles the channels.
//! The smallest map is the first one that is odd or at most 4 wide: 28 x 28 has stages 28, 14, 7.

use super::{Init, Layer, Network, Weights};
use crate::ops::{Activation, Geometry};
use candle_core::{Result, bail};
use runtime::ImageShape;
use serde::{Deserialize, Serialize};

const GEOMETRY: Geometry = Geometry::square(2, 1);
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

/// [N, latent] -> [N, H, W, C] in [-1, 1].
///
/// # Errors
/// Images whose sides cannot be halved even once.
pub fn generator(recipe: &Generator, image: ImageShape, init: &mut Init) -> Result<Network> {
    let stages = stages(image)?;
    let (h, w) = (image.height >> stages, image.width >> stages);
    let mut channels = recipe.width << (stages - 1);
    let mut layers = vec![
        Layer::Linear(Weights {
            name: "project".into(),
            weight: init.normal(&[h * w * channels, recipe.latent], 0., DEVIATION)?,
            bias: None,
            activation: Activation::None,
        }),
        Layer::Reshape(vec![h, w, channels]),
    ];
    for stage in 1..=stages {
        layers.push(batch_norm(format!("norm{stage}"), channels, Activation::RELU, init)?);
        let last = stage == stages;
        let outputs = if last { image.channels } else { channels / 2 };
        let weights = Weights {
            name: format!("up{stage}"),
            weight: init.normal(&[channels, KERNEL, KERNEL, outputs], 0., DEVIATION)?,
            bias: if last { Some(init.zeros(&[outputs])?) } else { None },
            activation: if last { Activation::Tanh } else { Activation::None },
        };
        layers.push(Layer::ConvTranspose2d(weights, GEOMETRY));
        channels = outputs;
    }
    Ok(Network::new(layers))
}

/// [N, H, W, C] -> [N, 1], the logit of "real".
///
/// # Errors
/// Images whose sides cannot be halved even once.
pub fn discriminator(recipe: &Discriminator, image: ImageShape, init: &mut Init) -> Result<Network> {
    let stages = stages(image)?;
    let (mut layers, mut inputs) = (Vec::new(), image.channels);
    for stage in 1..=stages {
        let outputs = recipe.width << (stage - 1);
        let normalised = recipe.batch_norm && stage > 1;
        let weights = Weights {
            name: format!("down{stage}"),
            weight: init.normal(&[outputs, KERNEL, KERNEL, inputs], 0., DEVIATION)?,
            bias: if normalised { None } else { Some(init.zeros(&[outputs])?) },
            activation: if normalised { Activation::None } else { LEAKY },
        };
        layers.push(Layer::Conv2d(weights, GEOMETRY));
        if normalised {
            layers.push(batch_norm(format!("norm{stage}"), outputs, LEAKY, init)?);
        }
        inputs = outputs;
    }
    let features = inputs * (image.height >> stages) * (image.width >> stages);
    layers.push(Layer::Reshape(vec![features]));
    layers.push(Layer::Linear(Weights {
        name: "logit".into(),
        weight: init.normal(&[1, features], 0., DEVIATION)?,
        bias: Some(init.zeros(&[1])?),
        activation: Activation::None,
    }));
    Ok(Network::new(layers))
}

fn batch_norm(name: String, channels: usize, activation: Activation, init: &mut Init) -> Result<Layer> {
    Ok(Layer::BatchNorm {
        name,
        gamma: init.normal(&[channels], 1., DEVIATION)?,
        beta: init.zeros(&[channels])?,
        eps: EPS,
        activation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_those_of_the_image() -> Result<()> {
        for (channels, height, width) in [(1, 28, 28), (3, 64, 64), (3, 12, 20), (1, 6, 6)] {
            let image = ImageShape { channels, height, width };
            let g = generator(&Generator { latent: 8, width: 4 }, image, &mut Init::new(0))?;
            assert_eq!(g.output_shape(&[8])?, [height, width, channels]);
            let d = discriminator(&Discriminator { width: 4, batch_norm: true }, image, &mut Init::new(0))?;
            assert_eq!(d.output_shape(&[height, width, channels])?, [1]);
            let z = Init::new(1).normal(&[2, 8], 0., 1.)?;
            assert_eq!(d.forward(&g.forward(&z)?)?.dims(), [2, 1]);
        }
        let odd = ImageShape { channels: 1, height: 27, width: 28 };
        assert!(generator(&Generator { latent: 8, width: 4 }, odd, &mut Init::new(0)).is_err());
        Ok(())
    }
}
