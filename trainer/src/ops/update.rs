//! An optimiser's step in place, and the moving averages of the parameters, in one pass over memory.

use super::parallel::PIECE;
use super::scaling::{CORRECTIONS, UNSCALE};
use super::{Real, contiguous, real, vectorised, with_real};
use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, bail};
use rayon::prelude::*;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// As many moving averages a pass takes; `update.cu` has the same number.
pub const MOST_AVERAGES: usize = 3;

/// The formula of an optimiser at one moment, for one parameter at a time, which has `M` moments beside its value and is
/// moved with `N` constants.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "what a GPU is told of the formula"))]
pub trait Rule<const M: usize, const N: usize>: Copy + Sync {
    /// Names its kernels: that of the optimiser.
    const NAME: &'static str;
    /// The formula on a GPU: C++ that defines `struct Rule`, with the constants as fields `A`, in the order of
    /// [`Self::constants`], the number of `MOMENTS` in an `enum`, and
    /// `void step(A& p, A (&m)[MOMENTS], A g, A correct1, A correct2) const`, which multiplies by what
    /// [`Self::element`] divides by.
    const KERNEL: &'static str;

    /// What the formula is computed with.
    fn constants(&self) -> [f64; N];

    /// The decays `b` whose moments after `t` steps are too small by `1 - b^t`; 0 where there is nothing to correct.
    fn decays(&self) -> [f64; 2] {
        [0.; 2]
    }

    /// From value, moments and gradient to the new value and moments. `corrections` are the `1 - b^t` of [`Self::decays`].
    ///
    /// The closure is to be `#[inline(always)]`, so that loops over it are compiled for the processor at hand.
    fn element<T: Real>(
        &self,
        corrections: [f64; 2],
    ) -> impl Fn(T, [T; M], T) -> (T, [T; M]) + Copy + Send + Sync + 'static;
}

/// One step in place. `state` has rows of n numbers: values, `M` moments, then moving averages, each of which goes towards
/// the new values by its part of `averages`, in [0, 1]; `gradient` has n elements in any shape. `step` counts from 1; with
/// loss scaling, skipped ones are counted, and taken off again on the device. `decided` is the state of the loss scaling that
/// has judged the gradient, where there is one: the gradient is unscaled first, or the step is left out.
///
/// # Errors
/// Shapes that do not fit, more than [`MOST_AVERAGES`] averages, element types other than `f32` and `f64`.
pub fn update<const M: usize, const N: usize, R: Rule<M, N>>(
    rule: &R,
    state: &Tensor,
    gradient: &Tensor,
    step: u64,
    averages: &[f64],
    decided: Option<&Tensor>,
) -> Result<()> {
    let rows = 1 + M + averages.len();
    if state.dims() != [rows, gradient.elem_count()] || averages.len() > MOST_AVERAGES {
        bail!(
            "{}: a state of {:?} does not fit a gradient of {:?} and {} averages",
            R::NAME,
            state.dims(),
            gradient.dims(),
            averages.len()
        )
    }
    let mut towards = [0.; MOST_AVERAGES];
    towards[..averages.len()].copy_from_slice(averages);
    let update = Update { rule: *rule, step, averages: averages.len(), towards };
    match decided {
        None => state.inplace_op2(&gradient.contiguous()?, &update),
        Some(decided) => state.inplace_op3(&gradient.contiguous()?, decided, &update),
    }
}

/// A step of [`update`], as the kernels take it.
pub(super) struct Update<R, const M: usize, const N: usize> {
    pub rule: R,
    pub step: u64,
    /// How many averages there are, and what each moves by.
    pub averages: usize,
    pub towards: [f64; MOST_AVERAGES],
}

impl<R: Rule<M, N>, const M: usize, const N: usize> InplaceOp2 for Update<R, M, N> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, sl: &Layout, grad: &CpuStorage, gl: &Layout) -> Result<()> {
        let corrections = self.rule.decays().map(|decay| 1. - decay.powf(self.step as f64));
        self.on_cpu(1., corrections, (state, sl), (grad, gl))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, state: &mut CudaStorage, sl: &Layout, grad: &CudaStorage, gl: &Layout) -> Result<()> {
        cuda::update(self, state, sl, (grad, gl), None)
    }
}

impl<R: Rule<M, N>, const M: usize, const N: usize> InplaceOp3 for Update<R, M, N> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn cpu_fwd(
        &self,
        state: &mut CpuStorage,
        sl: &Layout,
        grad: &CpuStorage,
        gl: &Layout,
        decided: &CpuStorage,
        layout: &Layout,
    ) -> Result<()> {
        let decided = contiguous::<f32>(R::NAME, decided, layout)?;
        if decided[UNSCALE] == 0. {
            return Ok(());
        }
        let corrections = CORRECTIONS.map(|at| f64::from(decided[at]).recip());
        self.on_cpu(decided[UNSCALE].into(), corrections, (state, sl), (grad, gl))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        state: &mut CudaStorage,
        sl: &Layout,
        grad: &CudaStorage,
        gl: &Layout,
        decided: &CudaStorage,
        layout: &Layout,
    ) -> Result<()> {
        cuda::update(self, state, sl, (grad, gl), Some((decided, layout)))
    }
}

/// Some neighbouring parameters.
struct Piece<'a, T, const M: usize> {
    values: &'a mut [T],
    moments: [&'a mut [T]; M],
    averages: Vec<&'a mut [T]>,
    gradient: &'a [T],
}

impl<T: Real, const M: usize> Piece<'_, T, M> {
    #[inline(always)]
    fn update(&mut self, unscale: T, element: impl Fn(T, [T; M], T) -> (T, [T; M]), towards: &[T]) {
        // Of one length, so that the loop needs no look at it.
        let n = self.values.len();
        let (values, gradient) = (&mut self.values[..n], &self.gradient[..n]);
        let moments = self.moments.each_mut().map(|row| &mut row[..n]);
        for i in 0..n {
            let before: [T; M] = std::array::from_fn(|k| moments[k][i]);
            let (value, after) = element(values[i], before, gradient[i] * unscale);
            values[i] = value;
            for k in 0..M {
                moments[k][i] = after[k];
            }
        }
        for (average, &towards) in self.averages.iter_mut().zip(towards) {
            for (average, &value) in average.iter_mut().zip(&*values) {
                *average += towards * (value - *average);
            }
        }
    }
}

impl<R: Rule<M, N>, const M: usize, const N: usize> Update<R, M, N> {
    fn on_cpu(
        &self,
        unscale: f64,
        corrections: [f64; 2],
        (state, sl): (&mut CpuStorage, &Layout),
        (grad, gl): (&CpuStorage, &Layout),
    ) -> Result<()> {
        with_real!(R::NAME, grad, T => {
            let grad = contiguous::<T>(R::NAME, grad, gl)?;
            let (Some((start, end)), Some(all)) = (sl.contiguous_offsets(), T::slice_mut(state)) else {
                bail!("{}: takes a contiguous state of the gradient's type, got {sl:?}", R::NAME)
            };
            if grad.is_empty() {
                return Ok(());
            }
            let (element, unscale) = (self.rule.element::<T>(corrections), real::<T>(unscale));
            let towards = self.towards.map(real::<T>);
            let mut rows = all[start..end].chunks_exact_mut(grad.len()).map(|row| row.chunks_mut(PIECE));
            let mut row = || rows.next().into_iter().flatten();
            let (mut values, mut moments) = (row(), std::array::from_fn::<_, M, _>(|_| row()));
            let mut averages: Vec<_> = (0..self.averages).map(|_| row()).collect();
            let mut pieces: Vec<Piece<'_, T, M>> = Vec::new();
            for gradient in grad.chunks(PIECE) {
                // Every row has as many pieces as the gradient.
                pieces.push(Piece {
                    values: values.next().unwrap_or_default(),
                    moments: moments.each_mut().map(|row| row.next().unwrap_or_default()),
                    averages: averages.iter_mut().map(|row| row.next().unwrap_or_default()).collect(),
                    gradient,
                });
            }
            pieces.par_iter_mut().for_each(|piece| {
                vectorised(#[inline(always)] || piece.update(unscale, element, &towards));
            });
            Ok(())
        })
    }
}
