//! Limits for the gradient of all parameters together.

use super::schedule::between;
use crate::ops::{self, Limits};
use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// How a gradient is limited before a step: `{ norm = 1.0 }` or `{ value = 0.01 }` in a recipe. A NaN stays one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// A gradient that is longer is made as long as this, in the same direction: `g min(1, norm / |g|)` with the Euclidean
    /// norm over all parameters (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013,
    /// algorithm 1).
    Norm(f64),
    /// Every element is brought into [-value, value].
    Value(f64),
}

impl Clip {
    /// A limit that can be used; else `key` and what is allowed.
    ///
    /// # Errors
    /// A limit out of bounds.
    pub fn check(&self, key: &str) -> std::result::Result<(), String> {
        match *self {
            Self::Norm(norm) => between(&format!("{key}.norm"), norm, 1e-9, 1e9),
            Self::Value(value) => between(&format!("{key}.value"), value, 1e-9, 1e9),
        }
    }

    /// Limits `gradient`, `[total]`, in place, and gives its norm before that, a scalar on its device. `decided` is the state
    /// of the loss scaling that has judged it, where there is one: norm and limits are then those of the unscaled gradient,
    /// and of one that is not finite nothing is changed.
    ///
    /// # Errors
    /// Tensors that are not contiguous, other types than `f32` and `f64`.
    pub fn apply(self, gradient: &Tensor, decided: Option<&Tensor>) -> Result<Tensor> {
        let (norm, value) = match self {
            Self::Norm(norm) => (norm, f64::INFINITY),
            Self::Value(value) => (f64::INFINITY, value),
        };
        let found = ops::measure(gradient, Limits { norm, value }, decided)?;
        ops::limit(gradient, &found)?;
        found.get(0)
    }
}
