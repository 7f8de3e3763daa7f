//! Activations. Each derivative is an operator of its own, so that derivatives of any order exist.

use super::map::{Binary, Unary, binary, unary};
use super::math::Elementary;
use super::real;
use candle_core::{Result, Tensor, bail};

/// `max(x, 0)`. Any shape; NaN stays NaN. The derivative at 0 is 0.
///
/// # Errors
/// Element types other than `f32` and `f64`.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    leaky_relu(x, 0.)
}

/// `max(x, 0) + slope * min(x, 0)`. Any shape; NaN stays NaN. The derivative at 0 is the slope.
///
/// # Errors
/// A slope that is negative or not finite (the sign of the output must be that of the input), element types other than
/// `f32` and `f64`.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    if !(slope.is_finite() && slope >= 0.) {
        bail!("leaky-relu: the slope must be finite and not negative, got {slope}")
    }
    unary(x, LeakyRelu { slope })
}

/// The gradient of [`leaky_relu`] with respect to its input, from its output `y` and the gradient of that.
///
/// # Errors
/// Shapes that differ, element types other than `f32` and `f64`.
pub fn leaky_relu_grad(y: &Tensor, grad: &Tensor, slope: f64) -> Result<Tensor> {
    // Constant in `y` almost everywhere: candle must not look for a gradient there.
    binary(&y.detach(), grad, LeakyReluGrad { slope })
}

/// The hyperbolic tangent. Any shape; NaN stays NaN.
///
/// # Errors
/// Element types other than `f32` and `f64`.
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    unary(x, Tanh)
}

/// The gradient of [`tanh`] with respect to its input, from its output `y` and the gradient of that.
///
/// # Errors
/// Shapes that differ, element types other than `f32` and `f64`.
pub fn tanh_grad(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    binary(y, grad, TanhGrad)
}

/// The logistic function `1 / (1 + exp(-x))`, accurate at both ends. Any shape; NaN stays NaN.
///
/// # Errors
/// Element types other than `f32` and `f64`.
pub fn logistic(x: &Tensor) -> Result<Tensor> {
    unary(x, Logistic)
}

/// `log(1 + exp(x))`, finite and accurate for every finite `x`, NaN for NaN. Any shape. Its derivative is [`logistic`].
///
/// # Errors
/// Element types other than `f32` and `f64`.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    unary(x, Softplus)
}

/// The sigmoid linear unit, `x * logistic(x)` (Elfwing et al., 2018; also known as swish). Any shape.
///
/// # Errors
/// Element types other than `f32` and `f64`.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    unary(x, Silu)
}

/// The gradient of [`silu`] with respect to its input `x`, from the gradient of its output.
///
/// # Errors
/// Shapes that differ, element types other than `f32` and `f64`.
pub fn silu_grad(x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    binary(x, grad, SiluGrad)
}

#[derive(Clone, Copy)]
struct LeakyRelu {
    slope: f64,
}

impl Unary for LeakyRelu {
    const NAME: &str = "leaky-relu";
    const KERNEL: i32 = 0;

    fn parameter(self) -> f64 {
        self.slope
    }

    #[inline(always)]
    fn at<T: Elementary>(self, x: T) -> T {
        if x < T::zero() { real::<T>(self.slope) * x } else { x }
    }

    fn gradient(self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        leaky_relu_grad(y, grad, self.slope)
    }
}

/// `(y, g) -> g f'(x)`, where the sign of `y = f(x)` tells that of `x`. Its own gradient is itself.
#[derive(Clone, Copy)]
pub(super) struct LeakyReluGrad {
    pub slope: f64,
}

impl Binary for LeakyReluGrad {
    const NAME: &str = "leaky-relu-grad";
    const KERNEL: i32 = 0;

    fn parameter(self) -> f64 {
        self.slope
    }

    #[inline(always)]
    fn at<T: Elementary>(self, y: T, g: T) -> T {
        if y > T::zero() { g } else { real::<T>(self.slope) * g }
    }

    fn gradients(self, y: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
        Ok((None, leaky_relu_grad(y, grad, self.slope)?))
    }
}

#[derive(Clone, Copy)]
struct Tanh;

impl Unary for Tanh {
    const NAME: &str = "tanh";
    const KERNEL: i32 = 1;

    #[inline(always)]
    fn at<T: Elementary>(self, x: T) -> T {
        x.tanh_odd()
    }

    fn gradient(self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        tanh_grad(y, grad)
    }
}

/// `(y, g) -> g (1 - y^2)`.
#[derive(Clone, Copy)]
pub(super) struct TanhGrad;

impl Binary for TanhGrad {
    const NAME: &str = "tanh-grad";
    const KERNEL: i32 = 1;

    #[inline(always)]
    fn at<T: Elementary>(self, y: T, g: T) -> T {
        g * (T::one() - y * y)
    }

    fn gradients(self, y: &Tensor, g: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
        Ok((Some((((grad * g)? * y)? * -2.)?), tanh_grad(y, grad)?))
    }
}

#[derive(Clone, Copy)]
struct Logistic;

impl Unary for Logistic {
    const NAME: &str = "logistic";
    const KERNEL: i32 = 2;

    #[inline(always)]
    fn at<T: Elementary>(self, x: T) -> T {
        x.logistic()
    }

    fn gradient(self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Tensor> {
        binary(x, grad, LogisticGrad)
    }
}

/// `(x, g) -> g s'(x)` with the logistic function `s`, for which `s'' = -s' tanh(x / 2)`.
#[derive(Clone, Copy)]
struct LogisticGrad;

impl Binary for LogisticGrad {
    const NAME: &str = "logistic-grad";
    const KERNEL: i32 = 2;

    #[inline(always)]
    fn at<T: Elementary>(self, x: T, g: T) -> T {
        g * x.logistic_slope()
    }

    fn gradients(self, x: &Tensor, g: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
        let second = (binary(x, &(grad * g)?, LogisticGrad)? * tanh(&(x * 0.5)?)?)?.neg()?;
        Ok((Some(second), binary(x, grad, LogisticGrad)?))
    }
}

#[derive(Clone, Copy)]
struct Softplus;

impl Unary for Softplus {
    const NAME: &str = "softplus";
    const KERNEL: i32 = 3;

    #[inline(always)]
    fn at<T: Elementary>(self, x: T) -> T {
        x.softplus()
    }

    fn gradient(self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Tensor> {
        grad * logistic(x)?
    }
}

#[derive(Clone, Copy)]
struct Silu;

impl Unary for Silu {
    const NAME: &str = "silu";
    const KERNEL: i32 = 4;

    #[inline(always)]
    fn at<T: Elementary>(self, x: T) -> T {
        x * x.logistic()
    }

    fn gradient(self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Tensor> {
        silu_grad(x, grad)
    }
}

/// `(x, g) -> g f'(x)` with `f(x) = x s(x)`: `f' = s + x s'` and `f'' = 2 s' + x s'' = s' (2 - x tanh(x / 2))`.
#[derive(Clone, Copy)]
struct SiluGrad;

impl Binary for SiluGrad {
    const NAME: &str = "silu-grad";
    const KERNEL: i32 = 3;

    #[inline(always)]
    fn at<T: Elementary>(self, x: T, g: T) -> T {
        g * (x.logistic() + x * x.logistic_slope())
    }

    fn gradients(self, x: &Tensor, g: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Tensor)> {
        let factor = (2. - (x * tanh(&(x * 0.5)?)?)?)?;
        Ok((Some((binary(x, &(grad * g)?, LogisticGrad)? * factor)?), silu_grad(x, grad)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, check_order, check_second_order, device, values};
    use candle_core::{DType, Var};

    type Activation = fn(&Tensor) -> Result<Tensor>;

    /// Every activation, and how `std` computes it.
    /// Name, operator, and the function of one number.
    type Case = (&'static str, Activation, fn(f64) -> f64);

    const ACTIVATIONS: [Case; 6] = [
        ("relu", relu, |x| x.max(0.)),
        ("leaky-relu", |x| leaky_relu(x, 0.2), |x| if x < 0. { 0.2 * x } else { x }),
        ("tanh", tanh, f64::tanh),
        ("logistic", logistic, |x| 1. / (1. + (-x).exp())),
        ("softplus", softplus, |x| x.max(0.) + (-x.abs()).exp().ln_1p()),
        ("silu", silu, |x| x / (1. + (-x).exp())),
    ];

    #[test]
    fn activations_are_those_of_the_standard_library() -> Result<()> {
        for shape in [&[1][..], &[7], &[3, 4, 5, 6], &[1, 181, 181, 1]] {
            let x = (values(shape, 1)? * 10.)?;
            for (name, activation, exact) in ACTIVATIONS {
                let expected: Vec<f64> = x.flatten_all()?.to_vec1::<f64>()?.into_iter().map(exact).collect();
                let expected = Tensor::from_vec(expected, shape, &device())?;
                println!("{name} {shape:?}");
                assert_close(&activation(&x)?, &expected, 1e-13);
                assert_close(&activation(&x.to_dtype(DType::F32)?)?, &expected, 1e-5);
            }
        }
        Ok(())
    }

    #[test]
    fn transposed_tensors_are_taken() -> Result<()> {
        let x = values(&[5, 3], 1)?;
        for (_, activation, _) in ACTIVATIONS {
            assert_close(&activation(&x.t()?)?, &activation(&x)?.t()?, 1e-15);
        }
        check_gradients(&[x], |v| tanh(&v[0].t()?)?.sqr())
    }

    #[test]
    fn nan_is_not_hidden() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let x = Tensor::new(&[f32::NAN, 1.], &device())?.to_dtype(dtype)?;
            for (name, activation, _) in ACTIVATIONS {
                let y = activation(&x)?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
                assert!(y[0].is_nan() && y[1].is_finite(), "{name}: {y:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn leaky_relu_keeps_the_positive_part_and_scales_the_rest() -> Result<()> {
        let x = Tensor::new(&[-2f32, -0., 0., 3.], &device())?;
        assert_eq!(leaky_relu(&x, 0.25)?.to_vec1::<f32>()?, [-0.5, 0., 0., 3.]);
        for slope in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(leaky_relu(&x, slope).is_err(), "{slope}");
        }
        Ok(())
    }

    #[test]
    fn derivatives_agree_with_finite_differences() -> Result<()> {
        let x = (values(&[3, 4, 5], 1)? * 2.)?;
        for (name, activation, _) in ACTIVATIONS {
            println!("{name}");
            // Squared, so that derivatives of higher order pass through the gradient's own graph, too.
            let f = |v: &[Tensor]| activation(&v[0])?.sqr();
            check_gradients(std::slice::from_ref(&x), f)?;
            check_second_order(std::slice::from_ref(&x), f)?;
            check_order(3, &[x.narrow(0, 0, 1)?], f)?;
        }
        Ok(())
    }

    #[test]
    fn gradients_agree_with_those_of_candle() -> Result<()> {
        let x = Var::from_tensor(&(values(&[4, 50], 2)? * 3.)?)?;
        let pairs: [(Activation, Activation); 3] = [(tanh, Tensor::tanh), (silu, Tensor::silu), (relu, Tensor::relu)];
        for (ours, theirs) in pairs {
            let grad = |f: Activation| -> Result<Tensor> {
                let grads = f(&x)?.sqr()?.sum_all()?.backward()?;
                Ok(grads.get(&x).expect("a gradient").clone())
            };
            assert_close(&grad(ours)?, &grad(theirs)?, 1e-12);
        }
        Ok(())
    }

    #[test]
    fn logistic_functions_keep_their_digits_at_both_ends() -> Result<()> {
        let x = Var::from_tensor(&Tensor::new(&[-1000f32, -20., 0., 20., 1000.], &device())?)?;
        let y = softplus(&x)?;
        let small = f64::from((-20f32).exp());
        let relative = |value: f32, exact: f64| (f64::from(value) / exact - 1.).abs();
        let values = y.to_vec1::<f32>()?;
        assert_eq!([values[0], values[2], values[3], values[4]], [0., std::f32::consts::LN_2, 20., 1000.]);
        assert!(relative(values[1], small) < 1e-6, "{values:?}");
        let grads = y.sum_all()?.backward()?;
        let slopes = grads.get(&x).expect("a gradient").to_vec1::<f32>()?;
        assert_eq!([slopes[0], slopes[2], slopes[4]], [0., 0.5, 1.]);
        assert!(relative(slopes[1], small) < 1e-6, "{slopes:?}");
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let x = Tensor::zeros(3, DType::U32, &device())?;
        let error = relu(&x).expect_err("integers").to_string();
        assert!(error.contains("takes f32"), "{error}");
        let error = tanh_grad(&values(&[3], 1)?, &values(&[4], 1)?).expect_err("two shapes").to_string();
        assert!(error.contains("one shape"), "{error}");
        Ok(())
    }
}
