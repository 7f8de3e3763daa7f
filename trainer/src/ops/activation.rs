//! Activations, channel biases and the stable logistic function.

use super::{contiguous, real, result, with_real};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Elements handled by one task of an element-by-element operator.
const CHUNK: usize = 1 << 14;

/// `max(x, 0) + slope * min(x, 0)`; a slope of 0 is the ReLU. Any shape.
///
/// # Errors
/// A negative slope (the sign of the output must be that of the input), element types other than `f32` and `f64`.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    if slope.is_nan() || slope < 0. {
        bail!("leaky-relu: the slope must not be negative, got {slope}")
    }
    x.contiguous()?.apply_op1(LeakyRelu { slope })
}

struct LeakyRelu {
    slope: f64,
}

impl CustomOp1 for LeakyRelu {
    fn name(&self) -> &'static str {
        "leaky-relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("leaky-relu", x, T => {
            let (x, slope) = (contiguous::<T>("leaky-relu", x, xl)?, real::<T>(self.slope));
            let mut out = vec![0 as T; x.len()];
            out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
                for (out, &x) in out.iter_mut().zip(x) {
                    *out = if x < 0. { slope * x } else { x };
                }
            });
            Ok(result(out, xl.shape()))
        })
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let y = y.detach();
        Ok(Some(y.apply_op2(&grad.contiguous()?, LeakyReluGrad { slope: self.slope })?))
    }
}

/// `(y, g) -> g * f'(x)`, where the sign of `y = f(x)` tells that of `x`. Linear in `g`, and constant in `y` almost
/// everywhere, so its own gradient is itself.
struct LeakyReluGrad {
    slope: f64,
}

impl CustomOp2 for LeakyReluGrad {
    fn name(&self) -> &'static str {
        "leaky-relu-grad"
    }

    fn cpu_fwd(&self, y: &CpuStorage, yl: &Layout, g: &CpuStorage, gl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("leaky-relu-grad", y, T => {
            let (y, g) = (contiguous::<T>("leaky-relu-grad", y, yl)?, contiguous::<T>("leaky-relu-grad", g, gl)?);
            let slope = real::<T>(self.slope);
            let mut out = vec![0 as T; y.len()];
            out.par_chunks_mut(CHUNK)
                .zip(y.par_chunks(CHUNK).zip(g.par_chunks(CHUNK)))
                .for_each(|(out, (y, g))| {
                    for (out, (&y, &g)) in out.iter_mut().zip(y.iter().zip(g)) {
                        *out = if y > 0. { g } else { slope * g };
                    }
                });
            Ok(result(out, yl.shape()))
        })
    }

    fn bwd(&self, y: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let again = y.apply_op2(&grad.contiguous()?, LeakyReluGrad { slope: self.slope })?;
        Ok((None, Some(again)))
    }
}

/// `log(1 + exp(x))`, finite and exact to rounding for every finite `x`, NaN for NaN. Any shape.
///
/// # Errors
/// Element types other than `f32` and `f64`.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Softplus)
}

struct Softplus;

impl CustomOp1 for Softplus {
    fn name(&self) -> &'static str {
        "softplus"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("softplus", x, T => {
            let x = contiguous::<T>("softplus", x, xl)?;
            Ok(result(x.iter().map(|&x| x.max(0.) + (-x.abs()).exp().ln_1p()).collect::<Vec<T>>(), xl.shape()))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        // The logistic function by way of tanh: no overflow at either end, and differentiable again.
        let logistic = (((x * 0.5)?.tanh()? + 1.)? * 0.5)?;
        Ok(Some((grad * logistic)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, values};
    use candle_core::{DType, Device};

    #[test]
    fn leaky_relu_keeps_the_positive_part_and_scales_the_rest() -> Result<()> {
        let x = Tensor::new(&[-2f32, -0., 0., 3., f32::NAN], &Device::Cpu)?;
        let y = leaky_relu(&x, 0.25)?.to_vec1::<f32>()?;
        assert_eq!(y[..4], [-0.5, 0., 0., 3.]);
        assert!(y[4].is_nan(), "a NaN must not be hidden");
        assert!(leaky_relu(&x, -0.1).is_err());
        Ok(())
    }

    #[test]
    fn gradients_agree_with_finite_differences() -> Result<()> {
        let x = values(&[3, 4, 5], 1)?;
        check_gradients(std::slice::from_ref(&x), |v| leaky_relu(&v[0], 0.2)?.sqr())?;
        check_gradients(&[(x * 4.)?], |v| softplus(&v[0])?.sqr())
    }

    #[test]
    fn softplus_is_right_at_both_ends() -> Result<()> {
        let x = Tensor::new(&[-1000f32, -20., 0., 20., 1000.], &Device::Cpu)?;
        let y = softplus(&x)?.to_vec1::<f32>()?;
        assert_eq!(y, [0., (-20f32).exp(), std::f32::consts::LN_2, 20., 1000.]);
        let x = candle_core::Var::from_tensor(&x)?;
        let g = softplus(&x)?.sum_all()?.backward()?;
        let g = g.get(&x).expect("a gradient").to_vec1::<f32>()?;
        assert_eq!((g[0], g[2], g[4]), (0., 0.5, 1.));
        assert!(softplus(&Tensor::new(f32::NAN, &Device::Cpu)?)?.to_scalar::<f32>()?.is_nan());
        Ok(())
    }

    #[test]
    fn integers_are_refused() -> Result<()> {
        let x = Tensor::zeros(3, DType::U32, &Device::Cpu)?;
        let error = leaky_relu(&x, 0.).expect_err("integers").to_string();
        assert!(error.contains("f32 or f64"), "{error}");
        Ok(())
    }
}
