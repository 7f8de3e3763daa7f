//! The gradient penalty of WGAN-GP: `mean (|g| - 1)^2` at points between real and generated images (Gulrajani et al.,
//! "Improved training of Wasserstein GANs", 2017, equation 3, where the weight is lambda, 10): the slope of the best critic is
//! 1 almost everywhere there.

use super::{OfSlopes, Points};
use candle_core::{Result, Tensor};

/// See the module.
pub const RULE: &OfSlopes = &OfSlopes { points: Points::Between, of: from_one };

/// Slopes shorter than this have no direction to speak of.
const LEAST: f64 = 1e-12;

pub(super) fn from_one(squared: &Tensor) -> Result<[Tensor; 2]> {
    let length = squared.sqrt()?.maximum(LEAST)?;
    let above = (&length - 1.)?;
    // p(s) = (sqrt(s) - 1)^2, 2 p'(s) = 2 (sqrt(s) - 1) / sqrt(s).
    Ok([above.sqr()?, (above.div(&length)? * 2.)?])
}
