//! Adam and the moving average of the weights, in one pass over memory.

use super::parallel::PIECE;
use super::scaling::{CORRECTIONS, Scaling, UNSCALE};
use super::{Real, contiguous, real, vectorised, with_real};
use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, bail};
use rayon::prelude::*;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// The constants of one step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Which step this is, counted from 1; with loss scaling, skipped ones are counted, and taken off again on the device.
    pub step: u64,
    /// What the moving average moves towards the new parameter by, in [0, 1]; for states without an average, no matter.
    pub average: f64,
}

/// One step of Adam in place. `state` holds n parameters, their first and second moments, and perhaps their moving
/// average: [3, n] or [4, n]; `grad` has n elements in any shape. `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g g`,
/// `p <- p - lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)` (Kingma & Ba, 2015, algorithm 1), then
/// `average <- average + weight (p - average)`. With `scaling`, which has judged the gradients, they are unscaled first, or
/// the step is skipped.
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn adam_step(state: &Tensor, grad: &Tensor, adam: &Adam, scaling: Option<&Scaling>) -> Result<()> {
    let (grad, step) = (grad.contiguous()?, Step(*adam));
    match (state.dims(), scaling) {
        ([3 | 4, n], None) if *n == grad.elem_count() => state.inplace_op2(&grad, &step),
        ([3 | 4, n], Some(scaling)) if *n == grad.elem_count() => state.inplace_op3(&grad, scaling.state(), &step),
        (other, _) => bail!("adam: a state of {other:?} does not fit a gradient of {:?}", grad.dims()),
    }
}

struct Step(Adam);

impl InplaceOp2 for Step {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, sl: &Layout, grad: &CpuStorage, gl: &Layout) -> Result<()> {
        self.0.on_cpu(Factors::of(&self.0), state, sl, (grad, gl))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, state: &mut CudaStorage, sl: &Layout, grad: &CudaStorage, gl: &Layout) -> Result<()> {
        cuda::adam(&self.0, state, sl, (grad, gl), None)
    }
}

impl InplaceOp3 for Step {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        state: &mut CpuStorage,
        sl: &Layout,
        grad: &CpuStorage,
        gl: &Layout,
        scaling: &CpuStorage,
        layout: &Layout,
    ) -> Result<()> {
        let decided = contiguous::<f32>("adam", scaling, layout)?;
        if decided[UNSCALE] == 0. {
            return Ok(());
        }
        let corrections = CORRECTIONS.map(|at| f64::from(decided[at]).recip());
        self.0.on_cpu(Factors { unscale: decided[UNSCALE].into(), corrections }, state, sl, (grad, gl))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        state: &mut CudaStorage,
        sl: &Layout,
        grad: &CudaStorage,
        gl: &Layout,
        scaling: &CudaStorage,
        layout: &Layout,
    ) -> Result<()> {
        cuda::adam(&self.0, state, sl, (grad, gl), Some((scaling, layout)))
    }
}

/// What the numbers of one step are multiplied and divided by.
#[derive(Clone, Copy)]
struct Factors {
    /// Gradients are multiplied by it.
    unscale: f64,
    /// `1 - b1^t` and `1 - b2^t`, which the moments are divided by.
    corrections: [f64; 2],
}

impl Factors {
    fn of(adam: &Adam) -> Self {
        Self { unscale: 1., corrections: [adam.beta1, adam.beta2].map(|beta| 1. - beta.powf(adam.step as f64)) }
    }
}

impl Adam {
    fn on_cpu(
        &self,
        factors: Factors,
        state: &mut CpuStorage,
        sl: &Layout,
        (grad, gl): (&CpuStorage, &Layout),
    ) -> Result<()> {
        with_real!("adam", grad, T => {
            let grad = contiguous::<T>("adam", grad, gl)?;
            let (Some((start, end)), Some(all)) = (sl.contiguous_offsets(), T::slice_mut(state)) else {
                bail!("adam: takes a contiguous state of the gradient's type, got {sl:?}")
            };
            let (p, rest) = all[start..end].split_at_mut(grad.len());
            let (m, rest) = rest.split_at_mut(grad.len());
            let (v, average) = rest.split_at_mut(grad.len());
            let pieces = p.par_chunks_mut(PIECE).zip(m.par_chunks_mut(PIECE)).zip(v.par_chunks_mut(PIECE)).zip(grad.par_chunks(PIECE));
            if average.is_empty() {
                pieces.for_each(|(((p, m), v), g)| vectorised(#[inline(always)] || self.update(factors, p, m, v, g)));
            } else {
                let weight = real::<T>(self.average);
                pieces.zip(average.par_chunks_mut(PIECE)).for_each(|((((p, m), v), g), average)| {
                    vectorised(#[inline(always)] || {
                        self.update(factors, p, m, v, g);
                        for (average, &p) in average.iter_mut().zip(&*p) {
                            *average += weight * (p - *average);
                        }
                    });
                });
            }
            Ok(())
        })
    }

    #[inline(always)]
    fn update<T: Real>(&self, factors: Factors, p: &mut [T], m: &mut [T], v: &mut [T], g: &[T]) {
        // Both bias corrections, taken out of the loop: m / c1 / (sqrt(v) / sqrt(c2) + eps).
        let [first, second] = factors.corrections;
        let root = real::<T>(second.sqrt().recip());
        let (rate, eps, unscale) = (real::<T>(self.lr / first), real::<T>(self.eps), real::<T>(factors.unscale));
        let (b1, b2) = (real::<T>(self.beta1), real::<T>(self.beta2));
        let (c1, c2) = (T::one() - b1, T::one() - b2);
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * unscale;
            *m = b1 * *m + c1 * g;
            *v = b2 * *v + c2 * g * g;
            *p -= rate * *m / (v.sqrt() * root + eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::device;
    use candle_core::IndexOp;

    /// Adam written as the paper has it, one number at a time: the parameter and its average.
    fn reference(gradients: &[f64], adam: Adam, mut p: f64) -> [f64; 2] {
        let (mut m, mut v, mut average) = (0., 0., p);
        for (i, g) in gradients.iter().enumerate() {
            let t = i as i32 + 1;
            m = adam.beta1 * m + (1. - adam.beta1) * g;
            v = adam.beta2 * v + (1. - adam.beta2) * g * g;
            p -= adam.lr * (m / (1. - adam.beta1.powi(t))) / ((v / (1. - adam.beta2.powi(t))).sqrt() + adam.eps);
            average = (1. - adam.average) * average + adam.average * p;
        }
        [p, average]
    }

    #[test]
    fn adam_and_its_average_follow_the_paper() -> Result<()> {
        let gradients = [[0.3, -2.], [0.1, 1e-4], [-0.7, 5.], [0., 0.25]];
        let start = [1., -3.];
        for rows in [3, 4] {
            let zero = [0f64; 2];
            let state = Tensor::new(&[start, zero, zero, start], &device())?.narrow(0, 0, rows)?;
            let mut adam = Adam { lr: 0.01, beta1: 0.5, beta2: 0.99, eps: 1e-8, step: 0, average: 0.25 };
            for g in gradients {
                adam.step += 1;
                adam_step(&state, &Tensor::new(&g, &device())?, &adam, None)?;
            }
            for (i, start) in start.into_iter().enumerate() {
                let column: Vec<f64> = gradients.iter().map(|g| g[i]).collect();
                let expected = reference(&column, adam, start);
                let found = state.i((.., i))?.to_vec1::<f64>()?;
                assert!((found[0] - expected[0]).abs() < 1e-12, "{found:?} {expected:?}");
                assert!(rows == 3 || (found[3] - expected[1]).abs() < 1e-12, "{found:?} {expected:?}");
            }
            assert!(adam_step(&state, &Tensor::new(&[0f64; 3], &device())?, &adam, None).is_err());
        }
        Ok(())
    }
}
