//! How close the samples of a batch are to each other in several small spaces: what minibatch discrimination shows a
//! discriminator (Salimans et al., "Improved techniques for training GANs", 2016, section 3.2).
//!
//! Samples are [N, D K]: their coordinates in K spaces of D dimensions each, the first coordinates of all spaces first. With
//! `d_ijk = |x_i - x_j|_1` in space k, a sample's closeness there is `o_ik = sum over j != i of exp(-d_ijk)`. Its gradient
//! with respect to a coordinate is `-sum_j (g_ik + g_jk) exp(-d_ijk) sign(x_i - x_j)`: a coordinate is in the closeness of all.
//!
//! On a GPU it is composed of candle's operators, which take memory for some [N, N, K].

use super::math::Elementary;
use super::parallel::vectorised;
use super::{Real, contiguous, real, result, with_real};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Of samples [N, D K] in spaces of D `dimensions`: [N, K], each 0 to N - 1.
///
/// # Errors
/// A width that is no multiple of the dimensions; on the CPU, element types other than `f32` and `f64`.
pub fn closeness(x: &Tensor, dimensions: usize) -> Result<Tensor> {
    let frame = Frame::of(x, dimensions)?;
    if x.device().is_cpu() { x.contiguous()?.apply_op1_no_bwd(&frame) } else { frame.composed(x) }
}

/// The gradient of `<grad, closeness(x, dimensions)>` with respect to `x`, where `grad` is [N, K].
///
/// # Errors
/// As [`closeness`]; a gradient of another shape.
pub fn closeness_backward(x: &Tensor, grad: &Tensor, dimensions: usize) -> Result<Tensor> {
    let frame = Frame::of(x, dimensions)?;
    if grad.dims() != [frame.samples, frame.spaces] {
        bail!("closeness: a gradient of {:?} for {frame:?}", grad.dims())
    }
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op2_no_bwd(&grad.contiguous()?, &frame);
    }
    frame.composed_backward(x, grad)
}

/// Sizes of [N, D K].
#[derive(Clone, Copy, Debug)]
struct Frame {
    samples: usize,
    dimensions: usize,
    spaces: usize,
}

impl Frame {
    fn of(x: &Tensor, dimensions: usize) -> Result<Self> {
        match x.dims() {
            &[samples, width] if dimensions > 0 && width > 0 && width.is_multiple_of(dimensions) => {
                Ok(Self { samples, dimensions, spaces: width / dimensions })
            }
            dims => bail!("closeness: takes [N, D K] with D = {dimensions}, got {dims:?}"),
        }
    }

    fn width(&self) -> usize {
        self.dimensions * self.spaces
    }

    /// What `of` makes of each sample, side by side: it gets the sample's number and room of `len`.
    fn rows<T: Real>(&self, len: usize, of: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
        let mut out = vec![T::zero(); self.samples * len];
        out.par_chunks_exact_mut(len).enumerate().for_each(|(i, row)| of(i, row));
        out
    }

    /// Calls `take` with the number of every other sample and its `exp(-d)` of each space.
    #[inline(always)]
    fn each_other<T: Elementary>(&self, x: &[T], i: usize, mut take: impl FnMut(usize, &mut [T])) {
        let own = row(x, self.width(), i);
        let mut near = vec![T::zero(); self.spaces];
        for (j, other) in x.chunks_exact(self.width()).enumerate().filter(|(j, _)| *j != i) {
            near.fill(T::zero());
            for (a, b) in own.chunks_exact(self.spaces).zip(other.chunks_exact(self.spaces)) {
                near.iter_mut().zip(a).zip(b).for_each(|((far, &a), &b)| *far += (a - b).abs());
            }
            near.iter_mut().for_each(|near| *near = (-*near).exp_negative());
            take(j, &mut near);
        }
    }

    /// Of all samples, [N, K] for each dimension.
    fn coordinates(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        let wide = x.to_dtype(if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 })?;
        (0..self.dimensions).map(|d| wide.narrow(1, d * self.spaces, self.spaces)).collect()
    }

    /// `exp(-d)` of all pairs, [N, N, K], with zeros where both are one.
    fn pairs(&self, coordinates: &[Tensor]) -> Result<Tensor> {
        let mut far = (Tensor::eye(self.samples, coordinates[0].dtype(), coordinates[0].device())?
            * f64::from(u16::MAX))?
        .unsqueeze(2)?;
        for x in coordinates {
            far = far.broadcast_add(&difference(x)?.abs()?)?;
        }
        far.neg()?.exp()
    }

    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        self.pairs(&self.coordinates(x)?)?.sum(1)?.to_dtype(x.dtype())
    }

    fn composed_backward(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let coordinates = self.coordinates(x)?;
        let grad = grad.to_dtype(coordinates[0].dtype())?;
        let both = grad.unsqueeze(1)?.broadcast_add(&grad.unsqueeze(0)?)?;
        let weights = (self.pairs(&coordinates)? * both)?.neg()?;
        let slopes = coordinates.iter().map(|x| (difference(x)?.sign()? * &weights)?.sum(1));
        Tensor::cat(&slopes.collect::<Result<Vec<_>>>()?, 1)?.to_dtype(x.dtype())
    }
}

/// `x_i - x_j`: [N, K] -> [N, N, K].
fn difference(x: &Tensor) -> Result<Tensor> {
    x.unsqueeze(1)?.broadcast_sub(&x.unsqueeze(0)?)
}

/// Row number `i` of those of `len` elements.
fn row<T>(all: &[T], len: usize, i: usize) -> &[T] {
    &all[i * len..][..len]
}

impl CustomOp1 for Frame {
    fn name(&self) -> &'static str {
        "closeness"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("closeness", x, T => {
            let x = contiguous::<T>("closeness", x, xl)?;
            let of_sample = |i: usize, sums: &mut [T]| vectorised(
                #[inline(always)]
                || self.each_other(x, i, #[inline(always)] |_, near| {
                    sums.iter_mut().zip(near).for_each(|(sum, near)| *sum += *near);
                }),
            );
            Ok(result(self.rows(self.spaces, of_sample), (self.samples, self.spaces)))
        })
    }
}

impl CustomOp2 for Frame {
    fn name(&self) -> &'static str {
        "closeness-backward"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, grad: &CpuStorage, gl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("closeness-backward", x, T => {
            let x = contiguous::<T>("closeness-backward", x, xl)?;
            let grad = contiguous::<T>("closeness-backward", grad, gl)?;
            let of_sample = |i: usize, slopes: &mut [T]| vectorised(
                #[inline(always)]
                || self.each_other(x, i, #[inline(always)] |j, near| {
                    let (of_own, of_other) = (row(grad, self.spaces, i), row(grad, self.spaces, j));
                    near.iter_mut().zip(of_own).zip(of_other).for_each(|((near, &a), &b)| *near *= -(a + b));
                    let coordinates = row(x, self.width(), i).chunks_exact(self.spaces);
                    let coordinates = coordinates.zip(row(x, self.width(), j).chunks_exact(self.spaces));
                    for (slopes, (a, b)) in slopes.chunks_exact_mut(self.spaces).zip(coordinates) {
                        for (((slope, &near), &a), &b) in slopes.iter_mut().zip(&*near).zip(a).zip(b) {
                            *slope += if a > b { near } else if a < b { -near } else { real(0.) };
                        }
                    }
                }),
            );
            Ok(result(self.rows(self.width(), of_sample), (self.samples, self.width())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_backward, values};

    /// By the definition, pair by pair.
    fn by_definition(x: &[Vec<f64>], dimensions: usize) -> Vec<Vec<f64>> {
        let spaces = x[0].len() / dimensions;
        let pair = |a: &[f64], b: &[f64], k: usize| {
            let far: f64 = (0..dimensions).map(|d| (a[d * spaces + k] - b[d * spaces + k]).abs()).sum();
            (-far).exp()
        };
        let of = |i: usize, k: usize| (0..x.len()).filter(|&j| j != i).map(|j| pair(&x[i], &x[j], k)).sum();
        (0..x.len()).map(|i| (0..spaces).map(|k| of(i, k)).collect()).collect()
    }

    #[test]
    fn closeness_is_that_of_the_definition() -> Result<()> {
        for (samples, dimensions, spaces) in [(1, 2, 3), (2, 1, 1), (5, 3, 4), (9, 5, 37)] {
            let x = values(&[samples, dimensions * spaces], 3)?;
            let expected = Tensor::new(by_definition(&x.to_vec2()?, dimensions), x.device())?;
            assert_close(&closeness(&x, dimensions)?, &expected, 1e-12);
            let frame = Frame::of(&x, dimensions)?;
            assert_close(&frame.composed(&x)?, &expected, 1e-12);
            let single = closeness(&x.to_dtype(DType::F32)?, dimensions)?;
            assert_close(&single.to_dtype(DType::F64)?, &expected, 1e-5);
        }
        // All the same: as close as can be.
        let same = Tensor::ones((4, 6), DType::F32, &crate::ops::testing::device())?;
        assert_eq!(closeness(&same, 2)?.to_vec2::<f32>()?, vec![vec![3.; 3]; 4]);
        Ok(())
    }

    #[test]
    fn gradients_are_those_of_finite_differences() -> Result<()> {
        for (samples, dimensions, spaces) in [(2, 1, 1), (5, 3, 4), (4, 2, 19)] {
            let x = values(&[samples, dimensions * spaces], 4)?;
            let frame = Frame::of(&x, dimensions)?;
            let x = std::slice::from_ref(&x);
            let forward = |x: &[Tensor]| closeness(&x[0], dimensions);
            check_backward(x, forward, |x, _, g| Ok(vec![closeness_backward(&x[0], g, dimensions)?]))?;
            check_backward(x, forward, |x, _, g| Ok(vec![frame.composed_backward(&x[0], g)?]))?;
        }
        Ok(())
    }

    /// Where samples are the same, a distance has no slope, and none is taken.
    #[test]
    fn samples_that_are_the_same_do_not_push_each_other() -> Result<()> {
        let x = values(&[1, 6], 1)?.repeat((3, 1))?;
        let grad = values(&[3, 3], 2)?;
        let zero = x.zeros_like()?;
        assert_close(&closeness_backward(&x, &grad, 2)?, &zero, 1e-300);
        assert_close(&Frame::of(&x, 2)?.composed_backward(&x, &grad)?, &zero, 1e-300);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let x = values(&[3, 6], 1)?;
        assert!(closeness(&x, 4).is_err() && closeness(&x, 0).is_err() && closeness(&x.flatten_all()?, 2).is_err());
        assert!(closeness_backward(&x, &values(&[3, 2], 1)?, 2).is_err());
        Ok(())
    }
}
