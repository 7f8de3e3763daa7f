//! Stochastic gradient descent with momentum (Polyak, "Some methods of speeding up the convergence of iteration methods",
//! 1964): `v <- mu v + g`, `p <- p - lr v`; with Nesterov's, in the form that moves the parameters to where the gradient is
//! taken (Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, and Bengio et al.,
//! "Advances in optimizing recurrent networks", 2013, equation 7): `p <- p - lr (g + mu v)`.

use super::Schedule;
use crate::ops::{Real, Rule, real};
use serde::{Deserialize, Serialize};

/// Gradient descent in a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sgd {
    /// Learning rate, in [0, 10].
    pub lr: Schedule,
    /// What is kept of the velocity in a step, in [0, 1).
    pub momentum: Schedule,
    /// Whether the step looks ahead along the velocity; needs momentum.
    pub nesterov: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { lr: 0.01.into(), momentum: 0.0.into(), nesterov: false }
    }
}

impl Sgd {
    /// See [`super::Optimizer::check`].
    ///
    /// # Errors
    /// Values out of their bounds.
    pub fn check(&self, key: &str) -> Result<(), String> {
        self.lr.check(&format!("{key}.lr"), 0., 10.)?;
        self.momentum.check(&format!("{key}.momentum"), 0., 0.999_999)?;
        if self.nesterov && self.momentum == Schedule::Constant(0.) {
            return Err(format!("{key}.nesterov is true, allowed with {key}.momentum above 0"));
        }
        Ok(())
    }

    /// The constants of the step after so many images.
    pub fn at(&self, images: u64) -> Constants {
        Constants { lr: self.lr.at(images), momentum: self.momentum.at(images), nesterov: self.nesterov }
    }
}

/// The constants of one step of gradient descent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Learning rate.
    pub lr: f64,
    /// What is kept of the velocity, in [0, 1).
    pub momentum: f64,
    /// Whether the step looks ahead along the velocity.
    pub nesterov: bool,
}

impl Rule<1, 3> for Constants {
    const NAME: &'static str = "sgd";
    const KERNEL: &'static str = r"
struct Rule {
    enum { MOMENTS = 1 };
    A lr, momentum, nesterov;
    __device__ __forceinline__ void step(A& p, A (&v)[1], A g, A, A) const {
        v[0] = momentum * v[0] + g;
        p -= lr * (nesterov != 0 ? g + momentum * v[0] : v[0]);
    }
};
";

    fn constants(&self) -> [f64; 3] {
        [self.lr, self.momentum, f64::from(u8::from(self.nesterov))]
    }

    #[inline(always)]
    fn element<T: Real>(&self, _: [f64; 2]) -> impl Fn(T, [T; 1], T) -> (T, [T; 1]) + Copy + Send + Sync + 'static {
        let (rate, momentum, nesterov) = (real::<T>(self.lr), real::<T>(self.momentum), self.nesterov);
        #[inline(always)]
        move |p, [v], g| {
            let v = momentum * v + g;
            (p - rate * if nesterov { g + momentum * v } else { v }, [v])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Optimizer;
    use crate::optim::testing::{check, refused};

    #[test]
    fn without_momentum_it_goes_down_the_gradient() -> candle_core::Result<()> {
        let sgd = Sgd { lr: 0.1.into(), ..Sgd::default() };
        check(Optimizer::Sgd(sgd), || |_, p, g| p - 0.1 * g)
    }

    /// The velocity as the sum that it is.
    #[test]
    fn momentum_keeps_going() -> candle_core::Result<()> {
        for nesterov in [false, true] {
            let sgd = Sgd { lr: 0.1.into(), momentum: 0.8.into(), nesterov };
            check(Optimizer::Sgd(sgd), || {
                let mut past = Vec::new();
                move |_, p, g| {
                    past.push(g);
                    let velocity: f64 = past.iter().rev().zip(0..).map(|(g, k)| 0.8f64.powi(k) * g).sum();
                    p - 0.1 * if nesterov { g + 0.8 * velocity } else { velocity }
                }
            })?;
        }
        Ok(())
    }

    #[test]
    fn bounds_are_named() {
        refused("kind = 'sgd'\nlr = -1.0", "o.lr is -1");
        refused("kind = 'sgd'\nmomentum = 1.0", "o.momentum is 1, allowed is 0 to 0.999999");
        refused("kind = 'sgd'\nnesterov = true", "o.nesterov is true, allowed with o.momentum above 0");
        refused("kind = 'sgd'\ndampening = 0.1", "unknown field `dampening`");
    }
}
