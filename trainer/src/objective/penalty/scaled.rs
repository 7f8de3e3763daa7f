//! The scaled discrepancy (Arbel et al., "On gradient regularizers for MMD GANs", 2018, section 3.3, in the form of their code):
//! the discriminator minimises its loss times `s = 1 / (1 + w mean |g|^2)` instead of the loss, where `g` are the slopes at real
//! images and `w` is the weight, 1 in the paper. Where the loss is minus a distance, as those of MMD and Wasserstein are, a
//! critic gains nothing by growing; a loss above 0 it would make smaller so, which is why recipes have it with those alone.
//! What is written here as a penalty is the difference, `(s - 1) loss`; the generator's loss is not scaled, which its optimiser
//! would undo.

use super::{Found, OfSlopes, Points, Rule, Scene};
use candle_core::{Result, Tensor};

/// See the module.
pub const RULE: &dyn Rule = &Scaled;

const SQUARE: OfSlopes = OfSlopes { points: Points::Real, of: square };

fn square(squared: &Tensor) -> Result<[Tensor; 2]> {
    Ok([squared.clone(), squared.ones_like()?.affine(2., 0.)?])
}

#[derive(Debug)]
struct Scaled;

impl Rule for Scaled {
    fn needs_slopes(&self) -> bool {
        true
    }

    fn take(&self, scene: &Scene<'_>) -> Result<Found> {
        let (squares, slopes) = SQUARE.slopes(scene)?;
        let loss = scene.verdict.loss.to_dtype(squares.dtype())?;
        let s = (squares.mean_all()? * scene.weight)?.affine(1., 1.)?.recip()?;
        // d (s loss) = s d loss - loss w s^2 d mean |g|^2.
        let mut factor = ((&loss * s.sqr()?)? * -scene.weight)?.reshape(1)?;
        if let Some(scale) = scene.scale {
            factor = factor.broadcast_mul(&scale.to_dtype(factor.dtype())?)?;
        }
        let (_, along) = SQUARE.along(slopes.of_input(), 1., Some(&factor))?;
        let less = s.affine(1., -1.)?;
        let [real, generated] = &scene.verdict.slopes;
        let scaled = |slopes: &Tensor| slopes.broadcast_mul(&less.to_dtype(slopes.dtype())?);
        Ok(Found {
            value: (&loss * &less)?,
            gradients: Some(slopes.gradients_along(&along)?),
            slopes: Some([scaled(real)?, scaled(generated)?]),
        })
    }
}
