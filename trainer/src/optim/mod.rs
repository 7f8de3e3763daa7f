//! How networks learn: optimisers on one flat tensor of all parameters, and what goes with them. Nothing here knows a network.
//!
//! [`Flat`] holds the state and the one gradient. In each step gradients are accumulated, reduced over processes, judged
//! ([`Scaling`]) and clipped ([`Clip`]); then the formula of the [`Optimizer`], with the constants that its schedules
//! ([`Schedule`]) have come to, moves parameters, moments and moving averages in one pass.

pub mod average;
mod clip;
mod flat;
mod learner;
mod scaling;
mod schedule;
#[cfg(test)]
mod testing;

pub use clip::Clip;
pub use flat::{Flat, Local, Reduce, Step};
pub use learner::{Learner, Move};
pub use scaling::{LossScale, Scaling};
pub(crate) use schedule::between;
pub use schedule::{Ramp, Schedule, Shape};

use crate::ops::{self, Rule};
use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// All optimisers: a file each, with a recipe of the given name and `Constants`, which are its formula.
macro_rules! optimizers {
    ($($module:ident: $Name:ident),* $(,)?) => {
        $(pub mod $module;
        pub use $module::$Name;)*

        /// An optimiser, `kind` in a recipe, with its settings.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        pub enum Optimizer {
            $(#[doc = concat!("See [`", stringify!($module), "`].")]
            $Name($Name),)*
        }

        /// The constants of an optimiser's step.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Constants {
            $(#[doc = concat!("Those of [`", stringify!($module), "`].")]
            $Name($module::Constants),)*
        }

        impl Optimizer {
            /// Settings that can be used; else the key, which begins with `key`, and what is allowed.
            ///
            /// # Errors
            /// Values out of their bounds.
            pub fn check(&self, key: &str) -> std::result::Result<(), String> {
                match self {
                    $(Self::$Name(recipe) => recipe.check(key),)*
                }
            }

            /// The constants of the step after so many images.
            pub fn at(&self, images: u64) -> Constants {
                match self {
                    $(Self::$Name(recipe) => Constants::$Name(recipe.at(images)),)*
                }
            }

            /// Numbers that it keeps for each parameter.
            pub fn moments(&self) -> usize {
                match self {
                    $(Self::$Name(_) => moments::<$module::Constants, _, _>(),)*
                }
            }
        }

        impl Constants {
            /// Numbers that the optimiser keeps for each parameter.
            pub fn moments(&self) -> usize {
                match self {
                    $(Self::$Name(_) => moments::<$module::Constants, _, _>(),)*
                }
            }

            /// The decays that need a count of steps ([`Rule::decays`]).
            pub fn decays(&self) -> [f64; 2] {
                match self {
                    $(Self::$Name(rule) => rule.decays(),)*
                }
            }

            /// The step itself ([`ops::update`]).
            fn update(
                &self,
                state: &Tensor,
                gradient: &Tensor,
                step: u64,
                averages: &[f64],
                decided: Option<&Tensor>,
            ) -> Result<()> {
                match self {
                    $(Self::$Name(rule) => ops::update(rule, state, gradient, step, averages, decided),)*
                }
            }
        }
    };
}
optimizers! {
    adam: Adam,
    adamw: AdamW,
    rmsprop: RmsProp,
    adagrad: AdaGrad,
    sgd: Sgd,
}

/// How many moments a rule has.
fn moments<R: Rule<M, N>, const M: usize, const N: usize>() -> usize {
    M
}
