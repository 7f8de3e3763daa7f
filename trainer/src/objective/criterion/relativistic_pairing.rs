//! Relativistic pairing (Jolicoeur-Martineau, "The relativistic discriminator", 2018, equations 5 and 6; Huang et al., "The
//! GAN is dead; long live the GAN! A modern baseline GAN", 2024, equation 2): every generated image is compared with a real
//! one, the discriminator minimises `mean softplus(-(l(x) - l(G(z))))`, the generator `mean softplus(-(l(G(z)) - l(x)))`, with
//! real images of its own. A generator that gives up a mode loses to all real images of it.

use super::{Compared, Criterion, Together, non_saturating};
use crate::ops::mean_loss;
use candle_core::{Result, Tensor, bail};

/// See the module.
pub const CRITERION: Criterion = Criterion::Together(&Pairing);

#[derive(Debug)]
struct Pairing;

impl Together for Pairing {
    fn discriminator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        above(real, generated)
    }

    fn generator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        let Compared { loss, slopes: [generated, real] } = above(generated, real)?;
        Ok(Compared { loss, slopes: [real, generated] })
    }
}

/// `mean softplus(-(a - b))` and its slopes, [n, 1].
fn above(a: &Tensor, b: &Tensor) -> Result<Compared> {
    if a.shape() != b.shape() {
        bail!("{:?} logits cannot be paired with {:?}", a.dims(), b.dims())
    }
    let Some(terms) = non_saturating::CRITERION.terms() else { bail!("the logistic loss is one of logits") };
    let found = mean_loss([(&(a - b)?, terms.real)], None)?;
    let slopes = found.slopes(0)?;
    Ok(Compared { loss: found.loss()?, slopes: [slopes.clone(), slopes.neg()?] })
}
