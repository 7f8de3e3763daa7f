//! Loops over all elements of tensors: in pieces for all threads, with the widest vectors the machine has.

use super::math::Elementary;
use super::parallel::{PIECE, vectorised};
use super::{Real, contiguous, result, with_real};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// What writes a vector piece by piece.
///
/// # Safety
/// [`Pieces::write`] must initialise all of the room it gets.
pub(super) unsafe trait Pieces<T>: Sync {
    /// What is learned on the way.
    type Summary: Send;

    /// Writes piece number `i`.
    ///
    /// To be `#[inline(always)]`, and what it calls in loops, too: only what is inlined gets the vector instructions that
    /// are found at run time.
    fn write(&self, i: usize, out: &mut [MaybeUninit<T>]) -> Self::Summary;
}

/// A vector of `len` elements in pieces of `piece`, which may run on several threads, and their summaries in order.
pub(super) fn produce<T: Real, P: Pieces<T>>(len: usize, piece: usize, pieces: &P) -> (Vec<T>, Vec<P::Summary>) {
    let mut out = Vec::with_capacity(len);
    let room = &mut out.spare_capacity_mut()[..len];
    let write = |(i, out)| vectorised(Write { pieces, i, out });
    let summaries = if len <= piece {
        // Waking another thread would cost more than it saves.
        room.chunks_mut(piece.max(1)).enumerate().map(write).collect()
    } else {
        room.par_chunks_mut(piece).enumerate().map(write).collect()
    };
    // SAFETY: the capacity is `len`, and the pieces, which are all of it, have been initialised.
    unsafe { out.set_len(len) };
    (out, summaries)
}

struct Write<'a, T, P> {
    pieces: &'a P,
    i: usize,
    out: &'a mut [MaybeUninit<T>],
}

impl<T, P: Pieces<T>> pulp::NullaryFnOnce for Write<'_, T, P> {
    type Output = P::Summary;

    #[inline(always)]
    fn call(self) -> P::Summary {
        self.pieces.write(self.i, self.out)
    }
}

/// The elements of two contiguous tensors of one shape.
pub(super) fn alike<'a, T: Real>(
    op: &str,
    (a, a_layout): (&'a CpuStorage, &Layout),
    (b, b_layout): (&'a CpuStorage, &Layout),
) -> Result<(&'a [T], &'a [T])> {
    if a_layout.shape() != b_layout.shape() {
        bail!("{op}: takes tensors of one shape, got {:?} and {:?}", a_layout.dims(), b_layout.dims())
    }
    Ok((contiguous(op, a, a_layout)?, contiguous(op, b, b_layout)?))
}

/// A function of each element of a tensor. `at` is to be `#[inline(always)]`.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "what a GPU is told of the function"))]
pub(super) trait Unary: Copy + Send + Sync + 'static {
    const NAME: &str;
    /// Its number in the GPU's kernel.
    const KERNEL: i32;

    fn at<T: Elementary>(self, x: T) -> T;

    /// What the GPU's kernel gets beside the element.
    fn parameter(self) -> f64 {
        0.
    }

    /// The gradient of the input `x`, from the output `y` and the gradient of that.
    fn gradient(self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Tensor>;
}

/// A function of each pair of elements of two tensors of one shape, linear in the second. `at` is to be
/// `#[inline(always)]`.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "what a GPU is told of the function"))]
pub(super) trait Binary: Copy + Send + Sync + 'static {
    const NAME: &str;
    /// Its number in the GPU's kernel.
    const KERNEL: i32;

    fn at<T: Elementary>(self, a: T, g: T) -> T;

    /// What the GPU's kernel gets beside the elements.
    fn parameter(self) -> f64 {
        0.
    }

    /// The gradients of `a` and `g`, from that of the output. None where it is zero almost everywhere.
    fn gradients(self, a: &Tensor, g: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Tensor)>;
}

/// `f` of each element of `x`.
pub(super) fn unary(x: &Tensor, f: impl Unary) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Elementwise(f))
}

/// `f` of each pair of elements of `a` and `g`.
pub(super) fn binary(a: &Tensor, g: &Tensor, f: impl Binary) -> Result<Tensor> {
    a.contiguous()?.apply_op2(&g.contiguous()?, Elementwise(f))
}

/// One of them as candle's operator.
struct Elementwise<F>(F);

impl<F: Unary> CustomOp1 for Elementwise<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!(F::NAME, x, T => {
            let x = contiguous::<T>(F::NAME, x, xl)?;
            Ok(result(produce(x.len(), PIECE, &Of { f: self.0, x: [x] }).0, xl.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::unary(F::NAME, F::KERNEL, self.0.parameter(), (x, xl))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        self.0.gradient(x, y, grad).map(Some)
    }
}

impl<F: Binary> CustomOp2 for Elementwise<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, g: &CpuStorage, gl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!(F::NAME, a, T => {
            let (a, g) = alike::<T>(F::NAME, (a, al), (g, gl))?;
            Ok(result(produce(a.len(), PIECE, &Of { f: self.0, x: [a, g] }).0, al.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, a: &CudaStorage, al: &Layout, g: &CudaStorage, gl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::binary(F::NAME, F::KERNEL, self.0.parameter(), (a, al), (g, gl))
    }

    fn bwd(&self, a: &Tensor, g: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_a, of_g) = self.0.gradients(a, g, grad)?;
        Ok((of_a, Some(of_g)))
    }
}

/// `f` of the elements of `N` slices of one length.
struct Of<'a, F, T, const N: usize> {
    f: F,
    x: [&'a [T]; N],
}

// SAFETY: the input's piece is as long as `out`, so the loop writes all of it.
unsafe impl<F: Unary, T: Elementary> Pieces<T> for Of<'_, F, T, 1> {
    type Summary = ();

    #[inline(always)]
    fn write(&self, i: usize, out: &mut [MaybeUninit<T>]) {
        let f = self.f;
        let [x] = self.x.map(|x| &x[i * PIECE..][..out.len()]);
        for (out, &x) in out.iter_mut().zip(x) {
            out.write(f.at(x));
        }
    }
}

// SAFETY: the inputs' pieces are as long as `out`, so the loop writes all of it.
unsafe impl<F: Binary, T: Elementary> Pieces<T> for Of<'_, F, T, 2> {
    type Summary = ();

    #[inline(always)]
    fn write(&self, i: usize, out: &mut [MaybeUninit<T>]) {
        let f = self.f;
        let [a, g] = self.x.map(|x| &x[i * PIECE..][..out.len()]);
        for (out, (&a, &g)) in out.iter_mut().zip(a.iter().zip(g)) {
            out.write(f.at(a, g));
        }
    }
}
