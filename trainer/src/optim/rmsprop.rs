//! RMSprop (Tieleman & Hinton, "Neural networks for machine learning", lecture 6.5, 2012):
//! `v <- a v + (1 - a) g^2`, `p <- p - lr g / (sqrt(v) + eps)`.

use super::Schedule;
use super::schedule::between;
use crate::ops::{Real, Rule, real};
use serde::{Deserialize, Serialize};

/// RMSprop in a recipe. The default rate is that of Wasserstein GANs (Arjovsky et al., 2017, algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RmsProp {
    /// Learning rate, in [0, 1].
    pub lr: Schedule,
    /// Decay of the mean square, in [0, 1).
    pub decay: Schedule,
    /// Added to the root of the mean square.
    pub eps: f64,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { lr: 5e-5.into(), decay: 0.99.into(), eps: 1e-8 }
    }
}

impl RmsProp {
    /// See [`super::Optimizer::check`].
    ///
    /// # Errors
    /// Values out of their bounds.
    pub fn check(&self, key: &str) -> Result<(), String> {
        self.lr.check(&format!("{key}.lr"), 0., 1.)?;
        self.decay.check(&format!("{key}.decay"), 0., 0.999_999)?;
        between(&format!("{key}.eps"), self.eps, 1e-16, 1.)
    }

    /// The constants of the step after so many images.
    pub fn at(&self, images: u64) -> Constants {
        Constants { lr: self.lr.at(images), decay: self.decay.at(images), eps: self.eps }
    }
}

/// The constants of one step of RMSprop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean square, in [0, 1).
    pub decay: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
}

impl Rule<1, 3> for Constants {
    const NAME: &'static str = "rmsprop";
    const KERNEL: &'static str = r"
struct Rule {
    enum { MOMENTS = 1 };
    A lr, decay, eps;
    __device__ __forceinline__ void step(A& p, A (&v)[1], A g, A, A) const {
        v[0] = decay * v[0] + (1 - decay) * g * g;
        p -= lr * g / (sqrt(v[0]) + eps);
    }
};
";

    fn constants(&self) -> [f64; 3] {
        [self.lr, self.decay, self.eps]
    }

    #[inline(always)]
    fn element<T: Real>(&self, _: [f64; 2]) -> impl Fn(T, [T; 1], T) -> (T, [T; 1]) + Copy + Send + Sync + 'static {
        let [rate, decay, eps] = self.constants().map(real::<T>);
        #[inline(always)]
        move |p, [v], g| {
            let v = decay * v + (T::one() - decay) * g * g;
            (p - rate * g / (v.sqrt() + eps), [v])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Optimizer;
    use crate::optim::testing::{check, refused};

    #[test]
    fn it_follows_the_lecture() -> candle_core::Result<()> {
        let rmsprop = RmsProp { lr: 0.02.into(), decay: 0.9.into(), eps: 1e-3 };
        check(Optimizer::RmsProp(rmsprop), || {
            let mut mean_square = 0f64;
            move |_, p, g| {
                mean_square = 0.9 * mean_square + 0.1 * g.powi(2);
                p - 0.02 * g / (mean_square.sqrt() + 1e-3)
            }
        })
    }

    #[test]
    fn bounds_are_named() {
        refused("kind = 'rmsprop'\nlr = 2", "o.lr is 2");
        refused("kind = 'rmsprop'\ndecay = 1.0", "o.decay is 1, allowed is 0 to 0.999999");
        refused("kind = 'rmsprop'\neps = 2.0", "o.eps is 2");
        refused("kind = 'rmsprop'\nalpha = 0.9", "unknown field `alpha`");
    }
}
