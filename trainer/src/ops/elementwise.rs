//! Updates of parameters in place: Adam and the moving average.

use super::{Real, contiguous, real, with_real};
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};

/// One step of Adam's two moments and of the parameter they belong to, in place.
///
/// `moments` [2, n] holds the first and second moment of `parameter` (n elements), `step` counts from 1; `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g g`,
/// `p <- p - lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)` (Kingma & Ba, 2015, algorithm 1).
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn adam_step(parameter: &Tensor, moments: &Tensor, grad: &Tensor, adam: &Adam) -> Result<()> {
    let n = parameter.elem_count();
    if moments.dims() != [2, n] || grad.elem_count() != n {
        bail!("adam: {parameter:?} does not fit moments {moments:?} and gradient {grad:?}")
    }
    moments.inplace_op2(&grad.contiguous()?, &Moments(*adam))?;
    parameter.inplace_op2(moments, &Descend(*adam))
}

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
    /// Which step this is, counted from 1.
    pub step: u64,
}

/// `average <- average + weight * (value - average)`, in place.
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn lerp(average: &Tensor, value: &Tensor, weight: f64) -> Result<()> {
    if average.shape() != value.shape() {
        bail!("lerp: {average:?} and {value:?} have different shapes")
    }
    average.inplace_op2(&value.contiguous()?, &Lerp(weight))
}

/// The elements of a contiguous tensor, to be written.
fn contiguous_mut<'a, T: Real>(op: &str, storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [T]> {
    match (layout.contiguous_offsets(), T::slice_mut(storage)) {
        (Some((start, end)), Some(values)) => Ok(&mut values[start..end]),
        _ => bail!("{op}: takes contiguous tensors of one element type, got {layout:?}"),
    }
}

struct Moments(Adam);

impl InplaceOp2 for Moments {
    fn name(&self) -> &'static str {
        "adam-moments"
    }

    fn cpu_fwd(&self, moments: &mut CpuStorage, ml: &Layout, grad: &CpuStorage, gl: &Layout) -> Result<()> {
        with_real!("adam", grad, T => {
            let grad = contiguous::<T>("adam", grad, gl)?;
            let (first, second) = contiguous_mut::<T>("adam", moments, ml)?.split_at_mut(grad.len());
            let (beta1, beta2) = (real::<T>(self.0.beta1), real::<T>(self.0.beta2));
            for ((m, v), &g) in first.iter_mut().zip(second).zip(grad) {
                *m = beta1 * *m + (1. - beta1) * g;
                *v = beta2 * *v + (1. - beta2) * g * g;
            }
            Ok(())
        })
    }
}

struct Descend(Adam);

impl InplaceOp2 for Descend {
    fn name(&self) -> &'static str {
        "adam-descend"
    }

    fn cpu_fwd(&self, parameter: &mut CpuStorage, pl: &Layout, moments: &CpuStorage, ml: &Layout) -> Result<()> {
        with_real!("adam", moments, T => {
            let parameter = contiguous_mut::<T>("adam", parameter, pl)?;
            let (first, second) = contiguous::<T>("adam", moments, ml)?.split_at(parameter.len());
            let Adam { lr, beta1, beta2, eps, step } = self.0;
            let t = step as f64;
            // Both bias corrections, taken out of the loop: m / c1 / (sqrt(v) / sqrt(c2) + eps).
            let root = real::<T>((1. - beta2.powf(t)).sqrt().recip());
            let (rate, eps) = (real::<T>(lr / (1. - beta1.powf(t))), real::<T>(eps));
            for ((p, &m), &v) in parameter.iter_mut().zip(first).zip(second) {
                *p -= rate * m / (v.sqrt() * root + eps);
            }
            Ok(())
        })
    }
}

struct Lerp(f64);

impl InplaceOp2 for Lerp {
    fn name(&self) -> &'static str {
        "lerp"
    }

    fn cpu_fwd(&self, average: &mut CpuStorage, al: &Layout, value: &CpuStorage, vl: &Layout) -> Result<()> {
        with_real!("lerp", value, T => {
            let (value, weight) = (contiguous::<T>("lerp", value, vl)?, real::<T>(self.0));
            for (average, &value) in contiguous_mut::<T>("lerp", average, al)?.iter_mut().zip(value) {
                *average += weight * (value - *average);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    /// Adam written as the paper has it, one number at a time.
    fn reference(gradients: &[f64], adam: Adam, mut p: f64) -> f64 {
        let (mut m, mut v) = (0., 0.);
        for (i, g) in gradients.iter().enumerate() {
            let t = i as i32 + 1;
            m = adam.beta1 * m + (1. - adam.beta1) * g;
            v = adam.beta2 * v + (1. - adam.beta2) * g * g;
            p -= adam.lr * (m / (1. - adam.beta1.powi(t))) / ((v / (1. - adam.beta2.powi(t))).sqrt() + adam.eps);
        }
        p
    }

    #[test]
    fn adam_follows_the_paper() -> Result<()> {
        let gradients = [[0.3, -2.], [0.1, 1e-4], [-0.7, 5.], [0., 0.25]];
        let p = Tensor::new(&[1f64, -3.], &Device::Cpu)?;
        let moments = Tensor::zeros((2, 2), DType::F64, &Device::Cpu)?;
        let mut adam = Adam { lr: 0.01, beta1: 0.5, beta2: 0.99, eps: 1e-8, step: 0 };
        for g in gradients {
            adam.step += 1;
            adam_step(&p, &moments, &Tensor::new(&g, &Device::Cpu)?, &adam)?;
        }
        let p = p.to_vec1::<f64>()?;
        for (i, start) in [1., -3.].into_iter().enumerate() {
            let column: Vec<f64> = gradients.iter().map(|g| g[i]).collect();
            assert!((p[i] - reference(&column, adam, start)).abs() < 1e-12, "{p:?}");
        }
        Ok(())
    }

    #[test]
    fn lerp_moves_by_the_weight() -> Result<()> {
        let average = Tensor::new(&[1f32, 2.], &Device::Cpu)?;
        lerp(&average, &Tensor::new(&[3f32, -2.], &Device::Cpu)?, 0.25)?;
        assert_eq!(average.to_vec1::<f32>()?, [1.5, 1.]);
        assert!(lerp(&average, &Tensor::zeros(3, DType::F32, &Device::Cpu)?, 0.5).is_err());
        Ok(())
    }
}
