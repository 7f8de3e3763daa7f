//! Tensors put together: sums of two, and channels side by side.

use super::map::{Map, binary};
use super::math::Elementary;
use super::parallel::{PIECE, unwritten};
use super::{Real, contiguous, read_tensor, real};
use candle_core::{D, DType, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// `a + b`: two tensors of one shape, any shape.
///
/// # Errors
/// Shapes that differ, element types other than `f32` and `f64`.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    add_scaled(a, b, 1.)
}

/// `a + factor * b`: two tensors of one shape, any shape. The gradient of `a` is that of the result, that of `b` is `factor`
/// times as large.
///
/// # Errors
/// As [`add`].
pub fn add_scaled(a: &Tensor, b: &Tensor, factor: f64) -> Result<Tensor> {
    binary(a, b, AddScaled { factor })
}

#[derive(Clone, Copy)]
struct AddScaled {
    factor: f64,
}

impl Map<2> for AddScaled {
    const NAME: &str = "add";
    const KERNEL: i32 = 9;

    fn parameter(self) -> f64 {
        self.factor
    }

    #[inline(always)]
    fn at<T: Elementary>(self, [a, b]: [T; 2]) -> T {
        a + real::<T>(self.factor) * b
    }
}

/// Channels side by side: tensors `[.., C]` that differ at most in their last axis -> `[.., sum of all C]`. The gradient is
/// [`split`]. On a GPU it is candle's operator.
///
/// # Errors
/// No tensors, other axes that differ, a last one of 0, element types that differ or, on the CPU, are neither `f32` nor `f64`.
pub fn concat(parts: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = parts.first() else { bail!("concat: takes one tensor at least") };
    let outer = |t: &Tensor| t.dims().split_last().map(|(_, outer)| outer.to_vec());
    let Some(mut shape) = outer(first) else { bail!("concat: takes [.., C], got a scalar") };
    let mut widths = Vec::with_capacity(parts.len());
    for part in parts {
        let width = part.dims().last().copied().unwrap_or(0);
        if outer(part).as_ref() != Some(&shape) || part.dtype() != first.dtype() || width == 0 {
            bail!("concat: {part:?} does not fit {first:?}: nothing but the last axis may differ, which must not be 0")
        }
        widths.push(width);
    }
    if !first.device().is_cpu() {
        return Tensor::cat(parts, D::Minus1);
    }
    let parts = parts.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
    let rows = shape.iter().product();
    shape.push(widths.iter().sum());
    match first.dtype() {
        DType::F32 => Tensor::from_vec(joined::<f32>(&parts, &widths, rows)?, shape, first.device()),
        DType::F64 => Tensor::from_vec(joined::<f64>(&parts, &widths, rows)?, shape, first.device()),
        other => bail!("concat: takes f32 or f64, got {other:?}"),
    }
}

/// The inverse of [`concat()`]: `[.., C]` -> one `[.., width]` for each of these widths, which add up to C. The gradient is
/// [`concat()`]. On a GPU they are candle's copies.
///
/// # Errors
/// Widths that do not add up to C or are 0, element types other than `f32` and `f64` on the CPU.
pub fn split(x: &Tensor, widths: &[usize]) -> Result<Vec<Tensor>> {
    let Some((&channels, outer)) = x.dims().split_last() else { bail!("split: takes [.., C], got a scalar") };
    if widths.iter().sum::<usize>() != channels || widths.contains(&0) {
        bail!("split: widths of {widths:?} do not part the last axis of {:?}", x.dims())
    }
    let x = x.contiguous()?;
    let mut from = 0;
    let part = |&width: &usize| -> Result<Tensor> {
        let columns = from..from + width;
        from += width;
        let shape = [outer, &[width]].concat();
        match (x.device().is_cpu(), x.dtype()) {
            (false, _) => x.narrow(D::Minus1, columns.start, width)?.contiguous(),
            (true, DType::F32) => Tensor::from_vec(taken::<f32>(&x, channels, columns)?, shape, x.device()),
            (true, DType::F64) => Tensor::from_vec(taken::<f64>(&x, channels, columns)?, shape, x.device()),
            (true, other) => bail!("split: takes f32 or f64, got {other:?}"),
        }
    };
    widths.iter().map(part).collect()
}

/// Rows of these widths, put together.
fn joined<T: Real>(parts: &[Tensor], widths: &[usize], rows: usize) -> Result<Vec<T>> {
    let stored: Vec<_> = parts.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = Vec::with_capacity(parts.len());
    for (storage, layout) in &stored {
        match &**storage {
            Storage::Cpu(storage) => slices.push(contiguous::<T>("concat", storage, layout)?),
            _ => bail!("concat: takes tensors of one device"),
        }
    }
    let width = widths.iter().sum::<usize>();
    // SAFETY: every row is written whole, as its parts are as wide as all of it.
    let mut out = unsafe { unwritten::<T>(rows * width) };
    let block = rows_a_piece(width);
    out.par_chunks_mut(block * width).enumerate().for_each(|(piece, out)| {
        for (row, mut out) in out.chunks_exact_mut(width).enumerate() {
            for (slice, &width) in slices.iter().zip(widths) {
                let (part, rest) = out.split_at_mut(width);
                part.copy_from_slice(&slice[(piece * block + row) * width..][..width]);
                out = rest;
            }
        }
    });
    Ok(out)
}

/// These columns of rows of `channels`.
fn taken<T: Real>(x: &Tensor, channels: usize, columns: std::ops::Range<usize>) -> Result<Vec<T>> {
    read_tensor("split", x, |x: &[T]| {
        let (width, rows) = (columns.len(), x.len() / channels);
        // SAFETY: every row is written whole.
        let mut out = unsafe { unwritten::<T>(rows * width) };
        let block = rows_a_piece(width);
        let pieces = out.par_chunks_mut(block * width).zip(x.par_chunks(block * channels));
        pieces.for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(channels)) {
                out.copy_from_slice(&x[columns.clone()]);
            }
        });
        Ok(out)
    })
}

/// Rows of this width that one task copies.
fn rows_a_piece(width: usize) -> usize {
    PIECE.div_ceil(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_backward, values};

    #[test]
    fn sums_are_those_of_candle_to_the_bit() -> Result<()> {
        for shape in [&[1][..], &[3, 5, 7], &[2, 181, 181]] {
            let (a, b) = (values(shape, 1)?, values(shape, 2)?);
            for dtype in [DType::F64, DType::F32] {
                let (a, b) = (a.to_dtype(dtype)?, b.to_dtype(dtype)?);
                assert_eq!(bits(&add(&a, &b)?)?, bits(&(&a + &b)?)?);
            }
            assert_close(&add_scaled(&a, &b, -0.3)?, &(&a + (&b * -0.3)?)?, 1e-15);
        }
        check_backward(
            &[values(&[3, 4], 1)?, values(&[3, 4], 2)?],
            |v| add_scaled(&v[0], &v[1], 0.7),
            |_, _, grad| Ok(vec![grad.clone(), (grad * 0.7)?]),
        )
    }

    fn bits(t: &Tensor) -> Result<Vec<u64>> {
        Ok(t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?.into_iter().map(f64::to_bits).collect())
    }

    #[test]
    fn channels_are_joined_and_parted() -> Result<()> {
        for (outer, widths) in [(&[2, 3, 5][..], &[3, 1, 4][..]), (&[7], &[5]), (&[300, 70], &[1, 2])] {
            for dtype in [DType::F64, DType::F32] {
                let part = |(seed, &width): (u64, &usize)| values(&[outer, &[width]].concat(), seed)?.to_dtype(dtype);
                let parts = (1..).zip(widths).map(part).collect::<Result<Vec<_>>>()?;
                let joined = concat(&parts.iter().collect::<Vec<_>>())?;
                assert_eq!(bits(&joined)?, bits(&Tensor::cat(&parts, D::Minus1)?)?);
                let found = split(&joined, widths)?;
                assert_eq!(found.len(), parts.len());
                for (found, part) in found.iter().zip(&parts) {
                    assert_eq!((found.dims(), bits(found)?), (part.dims(), bits(part)?));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn they_are_each_others_derivatives() -> Result<()> {
        let (a, b) = (values(&[2, 3, 2], 1)?, values(&[2, 3, 3], 2)?);
        check_backward(&[a.clone(), b.clone()], |v| concat(&[&v[0], &v[1]]), |_, _, grad| split(grad, &[2, 3]))?;
        let whole = concat(&[&a, &b])?;
        for i in 0..2 {
            let zeros = [&a, &b].map(|t| t.zeros_like());
            let [of_a, of_b] = zeros;
            let (of_a, of_b) = (of_a?, of_b?);
            check_backward(
                std::slice::from_ref(&whole),
                |v| Ok(split(&v[0], &[2, 3])?.swap_remove(i)),
                |_, _, grad| Ok(vec![if i == 0 { concat(&[grad, &of_b])? } else { concat(&[&of_a, grad])? }]),
            )?;
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let x = values(&[2, 3], 1)?;
        assert!(add(&x, &values(&[3, 2], 1)?).is_err());
        assert!(concat(&[]).is_err() && concat(&[&x, &values(&[3, 3], 1)?]).is_err());
        assert!(concat(&[&x, &values(&[2, 1, 3], 1)?]).is_err());
        assert!(concat(&[&x, &x.to_dtype(DType::F32)?]).is_err(), "two types");
        assert!(split(&x, &[1, 1]).is_err() && split(&x, &[4]).is_err() && split(&x, &[3, 0]).is_err());
        Ok(())
    }
}
