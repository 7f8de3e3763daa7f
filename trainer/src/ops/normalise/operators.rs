//! The operators: their kernels run over all samples.

use super::super::map::{Pieces, produce};
use super::super::parallel::PIECE;
use super::super::{Real, contiguous, result, with_real};
use super::{Frame, Norm, grouped, runs};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, bail};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use {super::super::cuda, super::Map, candle_core::CudaStorage};

/// Checks the other two arguments of an operator on `x`: both `[C]`, or of the shape of `x`, as `like_x` says.
pub(super) fn check(op: &str, x: &Layout, others: [(&Layout, bool); 2]) -> Result<()> {
    let dims = x.dims();
    for (other, like_x) in others {
        let expected = if like_x { dims } else { &dims[dims.len() - 1..] };
        if other.dims() != expected {
            bail!("{op}: an input of {dims:?} takes {expected:?} here, got {:?}", other.dims())
        }
    }
    Ok(())
}

/// What is worked out for every sample, and from what.
#[derive(Clone, Copy)]
pub(super) enum Kernel<'a, T> {
    /// `gamma u + beta`.
    Value { x: &'a [T], gamma: &'a [T], beta: &'a [T] },
    /// `N(gamma g)`, and the gradients of gamma and beta if they are wanted.
    Grad { x: &'a [T], gamma: &'a [T], g: &'a [T], sums: bool },
    /// `S(p, h)`.
    Second { x: &'a [T], p: &'a [T], h: &'a [T] },
}

impl<T: Real> Kernel<'_, T> {
    /// The result, and the gradients of gamma and beta for each channel; none unless they are wanted.
    pub(super) fn run(self, frame: &Frame) -> (Vec<T>, Vec<[f64; 2]>) {
        let samples = PIECE.div_ceil(frame.sample());
        let wanted = matches!(self, Self::Grad { sums: true, .. });
        let samples = Samples { frame, kernel: self, samples, sums: if wanted { frame.channels } else { 0 } };
        let (out, sums) = produce(frame.samples * frame.sample(), samples.piece(), &samples);
        let mut total = vec![[0.; 2]; samples.sums];
        for piece in sums {
            for (total, sums) in total.iter_mut().zip(piece) {
                total[0] += sums[0];
                total[1] += sums[1];
            }
        }
        (out, total)
    }
}

struct Samples<'a, T> {
    frame: &'a Frame,
    kernel: Kernel<'a, T>,
    /// Samples a piece.
    samples: usize,
    /// Channels for which the gradients of gamma and beta are wanted.
    sums: usize,
}

impl<T> Samples<'_, T> {
    fn piece(&self) -> usize {
        self.samples * self.frame.sample()
    }
}

// SAFETY: a piece is whole samples, and every kernel writes all of the room for its sample.
unsafe impl<T: Real> Pieces<T> for Samples<'_, T> {
    type Summary = Vec<[f64; 2]>;

    #[inline(always)]
    fn write(&self, i: usize, out: &mut [MaybeUninit<T>]) -> Self::Summary {
        let frame = self.frame;
        let mut sums = vec![[0.; 2]; self.sums];
        for (j, out) in out.chunks_exact_mut(frame.sample()).enumerate() {
            let from = i * self.piece() + j * frame.sample();
            let at = from..from + frame.sample();
            match (self.kernel, frame.is_run()) {
                (Kernel::Value { x, gamma, beta }, true) => runs::value(frame, &x[at], gamma, beta, out),
                (Kernel::Value { x, gamma, beta }, false) => grouped::value(frame, &x[at], gamma, beta, out),
                (Kernel::Grad { x, gamma, g, .. }, run) => {
                    let inputs = [&x[at.clone()], &g[at]];
                    match run {
                        true => runs::grad(frame, inputs, gamma, out, &mut sums),
                        false => grouped::grad(frame, inputs, gamma, out, &mut sums),
                    }
                }
                (Kernel::Second { x, p, h }, run) => {
                    let inputs = [&x[at.clone()], &p[at.clone()], &h[at]];
                    match run {
                        true => runs::second(frame, inputs, out),
                        false => grouped::second(frame, inputs, out),
                    }
                }
            }
        }
        sums
    }
}

/// `(x, gamma, beta) -> gamma u + beta`.
pub(super) struct Value(pub(super) Norm);

impl CustomOp3 for Value {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gamma: &CpuStorage,
        gl: &Layout,
        beta: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let frame = self.0.frame(xl.shape())?;
        check(self.name(), xl, [(gl, false), (bl, false)])?;
        with_real!(self.name(), x, T => {
            let x = contiguous::<T>(self.name(), x, xl)?;
            let (gamma, beta) = (contiguous(self.name(), gamma, gl)?, contiguous(self.name(), beta, bl)?);
            Ok(result(Kernel::Value { x, gamma, beta }.run(&frame).0, xl.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        gamma: &CudaStorage,
        al: &Layout,
        beta: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let frame = self.0.frame(xl.shape())?;
        check(self.name(), xl, [(al, false), (bl, false)])?;
        cuda::normalise(self.name(), Map::Value, &frame, (x, xl), [(gamma, al), (beta, bl)])
    }
}

/// `(x, gamma, g) -> N(gamma g)`.
pub(super) struct Grad(pub(super) Norm);

impl CustomOp3 for Grad {
    fn name(&self) -> &'static str {
        "normalise-grad"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gamma: &CpuStorage,
        gammal: &Layout,
        g: &CpuStorage,
        gl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let frame = self.0.frame(xl.shape())?;
        check(self.name(), xl, [(gammal, false), (gl, true)])?;
        with_real!(self.name(), x, T => {
            let (x, g) = (contiguous::<T>(self.name(), x, xl)?, contiguous(self.name(), g, gl)?);
            let gamma = contiguous(self.name(), gamma, gammal)?;
            Ok(result(Kernel::Grad { x, gamma, g, sums: false }.run(&frame).0, xl.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        gamma: &CudaStorage,
        al: &Layout,
        g: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let frame = self.0.frame(xl.shape())?;
        check(self.name(), xl, [(al, false), (bl, true)])?;
        cuda::normalise(self.name(), Map::Grad, &frame, (x, xl), [(gamma, al), (g, bl)])
    }
}

/// `(x, p, h) -> S(p, h)`.
pub(super) struct Second(pub(super) Norm);

impl CustomOp3 for Second {
    fn name(&self) -> &'static str {
        "normalise-second"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        p: &CpuStorage,
        pl: &Layout,
        h: &CpuStorage,
        hl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let frame = self.0.frame(xl.shape())?;
        check(self.name(), xl, [(pl, true), (hl, true)])?;
        with_real!(self.name(), x, T => {
            let x = contiguous::<T>(self.name(), x, xl)?;
            let (p, h) = (contiguous(self.name(), p, pl)?, contiguous(self.name(), h, hl)?);
            Ok(result(Kernel::Second { x, p, h }.run(&frame).0, xl.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        p: &CudaStorage,
        al: &Layout,
        h: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let frame = self.0.frame(xl.shape())?;
        check(self.name(), xl, [(al, true), (bl, true)])?;
        cuda::normalise(self.name(), Map::Second, &frame, (x, xl), [(p, al), (h, bl)])
    }
}
