//! R1: `1/2 mean |g|^2` on real images, which keeps the discriminator's slope around the data small (Mescheder, Geiger &
//! Nowozin, "Which training methods for GANs do actually converge?", 2018, equation 9, where the weight is gamma).

use super::{Function, Points};
use candle_core::{Result, Tensor};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct R1;

impl Function for R1 {
    const NAME: &'static str = "r1";
    const POINTS: Points = Points::Real;

    fn of(squared: &Tensor) -> Result<[Tensor; 2]> {
        Ok([(squared * 0.5)?, squared.ones_like()?])
    }
}
