//! The one-sided gradient penalty: `mean max(0, |g| - 1)^2` at points between real and generated images (Gulrajani et al.,
//! "Improved training of Wasserstein GANs", 2017, section 4; Petzka, Fischer & Lukovnikov, "On the regularization of
//! Wasserstein GANs", 2018, equation 8): a critic may be flat.

use super::wgan_gp::from_one;
use super::{OfSlopes, Points};
use candle_core::{Result, Tensor};

/// See the module.
pub const RULE: &OfSlopes = &OfSlopes { points: Points::Between, of: above_one };

fn above_one(squared: &Tensor) -> Result<[Tensor; 2]> {
    let steep = squared.gt(1.)?.to_dtype(squared.dtype())?;
    let [penalties, factors] = from_one(squared)?;
    Ok([(penalties * &steep)?, (factors * steep)?])
}
