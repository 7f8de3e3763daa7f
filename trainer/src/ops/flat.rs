//! What is done to the one gradient of all of a network's parameters: it is gathered from theirs, measured, and limited.

use super::parallel::PIECE;
use super::scaling::UNSCALE;
use super::{Real, contiguous, real, result, vectorised, wide, with_real};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, InplaceOp1, InplaceOp2, Layout, Result, Shape, Storage, Tensor, bail,
};
use rayon::prelude::*;
use std::ops::Range;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

const GATHER: &str = "gather";
const MEASURE: &str = "measure";
const LIMIT: &str = "limit";

/// Writes `parts`, each times `weight`, to their places in `flat`, `[total]`; or adds them to what is there. Where there is
/// none, zeros are written, or nothing is added. A weight of 1 copies.
///
/// `places`, a range for each part, are in ascending order and do not overlap. No part may be a view of `flat`.
///
/// # Errors
/// Parts of other sizes or element types.
pub fn gather(flat: &Tensor, parts: &[Option<Tensor>], places: &[Range<usize>], weight: f64, add: bool) -> Result<()> {
    if parts.len() != places.len() {
        bail!("{GATHER}: {} tensors for {} places", parts.len(), places.len())
    }
    let mut contiguous = Vec::with_capacity(parts.len());
    for (part, place) in parts.iter().zip(places) {
        contiguous.push(match part {
            Some(part) if part.elem_count() != place.len() || part.dtype() != flat.dtype() => bail!(
                "{GATHER}: {:?} {:?} does not fit a place for {} elements of {:?}",
                part.dtype(),
                part.dims(),
                place.len(),
                flat.dtype()
            ),
            Some(part) => Some(part.contiguous()?),
            None => None,
        });
    }
    flat.inplace_op1(&Gather { parts: &contiguous, places, weight, add })
}

/// Operands of [`gather`], as the kernels take them.
pub(super) struct Gather<'a> {
    pub parts: &'a [Option<Tensor>],
    pub places: &'a [Range<usize>],
    pub weight: f64,
    pub add: bool,
}

impl InplaceOp1 for Gather<'_> {
    fn name(&self) -> &'static str {
        GATHER
    }

    fn cpu_fwd(&self, flat: &mut CpuStorage, layout: &Layout) -> Result<()> {
        with_real!(GATHER, &*flat, T => {
            let (Some((start, end)), Some(all)) = (layout.contiguous_offsets(), T::slice_mut(flat)) else {
                bail!("{GATHER}: takes a contiguous tensor, got {layout:?}")
            };
            let storages: Vec<_> =
                self.parts.iter().map(|part| part.as_ref().map(Tensor::storage_and_layout)).collect();
            let mut parts: Vec<Option<&[T]>> = Vec::with_capacity(storages.len());
            for storage in &storages {
                parts.push(match storage {
                    Some((storage, layout)) => match &**storage {
                        Storage::Cpu(cpu) => Some(contiguous(GATHER, cpu, layout)?),
                        _ => bail!("{GATHER}: takes tensors of one device"),
                    },
                    None => None,
                });
            }
            let weight = real::<T>(self.weight);
            all[start..end].par_chunks_mut(PIECE).enumerate().for_each(|(i, piece)| {
                let from = i * PIECE;
                let first = self.places.partition_point(|place| place.end <= from);
                for (place, part) in self.places.iter().zip(&parts).skip(first) {
                    if place.start >= from + piece.len() {
                        break;
                    }
                    let range = place.start.max(from)..place.end.min(from + piece.len());
                    let to = &mut piece[range.start - from..range.end - from];
                    match part {
                        Some(part) => {
                            let part = &part[range.start - place.start..range.end - place.start];
                            vectorised(#[inline(always)] || blend(to, part, weight, self.add));
                        }
                        None if self.add => {}
                        None => to.fill(real(0.)),
                    }
                }
            });
            Ok(())
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, flat: &mut CudaStorage, layout: &Layout) -> Result<()> {
        cuda::gather(GATHER, self, flat, layout)
    }
}

#[inline(always)]
fn blend<T: Real>(to: &mut [T], from: &[T], weight: T, add: bool) {
    if add {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to += weight * from);
    } else if weight == T::one() {
        to.copy_from_slice(from);
    } else {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to = weight * from);
    }
}

/// What a gradient is measured against: both infinite where it is only measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The largest Euclidean norm.
    pub norm: f64,
    /// The largest absolute value of an element.
    pub value: f64,
}

/// The Euclidean norm of `gradient`, `[total]`, the factor that takes it to the largest that is allowed (1 where it is
/// smaller, or no number), and the largest absolute value that its elements may have: `[3]`, for [`limit`]. Squares are added
/// in double precision, in an order that does not depend on the number of threads.
///
/// `decided` is the state of the loss scaling that has judged the gradient, where there is one: the norm is then that of
/// the unscaled gradient, and so are the limits; of a gradient whose step is skipped, which is not finite, it is its own.
///
/// # Errors
/// Tensors that are not contiguous; other types than `f32` and `f64`.
pub fn measure(gradient: &Tensor, limits: Limits, decided: Option<&Tensor>) -> Result<Tensor> {
    let measure = Measure(limits);
    match decided {
        Some(decided) => gradient.apply_op2_no_bwd(decided, &measure),
        None => gradient.apply_op1_no_bwd(&measure),
    }
}

/// Applies factor and largest value to `gradient` in place, as [`measure`] has found them. Elements that are NaN stay so.
///
/// # Errors
/// Tensors that are not contiguous, or not of one type, `f32` or `f64`.
pub fn limit(gradient: &Tensor, found: &Tensor) -> Result<()> {
    gradient.inplace_op2(found, &Limit)
}

struct Measure(Limits);

impl Measure {
    fn on_cpu(&self, grad: &CpuStorage, layout: &Layout, unscale: f32) -> Result<(CpuStorage, Shape)> {
        with_real!(MEASURE, grad, T => {
            let grad = contiguous::<T>(MEASURE, grad, layout)?;
            let sums: Vec<f64> =
                grad.par_chunks(PIECE).map(|piece| vectorised(#[inline(always)] || squares(piece))).collect();
            let norm = sums.iter().sum::<f64>().sqrt();
            let (norm, bound) = match f64::from(unscale) {
                0. => (norm, f64::INFINITY),
                unscale => (norm * unscale, self.0.value / unscale),
            };
            let factor = if unscale > 0. && norm > self.0.norm { self.0.norm / norm } else { 1. };
            Ok(result([norm, factor, bound].map(real::<T>).to_vec(), 3))
        })
    }
}

/// The sum of squares, in as many partial sums as vectors have room for.
#[inline(always)]
fn squares<T: Real>(values: &[T]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += wide(x) * wide(x);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += wide(x) * wide(x);
    }
    sums.iter().sum()
}

impl CustomOp1 for Measure {
    fn name(&self) -> &'static str {
        MEASURE
    }

    fn cpu_fwd(&self, grad: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu(grad, layout, 1.)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, grad: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::measure(MEASURE, (grad, layout), self.0, None)
    }
}

impl CustomOp2 for Measure {
    fn name(&self) -> &'static str {
        MEASURE
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        gl: &Layout,
        decided: &CpuStorage,
        dl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu(grad, gl, contiguous::<f32>(MEASURE, decided, dl)?[UNSCALE])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        grad: &CudaStorage,
        gl: &Layout,
        decided: &CudaStorage,
        dl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::measure(MEASURE, (grad, gl), self.0, Some((decided, dl)))
    }
}

struct Limit;

impl InplaceOp2 for Limit {
    fn name(&self) -> &'static str {
        LIMIT
    }

    fn cpu_fwd(&self, grad: &mut CpuStorage, gl: &Layout, found: &CpuStorage, fl: &Layout) -> Result<()> {
        with_real!(LIMIT, found, T => {
            let &[_, factor, bound] = contiguous::<T>(LIMIT, found, fl)? else {
                bail!("{LIMIT}: takes what `measure` has found, got {fl:?}")
            };
            let (Some((start, end)), Some(all)) = (gl.contiguous_offsets(), T::slice_mut(grad)) else {
                bail!("{LIMIT}: takes a contiguous gradient of one type with what was found, got {gl:?}")
            };
            if factor == 1. && bound.is_infinite() {
                return Ok(());
            }
            all[start..end].par_chunks_mut(PIECE).for_each(|piece| {
                vectorised(#[inline(always)] || {
                    for g in &mut *piece {
                        let x = *g * factor;
                        // Comparisons, which leave a NaN alone.
                        *g = if x > bound { bound } else if x < -bound { -bound } else { x };
                    }
                });
            });
            Ok(())
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, grad: &mut CudaStorage, gl: &Layout, found: &CudaStorage, fl: &Layout) -> Result<()> {
        cuda::limit(LIMIT, grad, gl, (found, fl))
    }
}
