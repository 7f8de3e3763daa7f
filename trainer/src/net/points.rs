//! Networks for points of a few coordinates: dense layers, with which mixtures of normal distributions are learned (Dumoulin
//! et al., "Adversarially learned inference", 2017, appendix; Lin et al., "PacGAN", 2018, section 4.1).

use super::{Init, Layers};
use crate::graph::Network;
use crate::graph::operators::{BatchNorm, Maxout};
use crate::ops::Activation;
use candle_core::Result;
use runtime::INPUT_LATENT;

/// Batch normalisation's.
const EPS: f64 = 1e-5;

/// The generator: hidden layers with ReLU, before which there may be batch normalisation, and a linear one.
#[derive(Clone, Debug, PartialEq)]
pub struct Generator {
    /// Elements of the latent.
    pub latent: usize,
    /// Width of each hidden layer, first to last.
    pub hidden: Vec<usize>,
    /// Batch normalisation in hidden layers; without it they have biases.
    pub batch_norm: bool,
    /// The standard deviation of all initial weights; `None`: by the inputs of a layer.
    pub deviation: Option<f32>,
}

/// The discriminator: hidden layers of maxout units, and a linear one. It judges every point by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Discriminator {
    /// Units of each hidden layer, first to last.
    pub hidden: Vec<usize>,
    /// Linear maps of a unit, of which the largest counts.
    pub pieces: usize,
    /// As the generator's.
    pub deviation: Option<f32>,
}

/// `[latent]` -> `[coordinates]`, any numbers. Weights start as N(0, 2 / in) (He et al., 2015), those of the last layer as
/// N(0, 1 / in), if nothing else is said.
///
/// # Errors
/// None but those of the device.
pub fn generator(recipe: &Generator, coordinates: usize, init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let mut x = layers.graph.input(INPUT_LATENT, &[recipe.latent]);
    for (&width, i) in recipe.hidden.iter().zip(1..) {
        let deviation = recipe.deviation.unwrap_or((2. / layers.channels(x) as f32).sqrt());
        let activation = if recipe.batch_norm { Activation::None } else { Activation::RELU };
        x = layers.linear(&format!("dense{i}"), x, width, deviation, !recipe.batch_norm, activation)?;
        if recipe.batch_norm {
            x = layers.batch_norm(&format!("norm{i}"), x, 0., BatchNorm { eps: EPS, activation: Activation::RELU })?;
        }
    }
    let deviation = recipe.deviation.unwrap_or((1. / layers.channels(x) as f32).sqrt());
    x = layers.linear("point", x, coordinates, deviation, true, Activation::None)?;
    layers.graph.finish(&[x])
}

/// `[coordinates]` -> `[1]`, the logit of "real", and the features that it is made of. Weights start as N(0, 1 / in), if
/// nothing else is said.
///
/// # Errors
/// A maxout of no pieces.
pub fn discriminator(recipe: &Discriminator, coordinates: usize, init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let mut x = layers.graph.input("point", &[coordinates]);
    for (&units, i) in recipe.hidden.iter().zip(1..) {
        let deviation = recipe.deviation.unwrap_or((1. / layers.channels(x) as f32).sqrt());
        let name = format!("dense{i}");
        x = layers.linear(&name, x, units * recipe.pieces, deviation, true, Activation::None)?;
        x = layers.graph.apply(Maxout { pieces: recipe.pieces }, &[x])?;
    }
    let deviation = recipe.deviation.unwrap_or((1. / layers.channels(x) as f32).sqrt());
    let logit = layers.linear("logit", x, 1, deviation, true, Activation::None)?;
    layers.graph.finish(&[logit, x])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_made_and_judged() -> Result<()> {
        let of = |batch_norm| {
            generator(&Generator { latent: 2, hidden: vec![8, 6], batch_norm, deviation: None }, 3, &mut Init::new(1))
        };
        let (generator, plain) = (of(true)?, of(false)?);
        let judge =
            discriminator(&Discriminator { hidden: vec![5, 4], pieces: 3, deviation: None }, 3, &mut Init::new(1))?;
        let made = generator.forward(&[&Init::new(2).normal(&[7, 2], 0., 1.)?])?;
        assert_eq!((made.dims(), judge.forward(&[&made])?.dims()), (&[7, 3][..], &[7, 1][..]));
        assert!(generator.graph().mixes_samples().is_some());
        assert!(judge.graph().mixes_samples().is_none() && plain.graph().mixes_samples().is_none());
        let numbers = |network: &Network| network.tensors().iter().map(|t| t.elem_count()).sum::<usize>();
        let weights = 2 * 8 + 8 * 6 + 6 * 3;
        assert_eq!(numbers(&generator), weights + 2 * (8 + 6) + 3);
        assert_eq!(numbers(&plain), weights + 8 + 6 + 3);
        let judged = 3 * 15 + 15 + 5 * 12 + 12 + 4 + 1;
        assert_eq!(numbers(&judge), judged);
        Ok(())
    }
}
