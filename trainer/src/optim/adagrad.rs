//! AdaGrad (Duchi et al., "Adaptive subgradient methods for online learning and stochastic optimization", 2011, with the
//! diagonal matrix of figure 1): `s <- s + g^2`, `p <- p - lr g / (sqrt(s) + eps)`.

use super::Schedule;
use super::schedule::between;
use crate::ops::{Real, Rule, real};
use serde::{Deserialize, Serialize};

/// AdaGrad in a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaGrad {
    /// Learning rate, in [0, 10]: that of the first step, whatever the gradient's size; later ones are smaller.
    pub lr: Schedule,
    /// Added to the root of the sum of squares.
    pub eps: f64,
}

impl Default for AdaGrad {
    fn default() -> Self {
        Self { lr: 0.01.into(), eps: 1e-10 }
    }
}

impl AdaGrad {
    /// See [`super::Optimizer::check`].
    ///
    /// # Errors
    /// Values out of their bounds.
    pub fn check(&self, key: &str) -> Result<(), String> {
        self.lr.check(&format!("{key}.lr"), 0., 10.)?;
        between(&format!("{key}.eps"), self.eps, 1e-16, 1.)
    }

    /// The constants of the step after so many images.
    pub fn at(&self, images: u64) -> Constants {
        Constants { lr: self.lr.at(images), eps: self.eps }
    }
}

/// The constants of one step of AdaGrad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Learning rate.
    pub lr: f64,
    /// Added to the root of the sum of squares.
    pub eps: f64,
}

impl Rule<1, 2> for Constants {
    const NAME: &'static str = "adagrad";
    const KERNEL: &'static str = r"
struct Rule {
    enum { MOMENTS = 1 };
    A lr, eps;
    __device__ __forceinline__ void step(A& p, A (&s)[1], A g, A, A) const {
        s[0] += g * g;
        p -= lr * g / (sqrt(s[0]) + eps);
    }
};
";

    fn constants(&self) -> [f64; 2] {
        [self.lr, self.eps]
    }

    #[inline(always)]
    fn element<T: Real>(&self, _: [f64; 2]) -> impl Fn(T, [T; 1], T) -> (T, [T; 1]) + Copy + Send + Sync + 'static {
        let [rate, eps] = self.constants().map(real::<T>);
        #[inline(always)]
        move |p, [sum], g| {
            let sum = sum + g * g;
            (p - rate * g / (sum.sqrt() + eps), [sum])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Optimizer;
    use crate::optim::testing::{check, refused};

    #[test]
    fn it_follows_the_paper() -> candle_core::Result<()> {
        let adagrad = AdaGrad { lr: 0.1.into(), eps: 1e-3 };
        check(Optimizer::AdaGrad(adagrad), || {
            let mut past = Vec::new();
            move |_, p, g| {
                past.push(g);
                p - 0.1 * g / (past.iter().map(|g: &f64| g.powi(2)).sum::<f64>().sqrt() + 1e-3)
            }
        })
    }

    #[test]
    fn bounds_are_named() {
        refused("kind = 'adagrad'\nlr = 11", "o.lr is 11, allowed is 0 to 10");
        refused("kind = 'adagrad'\neps = 0.0", "o.eps is 0");
        refused("kind = 'adagrad'\ndecay = 0.9", "unknown field `decay`");
    }
}
