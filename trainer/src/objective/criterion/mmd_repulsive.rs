//! The repulsive loss for MMD-GAN (Wang, Sun & Halgamuge, "Improving MMD-GAN training with repulsive loss function", 2019,
//! equations 4 and 6, with the bounded kernel of equation 7): the critic minimises `mean k(x, x') - mean k(G(z), G(z)')`: it
//! explores what makes real images differ, and contracts generated ones. The generator minimises the squared discrepancy. The
//! kernel is `exp(-d^2 / 2)`; for the critic, real pairs are not pushed further apart than `d^2 = 4`, and generated ones not
//! closer than 0.25.

use super::mmd::{Kernel, Pairs, squared, within};
use super::{Compared, Criterion, Together};
use candle_core::{Result, Tensor};

/// See the module.
pub const CRITERION: Criterion = Criterion::Together(&Repulsive);

/// `exp(-d^2 / 2)` with the squared distance held within bounds, beyond which there is no slope.
#[derive(Debug)]
struct Bounded {
    least: f64,
    most: f64,
}

const FREE: Bounded = Bounded { least: 0., most: f64::INFINITY };
const REAL: Bounded = Bounded { least: 0., most: 4. };
const GENERATED: Bounded = Bounded { least: 0.25, most: f64::INFINITY };

impl Kernel for Bounded {
    fn of(&self, squared: &Tensor) -> Result<[Tensor; 2]> {
        let k = (squared.clamp(self.least, self.most)? * -0.5)?.exp()?;
        let within = (squared.ge(self.least)? * squared.le(self.most)?)?.to_dtype(squared.dtype())?;
        let slope = ((&k * within)? * -0.5)?;
        Ok([k, slope])
    }

    fn curvature(&self, squared: &Tensor) -> Result<Tensor> {
        let [_, slope] = self.of(squared)?;
        slope * -0.5
    }
}

#[derive(Debug)]
struct Repulsive;

impl Together for Repulsive {
    fn takes_vectors(&self) -> bool {
        true
    }

    fn discriminator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        let ([xx, x], [yy, y]) = (within(&REAL, real, Pairs::OfTwo)?, within(&GENERATED, generated, Pairs::OfTwo)?);
        Ok(Compared { loss: (xx - yy)?, slopes: [x, y.neg()?] })
    }

    fn generator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared> {
        squared(&FREE, [real, generated], Pairs::OfTwo)
    }
}
