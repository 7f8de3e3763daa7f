//! Feature matching (Salimans et al., "Improved techniques for training GANs", 2016, section 3.1): the discriminator plays the
//! non-saturating game, the generator minimises `|mean f(x) - mean f(G(z))|^2`, where `f` are the discriminator's features
//! before its last layer. The means are those of batches, not pairs of images: pairs would ask for one mean image.

use super::{Asked, Compared, Criterion, How, Together, Verdict, non_saturating};
use candle_core::{Result, Tensor};

/// See the module.
pub const CRITERION: Criterion = Criterion::Together(&Matching);

#[derive(Debug)]
struct Matching;

impl Together for Matching {
    fn asked(&self) -> Asked {
        Asked::Features
    }

    fn discriminator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        let Verdict { loss, slopes, .. } =
            non_saturating::CRITERION.discriminator([real, generated], How::default())?;
        Ok(Compared { loss, slopes })
    }

    fn generator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        let apart = (real.mean_keepdim(0)? - generated.mean_keepdim(0)?)?;
        let slopes = |of: &Tensor, sign: f64| (&apart * (2. * sign / of.dim(0)? as f64))?.broadcast_as(of.shape());
        Ok(Compared {
            loss: apart.sqr()?.sum_all()?,
            slopes: [slopes(real, 1.)?.contiguous()?, slopes(generated, -1.)?.contiguous()?],
        })
    }
}
