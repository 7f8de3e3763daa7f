//! Adam (Kingma & Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1): in step `t`
//! `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`, `p <- p - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)`.

use super::Schedule;
use super::schedule::between;
use crate::ops::{Real, Rule, real};
use serde::{Deserialize, Serialize};

/// Adam in a recipe. Defaults are those that Radford et al. found for GANs ("DCGAN", 2016, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adam {
    /// Learning rate, in [0, 1].
    pub lr: Schedule,
    /// Decay of the first moment, in [0, 1).
    pub beta1: Schedule,
    /// Decay of the second moment, in [0, 1).
    pub beta2: Schedule,
    /// Added to the root of the second moment.
    pub eps: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { lr: 2e-4.into(), beta1: 0.5.into(), beta2: 0.999.into(), eps: 1e-8 }
    }
}

impl Adam {
    /// See [`super::Optimizer::check`].
    ///
    /// # Errors
    /// Values out of their bounds.
    pub fn check(&self, key: &str) -> Result<(), String> {
        self.lr.check(&format!("{key}.lr"), 0., 1.)?;
        self.beta1.check(&format!("{key}.beta1"), 0., 0.999_999)?;
        self.beta2.check(&format!("{key}.beta2"), 0., 0.999_999)?;
        between(&format!("{key}.eps"), self.eps, 1e-16, 1.)
    }

    /// The constants of the step after so many images.
    pub fn at(&self, images: u64) -> Constants {
        let [lr, beta1, beta2] = [self.lr, self.beta1, self.beta2].map(|schedule| schedule.at(images));
        Constants { lr, beta1, beta2, eps: self.eps }
    }
}

/// The constants of one step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

impl Rule<2, 4> for Constants {
    const NAME: &'static str = "adam";
    const KERNEL: &'static str = r"
struct Rule {
    enum { MOMENTS = 2 };
    A lr, beta1, beta2, eps;
    __device__ __forceinline__ void step(A& p, A (&m)[2], A g, A correct1, A correct2) const {
        m[0] = beta1 * m[0] + (1 - beta1) * g;
        m[1] = beta2 * m[1] + (1 - beta2) * g * g;
        p -= lr * (m[0] * correct1) / (sqrt(m[1] * correct2) + eps);
    }
};
";

    fn constants(&self) -> [f64; 4] {
        [self.lr, self.beta1, self.beta2, self.eps]
    }

    fn decays(&self) -> [f64; 2] {
        [self.beta1, self.beta2]
    }

    #[inline(always)]
    fn element<T: Real>(
        &self,
        [first, second]: [f64; 2],
    ) -> impl Fn(T, [T; 2], T) -> (T, [T; 2]) + Copy + Send + Sync + 'static {
        // Both bias corrections, taken out of the loop: m / c1 / (sqrt(v) / sqrt(c2) + eps).
        let (rate, root, eps) = (real::<T>(self.lr / first), real::<T>(second.sqrt().recip()), real::<T>(self.eps));
        let (b1, b2) = (real::<T>(self.beta1), real::<T>(self.beta2));
        let (c1, c2) = (T::one() - b1, T::one() - b2);
        #[inline(always)]
        move |p, [m, v], g| {
            let (m, v) = (b1 * m + c1 * g, b2 * v + c2 * g * g);
            (p - rate * m / (v.sqrt() * root + eps), [m, v])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::testing::{check, refused};
    use crate::optim::{Optimizer, Ramp, Shape};

    #[test]
    fn it_follows_the_paper() -> candle_core::Result<()> {
        let adam = Adam { lr: 0.01.into(), beta1: 0.5.into(), beta2: 0.99.into(), eps: 1e-3 };
        check(Optimizer::Adam(adam), || {
            let (mut m, mut v) = (0., 0.);
            move |t, p, g| {
                m = 0.5 * m + (1. - 0.5) * g;
                v = 0.99 * v + (1. - 0.99) * g * g;
                let (m_hat, v_hat) = (m / (1. - 0.5f64.powi(t)), v / (1. - 0.99f64.powi(t)));
                p - 0.01 * m_hat / (v_hat.sqrt() + 1e-3)
            }
        })
    }

    /// Rate and decays that change: each step is taken with those of its moment.
    #[test]
    fn schedules_are_followed() -> candle_core::Result<()> {
        let ramp = |from, to| {
            Schedule::Ramp(Ramp { shape: Shape::Linear, from, to, kimg: 4., start_kimg: 1., warmup_kimg: 0. })
        };
        let adam = Adam { lr: ramp(0.05, 0.01), beta1: ramp(0.1, 0.5), beta2: ramp(0.9, 0.98), eps: 1e-8 };
        check(Optimizer::Adam(adam), || {
            let (mut m, mut v) = (0., 0.);
            move |t, p, g| {
                // Step t follows on t thousand images.
                let f = f64::from((t - 1).min(4)) / 4.;
                let (lr, b1, b2) = (0.05 - 0.04 * f, 0.1 + 0.4 * f, 0.9 + 0.08 * f);
                m = b1 * m + (1. - b1) * g;
                v = b2 * v + (1. - b2) * g * g;
                p - lr * (m / (1. - b1.powi(t))) / ((v / (1. - b2.powi(t))).sqrt() + 1e-8)
            }
        })
    }

    #[test]
    fn bounds_are_named() {
        refused("kind = 'adam'\nlr = 1.5", "o.lr is 1.5, allowed is 0 to 1");
        refused("kind = 'adam'\nbeta1 = 1.0", "o.beta1 is 1, allowed is 0 to 0.999999");
        refused("kind = 'adam'\nbeta2 = { shape = 'linear', from = 0.9, to = 1.0, kimg = 1 }", "o.beta2.to is 1");
        refused("kind = 'adam'\neps = 0.0", "o.eps is 0");
        refused("kind = 'adam'\nweight_decay = 0.0", "unknown field `weight_decay`");
    }
}
