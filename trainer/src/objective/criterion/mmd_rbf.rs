//! MMD-GAN (Li et al., "MMD GAN: towards deeper understanding of moment matching network", 2017): the critic gives vectors and
//! maximises the maximum mean discrepancy between those of real and of generated images, the generator minimises it. The
//! kernel is a mixture, the sum of `exp(-d^2 / (2 sigma^2))` over sigma in 1, 2, 4, 8, 16; the loss is the root of the biased
//! estimate. The critic must be kept from growing: by clipped weights, as there, or spectral normalisation. The paper's
//! auto-encoder and its rank hinge, which keep the critic injective, are not a part of this.

use super::mmd::{Kernel, Pairs, squared};
use super::{Compared, Criterion, Together, Witness};
use candle_core::{Result, Tensor};

/// See the module.
pub const CRITERION: Criterion = Criterion::Together(&Rbf);

const SIGMAS: [f64; 5] = [1., 2., 4., 8., 16.];

/// The least discrepancy that a root is taken of: at 0 it would have no slope.
const LEAST: f64 = 1e-12;

#[derive(Debug)]
struct Rbf;

impl Kernel for Rbf {
    fn of(&self, squared: &Tensor) -> Result<[Tensor; 2]> {
        let (mut k, mut slope) = (squared.zeros_like()?, squared.zeros_like()?);
        for sigma in SIGMAS {
            let rate = -0.5 / (sigma * sigma);
            let one = (squared * rate)?.exp()?;
            k = (k + &one)?;
            slope = (slope + (one * rate)?)?;
        }
        Ok([k, slope])
    }

    fn curvature(&self, squared: &Tensor) -> Result<Tensor> {
        SIGMAS.iter().try_fold(squared.zeros_like()?, |sum, sigma| {
            let rate = -0.5 / (sigma * sigma);
            sum + ((squared * rate)?.exp()? * (rate * rate))?
        })
    }
}

/// The root of the biased discrepancy.
fn root([real, generated]: [&Tensor; 2]) -> Result<Compared> {
    let Compared { loss, slopes: [x, y] } = squared(&Rbf, [real, generated], Pairs::All)?;
    let root = loss.maximum(LEAST)?.sqrt()?;
    let factor = (root.recip()? * 0.5)?;
    Ok(Compared { slopes: [x.broadcast_mul(&factor)?, y.broadcast_mul(&factor)?], loss: root })
}

impl Together for Rbf {
    fn takes_vectors(&self) -> bool {
        true
    }

    fn witness<'a>(&'a self, clouds: [&'a Tensor; 2]) -> Option<Witness<'a>> {
        Some(Witness { kernel: self, clouds })
    }

    fn discriminator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        root([real, generated])?.times(-1.)
    }

    fn generator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        root([real, generated])
    }
}
