//! Robustness to adversarial samples: `mean (l(x) - l(x + v))^2` over real and, as much, over generated images, where `v` is the
//! step of a fixed length along which the logit changes most, that of its gradient (Zhou & Krähenbühl, "Don't let your
//! discriminator be fooled", 2019, section 3, with one step; the direction is a constant to the gradient, as in Miyato et al.,
//! "Virtual adversarial training", 2018). To first order it is R1 and R2; at the length of the step it sees what they do not.

use super::{Found, Rule, Scene};
use crate::ops;
use candle_core::{Result, Tensor};

/// See the module.
pub const RULE: &dyn Rule = &Adversarial;

/// The length of a step is this times the root of the number of values of an image: what every value, in [-1, 1], changes by on
/// average.
pub(super) const STEP: f64 = 0.05;

/// Slopes shorter than this have no direction.
const LEAST: f64 = 1e-12;

#[derive(Debug)]
struct Adversarial;

impl Rule for Adversarial {
    fn needs_slopes(&self) -> bool {
        true
    }

    fn take(&self, scene: &Scene<'_>) -> Result<Found> {
        let [real, generated] = scene.exact()?;
        let images = Tensor::cat(&[&real, &generated], 0)?;
        let class = scene.class.map(|class| Tensor::cat(&[class, class], 0)).transpose()?;
        let inputs: Vec<&Tensor> = [&images].into_iter().chain(&class).collect();
        let trace = scene.network.trace(&inputs)?;
        let start = match scene.criterion.witness(scene.outputs) {
            Some(witness) => witness.gradient(trace.output())?,
            None => trace.output().ones_like()?,
        };
        let slopes = trace.slopes_of(&start)?;
        let rows = slopes.of_input().reshape((images.dim(0)?, (), 1))?;
        let lengths = ops::sample_dot(&rows, &rows)?.sqrt()?.maximum(LEAST)?;
        let length = STEP * ((rows.elem_count() / images.dim(0)?) as f64).sqrt();
        let steps = ops::sample_scale(&rows, &(lengths.recip()? * length)?)?.reshape(images.shape())?;
        scene.stays_for(&(images + steps)?)
    }
}
