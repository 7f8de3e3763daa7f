//! MMD-GAN with the rational quadratic kernel (Bińkowski et al., "Demystifying MMD GANs", 2018, section 4): the sum of
//! `(1 + d^2 / (2 a))^-a` over a in 0.2, 0.5, 1, 2, 5, whose slope does not vanish at a distance as that of Gaussian kernels
//! does. The critic maximises the unbiased estimate of the squared discrepancy, the generator minimises it. The paper's penalty is
//! `wgan-gp` of weight 1, whose slope is then that of the witness ([`super::Witness`]).

use super::mmd::{Kernel, Pairs, squared};
use super::{Compared, Criterion, Together, Witness};
use candle_core::{Result, Tensor};

/// See the module.
pub const CRITERION: Criterion = Criterion::Together(&RationalQuadratic);

const ALPHAS: [f64; 5] = [0.2, 0.5, 1., 2., 5.];

#[derive(Debug)]
struct RationalQuadratic;

impl Kernel for RationalQuadratic {
    fn of(&self, squared: &Tensor) -> Result<[Tensor; 2]> {
        let (mut k, mut slope) = (squared.zeros_like()?, squared.zeros_like()?);
        for alpha in ALPHAS {
            let base = squared.affine(0.5 / alpha, 1.)?;
            let one = (base.log()? * -alpha)?.exp()?;
            slope = (slope - (one.div(&base)? * 0.5)?)?;
            k = (k + one)?;
        }
        Ok([k, slope])
    }

    fn curvature(&self, squared: &Tensor) -> Result<Tensor> {
        ALPHAS.iter().try_fold(squared.zeros_like()?, |sum, alpha| {
            let power = (squared.affine(0.5 / alpha, 1.)?.log()? * (-alpha - 2.))?.exp()?;
            sum + (power * ((alpha + 1.) / (4. * alpha)))?
        })
    }
}

impl Together for RationalQuadratic {
    fn takes_vectors(&self) -> bool {
        true
    }

    fn witness<'a>(&'a self, clouds: [&'a Tensor; 2]) -> Option<Witness<'a>> {
        Some(Witness { kernel: self, clouds })
    }

    fn discriminator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        squared(self, [real, generated], Pairs::OfTwo)?.times(-1.)
    }

    fn generator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        squared(self, [real, generated], Pairs::OfTwo)
    }
}
