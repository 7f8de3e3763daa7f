//! Criteria: what discriminator and generator minimise of the logits, as means of functions of single logits.

mod logistic;

use crate::ops::Term;
use serde::{Deserialize, Serialize};

/// What both networks minimise.
#[derive(Clone, Copy, Debug)]
pub struct Criterion {
    /// The discriminator's mean of this over its logits of real images, plus
    pub real: Term,
    /// that of this over those of generated ones;
    pub generated: Term,
    /// the generator's mean of this over the latter.
    pub generator: Term,
}

impl Criterion {
    /// The criterion of this name whose functions `real`, `generated` and `generator` are `at`, each from a logit to value
    /// and derivative, and in C++ `kernel` ([`Term::kernel`]).
    const fn new(name: &'static str, kernel: &'static str, at: [fn(f64) -> [f64; 2]; 3]) -> Self {
        Self {
            real: Term { criterion: name, kernel, number: 0, at: at[0] },
            generated: Term { criterion: name, kernel, number: 1, at: at[1] },
            generator: Term { criterion: name, kernel, number: 2, at: at[2] },
        }
    }
}

/// All criteria: a file each, with a constant `CRITERION`, and their names in recipes.
macro_rules! criteria {
    ($($module:ident: $Name:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// A criterion by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Loss {
            $(#[doc = concat!("See [`", stringify!($module), "`].")]
            $Name,)*
        }

        impl Loss {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Name),*];

            /// What it says.
            pub fn criterion(self) -> &'static Criterion {
                match self {
                    $(Self::$Name => &$module::CRITERION,)*
                }
            }
        }
    };
}
criteria! {
    non_saturating: NonSaturating,
    minimax: Minimax,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::mean_loss;
    use crate::ops::testing::{device, values};
    use candle_core::{Result, Tensor};

    #[test]
    fn slopes_agree_with_finite_differences_and_kernels_with_formulas() -> Result<()> {
        const STEP: f64 = 1e-5;
        let logits = values(&[5, 1], 1)?.flatten_all()?.to_vec1::<f64>()?;
        let evaluate = |term: Term, logits: &[f64]| {
            mean_loss([(&Tensor::new(logits, &device())?.reshape((logits.len(), 1))?, term)], None)
        };
        let terms = |loss: &Loss| [loss.criterion().real, loss.criterion().generated, loss.criterion().generator];
        for term in Loss::ALL.iter().flat_map(terms) {
            let slopes = evaluate(term, &logits)?.slopes(0)?.flatten_all()?.to_vec1::<f64>()?;
            for (i, slope) in slopes.into_iter().enumerate() {
                let [value, _] = (term.at)(logits[i]);
                let found = evaluate(term, &logits[i..=i])?.loss()?.to_scalar::<f64>()?;
                assert!((found - value).abs() < 1e-12, "{term:?} at {}: {found} {value}", logits[i]);
                let at = |delta: f64| {
                    let mut moved = logits.clone();
                    moved[i] += delta;
                    evaluate(term, &moved)?.loss()?.to_scalar::<f64>()
                };
                let difference = (at(STEP)? - at(-STEP)?) / (2. * STEP);
                assert!((slope - difference).abs() < 1e-9, "{term:?}, logit {i}: {slope} {difference}");
            }
        }
        Ok(())
    }

    /// All games push a generated image the same way: towards being taken for real.
    #[test]
    fn the_generator_wants_higher_logits_and_the_discriminator_lower_ones() -> Result<()> {
        for loss in Loss::ALL {
            let of = loss.criterion();
            for (term, sign) in [(of.generator, -1.), (of.generated, 1.), (of.real, -1.)] {
                for l in [-1., 0., 1.] {
                    let slope = mean_loss([(&Tensor::new(&[[l]], &device())?, term)], None)?.slopes(0)?;
                    assert!(slope.sum_all()?.to_scalar::<f64>()? * sign > 0., "{loss:?}, {term:?} at {l}");
                }
            }
        }
        Ok(())
    }
}
