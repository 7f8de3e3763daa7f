//! The relativistic average loss (Jolicoeur-Martineau, "The relativistic discriminator", 2018, equations 7 to 10, with the
//! logistic functions): logits are compared with the mean of the other kind's, `r = l(x) - mean l(G(z))` and
//! `f = l(G(z)) - mean l(x)`. The discriminator minimises `mean softplus(-r) + mean softplus(f)`, the generator
//! `mean softplus(r) + mean softplus(-f)`. The means are not constants: slopes go through them.

use super::{Compared, Criterion, Together, non_saturating};
use crate::ops::{Term, mean_loss};
use candle_core::{Result, Tensor, bail};

/// See the module.
pub const CRITERION: Criterion = Criterion::Together(&Average { of: &non_saturating::CRITERION });

/// With the functions `real` and `generated` of another criterion.
#[derive(Debug)]
pub(super) struct Average {
    pub of: &'static Criterion,
}

impl Average {
    /// The mean of `first` over the real images' differences and of `second` over the generated ones', with all slopes.
    fn compare(&self, [real, generated]: [&Tensor; 2], terms: [Term; 2]) -> Result<Compared> {
        let means = [real.mean_all()?, generated.mean_all()?];
        let apart = [real.broadcast_sub(&means[1])?, generated.broadcast_sub(&means[0])?];
        let found = mean_loss([(&apart[0], terms[0]), (&apart[1], terms[1])], None)?;
        let own = [found.slopes(0)?, found.slopes(1)?];
        // Each logit is also a part of the mean that the others are compared with.
        let through = |own: &Tensor, other: &Tensor| -> Result<Tensor> {
            own.broadcast_sub(&(other.sum_all()? / own.elem_count() as f64)?)
        };
        let slopes = [through(&own[0], &own[1])?, through(&own[1], &own[0])?];
        Ok(Compared { loss: found.loss()?, slopes })
    }

    fn terms(&self) -> Result<[Term; 2]> {
        match self.of.terms() {
            Some(terms) => Ok([terms.real, terms.generated]),
            None => bail!("averages are compared by functions of single logits, and {:?} has none", self.of),
        }
    }
}

impl Together for Average {
    fn discriminator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        self.compare([real, generated], self.terms()?)
    }

    fn generator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        let [first, second] = self.terms()?;
        self.compare([real, generated], [second, first])
    }
}
