//! How networks learn: optimisers on one flat tensor of all parameters, and what goes with them. Nothing here knows a network.
//!
//! [`Flat`] holds the state and the one gradient. In each step gradients are accumulated, reduced over processes, judged
//! ([`Scaling`]) and clipped ([`Clip`]); then the formula of the [`Optimizer`], with the constants that its schedules
//! ([`Schedule`]) have come to, moves parameters, moments and moving averages in one pass.

pub mod average;
mod clip;
mod flat;
mod history;
mod learner;
mod scaling;
mod schedule;
#[cfg(test)]
mod testing;

pub use clip::Clip;
pub use flat::{Flat, Local, Reduce, Step};
pub use history::History;
pub use learner::{Learner, Move};
pub use scaling::{LossScale, Scaling};
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
                self.at(0).moments()
            }

            /// Its kind, as recipes have it.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$Name(_) => stringify!($module),)*
                }
            }

            /// Multiplies its learning rate, at all times.
            pub fn scale_rate(&mut self, factor: f64) {
                match self {
                    $(Self::$Name(recipe) => recipe.lr = recipe.lr.times(factor),)*
                }
            }
        }

        impl Constants {
            /// Numbers that the optimiser keeps for each parameter.
            pub fn moments(&self) -> usize {
                match self {
                    $(Self::$Name(rule) => moments(rule),)*
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

impl Optimizer {
    /// The kinds of optimisers that can go on with the moments it has kept: to others these would be other numbers, of another
    /// sign or size.
    pub fn successors(&self) -> Vec<&'static str> {
        match self {
            Self::Adam(_) | Self::AdamW(_) => vec!["adam", "adamw"],
            _ => vec![self.kind()],
        }
    }
}

/// How many moments a rule has.
fn moments<const M: usize, const N: usize>(_: &impl Rule<M, N>) -> usize {
    M
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;

    /// One of each kind with other settings than the defaults.
    const EXAMPLES: [&str; 6] = [
        "kind = \"adam\"\nlr = 0.01\nbeta1 = 0.5\nbeta2 = 0.99\neps = 1e-6\n",
        "kind = \"adamw\"\nlr = 0.01\nbeta1 = 0.8\nbeta2 = 0.95\neps = 1e-6\nweight_decay = 0.3\n",
        "kind = \"rmsprop\"\nlr = 0.02\ndecay = 0.9\neps = 1e-6\n",
        "kind = \"adagrad\"\nlr = 0.1\neps = 1e-6\n",
        "kind = \"sgd\"\nlr = 0.1\nmomentum = 0.8\nnesterov = false\n",
        "kind = \"sgd\"\nlr = 0.1\nmomentum = 0.8\nnesterov = true\n",
    ];

    #[test]
    fn recipes_are_written_as_they_were_read() {
        for text in EXAMPLES {
            let optimizer: Optimizer = toml::from_str(text).expect(text);
            assert_eq!(optimizer.check("o"), Ok(()));
            let again = toml::to_string(&optimizer).expect("writes");
            assert_eq!(toml::from_str::<Optimizer>(&again).expect("reads"), optimizer, "{again}");
        }
        for kind in ["adam", "adamw", "rmsprop", "adagrad", "sgd"] {
            let optimizer: Optimizer = toml::from_str(&format!("kind = '{kind}'")).expect("has defaults");
            assert_eq!(optimizer.check("o"), Ok(()), "{kind}");
            assert_eq!(optimizer.moments(), if kind.starts_with("adam") { 2 } else { 1 }, "{kind}");
        }
        testing::refused("kind = 'lion'", "`adamw`");
        testing::refused("lr = 0.1", "kind");
    }

    /// What other programs can check: with `KILN_TRAJECTORIES`, a file, the parameters after each step of the examples go
    /// there as JSON, for `tests/python/check_optimisers.py`.
    #[test]
    fn trajectories_of_all() -> Result<()> {
        let mut cases = Vec::new();
        for text in EXAMPLES {
            let optimizer: Optimizer = toml::from_str(text).expect(text);
            let values = testing::run(optimizer, DType::F64)?;
            assert!(values.iter().flatten().all(|value| value.is_finite()), "{text}");
            cases.push(serde_json::json!({ "optimizer": optimizer, "values": values }));
        }
        if let Some(path) = std::env::var_os("KILN_TRAJECTORIES") {
            let (start, gradients) = (testing::START, testing::GRADIENTS);
            let all = serde_json::json!({ "start": start, "gradients": gradients, "cases": cases });
            std::fs::write(path, all.to_string()).expect("writes");
        }
        Ok(())
    }
}
