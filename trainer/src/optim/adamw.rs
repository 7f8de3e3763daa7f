//! AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, algorithm 2): the step of [`super::adam`], and
//! beside it, not through the moments, `p <- p - lr decay p`.

use super::{Adam, Schedule, adam};
use crate::ops::{Real, Rule, real};
use serde::{Deserialize, Serialize};

/// AdamW in a recipe. Defaults are [`Adam`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamW {
    /// Learning rate, in [0, 1].
    pub lr: Schedule,
    /// Decay of the first moment, in [0, 1).
    pub beta1: Schedule,
    /// Decay of the second moment, in [0, 1).
    pub beta2: Schedule,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// What part of a parameter is lost in a step with a learning rate of 1, in [0, 1].
    pub weight_decay: Schedule,
}

impl Default for AdamW {
    fn default() -> Self {
        let Adam { lr, beta1, beta2, eps } = Adam::default();
        Self { lr, beta1, beta2, eps, weight_decay: 0.01.into() }
    }
}

impl AdamW {
    fn adam(&self) -> Adam {
        Adam { lr: self.lr, beta1: self.beta1, beta2: self.beta2, eps: self.eps }
    }

    /// See [`super::Optimizer::check`].
    ///
    /// # Errors
    /// Values out of their bounds.
    pub fn check(&self, key: &str) -> Result<(), String> {
        self.adam().check(key)?;
        self.weight_decay.check(&format!("{key}.weight_decay"), 0., 1.)
    }

    /// The constants of the step after so many images.
    pub fn at(&self, images: u64) -> Constants {
        Constants { adam: self.adam().at(images), weight_decay: self.weight_decay.at(images) }
    }
}

/// The constants of one step of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Those of Adam.
    pub adam: adam::Constants,
    /// What part of a parameter is lost in a step with a learning rate of 1.
    pub weight_decay: f64,
}

impl Rule<2, 5> for Constants {
    const NAME: &'static str = "adamw";
    const KERNEL: &'static str = r"
struct Rule {
    enum { MOMENTS = 2 };
    A lr, beta1, beta2, eps, weight_decay;
    __device__ __forceinline__ void step(A& p, A (&m)[2], A g, A correct1, A correct2) const {
        m[0] = beta1 * m[0] + (1 - beta1) * g;
        m[1] = beta2 * m[1] + (1 - beta2) * g * g;
        p = p - lr * weight_decay * p - lr * (m[0] * correct1) / (sqrt(m[1] * correct2) + eps);
    }
};
";

    fn constants(&self) -> [f64; 5] {
        let [lr, beta1, beta2, eps] = self.adam.constants();
        [lr, beta1, beta2, eps, self.weight_decay]
    }

    fn decays(&self) -> [f64; 2] {
        self.adam.decays()
    }

    #[inline(always)]
    fn element<T: Real>(
        &self,
        corrections: [f64; 2],
    ) -> impl Fn(T, [T; 2], T) -> (T, [T; 2]) + Copy + Send + Sync + 'static {
        let (adam, lost) = (self.adam.element::<T>(corrections), real::<T>(self.adam.lr * self.weight_decay));
        #[inline(always)]
        move |p, moments, g| adam(p - lost * p, moments, g)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Optimizer;
    use crate::optim::testing::{check, refused};

    #[test]
    fn it_follows_the_paper() -> candle_core::Result<()> {
        let adamw =
            AdamW { lr: 0.01.into(), beta1: 0.5.into(), beta2: 0.99.into(), eps: 1e-3, weight_decay: 0.3.into() };
        check(Optimizer::AdamW(adamw), || {
            let (mut m, mut v) = (0., 0.);
            move |t, p, g| {
                m = 0.5 * m + (1. - 0.5) * g;
                v = 0.99 * v + (1. - 0.99) * g * g;
                let (m_hat, v_hat) = (m / (1. - 0.5f64.powi(t)), v / (1. - 0.99f64.powi(t)));
                p - 0.01 * (m_hat / (v_hat.sqrt() + 1e-3) + 0.3 * p)
            }
        })
    }

    #[test]
    fn bounds_are_named() {
        refused("kind = 'adamw'\nlr = -0.1", "o.lr is -0.1");
        refused("kind = 'adamw'\nweight_decay = 1.5", "o.weight_decay is 1.5, allowed is 0 to 1");
        refused("kind = 'adamw'\ndecay = 1.5", "unknown field `decay`");
    }
}
