//! Loops over all elements of tensors: in pieces for all threads, with the widest vectors the machine has.

use super::math::Elementary;
use super::parallel::{PIECE, vectorised};
use super::{Real, contiguous, result, with_real};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
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
    let write = |(i, out): (usize, &mut [MaybeUninit<T>])| {
        vectorised(
            #[inline(always)]
            || pieces.write(i, out),
        )
    };
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

/// Checks that these are tensors of one shape.
pub(super) fn same_shape<const N: usize>(op: &str, layouts: [&Layout; N]) -> Result<()> {
    match layouts.iter().find(|layout| layout.shape() != layouts[0].shape()) {
        Some(other) => {
            bail!("{op}: takes tensors of one shape, got {:?} and {:?}", layouts[0].dims(), other.dims())
        }
        None => Ok(()),
    }
}

/// The elements of contiguous tensors of one shape.
pub(super) fn alike<'a, T: Real, const N: usize>(
    op: &str,
    tensors: [(&'a CpuStorage, &Layout); N],
) -> Result<[&'a [T]; N]> {
    same_shape(op, tensors.map(|(_, layout)| layout))?;
    let mut all: [&[T]; N] = [&[]; N];
    for (values, (storage, layout)) in all.iter_mut().zip(tensors) {
        *values = contiguous(op, storage, layout)?;
    }
    Ok(all)
}

/// A function of the elements at one place of `N` tensors of one shape.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "what a GPU is told of the function"))]
pub(super) trait Map<const N: usize>: Copy + Send + Sync + 'static {
    const NAME: &str;
    /// Its number in the GPU's kernel for `N` tensors.
    const KERNEL: i32;

    /// To be `#[inline(always)]`.
    fn at<T: Elementary>(self, x: [T; N]) -> T;

    /// What the GPU's kernel gets beside the elements.
    fn parameter(self) -> f64 {
        0.
    }
}

/// `f` of each element of `x`.
pub(super) fn unary(x: &Tensor, f: impl Map<1>) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Elementwise(f))
}

/// `f` of each pair of elements of `a` and `b`.
pub(super) fn binary(a: &Tensor, b: &Tensor, f: impl Map<2>) -> Result<Tensor> {
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Elementwise(f))
}

/// `f` of the elements of `a`, `b` and `c` at each place.
pub(super) fn ternary(a: &Tensor, b: &Tensor, c: &Tensor, f: impl Map<3>) -> Result<Tensor> {
    a.contiguous()?.apply_op3_no_bwd(&b.contiguous()?, &c.contiguous()?, &Elementwise(f))
}

/// One of them as candle's operator.
struct Elementwise<F>(F);

impl<F> Elementwise<F> {
    fn on_cpu<const N: usize>(&self, tensors: [(&CpuStorage, &Layout); N]) -> Result<(CpuStorage, Shape)>
    where
        F: Map<N>,
    {
        with_real!(F::NAME, tensors[0].0, T => {
            let x = alike::<T, N>(F::NAME, tensors)?;
            Ok(result(produce(x[0].len(), PIECE, &Of { f: self.0, x }).0, tensors[0].1.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_cuda<const N: usize>(&self, tensors: [(&CudaStorage, &Layout); N]) -> Result<(CudaStorage, Shape)>
    where
        F: Map<N>,
    {
        same_shape(F::NAME, tensors.map(|(_, layout)| layout))?;
        cuda::map(F::NAME, F::KERNEL, self.0.parameter(), &tensors)
    }
}

impl<F: Map<1>> CustomOp1 for Elementwise<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu([(x, xl)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda([(x, xl)])
    }
}

impl<F: Map<2>> CustomOp2 for Elementwise<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu([(a, al), (b, bl)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, a: &CudaStorage, al: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda([(a, al), (b, bl)])
    }
}

impl<F: Map<3>> CustomOp3 for Elementwise<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
        c: &CpuStorage,
        cl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu([(a, al), (b, bl), (c, cl)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        al: &Layout,
        b: &CudaStorage,
        bl: &Layout,
        c: &CudaStorage,
        cl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda([(a, al), (b, bl), (c, cl)])
    }
}

/// `f` of the elements of `N` slices of one length.
struct Of<'a, F, T, const N: usize> {
    f: F,
    x: [&'a [T]; N],
}

// SAFETY: the inputs' pieces are as long as `out`, and the loop runs over all of it.
unsafe impl<F: Map<N>, T: Elementary, const N: usize> Pieces<T> for Of<'_, F, T, N> {
    type Summary = ();

    #[inline(always)]
    fn write(&self, i: usize, out: &mut [MaybeUninit<T>]) {
        let (f, len) = (self.f, out.len());
        let x = self.x.map(|x| &x[i * PIECE..][..len]);
        for (at, out) in out.iter_mut().enumerate() {
            // SAFETY: `at` is below the length that all of them have.
            out.write(f.at(x.map(|x| unsafe { *x.get_unchecked(at) })));
        }
    }
}
