//! The functions and their derivatives of one number.

use super::super::math::Elementary;
use super::super::real;

/// One of the functions. All of its methods are to be `#[inline(always)]`.
pub(super) trait Curve: Copy + Send + Sync + 'static {
    const NAME: &str;
    /// Its number in the GPU's kernels.
    const KERNEL: i32;

    /// What the GPU's kernels get beside the elements.
    fn parameter(self) -> f64 {
        0.
    }

    /// `f(x)`.
    fn value<T: Elementary>(self, x: T) -> T;

    /// `f'(x)`.
    fn slope<T: Elementary>(self, x: T) -> T;

    /// `f''(x)`.
    fn curvature<T: Elementary>(self, x: T) -> T;
}

#[derive(Clone, Copy)]
pub(super) struct LeakyRelu {
    pub slope: f64,
}

impl Curve for LeakyRelu {
    const NAME: &str = "leaky-relu";
    const KERNEL: i32 = 0;

    fn parameter(self) -> f64 {
        self.slope
    }

    #[inline(always)]
    fn value<T: Elementary>(self, x: T) -> T {
        if x < T::zero() { real::<T>(self.slope) * x } else { x }
    }

    #[inline(always)]
    fn slope<T: Elementary>(self, x: T) -> T {
        if x > T::zero() { T::one() } else { real(self.slope) }
    }

    #[inline(always)]
    fn curvature<T: Elementary>(self, _: T) -> T {
        T::zero()
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Curve for Tanh {
    const NAME: &str = "tanh";
    const KERNEL: i32 = 1;

    #[inline(always)]
    fn value<T: Elementary>(self, x: T) -> T {
        x.tanh_odd()
    }

    #[inline(always)]
    fn slope<T: Elementary>(self, x: T) -> T {
        let y = x.tanh_odd();
        T::one() - y * y
    }

    #[inline(always)]
    fn curvature<T: Elementary>(self, x: T) -> T {
        let y = x.tanh_odd();
        real::<T>(-2.) * y * (T::one() - y * y)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Logistic;

impl Curve for Logistic {
    const NAME: &str = "logistic";
    const KERNEL: i32 = 2;

    #[inline(always)]
    fn value<T: Elementary>(self, x: T) -> T {
        x.logistic()
    }

    #[inline(always)]
    fn slope<T: Elementary>(self, x: T) -> T {
        x.logistic_slope()
    }

    /// With `s` the logistic function, `s'' = s' (1 - 2 s) = -s' tanh(x / 2)`.
    #[inline(always)]
    fn curvature<T: Elementary>(self, x: T) -> T {
        -x.logistic_slope() * (x * real(0.5)).tanh_odd()
    }
}

#[derive(Clone, Copy)]
pub(super) struct Softplus;

impl Curve for Softplus {
    const NAME: &str = "softplus";
    const KERNEL: i32 = 3;

    #[inline(always)]
    fn value<T: Elementary>(self, x: T) -> T {
        x.softplus()
    }

    #[inline(always)]
    fn slope<T: Elementary>(self, x: T) -> T {
        x.logistic()
    }

    #[inline(always)]
    fn curvature<T: Elementary>(self, x: T) -> T {
        x.logistic_slope()
    }
}

#[derive(Clone, Copy)]
pub(super) struct Silu;

impl Curve for Silu {
    const NAME: &str = "silu";
    const KERNEL: i32 = 4;

    #[inline(always)]
    fn value<T: Elementary>(self, x: T) -> T {
        x * x.logistic()
    }

    #[inline(always)]
    fn slope<T: Elementary>(self, x: T) -> T {
        x.logistic() + x * x.logistic_slope()
    }

    /// `f'' = 2 s' + x s'' = s' (2 - x tanh(x / 2))`.
    #[inline(always)]
    fn curvature<T: Elementary>(self, x: T) -> T {
        x.logistic_slope() * (real::<T>(2.) - x * (x * real(0.5)).tanh_odd())
    }
}

#[derive(Clone, Copy)]
pub(super) struct Square;

impl Curve for Square {
    const NAME: &str = "square";
    const KERNEL: i32 = 5;

    #[inline(always)]
    fn value<T: Elementary>(self, x: T) -> T {
        x * x
    }

    #[inline(always)]
    fn slope<T: Elementary>(self, x: T) -> T {
        x + x
    }

    #[inline(always)]
    fn curvature<T: Elementary>(self, _: T) -> T {
        real(2.)
    }
}

#[derive(Clone, Copy)]
pub(super) struct RootReciprocal {
    pub eps: f64,
}

impl RootReciprocal {
    /// `1 / (x + eps)`, and its root.
    #[inline(always)]
    fn powers<T: Elementary>(self, x: T) -> [T; 2] {
        let reciprocal = (x + real(self.eps)).recip();
        [reciprocal, reciprocal.sqrt()]
    }
}

impl Curve for RootReciprocal {
    const NAME: &str = "root-reciprocal";
    const KERNEL: i32 = 6;

    fn parameter(self) -> f64 {
        self.eps
    }

    #[inline(always)]
    fn value<T: Elementary>(self, x: T) -> T {
        self.powers(x)[1]
    }

    #[inline(always)]
    fn slope<T: Elementary>(self, x: T) -> T {
        let [reciprocal, root] = self.powers(x);
        real::<T>(-0.5) * reciprocal * root
    }

    #[inline(always)]
    fn curvature<T: Elementary>(self, x: T) -> T {
        let [reciprocal, root] = self.powers(x);
        real::<T>(0.75) * reciprocal * reciprocal * root
    }
}
