//! What a layer does with its result while it is in the cache: bias and activation; and the way back.

use super::map::{Map, binary, ternary};
use super::math::Elementary;
use super::{Function, channel_sum, real, vectorised};
use candle_core::{Result, Tensor, bail};

/// The function that is applied to every element of a layer's result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(x, 0) + slope * min(x, 0)`, slope >= 0; 0 is the ReLU.
    LeakyRelu(f64),
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// `max(x, 0)`.
    pub const RELU: Self = Self::LeakyRelu(0.);

    /// The function of every element.
    ///
    /// # Errors
    /// Element types other than `f32` and `f64`.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::None => Ok(x.clone()),
            Self::LeakyRelu(slope) => Function::LeakyRelu { slope }.apply(x),
            Self::Tanh => Function::Tanh.apply(x),
        }
    }

    /// The gradient with respect to the input, from the result `y` and the gradient `grad` with respect to it. All of these
    /// functions tell their derivative by their result, so nothing but the result needs to be kept.
    ///
    /// # Errors
    /// Shapes that differ, element types other than `f32` and `f64`.
    pub fn backward(self, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        match self {
            Self::None => grad.contiguous(),
            Self::LeakyRelu(slope) => binary(y, grad, LeakyReluGrad { slope }),
            Self::Tanh => binary(y, grad, TanhGrad),
        }
    }

    /// With `y = s(a)` and its tangent `tangent_y = s'(a) da`: the gradient of `<grad, s'(a) da>` with respect to `a`, where
    /// `da` is constant. None where that is zero almost everywhere.
    ///
    /// # Errors
    /// As [`Self::backward`].
    pub fn second(self, y: &Tensor, tangent_y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        match self {
            Self::None | Self::LeakyRelu(_) => Ok(None),
            Self::Tanh => ternary(y, tangent_y, grad, TanhSecond).map(Some),
        }
    }

    /// Replaces every element by its activation.
    #[inline(always)]
    pub(super) fn apply<T: Elementary>(self, values: &mut [T]) {
        match self {
            Self::None => (),
            Self::LeakyRelu(slope) => {
                let slope = real::<T>(slope);
                // In this form a NaN stays one.
                values.iter_mut().for_each(|v| *v = if *v < T::zero() { slope * *v } else { *v });
            }
            Self::Tanh => values.iter_mut().for_each(|v| *v = v.tanh_odd()),
        }
    }
}

/// `(y, g) -> g f'(x)`, where the sign of `y = f(x)` tells that of `x`.
#[derive(Clone, Copy)]
pub(super) struct LeakyReluGrad {
    pub slope: f64,
}

impl Map<2> for LeakyReluGrad {
    const NAME: &str = "leaky-relu-grad";
    const KERNEL: i32 = 7;

    fn parameter(self) -> f64 {
        self.slope
    }

    #[inline(always)]
    fn at<T: Elementary>(self, [y, g]: [T; 2]) -> T {
        if y > T::zero() { g } else { real::<T>(self.slope) * g }
    }
}

/// `(y, g) -> g (1 - y^2)`.
#[derive(Clone, Copy)]
pub(super) struct TanhGrad;

impl Map<2> for TanhGrad {
    const NAME: &str = "tanh-grad";
    const KERNEL: i32 = 8;

    #[inline(always)]
    fn at<T: Elementary>(self, [y, g]: [T; 2]) -> T {
        g * (T::one() - y * y)
    }
}

/// `(y, dy, g) -> -2 y dy g`: as `s'(a) = 1 - y^2`, the derivative of `g s'(a) da` is `-2 g y s'(a) da`.
#[derive(Clone, Copy)]
struct TanhSecond;

impl Map<3> for TanhSecond {
    const NAME: &str = "tanh-second";
    const KERNEL: i32 = 7;

    #[inline(always)]
    fn at<T: Elementary>(self, [y, dy, g]: [T; 3]) -> T {
        real::<T>(-2.) * y * dy * g
    }
}

/// Bias and activation of rows of channels.
pub(super) struct Epilogue<'a, T> {
    bias: &'a [T],
    activation: Activation,
}

impl<'a, T: Elementary> Epilogue<'a, T> {
    /// For results of `channels`; an empty bias is none.
    pub(super) fn new(op: &str, bias: &'a [T], channels: usize, activation: Activation) -> Result<Self> {
        if !bias.is_empty() && bias.len() != channels {
            bail!("{op}: {channels} channels take a bias of {channels}, got {}", bias.len())
        }
        match activation {
            Activation::LeakyRelu(slope) if slope.is_nan() || slope < 0. => {
                bail!("{op}: the slope of a leaky ReLU must not be negative, got {slope}")
            }
            _ => Ok(Self { bias, activation }),
        }
    }

    /// Adds the bias to every row of `values` and applies the activation.
    pub(super) fn apply(&self, values: &mut [T]) {
        vectorised(
            #[inline(always)]
            || {
                if !self.bias.is_empty() {
                    for row in values.chunks_exact_mut(self.bias.len()) {
                        row.iter_mut().zip(self.bias).for_each(|(v, &b)| *v += b);
                    }
                }
                self.activation.apply(values);
            },
        );
    }
}

/// The tensor that stands for no bias, beside a weight: no element of it, as a GPU has no memory of size 0.
pub(super) fn no_bias(weight: &Tensor) -> Result<Tensor> {
    weight.narrow(0, 0, 0)?.reshape(0)
}

/// The gradients of a layer with respect to input, weight and bias, as far as they were wanted: the others are never computed.
pub type LayerGradients = [Option<Tensor>; 3];

/// What is wanted of input and weight by these functions, and of the bias from the gradient before it was added.
pub(super) fn layer_gradients(
    [of_input, of_weight, of_bias]: [bool; 3],
    grad: &Tensor,
    input: impl FnOnce() -> Result<Tensor>,
    weight: impl FnOnce() -> Result<Tensor>,
) -> Result<LayerGradients> {
    let bias = of_bias.then(|| channel_sum(grad)).transpose()?;
    let weight = of_weight.then(weight).transpose()?;
    Ok([of_input.then(input).transpose()?, weight, bias])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_backward, device, values};

    #[test]
    fn derivatives_agree_with_finite_differences() -> Result<()> {
        let (x, da) = (values(&[3, 4, 5], 1)?, values(&[3, 4, 5], 2)?);
        for activation in [Activation::None, Activation::LeakyRelu(0.2), Activation::RELU, Activation::Tanh] {
            let forward = |x: &Tensor| {
                let mut y = x.flatten_all()?.to_vec1::<f64>()?;
                activation.apply(&mut y);
                Tensor::from_vec(y, x.shape(), &device())
            };
            println!("{activation:?}");
            check_backward(
                std::slice::from_ref(&x),
                |v| forward(&v[0]),
                |_, y, grad| Ok(vec![activation.backward(y, grad)?]),
            )?;
            // The tangent along `da`, as a function of the argument.
            check_backward(
                std::slice::from_ref(&x),
                |v| activation.backward(&forward(&v[0])?, &da),
                |v, tangent_y, grad| {
                    let second = activation.second(&forward(&v[0])?, tangent_y, grad)?;
                    assert_eq!(second.is_some(), activation == Activation::Tanh);
                    Ok(vec![second.map_or_else(|| x.zeros_like(), Ok)?])
                },
            )?;
        }
        Ok(())
    }

    #[test]
    fn a_nan_is_not_hidden_and_slopes_are_checked() -> Result<()> {
        let bias = [0f32, 1.];
        for activation in [Activation::RELU, Activation::LeakyRelu(0.2), Activation::Tanh] {
            let mut values = [f32::NAN, -1.];
            Epilogue::new("test", &bias, 2, activation)?.apply(&mut values);
            assert!(values[0].is_nan() && values[1] == 0., "{activation:?}");
        }
        assert!(Epilogue::new("test", &bias, 3, Activation::None).is_err());
        assert!(Epilogue::new("test", &bias, 2, Activation::LeakyRelu(-0.1)).is_err());
        Ok(())
    }
}
