//! Exponentials without branches or tables, so that the compiler vectorises the loops that call them.
//!
//! All of them stand on `exp` of numbers that are not positive: `x = n ln 2 + r` with `n` whole and `|r| <= ln 2 / 2`;
//! `exp(r)` is its Taylor series, cut off below the last bit, and `2^n` is written into the bits of the exponent.

use super::Real;

/// Elementary functions, right to a few units in the last place. NaN gives NaN.
pub(crate) trait Elementary: Real {
    /// `(2^n, exp(r) - 1)` for `x = n ln 2 + r <= 0`, where `2^n` is 0 if it would be below the smallest normal number.
    fn split(self) -> (Self, Self);

    /// `log(1 + x)` for `0 <= x <= 1`.
    fn ln_1p_unit(self) -> Self;

    /// `exp(x)` for `x <= 0`.
    #[inline(always)]
    fn exp_negative(self) -> Self {
        let (scale, rest) = self.split();
        scale + scale * rest
    }

    /// The hyperbolic tangent: odd, and exactly 1 where 1 is the nearest number.
    #[inline(always)]
    fn tanh_odd(self) -> Self {
        let (scale, rest) = (-(self.abs() + self.abs())).split();
        // exp(-2 |x|) - 1, without cancellation near 0.
        let t = scale * rest + (scale - Self::one());
        (-t / (t + Self::one() + Self::one())).copysign(self)
    }

    /// `1 / (1 + exp(-x))`, with every digit at both ends.
    #[inline(always)]
    fn logistic(self) -> Self {
        let e = (-self.abs()).exp_negative();
        let above = (Self::one() + e).recip();
        if self < Self::zero() { e * above } else { above }
    }

    /// The derivative of [`Elementary::logistic`], likewise.
    #[inline(always)]
    fn logistic_slope(self) -> Self {
        let e = (-self.abs()).exp_negative();
        let above = (Self::one() + e).recip();
        e * above * above
    }

    /// `log(1 + exp(x))`, finite for every finite `x`.
    #[inline(always)]
    fn softplus(self) -> Self {
        let positive = if self < Self::zero() { Self::zero() } else { self };
        positive + (-self.abs()).exp_negative().ln_1p_unit()
    }
}

/// `1 / 2!`, `1 / 3!` and so on: `exp(r) - 1 = r + r^2 (1 / 2! + r / 3! + ...)`.
const EXP: [f64; 12] = {
    let (mut out, mut k, mut factorial) = ([0.; 12], 0, 1.);
    while k < 12 {
        factorial *= (k + 2) as f64;
        out[k] = 1. / factorial;
        k += 1;
    }
    out
};

/// `1 / 3`, `1 / 5` and so on: `log(1 + x) = 2 s (1 + s^2 / 3 + s^4 / 5 + ...)` with `s = x / (2 + x)`.
const LOG: [f64; 16] = {
    let (mut out, mut k) = ([0.; 16], 0);
    while k < 16 {
        out[k] = 1. / (2 * k + 3) as f64;
        k += 1;
    }
    out
};

macro_rules! elementary {
    ($t:ident, $mantissa:literal, $bias:literal, ln_2: $high:expr, $low:expr, terms: $exp:literal, $log:literal) => {
        impl Elementary for $t {
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                // Added to a number, it leaves the nearest whole one in the lowest bits.
                const SHIFT: $t = 1.5 * (1u64 << $mantissa) as $t;
                const LOWEST: $t = -($bias as $t + 0.1) * std::$t::consts::LN_2;
                const SERIES: [$t; $exp] = {
                    let (mut out, mut k) = ([0.; $exp], 0);
                    while k < $exp {
                        out[k] = EXP[k] as $t;
                        k += 1;
                    }
                    out
                };
                let x = if self < LOWEST { LOWEST } else { self };
                let shifted = x * std::$t::consts::LOG2_E + SHIFT;
                let n = shifted - SHIFT;
                // ln 2 in two parts: the product with the first is exact.
                let r = (x - n * $high) - n * $low;
                let tail = SERIES.iter().rev().fold(0., |sum, term| sum * r + term);
                ($t::from_bits(shifted.to_bits().wrapping_add($bias) << $mantissa), r + r * r * tail)
            }

            #[inline(always)]
            fn ln_1p_unit(self) -> Self {
                const SERIES: [$t; $log] = {
                    let (mut out, mut k) = ([0.; $log], 0);
                    while k < $log {
                        out[k] = LOG[k] as $t;
                        k += 1;
                    }
                    out
                };
                let s = self / (2. + self);
                let square = s * s;
                let tail = SERIES.iter().rev().fold(0., |sum, term| sum * square + term);
                (s + s) + (s + s) * (square * tail)
            }
        }
    };
}

elementary!(f32, 23, 127, ln_2: 45_426. / 65_536., 1.428_606_8e-6, terms: 7, 7);
elementary!(f64, 52, 1023, ln_2: 762_123_384_785. / (1u64 << 40) as f64, 7.371_002_565_167_79e-13, terms: 12, 16);

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest distance between `f` and `exact`, in units in the last place of an `f32`, over numbers of all sizes.
    fn worst_f32(range: std::ops::RangeInclusive<f64>, f: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        numbers(range)
            .map(|x| error(f(x as f32).into(), exact((x as f32).into()), f32::EPSILON.into()))
            .fold(0., f64::max)
    }

    fn worst_f64(range: std::ops::RangeInclusive<f64>, f: fn(f64) -> f64, exact: fn(f64) -> f64) -> f64 {
        numbers(range).map(|x| error(f(x), exact(x), f64::EPSILON)).fold(0., f64::max)
    }

    fn error(value: f64, exact: f64, epsilon: f64) -> f64 {
        if value == exact { 0. } else { (value - exact).abs() / (exact.abs() * epsilon) }
    }

    /// Evenly spaced ones, and powers of ten down to 1e-30.
    fn numbers(range: std::ops::RangeInclusive<f64>) -> impl Iterator<Item = f64> {
        let (from, to) = range.into_inner();
        let even = (0..=20_000).map(move |i| from + (to - from) * i as f64 / 20_000.);
        let small = (0..300).flat_map(|i| [1., -1.].map(|sign| sign * 10f64.powf(-f64::from(i) / 10.)));
        even.chain(small.filter(move |x| (from..=to).contains(x)))
    }

    #[test]
    fn functions_are_right_to_a_few_units_in_the_last_place() {
        let logistic = |x: f64| if x < 0. { x.exp() / (1. + x.exp()) } else { 1. / (1. + (-x).exp()) };
        let slope = |x: f64| (-x.abs()).exp() / (1. + (-x.abs()).exp()).powi(2);
        let softplus = |x: f64| x.max(0.) + (-x.abs()).exp().ln_1p();
        let single = [
            ("exp", worst_f32(-87. ..=0., f32::exp_negative, f64::exp)),
            ("log", worst_f32(0. ..=1., f32::ln_1p_unit, f64::ln_1p)),
            ("tanh", worst_f32(-20. ..=20., f32::tanh_odd, f64::tanh)),
            ("logistic", worst_f32(-86. ..=86., f32::logistic, logistic)),
            ("slope", worst_f32(-86. ..=86., f32::logistic_slope, slope)),
            ("softplus", worst_f32(-86. ..=200., f32::softplus, softplus)),
        ];
        let double = [
            ("exp", worst_f64(-708. ..=0., f64::exp_negative, f64::exp)),
            ("log", worst_f64(0. ..=1., f64::ln_1p_unit, f64::ln_1p)),
            ("tanh", worst_f64(-40. ..=40., f64::tanh_odd, f64::tanh)),
            ("logistic", worst_f64(-700. ..=700., f64::logistic, logistic)),
            ("slope", worst_f64(-700. ..=700., f64::logistic_slope, slope)),
            ("softplus", worst_f64(-700. ..=1000., f64::softplus, softplus)),
        ];
        for (name, worst) in single.into_iter().chain(double) {
            println!("{name}: {worst}");
            assert!(worst <= 4., "{name}: {worst} units in the last place");
        }
    }

    #[test]
    fn the_ends_are_exact_and_nan_stays() {
        for (x, y) in [(0f32, 0f32), (-0., -0.), (10., 1.), (-10., -1.), (1e30, 1.), (f32::NEG_INFINITY, -1.)] {
            assert_eq!(x.tanh_odd().to_bits(), y.to_bits(), "tanh {x}");
            assert_eq!(f64::from(2. * x).tanh_odd().to_bits(), f64::from(y).to_bits(), "tanh {x}");
        }
        assert_eq!((1e-42f32.tanh_odd(), 5e-324f64.tanh_odd()), (1e-42, 5e-324));
        assert_eq!([-1000f32, 0., 1000.].map(Elementary::logistic), [0., 0.5, 1.]);
        assert_eq!([-1000f32, 0., 1000.].map(Elementary::logistic_slope), [0., 0.25, 0.]);
        assert_eq!([-1000f64, 0., 1000.].map(Elementary::softplus), [0., std::f64::consts::LN_2, 1000.]);
        assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(Elementary::softplus), [0., f32::INFINITY]);
        for f in [f32::exp_negative, f32::ln_1p_unit, f32::tanh_odd, f32::logistic, f32::logistic_slope, f32::softplus]
        {
            assert!(f(f32::NAN).is_nan());
        }
        for f in [f64::exp_negative, f64::ln_1p_unit, f64::tanh_odd, f64::logistic, f64::logistic_slope, f64::softplus]
        {
            assert!(f(f64::NAN).is_nan());
        }
    }

    /// Rounding may break it by a bit only if a function is worse than it should be.
    #[test]
    fn tanh_never_leaves_the_unit_interval() {
        assert!(numbers(-30. ..=30.).all(|x| (x as f32).tanh_odd().abs() <= 1. && x.tanh_odd().abs() <= 1.));
    }
}
