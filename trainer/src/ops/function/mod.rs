//! Functions of one number with their first and second derivatives, element by element.

mod curves;
#[cfg(test)]
mod tests;

use super::map::{Map, binary, ternary, unary};
use super::math::Elementary;
use candle_core::{Result, Tensor, bail};
use curves::{Curve, LeakyRelu, Logistic, RootReciprocal, Silu, Softplus, Square, Tanh};

/// A function of every element of a tensor, of any shape. NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `max(x, 0) + slope * min(x, 0)`. Its derivative at 0 is the slope.
    LeakyRelu {
        /// Finite and not negative: the sign of the result must be that of the argument.
        slope: f64,
    },
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`, accurate at both ends.
    Logistic,
    /// `log(1 + exp(x))`, finite and accurate for every finite `x`.
    Softplus,
    /// The sigmoid linear unit, `x * logistic(x)` (Elfwing et al., 2018; also known as swish).
    Silu,
    /// `x^2`.
    Square,
    /// `1 / sqrt(x + eps)`, what a variance or a sum of squares is normalised by.
    RootReciprocal {
        /// Finite and not negative.
        eps: f64,
    },
}

/// Calls `$body` with `$f` standing for the function, of a type of its own: each loop is compiled for one function.
macro_rules! with_curve {
    ($function:expr, $f:ident => $body:expr) => {
        match $function {
            Function::LeakyRelu { slope } => {
                let $f = LeakyRelu { slope };
                $body
            }
            Function::Tanh => {
                let $f = Tanh;
                $body
            }
            Function::Logistic => {
                let $f = Logistic;
                $body
            }
            Function::Softplus => {
                let $f = Softplus;
                $body
            }
            Function::Silu => {
                let $f = Silu;
                $body
            }
            Function::Square => {
                let $f = Square;
                $body
            }
            Function::RootReciprocal { eps } => {
                let $f = RootReciprocal { eps };
                $body
            }
        }
    };
}
impl Function {
    /// `max(x, 0)`.
    pub const RELU: Self = Self::LeakyRelu { slope: 0. };

    /// `f(x)`.
    ///
    /// # Errors
    /// A slope or an eps that is negative or not finite; element types other than `f32` and `f64`.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        self.check()?;
        with_curve!(self, f => unary(x, Value(f)))
    }

    /// `f'(x) grad`: the gradient with respect to `x`, from that of the result; also how a tangent passes.
    ///
    /// # Errors
    /// Shapes that differ, and as [`Self::apply`].
    pub fn backward(self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        self.check()?;
        with_curve!(self, f => binary(x, grad, Slope(f)))
    }

    /// `f''(x) a b`: the gradient with respect to `x` of `<a, f'(x) b>`, the first derivative along `b`. None where that is
    /// zero almost everywhere.
    ///
    /// # Errors
    /// As [`Self::backward`].
    pub fn second(self, x: &Tensor, a: &Tensor, b: &Tensor) -> Result<Option<Tensor>> {
        self.check()?;
        match self {
            Self::LeakyRelu { .. } => Ok(None),
            _ => with_curve!(self, f => ternary(x, a, b, Curvature(f))).map(Some),
        }
    }

    fn check(self) -> Result<()> {
        match self {
            Self::LeakyRelu { slope } if !(slope.is_finite() && slope >= 0.) => {
                bail!("leaky-relu: the slope must be finite and not negative, got {slope}")
            }
            Self::RootReciprocal { eps } if !(eps.is_finite() && eps >= 0.) => {
                bail!("root-reciprocal: eps must be finite and not negative, got {eps}")
            }
            _ => Ok(()),
        }
    }
}

macro_rules! derivative {
    ($name:ident, $n:literal, |$f:ident, $x:pat_param| $at:expr) => {
        #[derive(Clone, Copy)]
        struct $name<C>(C);

        impl<C: Curve> Map<$n> for $name<C> {
            const NAME: &str = C::NAME;
            const KERNEL: i32 = C::KERNEL;

            #[inline(always)]
            fn at<T: Elementary>(self, $x: [T; $n]) -> T {
                let $f = self.0;
                $at
            }

            fn parameter(self) -> f64 {
                self.0.parameter()
            }
        }
    };
}
derivative!(Value, 1, |f, [x]| f.value(x));
derivative!(Slope, 2, |f, [x, g]| g * f.slope(x));
derivative!(Curvature, 3, |f, [x, a, b]| a * b * f.curvature(x));
