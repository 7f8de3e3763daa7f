//! What treats the channels of each sample separately: [N, .., C] with one number a sample and channel, [N, C]. Styles,
//! conditional scales and gates are made of these.
//!
//! Gradients are among themselves. Of `sample_scale(x, s)`: `sample_scale(g, s)` and `sample_dot(g, x)`; of
//! `sample_shift(x, s)`: `g` and `sample_sum(g)`; of `sample_dot(a, b)`: `sample_scale(b, g)` and `sample_scale(a, g)`; of
//! `sample_sum(x)`: `g` at every position, a shift of zeros by it.
//!
//! On a GPU they are composed of candle's operators; half precision is then added up in `f32`.

use super::channel::sum_channels;
use super::columns::{block, write};
use super::map::{Pieces, alike, produce};
use super::parallel::PIECE;
use super::{Real, contiguous, result, with_real};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// `x * s`: `x` [N, .., C], `s` [N, C].
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn sample_scale(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    Change::Scale.apply(x, s)
}

/// `x + s`: `x` [N, .., C], `s` [N, C].
///
/// # Errors
/// As [`sample_scale`].
pub fn sample_shift(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    Change::Shift.apply(x, s)
}

/// [N, .., C] -> [N, C]: the sum over positions, on the CPU in double precision.
///
/// # Errors
/// As [`sample_scale`].
pub fn sample_sum(x: &Tensor) -> Result<Tensor> {
    let frame = Frame::of("sample-sum", x.dims())?;
    if x.device().is_cpu() { x.contiguous()?.apply_op1_no_bwd(&Sum(frame)) } else { frame.sum(x) }
}

/// The sum of `a * b` over positions, on the CPU in double precision: twice [N, .., C] -> [N, C].
///
/// # Errors
/// As [`sample_scale`].
pub fn sample_dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let frame = Frame::of("sample-dot", a.dims())?;
    if a.device().is_cpu() {
        return a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Dot(frame));
    }
    frame.sum(&(widened(a)? * widened(b)?)?)?.to_dtype(a.dtype())
}

/// In a type that can be added up.
fn widened(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 })
}

/// Sizes of [N, .., C].
#[derive(Clone, Copy, Debug)]
struct Frame {
    samples: usize,
    positions: usize,
    channels: usize,
}

impl Frame {
    fn of(op: &str, dims: &[usize]) -> Result<Self> {
        match dims {
            [samples, axes @ .., channels] if *channels > 0 => {
                Ok(Self { samples: *samples, positions: axes.iter().product(), channels: *channels })
            }
            _ => bail!("{op}: takes [N, .., C] with C of at least 1, got {dims:?}"),
        }
    }

    /// Elements of a sample.
    fn sample(&self) -> usize {
        self.positions * self.channels
    }

    /// The sum over positions by candle.
    fn sum(&self, x: &Tensor) -> Result<Tensor> {
        widened(&x.reshape((self.samples, self.positions, self.channels))?)?.sum(1)?.to_dtype(x.dtype())
    }

    /// The sums of `f(elements)` over positions: samples in parallel, each in one order.
    fn sums<T: Real, const M: usize>(&self, x: [&[T]; M], f: impl Fn([T; M]) -> T + Sync) -> (CpuStorage, Shape) {
        let of_sample = |i: usize| {
            let x = x.map(|x| &x[i * self.sample()..][..self.sample()]);
            sum_channels(x, self.channels, &f)
        };
        let few = (PIECE / self.sample().max(1)).max(1);
        let sums: Vec<Vec<T>> = (0..self.samples).into_par_iter().with_min_len(few).map(of_sample).collect();
        result(sums.concat(), (self.samples, self.channels))
    }
}

struct Sum(Frame);

impl CustomOp1 for Sum {
    fn name(&self) -> &'static str {
        "sample-sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("sample-sum", x, T => {
            Ok(self.0.sums([contiguous::<T>("sample-sum", x, xl)?], #[inline(always)] |[x]| x))
        })
    }
}

struct Dot(Frame);

impl CustomOp2 for Dot {
    fn name(&self) -> &'static str {
        "sample-dot"
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("sample-dot", a, T => {
            let pair = alike::<T, 2>("sample-dot", [(a, al), (b, bl)])?;
            Ok(self.0.sums(pair, #[inline(always)] |[a, b]| a * b))
        })
    }
}

/// What is done to every position with the sample's numbers.
#[derive(Clone, Copy, Debug)]
enum Change {
    Scale,
    Shift,
}

impl Change {
    fn apply(self, x: &Tensor, s: &Tensor) -> Result<Tensor> {
        let frame = Frame::of("sample-change", x.dims())?;
        if s.dims() != [frame.samples, frame.channels] {
            bail!("sample-change ({self:?}): {:?} [N, .., C] and {:?} [N, C] do not fit", x.dims(), s.dims())
        }
        if x.device().is_cpu() {
            return x.contiguous()?.apply_op2_no_bwd(&s.contiguous()?, &Changed { change: self, frame });
        }
        let (positions, s) = (x.reshape((frame.samples, frame.positions, frame.channels))?, s.unsqueeze(1)?);
        let changed = match self {
            Self::Scale => positions.broadcast_mul(&s),
            Self::Shift => positions.broadcast_add(&s),
        };
        changed?.reshape(x.shape())
    }
}

struct Changed {
    change: Change,
    frame: Frame,
}

impl CustomOp2 for Changed {
    fn name(&self) -> &'static str {
        "sample-change"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, s: &CpuStorage, sl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!(self.name(), x, T => {
            let (x, s) = (contiguous::<T>(self.name(), x, xl)?, contiguous::<T>(self.name(), s, sl)?);
            let block = block(self.frame.channels);
            let positions = Positions { of: self, x, s, piece: block * PIECE.div_ceil(block) };
            Ok(result(produce(x.len(), positions.piece, &positions).0, xl.shape()))
        })
    }
}

struct Positions<'a, T> {
    of: &'a Changed,
    x: &'a [T],
    s: &'a [T],
    /// Elements of a piece: whole positions.
    piece: usize,
}

// SAFETY: the runs that the loop cuts off `out` are all of it, and `columns::write` writes all of each.
unsafe impl<T: Real> Pieces<T> for Positions<'_, T> {
    type Summary = ();

    #[inline(always)]
    fn write(&self, i: usize, mut out: &mut [MaybeUninit<T>]) {
        let Changed { change, frame } = *self.of;
        let (mut at, mut constants) = (i * self.piece, Vec::new());
        while !out.is_empty() {
            // As far as the sample goes.
            let sample = at / frame.sample();
            let (run, rest) = out.split_at_mut(out.len().min((sample + 1) * frame.sample() - at));
            let block = block(frame.channels).min(run.len());
            constants.clear();
            constants.extend(self.s[sample * frame.channels..][..frame.channels].iter().copied().cycle().take(block));
            let x = &self.x[at..];
            match change {
                Change::Scale => write([x], [&constants], block, run, |[x], [s]| x * s),
                Change::Shift => write([x], [&constants], block, run, |[x], [s]| x + s),
            }
            at += run.len();
            out = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_backward, values};

    /// Samples of one position and of more than a piece, rows shorter and longer than a block.
    const SHAPES: [&[usize]; 8] = [
        &[1, 1],
        &[5, 3],
        &[3, 4, 1],
        &[2, 3, 5, 7],
        &[70, 2, 3, 100],
        &[3, 40, 30, 33],
        &[2, 2, 3, 4, 5],
        &[1, 21_000, 3],
    ];

    #[test]
    fn operators_are_what_their_definitions_say() -> Result<()> {
        for shape in SHAPES {
            let (n, c) = (shape[0], shape[shape.len() - 1]);
            let (x, y, s) = ((values(shape, 1)? + 100.)?, values(shape, 2)?, values(&[n, c], 3)?);
            let flat = |t: &Tensor| t.reshape((n, (), c));
            let over = s.unsqueeze(1)?;
            let wanted = [
                flat(&x)?.broadcast_mul(&over)?.reshape(shape)?,
                flat(&x)?.broadcast_add(&over)?.reshape(shape)?,
                flat(&x)?.sum(1)?,
                flat(&(&x * &y)?)?.sum(1)?,
            ];
            let find = |x: &Tensor, y: &Tensor, s: &Tensor| -> Result<[Tensor; 4]> {
                Ok([sample_scale(x, s)?, sample_shift(x, s)?, sample_sum(x)?, sample_dot(x, y)?])
            };
            let single = |t: &Tensor| t.to_dtype(DType::F32);
            let found = find(&x, &y, &s)?.into_iter().zip(find(&single(&x)?, &single(&y)?, &single(&s)?)?);
            for (wanted, (double, single)) in wanted.iter().zip(found) {
                let size = wanted.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
                assert_close(&double, wanted, 1e-12 * (1. + size));
                assert_close(&single, wanted, 3e-6 * (1. + size));
            }
        }
        Ok(())
    }

    #[test]
    fn they_are_each_others_derivatives() -> Result<()> {
        for shape in [&[2, 3, 2, 3][..], &[3, 4], &[2, 5, 1], &[2, 2, 1, 3, 2]] {
            let (n, c) = (shape[0], shape[shape.len() - 1]);
            let (x, y, s) = (values(shape, 1)?, values(shape, 2)?, values(&[n, c], 3)?);
            check_backward(
                &[x.clone(), s.clone()],
                |v| sample_scale(&v[0], &v[1]),
                |v, _, g| Ok(vec![sample_scale(g, &v[1])?, sample_dot(g, &v[0])?]),
            )?;
            check_backward(
                &[x.clone(), s],
                |v| sample_shift(&v[0], &v[1]),
                |_, _, g| Ok(vec![g.clone(), sample_sum(g)?]),
            )?;
            check_backward(
                &[x.clone(), y],
                |v| sample_dot(&v[0], &v[1]),
                |v, _, g| Ok(vec![sample_scale(&v[1], g)?, sample_scale(&v[0], g)?]),
            )?;
            check_backward(&[x], |v| sample_sum(&v[0]), |v, _, g| Ok(vec![sample_shift(&v[0].zeros_like()?, g)?]))?;
        }
        Ok(())
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() -> Result<()> {
        let single = |t: Tensor| t.to_dtype(DType::F32);
        let (x, y) = (single(values(&[5, 33, 31, 40], 1)?)?, single(values(&[5, 33, 31, 40], 2)?)?);
        let run = |threads| -> Vec<Vec<f32>> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let found =
                pool.install(|| Ok([sample_sum(&x)?, sample_dot(&x, &y)?, sample_scale(&x, &sample_sum(&y)?)?]));
            let found: Result<[Tensor; 3]> = found;
            found.expect("results").map(|t| t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers")).to_vec()
        };
        assert_eq!(run(1), run(3));
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let (x, s) = (values(&[2, 4, 3], 1)?, values(&[2, 3], 1)?);
        let error = sample_scale(&x, &s.t()?).expect_err("two shapes").to_string();
        assert!(error.contains("[2, 4, 3]") && error.contains("[3, 2]"), "{error}");
        assert!(sample_shift(&x, &values(&[1, 3], 1)?).is_err() && sample_scale(&x, &x).is_err());
        assert!(sample_dot(&x, &values(&[2, 3, 4], 1)?).is_err());
        assert!(sample_sum(&values(&[3], 1)?).is_err() && sample_sum(&values(&[], 1)?).is_err());
        assert_eq!(sample_sum(&x)?.dims(), [2, 3]);
        Ok(())
    }
}
