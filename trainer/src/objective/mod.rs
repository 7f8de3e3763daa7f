//! What the two networks minimise: means of functions of the discriminator's logits, which a file for each family of losses
//! defines, and penalties.

mod logistic;
pub mod r1;

use crate::ops::Term;
use serde::{Deserialize, Serialize};

/// The game that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The generator maximises `log D(G(z))` (Goodfellow et al., 2014, section 3).
    NonSaturating,
    /// The generator minimises `log(1 - D(G(z)))`: the original minimax game (Goodfellow et al., 2014, equation 1).
    Minimax,
}

impl Loss {
    /// What the discriminator minimises: the mean of the first function over its logits for real images, plus that of the
    /// second over those for generated ones. Here, `-mean log D(x) - mean log(1 - D(G(z)))`.
    pub fn discriminator(self) -> [Term; 2] {
        match self {
            Self::NonSaturating | Self::Minimax => [logistic::REAL, logistic::GENERATED],
        }
    }

    /// What the generator minimises the mean of, over the discriminator's logits for generated images.
    pub fn generator(self) -> Term {
        match self {
            Self::NonSaturating => logistic::REAL,
            Self::Minimax => logistic::NOT_GENERATED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::mean_loss;
    use crate::ops::testing::{device, values};
    use candle_core::{Result, Tensor};

    const LOSSES: [Loss; 2] = [Loss::NonSaturating, Loss::Minimax];

    #[test]
    fn slopes_agree_with_finite_differences_and_kernels_with_formulas() -> Result<()> {
        const STEP: f64 = 1e-5;
        let logits = values(&[5, 1], 1)?.flatten_all()?.to_vec1::<f64>()?;
        let evaluate = |term: Term, logits: &[f64]| {
            mean_loss([(&Tensor::new(logits, &device())?.reshape((logits.len(), 1))?, term)], None)
        };
        for term in LOSSES.iter().flat_map(|loss| loss.discriminator().into_iter().chain([loss.generator()])) {
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
        for loss in LOSSES {
            for (term, sign) in [(loss.generator(), -1.), (loss.discriminator()[1], 1.), (loss.discriminator()[0], -1.)]
            {
                for l in [-1., 0., 1.] {
                    let slope = mean_loss([(&Tensor::new(&[[l]], &device())?, term)], None)?.slopes(0)?;
                    assert!(slope.sum_all()?.to_scalar::<f64>()? * sign > 0., "{loss:?}, {term:?} at {l}");
                }
            }
        }
        Ok(())
    }
}
