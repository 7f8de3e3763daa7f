//! Penalties on the slope of the discriminator: means over images of a function of `|g|`, where `g` is the gradient of an
//! image's logit with respect to the image.

use super::{Found, Rule, Scene};
use crate::graph::{Network, Slopes, Trace};
use crate::objective::criterion::Turned;
use crate::ops;
use crate::random;
use candle_core::{Result, Tensor};

/// At which images slopes are penalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Points {
    /// Real ones.
    Real,
    /// Generated ones.
    Generated,
    /// A point on the line between a real image and a generated one, evenly drawn for each pair.
    Between,
    /// Real images with even noise added, from 0 to half the deviation of all of the batch's values.
    Around,
}

/// A penalty as a function of the squared length of the slope.
#[derive(Debug)]
pub struct OfSlopes {
    /// Where it is taken.
    pub points: Points,
    /// From squared lengths `s` [n, 1] the penalties `p(s)`, and `2 p'(s)`, by which a slope is multiplied to give the
    /// gradient of the penalty with respect to it.
    pub of: fn(&Tensor) -> Result<[Tensor; 2]>,
}

impl Rule for OfSlopes {
    fn needs_slopes(&self) -> bool {
        true
    }

    fn take(&self, scene: &Scene<'_>) -> Result<Found> {
        self.at(self.points(scene)?, scene)
    }
}

impl OfSlopes {
    /// What the discriminator makes of the points.
    fn points<'a>(&self, scene: &Scene<'a>) -> Result<Trace<'a>> {
        let n = scene.images[0].dim(0)?;
        match (self.points, scene.trace) {
            (Points::Real, Some(trace)) => trace.rows(0, n),
            (Points::Generated, Some(trace)) => trace.rows(n, scene.images[1].dim(0)?),
            (points, _) => scene.network.trace(&scene.inputs(&drawn(points, scene)?)),
        }
    }

    /// The squared lengths [n, 1] of the slopes of logits at the points, and the slopes.
    pub(super) fn slopes<'a>(&self, scene: &Scene<'a>) -> Result<(Tensor, Slopes<'a>)> {
        let slopes = self.points(scene)?.slopes()?;
        let g = slopes.of_input();
        let rows = g.reshape((g.dim(0)?, (), 1))?;
        Ok((ops::sample_dot(&rows, &rows)?, slopes))
    }

    /// The penalty for the images that a discriminator was traced with.
    fn at(&self, trace: Trace<'_>, scene: &Scene<'_>) -> Result<Found> {
        let Some(witness) = scene.criterion.witness(scene.outputs) else {
            return self.of_logits(trace, scene.weight, scene.scale);
        };
        let start = witness.gradient(trace.output())?;
        let slopes = trace.slopes_of(&start)?;
        let (value, along) = self.along(slopes.of_input(), scene.weight, scene.scale)?;
        // The witness depends on the outputs for all images, and bends at the points.
        let mut of_clouds = None;
        let gradients = slopes.gradients_with(&along, |points, tangent| {
            let Turned { points, clouds } = witness.turned(points, tangent)?;
            of_clouds = Some(clouds);
            Ok(Some(points))
        })?;
        Ok(Found { value, gradients: Some(gradients), slopes: of_clouds })
    }

    /// The penalty on the slopes of logits, times `weight`; gradients are multiplied by `scale`, `[1]`, where there is one.
    ///
    /// # Errors
    /// A discriminator in which samples see each other.
    pub fn of_logits(&self, trace: Trace<'_>, weight: f64, scale: Option<&Tensor>) -> Result<Found> {
        let slopes = trace.slopes()?;
        let (value, along) = self.along(slopes.of_input(), weight, scale)?;
        Ok(Found { value, gradients: Some(slopes.gradients_along(&along)?), slopes: None })
    }

    /// The penalty, a scalar, of slopes `g` [n, H, W, C], and its gradient with respect to them.
    pub(super) fn along(&self, g: &Tensor, weight: f64, scale: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let n = g.dim(0)?;
        // Samples of one channel: what belongs to a sample is added up, or multiplied by one number.
        let rows = g.reshape((n, (), 1))?;
        let [penalties, factors] = (self.of)(&ops::sample_dot(&rows, &rows)?)?;
        let mut factors = (factors * (weight / n as f64))?;
        if let Some(scale) = scale {
            factors = factors.broadcast_mul(scale)?;
        }
        let along = ops::sample_scale(&rows, &factors)?.reshape(g.shape())?;
        Ok(((penalties.mean_all()? * weight)?, along))
    }
}

/// The points of a batch, [n, H, W, C].
pub(super) fn drawn(points: Points, scene: &Scene<'_>) -> Result<Tensor> {
    let [real, generated] = scene.exact()?;
    let (n, device) = (real.dim(0)?, real.device());
    match points {
        Points::Real => Ok(real),
        Points::Generated => Ok(generated),
        Points::Between => {
            let u = random::uniform(scene.seed_of("between"), scene.first, n, 1);
            let shape = [vec![n], vec![1; real.rank() - 1]].concat();
            let u = Tensor::from_vec(u, shape, device)?.to_dtype(real.dtype())?;
            &real + (generated - &real)?.broadcast_mul(&u)?
        }
        Points::Around => {
            let u = random::uniform(scene.seed_of("around"), scene.first, n, real.elem_count() / n);
            let u = Tensor::from_vec(u, real.shape(), device)?.to_dtype(real.dtype())?;
            let centred = real.broadcast_sub(&real.mean_all()?)?;
            let deviation = centred.sqr()?.mean_all()?.sqrt()?;
            &real + (u.broadcast_mul(&deviation)? * 0.5)?
        }
    }
}

/// Why a discriminator cannot have a penalty on its slopes, if it cannot.
pub fn refusal(network: &Network) -> Option<String> {
    network.graph().mixes_samples().map(|operator| {
        format!(
            "a penalty on gradients needs a discriminator that judges every image by itself: in {operator:?} the samples of \
             a batch see each other, so the slope at one image would be a mixture of all of them"
        )
    })
}
