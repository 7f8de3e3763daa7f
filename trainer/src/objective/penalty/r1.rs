//! R1: `1/2 mean |g|^2` on real images, which keeps the discriminator's slope around the data small (Mescheder, Geiger &
//! Nowozin, "Which training methods for GANs do actually converge?", 2018, equation 9, where the weight is gamma).

use super::{OfSlopes, Points};
use candle_core::{Result, Tensor};

/// See the module.
pub const RULE: &OfSlopes = &OfSlopes { points: Points::Real, of: half_square };

pub(super) fn half_square(squared: &Tensor) -> Result<[Tensor; 2]> {
    Ok([(squared * 0.5)?, squared.ones_like()?])
}
