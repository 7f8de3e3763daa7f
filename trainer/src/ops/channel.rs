//! What treats the channels of `[..., C]` separately: biases, scales, and sums over everything else.
//!
//! The gradient of a bias is [`channel_sum`]; those of [`channel_scale`] are a scale and a [`channel_dot`], those of a dot
//! product two scales.

use super::columns::{add_sums, block, repeated, write};
use super::map::{Pieces, alike, produce};
use super::parallel::{PIECE, vectorised};
use super::{Real, contiguous, real, result, with_real};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use {super::cuda, super::map::same_shape, candle_core::CudaStorage};

/// `x + b`: `x` `[..., C]`, `b` `[C]`.
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&bias.contiguous()?, &AddBias)
}

/// `x * s`: `x` `[..., C]`, `s` `[C]`.
///
/// # Errors
/// As [`add_bias`].
pub fn channel_scale(x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&scale.contiguous()?, &Scale)
}

/// `[..., C]` -> `[C]`: the sum over all axes but the last, in double precision.
///
/// # Errors
/// Element types other than `f32` and `f64`.
pub fn channel_sum(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Sum)
}

/// The sum of `a * b` over all axes but the last, in double precision: twice `[..., C]` -> `[C]`.
///
/// # Errors
/// As [`add_bias`].
pub fn channel_dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Dot)
}

/// The last dimension, at least 1.
pub(super) fn channels(op: &str, layout: &Layout) -> Result<usize> {
    match layout.dims().last() {
        Some(&c) if c > 0 => Ok(c),
        _ => bail!("{op}: takes [..., C] with C of at least 1, got {:?}", layout.dims()),
    }
}

/// `f(x, constant of the channel)` for all elements.
fn map_channels<T: Real>(x: &[T], constants: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    let block = block(constants.len());
    let piece = block * PIECE.div_ceil(block);
    produce(x.len(), piece, &WithConstants { x, constants: repeated(constants), block, piece, f }).0
}

struct WithConstants<'a, T, F> {
    x: &'a [T],
    constants: Vec<T>,
    block: usize,
    piece: usize,
    f: F,
}

// SAFETY: `columns::write` writes all of `out`.
unsafe impl<T: Real, F: Fn(T, T) -> T + Sync> Pieces<T> for WithConstants<'_, T, F> {
    type Summary = ();

    #[inline(always)]
    fn write(&self, i: usize, out: &mut [MaybeUninit<T>]) {
        write([&self.x[i * self.piece..]], [&self.constants], self.block, out, |[x], [c]| (self.f)(x, c))
    }
}

/// The sums of `f(elements)` over each channel: pieces in parallel, then in order.
pub(super) fn sum_channels<T: Real, const M: usize>(
    inputs: [&[T]; M],
    channels: usize,
    f: impl Fn([T; M]) -> T + Sync,
) -> Vec<T> {
    let len = inputs[0].len();
    let piece = block(channels) * PIECE.div_ceil(block(channels));
    let sum = |i: usize| {
        let inputs = inputs.map(|x| &x[i * piece..len.min((i + 1) * piece)]);
        vectorised(
            #[inline(always)]
            || {
                let mut sums = vec![[0.]; channels];
                add_sums(inputs, [], &mut sums, |elements, []| [f(elements)]);
                sums
            },
        )
    };
    let pieces = len.div_ceil(piece);
    let sums: Vec<_> =
        if pieces < 2 { (0..pieces).map(sum).collect() } else { (0..pieces).into_par_iter().map(sum).collect() };
    (0..channels).map(|c| real(sums.iter().map(|piece| piece[c][0]).sum())).collect()
}

/// Checks that these are `[..., C]` and `[C]`.
fn fit(op: &str, x: &Layout, c: &Layout) -> Result<()> {
    if c.dims() != [channels(op, x)?] {
        bail!("{op}: {:?} and {:?} do not fit: the second must be the first's last dimension", x.dims(), c.dims())
    }
    Ok(())
}

/// Elements of `[..., C]` and of `[C]`.
fn with_constants<'a, T: Real>(
    op: &str,
    (x, xl): (&'a CpuStorage, &Layout),
    (c, cl): (&'a CpuStorage, &Layout),
) -> Result<(&'a [T], &'a [T])> {
    fit(op, xl, cl)?;
    Ok((contiguous(op, x, xl)?, contiguous(op, c, cl)?))
}

struct AddBias;

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("add-bias", x, T => {
            let (x, b) = with_constants::<T>("add-bias", (x, xl), (b, bl))?;
            Ok(result(map_channels(x, b, |x, b| x + b), xl.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        fit("add-bias", xl, bl)?;
        cuda::map_channels("add-bias", true, (x, xl), (b, bl))
    }
}

struct Scale;

impl CustomOp2 for Scale {
    fn name(&self) -> &'static str {
        "channel-scale"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, s: &CpuStorage, sl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("channel-scale", x, T => {
            let (x, s) = with_constants::<T>("channel-scale", (x, xl), (s, sl))?;
            Ok(result(map_channels(x, s, |x, s| x * s), xl.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, s: &CudaStorage, sl: &Layout) -> Result<(CudaStorage, Shape)> {
        fit("channel-scale", xl, sl)?;
        cuda::map_channels("channel-scale", false, (x, xl), (s, sl))
    }
}

struct Sum;

impl CustomOp1 for Sum {
    fn name(&self) -> &'static str {
        "channel-sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let channels = channels("channel-sum", xl)?;
        with_real!("channel-sum", x, T => {
            let x = contiguous::<T>("channel-sum", x, xl)?;
            Ok(result(sum_channels([x], channels, |[x]| x), channels))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::sum("channel-sum", channels("channel-sum", xl)?, (x, xl))
    }
}

struct Dot;

impl CustomOp2 for Dot {
    fn name(&self) -> &'static str {
        "channel-dot"
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        let channels = channels("channel-dot", al)?;
        with_real!("channel-dot", a, T => {
            let pair = alike::<T, 2>("channel-dot", [(a, al), (b, bl)])?;
            Ok(result(sum_channels(pair, channels, |[a, b]| a * b), channels))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, a: &CudaStorage, al: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        same_shape("channel-dot", [al, bl])?;
        cuda::dot("channel-dot", channels("channel-dot", al)?, (a, al), (b, bl))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_backward, values};
    use candle_core::DType;

    const SHAPES: [&[usize]; 8] =
        [&[1], &[5], &[3, 1], &[1, 1, 1, 1], &[2, 3, 5, 7], &[3, 7, 5, 1], &[2, 4, 4, 48], &[5, 31, 29, 20]];

    #[test]
    fn operators_are_what_their_definitions_say() -> Result<()> {
        for shape in SHAPES {
            let c = shape[shape.len() - 1];
            let (x, y, b) = ((values(shape, 1)? + 100.)?, values(shape, 2)?, values(&[c], 3)?);
            let sum = |t: &Tensor| t.reshape(((), c))?.sum(0);
            let wanted = [x.broadcast_add(&b)?, x.broadcast_mul(&b)?, sum(&x)?, sum(&(&x * &y)?)?];
            let find = |x: &Tensor, y: &Tensor, b: &Tensor| -> Result<[Tensor; 4]> {
                Ok([add_bias(x, b)?, channel_scale(x, b)?, channel_sum(x)?, channel_dot(x, y)?])
            };
            let single = |t: &Tensor| t.to_dtype(DType::F32);
            let found = find(&x, &y, &b)?.into_iter().zip(find(&single(&x)?, &single(&y)?, &single(&b)?)?);
            for (wanted, (double, single)) in wanted.iter().zip(found) {
                let size = wanted.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
                assert_close(&double, wanted, 1e-13 * (1. + size));
                assert_close(&single, wanted, 3e-6 * (1. + size));
            }
        }
        Ok(())
    }

    #[test]
    fn they_are_each_others_derivatives() -> Result<()> {
        for shape in [&[2, 3, 2, 5][..], &[4, 1], &[7]] {
            let c = shape[shape.len() - 1];
            let (x, y, b) = (values(shape, 1)?, values(shape, 2)?, values(&[c], 3)?);
            check_backward(
                &[x.clone(), b.clone()],
                |v| add_bias(&v[0], &v[1]),
                |_, _, grad| Ok(vec![grad.clone(), channel_sum(grad)?]),
            )?;
            check_backward(
                &[x.clone(), b],
                |v| channel_scale(&v[0], &v[1]),
                |v, _, grad| Ok(vec![channel_scale(grad, &v[1])?, channel_dot(grad, &v[0])?]),
            )?;
            check_backward(
                &[x, y],
                |v| channel_dot(&v[0], &v[1]),
                |v, _, grad| Ok(vec![channel_scale(&v[1], grad)?, channel_scale(&v[0], grad)?]),
            )?;
        }
        Ok(())
    }

    #[test]
    fn sums_do_not_depend_on_the_number_of_threads() -> Result<()> {
        let x = values(&[9, 33, 31, 5], 1)?.to_dtype(DType::F32)?;
        let sum = |threads| -> Vec<f32> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| channel_sum(&x).and_then(|s| s.to_vec1())).expect("a sum")
        };
        assert_eq!(sum(1), sum(3));
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let (x, b) = (values(&[2, 3], 1)?, values(&[2], 1)?);
        let error = add_bias(&x, &b).expect_err("two shapes").to_string();
        assert!(error.contains("add-bias") && error.contains("[2, 3]"), "{error}");
        assert!(channel_scale(&x, &b).is_err() && channel_dot(&x, &b).is_err());
        assert!(channel_sum(&Tensor::new(1f32, x.device())?).is_err());
        Ok(())
    }
}
