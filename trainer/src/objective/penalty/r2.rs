//! R2: `1/2 mean |g|^2` on generated images (Mescheder, Geiger & Nowozin, "Which training methods for GANs do actually
//! converge?", 2018, equation 10, where the weight is gamma).

use super::{Function, Points};
use candle_core::{Result, Tensor};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct R2;

impl Function for R2 {
    const NAME: &'static str = "r2";
    const POINTS: Points = Points::Generated;

    fn of(squared: &Tensor) -> Result<[Tensor; 2]> {
        super::R1::of(squared)
    }
}
