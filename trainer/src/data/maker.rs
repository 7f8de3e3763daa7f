//! What a batch is made of: images in their order, mirrored or not, with their classes and weights, and latents.

use super::batches::{Batch, Form, bytes_at, latents};
use super::{Dataset, Labels, Order, shares, tensor};
use crate::error::Result;
use crate::ops::MIRRORED;
use crate::random;
use crate::recipe::Recipe;
use candle_core::{Device, Tensor};
use runtime::ImageShape;
use std::sync::Arc;

/// What makes batches.
pub(super) struct Maker {
    data: Arc<Dataset>,
    order: Order,
    form: Form,
    count: usize,
    seed: u64,
    latent: usize,
    conditional: bool,
    /// Of every class, where they differ.
    weights: Option<Vec<f32>>,
    /// The seed of mirroring, where images are mirrored.
    flips: Option<u64>,
}

/// What an image of each class counts: in proportion to `n^-class_balance`, where n are shown, and 1 on average over what is
/// shown.
fn weights(data: &Dataset, recipe: &Recipe) -> Option<Vec<f32>> {
    let power = recipe.objective.class_balance;
    let shown = shares(data.labels().filter(|_| power > 0.)?, recipe.data.balance, data.len() as u64);
    let weights = shown.iter().map(|&n| if n > 0 { (n as f64).powf(-power) } else { 0. });
    let all: f64 = shown.iter().zip(weights.clone()).map(|(&n, weight)| n as f64 * weight).sum();
    let mean = all / shown.iter().sum::<u64>() as f64;
    Some(weights.map(|weight| (weight / mean) as f32).collect())
}

/// The columns of an image [H, W, C] the other way round.
fn mirror(image: &mut [u8], shape: ImageShape) {
    for row in image.chunks_exact_mut(shape.width * shape.channels) {
        for x in 0..shape.width / 2 {
            let (left, right) = row.split_at_mut((shape.width - 1 - x) * shape.channels);
            left[x * shape.channels..][..shape.channels].swap_with_slice(&mut right[..shape.channels]);
        }
    }
}

impl Maker {
    /// The batches of a run of `recipe`, so many images each.
    pub fn new(data: Arc<Dataset>, recipe: &Recipe, form: Form, count: usize) -> Self {
        Self {
            order: Order::of_training(&data, recipe.seed, recipe.data.balance),
            weights: weights(&data, recipe),
            conditional: recipe.conditional,
            flips: recipe.data.flip.then(|| random::derive(recipe.seed, "flip")),
            data,
            form,
            count,
            seed: recipe.seed,
            latent: recipe.generator.latent(),
        }
    }

    /// The batch from image `first` on, its images in the form that is wanted.
    pub fn batch(&mut self, first: u64) -> Result<Batch> {
        let (indices, shape) = (self.order.take(first, self.count), self.data.shape());
        let mirrored = |place: usize| self.flips.is_some_and(|seed| random::coin(seed, first + place as u64));
        let bytes = || -> Result<Vec<u8>> {
            let mut bytes = bytes_at(&self.data, &indices)?;
            let images = bytes.chunks_exact_mut(shape.len()).enumerate();
            images.filter(|(place, _)| mirrored(*place)).for_each(|(_, image)| mirror(image, shape));
            Ok(bytes)
        };
        let real = match self.form {
            Form::Values => tensor(&bytes()?, shape)?,
            Form::Bytes => {
                let dims = (indices.len(), shape.height, shape.width, shape.channels);
                Tensor::from_vec(bytes()?, dims, &Device::Cpu)?
            }
            Form::Numbers => {
                let marked =
                    |(place, &index): (usize, &usize)| index as u32 | if mirrored(place) { MIRRORED } else { 0 };
                Tensor::from_iter(indices.iter().enumerate().map(marked), &Device::Cpu)?
            }
        };
        let classes = |labels: &Labels| indices.iter().map(|&index| labels.values[index]).collect::<Vec<u32>>();
        let classes = self.data.labels().filter(|_| self.conditional || self.weights.is_some()).map(classes);
        let weight = self.weights.as_ref().zip(classes.as_ref()).map(|(weights, classes)| {
            Tensor::from_iter(classes.iter().map(|&class| weights[class as usize]), &Device::Cpu)
        });
        let class = classes.filter(|_| self.conditional).map(|classes| Tensor::new(classes, &Device::Cpu));
        let z = latents(self.seed, "latents", first, self.count, self.latent)?;
        Ok(Batch { real, z, class: class.transpose()?, weight: weight.transpose()?, first })
    }
}
