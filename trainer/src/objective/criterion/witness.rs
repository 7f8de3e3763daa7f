//! The witness of the discrepancy of two clouds: the function `f(e) = mean k(e, e(x)) - mean k(e, e(y))`, by which a point is
//! more like real images or more like generated ones. It is to a critic of vectors what the logit is to a discriminator, and
//! penalties on slopes are of its slope (Bińkowski et al., "Demystifying MMD GANs", 2018, section 3 and appendix A).

use super::mmd::Kernel;
use candle_core::{D, Result, Tensor};

/// The witness of these outputs.
#[derive(Debug)]
pub struct Witness<'a> {
    pub(super) kernel: &'a dyn Kernel,
    /// Of real and of generated images, [n, k] and [m, k].
    pub(super) clouds: [&'a Tensor; 2],
}

/// Of real images the witness has this part, of generated ones the other.
const SIGNS: [f64; 2] = [1., -1.];

/// The gradients of `<t, f'(e)>`, of constant `t`.
#[derive(Debug)]
pub struct Turned {
    /// With respect to the points, [p, k].
    pub points: Tensor,
    /// With respect to the outputs for real and for generated images.
    pub clouds: [Tensor; 2],
}

impl Witness<'_> {
    /// `f'(e)` for points [p, k].
    ///
    /// # Errors
    /// Other widths.
    pub fn gradient(&self, points: &Tensor) -> Result<Tensor> {
        let mut all = points.zeros_like()?;
        for (cloud, sign) in self.clouds.into_iter().zip(SIGNS) {
            let Pairs { e, x, slopes, .. } = self.pairs(points, cloud)?;
            let found = (slopes.sum_keepdim(D::Minus1)?.broadcast_mul(&e)? - slopes.matmul(&x)?)?;
            all = (all + (found * sign)?)?;
        }
        Ok(all)
    }

    /// How `<along, f'(e)>` changes with the points and with both clouds, for a constant `along` [p, k].
    ///
    /// # Errors
    /// Other shapes.
    pub fn turned(&self, points: &Tensor, along: &Tensor) -> Result<Turned> {
        let mut of_points = points.zeros_like()?;
        let mut of_clouds = Vec::with_capacity(2);
        for (cloud, sign) in self.clouds.into_iter().zip(SIGNS) {
            let Pairs { e, x, slopes, curves } = self.pairs(points, cloud)?;
            // (e - x) . t for every pair.
            let apart = (&e * along)?.sum_keepdim(1)?.broadcast_sub(&along.matmul(&x.t()?)?)?;
            let bent = (curves * apart)?;
            let of_e = (slopes.sum_keepdim(1)?.broadcast_mul(along)? + bent.sum_keepdim(1)?.broadcast_mul(&e)?)?;
            of_points = (of_points + ((of_e - bent.matmul(&x)?)? * sign)?)?;
            let of_x = ((slopes.t()?.matmul(along)? + bent.t()?.matmul(&e)?)?
                - bent.sum_keepdim(0)?.t()?.broadcast_mul(&x)?)?;
            of_clouds.push((of_x * -sign)?);
        }
        let generated = of_clouds.pop().map_or_else(|| points.zeros_like(), Ok)?;
        let real = of_clouds.pop().map_or_else(|| points.zeros_like(), Ok)?;
        Ok(Turned { points: of_points, clouds: [real, generated] })
    }

    fn pairs(&self, points: &Tensor, cloud: &Tensor) -> Result<Pairs> {
        // Around their middle, where the parts of a squared distance cancel less.
        let middle = cloud.mean_keepdim(0)?;
        let (e, x) = (points.broadcast_sub(&middle)?, cloud.broadcast_sub(&middle)?);
        let lengths = e.sqr()?.sum_keepdim(1)?.broadcast_add(&x.sqr()?.sum_keepdim(1)?.t()?)?;
        let squared = (lengths - (e.matmul(&x.t()?)? * 2.)?)?.relu()?;
        let n = x.dim(0)? as f64;
        let [_, slopes] = self.kernel.of(&squared)?;
        let curves = self.kernel.curvature(&squared)?;
        Ok(Pairs { e, x, slopes: (slopes * (2. / n))?, curves: (curves * (4. / n))? })
    }
}

/// Points and a cloud, and for every pair of them `2 k'(s) / n` and `4 k''(s) / n`, [p, n].
struct Pairs {
    e: Tensor,
    x: Tensor,
    slopes: Tensor,
    curves: Tensor,
}

#[cfg(test)]
mod tests {
    use super::super::{Criterion, Loss};
    use super::*;
    use crate::ops::testing::{device, values};

    /// Both derivatives, of the definition written out.
    #[test]
    fn derivatives_are_those_of_the_witness() -> Result<()> {
        const STEP: f64 = 1e-5;
        let k1 = |s: f64| [1f64, 2., 4., 8., 16.].iter().map(|w| (-s / (2. * w * w)).exp()).sum::<f64>();
        let k2 = |s: f64| [0.2f64, 0.5, 1., 2., 5.].iter().map(|a| (1. + s / (2. * a)).powf(-a)).sum::<f64>();
        let kernels: [(Loss, &dyn Fn(f64) -> f64); 2] = [(Loss::MmdRbf, &k1), (Loss::MmdRationalQuadratic, &k2)];
        let all = [values(&[3, 2], 1)?, values(&[5, 2], 2)?, values(&[4, 2], 3)?];
        let along = values(&[3, 2], 4)?;
        for (loss, k) in kernels {
            let Criterion::Together(criterion) = loss.criterion() else { panic!("{loss:?} compares vectors") };
            let witness = |all: &[Tensor; 3]| -> Result<[Tensor; 4]> {
                let witness = criterion.witness([&all[1], &all[2]]).expect("a witness");
                let Turned { points, clouds: [real, generated] } = witness.turned(&all[0], &along)?;
                Ok([witness.gradient(&all[0])?, points, real, generated])
            };
            let value = |all: &[Tensor; 3]| -> Result<f64> {
                let [e, x, y] = all.each_ref().map(|t| t.to_vec2::<f64>());
                let (e, x, y) = (e?, x?, y?);
                let squared = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
                let mean = |e: &[f64], cloud: &[Vec<f64>]| {
                    cloud.iter().map(|x| k(squared(e, x))).sum::<f64>() / cloud.len() as f64
                };
                Ok(e.iter().map(|e| mean(e, &x) - mean(e, &y)).sum())
            };
            let moved = |which: usize, place: usize, step: f64| -> Result<[Tensor; 3]> {
                let mut moved = all.clone();
                let mut numbers = all[which].flatten_all()?.to_vec1::<f64>()?;
                numbers[place] += step;
                moved[which] = Tensor::from_vec(numbers, all[which].shape(), &device())?;
                Ok(moved)
            };
            let [gradient, points, real, generated] = witness(&all)?;
            let at = |t: &Tensor, place: usize| t.flatten_all()?.get(place)?.to_scalar::<f64>();
            for place in 0..6 {
                let expected = (value(&moved(0, place, STEP)?)? - value(&moved(0, place, -STEP)?)?) / (2. * STEP);
                assert!((at(&gradient, place)? - expected).abs() < 1e-8, "{loss:?}: {place}");
            }
            let of_gradient = |all: &[Tensor; 3]| (&witness(all)?[0] * &along)?.sum_all()?.to_scalar::<f64>();
            for (which, found) in [points, real, generated].iter().enumerate() {
                for place in 0..found.elem_count() {
                    let [up, down] =
                        [STEP, -STEP].map(|step| moved(which, place, step).and_then(|all| of_gradient(&all)));
                    let expected = (up? - down?) / (2. * STEP);
                    let found = at(found, place)?;
                    assert!((found - expected).abs() < 1e-8, "{loss:?}: {which} {place}: {found} {expected}");
                }
            }
        }
        Ok(())
    }
}
