//! Latents: a seed and an index make the same normal numbers on every machine.
//!
//! ChaCha with 8 rounds is keyed by the seed and run on the stream `index`, so any latent is reached without drawing those
//! before it. Each 32 random bits become one uniform number in the middle of its 2^-32 wide interval, and that one normal
//! number through the inverse of the normal distribution: algorithm AS 241, PPND16 (M. J. Wichura, Applied Statistics 37,
//! 1988, pages 477-484), accurate to about 1e-16. It needs nothing but arithmetic, a square root and a logarithm; the
//! last comes from `libm`, written in Rust, so no platform's own mathematics enters. Values lie within about +-6.3.

use half::f16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
}

/// The types that latents come in: `f32` and `f16`.
pub trait Element: sealed::Sealed + Copy {
    /// The nearest value of this type.
    fn from_f32(value: f32) -> Self;
}

impl Element for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Element for f16 {
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// Fills `out`, one latent, with the standard normal numbers of (`seed`, `index`).
///
/// The first numbers do not depend on the length of `out`. Indices that run past `u64::MAX` begin again at 0.
pub fn fill_latent<T: Element>(seed: u64, index: u64, out: &mut [T]) {
    fill(seed, index, out, inverse_normal);
}

/// As [`fill_latent`], from the normal distribution cut off at `threshold` on both sides (the truncation trick: A. Brock
/// and others, "Large scale GAN training for high fidelity natural image synthesis", 2019): more typical images, less
/// variety. Every number grows with that of the whole distribution: lowering the threshold moves an image, it does not
/// replace it. `threshold` is in standard deviations; what is not greater than 0 is none.
pub fn fill_truncated<T: Element>(seed: u64, index: u64, threshold: f32, out: &mut [T]) {
    if threshold.is_nan() || threshold <= 0. {
        return fill_latent(seed, index, out);
    }
    let threshold = f64::from(threshold);
    // Below it lies this part of the distribution, and above its opposite as much.
    let tail = 0.5 * libm::erfc(threshold / std::f64::consts::SQRT_2);
    let inside = 1. - 2. * tail;
    fill(seed, index, out, |p| inverse_normal(tail + p * inside).clamp(-threshold, threshold));
}

fn fill<T: Element>(seed: u64, index: u64, out: &mut [T], normal: impl Fn(f64) -> f64) {
    let mut key = *b"\0\0\0\0\0\0\0\0kiln latent, format 1   ";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);
    for value in out {
        let uniform = (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.;
        *value = T::from_f32(normal(uniform) as f32);
    }
}

/// Spherical interpolation (K. Shoemake, "Animating rotation with quaternion curves", 1985) from `a` (at `t` = 0) to `b`
/// (at `t` = 1) into `out`: along the arc that normal latents lie near, where a straight line would pass through shorter,
/// untypical ones. `t` is 0 to 1; all slices have one length.
pub fn walk<T: Element>(a: &[f32], b: &[f32], t: f64, out: &mut [T]) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    let angle = libm::acos((dot(a, b) / lengths).clamp(-1., 1.));
    let sine = libm::sin(angle);
    // Where they point the same way, or one is 0, the arc is a straight line.
    let straight = sine.is_nan() || sine < 1e-6;
    let (from, to) = match straight {
        true => (1. - t, t),
        false => (libm::sin((1. - t) * angle) / sine, libm::sin(t * angle) / sine),
    };
    for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = T::from_f32((from * f64::from(a) + to * f64::from(b)) as f32);
    }
}

/// The number below which a standard normal variable lies with probability `p`, 0 < p < 1.
fn inverse_normal(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * ratio(r, &A, &B);
    }
    let tail = if q < 0. { p } else { 1. - p };
    let r = (-libm::log(tail)).sqrt();
    let value = if r <= 5. { ratio(r - 1.6, &C, &D) } else { ratio(r - 5., &E, &F) };
    if q < 0. { -value } else { value }
}

/// Quotient of two polynomials, coefficients from the constant on.
fn ratio(r: f64, numerator: &[f64; 8], denominator: &[f64; 8]) -> f64 {
    let polynomial = |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0., |sum, c| sum * r + c);
    polynomial(numerator) / polynomial(denominator)
}

// The coefficients of AS 241, with all the digits that it prints.
#[allow(clippy::excessive_precision)]
const A: [f64; 8] = [
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
];
#[allow(clippy::excessive_precision)]
const B: [f64; 8] = [
    1.,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
];
#[allow(clippy::excessive_precision)]
const C: [f64; 8] = [
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
];
#[allow(clippy::excessive_precision)]
const D: [f64; 8] = [
    1.,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
];
#[allow(clippy::excessive_precision)]
const E: [f64; 8] = [
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
];
#[allow(clippy::excessive_precision)]
const F: [f64; 8] = [
    1.,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latent(seed: u64, index: u64, n: usize) -> Vec<f32> {
        let mut out = vec![0f32; n];
        fill_latent(seed, index, &mut out);
        out
    }

    #[test]
    fn the_inverse_inverts_the_distribution() {
        // Against libm's complementary error function, an implementation of its own.
        let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        for i in 1..20_000 {
            let p = f64::from(i) / 20_000.;
            assert!((below(inverse_normal(p)) / p - 1.).abs() < 1e-13, "{p}");
        }
        for exponent in 5..33 {
            let p = 2f64.powi(-exponent);
            assert!((below(inverse_normal(p)) / p - 1.).abs() < 1e-12, "{p}");
            assert_eq!(inverse_normal(1. - p), -inverse_normal(p), "symmetric");
        }
    }

    #[test]
    fn the_numbers_are_normal() {
        let all: Vec<f64> = (0..1000).flat_map(|i| latent(42, i, 100)).map(f64::from).collect();
        let n = all.len() as f64;
        let moment = |k: i32| all.iter().map(|x| x.powi(k)).sum::<f64>() / n;
        // Within five standard errors of the moments 0, 1, 0, 3.
        assert!(moment(1).abs() < 5. * (1. / n).sqrt());
        assert!((moment(2) - 1.).abs() < 5. * (2. / n).sqrt());
        assert!(moment(3).abs() < 5. * (15. / n).sqrt());
        assert!((moment(4) - 3.).abs() < 5. * (96. / n).sqrt());
    }

    #[test]
    fn values_are_the_same_on_every_platform() {
        let bits = |seed, index| latent(seed, index, 4).into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(0, 0), GOLDEN_0_0);
        assert_eq!(bits(7, u64::MAX), GOLDEN_7_MAX);
    }

    #[test]
    fn a_threshold_that_is_none_cuts_nothing_off() {
        let mut whole = [0f32; 9];
        fill_latent(3, 4, &mut whole);
        for threshold in [0., -1., f32::NAN, f32::NEG_INFINITY, f32::INFINITY] {
            let mut cut = [0f32; 9];
            fill_truncated(3, 4, threshold, &mut cut);
            assert!(cut.iter().zip(whole).all(|(a, b)| (a - b).abs() < 1e-6), "{threshold}: {cut:?}");
        }
    }

    #[test]
    fn truncated_numbers_are_those_of_the_distribution_cut_off() {
        let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        for threshold in [0.1f32, 0.7, 2., 5.] {
            let (mut cut, mut last) = (vec![0f32; 100], f64::NEG_INFINITY);
            let mut pairs = Vec::new();
            for index in 0..200 {
                fill_truncated(3, index, threshold, &mut cut);
                pairs.extend(latent(3, index, 100).into_iter().zip(cut.iter().copied()));
            }
            assert!(pairs.iter().all(|(_, x)| x.abs() <= threshold));
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
            for (i, (whole, x)) in pairs.iter().map(|&(a, b)| (f64::from(a), f64::from(b))).enumerate() {
                assert!(x >= last, "order is kept");
                last = x;
                // Its place in the one distribution is that of the other number in the other.
                let (t, all) = (f64::from(threshold), f64::from(pairs.len() as u32));
                let place = (below(x) - below(-t)) / (below(t) - below(-t));
                assert!((place - below(whole)).abs() < 1e-6);
                assert!((place - (i as f64 + 0.5) / all).abs() < 0.015, "uniform within the bounds of 20,000 numbers");
            }
        }
    }

    #[test]
    fn a_walk_begins_and_ends_exactly_and_keeps_to_the_arc() {
        let (a, b) = (latent(1, 0, 200), latent(2, 0, 200));
        let at = |t: f64| {
            let mut out = vec![0f32; 200];
            walk(&a, &b, t, &mut out);
            out
        };
        assert_eq!((at(0.), at(1.)), (a.clone(), b.clone()));
        let length = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let angle = |x: &[f32], y: &[f32]| {
            let dot: f64 = x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            (dot / length(x) / length(y)).acos()
        };
        // Two vectors of one length make equal steps along the arc, and stay as long.
        let b: Vec<f32> = b.iter().map(|&x| (f64::from(x) * length(&a) / length(&b)) as f32).collect();
        let mut last = a.clone();
        for i in 1..=10 {
            let mut out = vec![0f32; 200];
            walk(&a, &b, f64::from(i) / 10., &mut out);
            assert!((length(&out) / length(&a) - 1.).abs() < 1e-6);
            assert!((angle(&last, &out) - angle(&a, &b) / 10.).abs() < 1e-5);
            last = out;
        }
        let mut same = vec![0f32; 200];
        walk(&a, &a, 0.3, &mut same);
        assert!(same.iter().zip(&a).all(|(x, y)| (x - y).abs() <= 1e-6 * y.abs()));
        walk(&[0.; 2], &[1., 3.], 0.5, &mut same[..2]);
        assert_eq!(same[..2], [0.5, 1.5]);
    }

    #[test]
    fn truncated_numbers_and_walks_are_the_same_on_every_platform() {
        let mut out = [0f32; 4];
        fill_truncated(0, 0, 0.7, &mut out);
        assert_eq!(out.map(f32::to_bits), GOLDEN_TRUNCATED);
        walk(&latent(0, 0, 4), &latent(7, u64::MAX, 4), 0.3, &mut out);
        assert_eq!(out.map(f32::to_bits), GOLDEN_WALK);
    }

    const GOLDEN_TRUNCATED: [u32; 4] = [3_206_256_385, 1_015_937_663, 1_046_205_966, 3_171_421_536];
    const GOLDEN_WALK: [u32; 4] = [3_214_920_971, 1_059_855_895, 1_052_418_130, 3_209_363_056];
    const GOLDEN_0_0: [u32; 4] = [3_217_665_237, 1_024_037_727, 1_054_458_185, 3_179_536_834];
    const GOLDEN_7_MAX: [u32; 4] = [1_059_202_118, 1_066_455_960, 3_187_293_953, 3_215_266_622];

    proptest! {
        #[test]
        fn a_latent_depends_on_seed_and_index_alone(seed: u64, index: u64, n in 1usize..300) {
            let whole = latent(seed, index, 300);
            prop_assert_eq!(&latent(seed, index, n)[..], &whole[..n]);
            prop_assert_ne!(&latent(seed, index.wrapping_add(1), 300), &whole);
            prop_assert_ne!(&latent(seed.wrapping_add(1), index, 300), &whole);
            let mut halves = vec![f16::ZERO; 300];
            fill_latent(seed, index, &mut halves);
            prop_assert!(halves.iter().zip(&whole).all(|(h, &x)| *h == f16::from_f32(x)));
        }

        #[test]
        fn every_threshold_and_every_walk_gives_finite_numbers(
            seed: u64, threshold in 1e-30f32..1e30, t in 0f64..=1.,
            a in prop::collection::vec(-1e4f32..1e4, 5), b in prop::collection::vec(-1e4f32..1e4, 5),
        ) {
            let mut out = [0f32; 5];
            fill_truncated(seed, 0, threshold, &mut out);
            prop_assert!(out.iter().all(|x| x.is_finite() && x.abs() <= threshold));
            walk(&a, &b, t, &mut out);
            prop_assert!(out.iter().all(|x| x.is_finite()));
        }
    }
}
