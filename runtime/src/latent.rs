//! Latents: a seed and an index make the same normal numbers on every machine.
//!
//! ChaCha with 8 rounds is keyed by the seed and run on the stream `index`, so any latent is reached without drawing those
//! before it. Each 32 random bits become one uniform number in the middle of its 2^-32 wide interval, and that one normal
//! number through the inverse of the normal distribution, accurate to about 1e-16. It needs nothing but arithmetic, a square
//! root and a logarithm; the last comes from `libm`, written in Rust, so no platform's own mathematics enters. Values lie
//! within about +-6.3.

mod normal;

use half::f16;
use normal::inverse_normal;
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
    let cut = Cut::around(0., f64::from(threshold));
    fill(seed, index, out, |p| cut.number(p));
}

/// As [`fill_truncated`], cut off at `threshold` on both sides of `mean`, a latent of the same length: images like that one.
/// A large threshold leaves all of the distribution, a small one the mean alone. What is not finite in `mean` counts as 0.
pub fn fill_truncated_towards<T: Element>(seed: u64, index: u64, threshold: f32, mean: &[f32], out: &mut [T]) {
    if threshold.is_nan() || threshold <= 0. {
        return fill_latent(seed, index, out);
    }
    let mut uniform = uniform(seed, index);
    for (out, &mean) in out.iter_mut().zip(mean) {
        let mean = if mean.is_finite() { f64::from(mean) } else { 0. };
        *out = T::from_f32(Cut::around(mean, f64::from(threshold)).number(uniform()) as f32);
    }
}

fn fill<T: Element>(seed: u64, index: u64, out: &mut [T], normal: impl Fn(f64) -> f64) {
    let mut uniform = uniform(seed, index);
    out.iter_mut().for_each(|out| *out = T::from_f32(normal(uniform()) as f32));
}

/// What gives the uniform numbers, between 0 and 1, of (`seed`, `index`).
fn uniform(seed: u64, index: u64) -> impl FnMut() -> f64 {
    let mut key = *b"\0\0\0\0\0\0\0\0kiln latent, format 1   ";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);
    move || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.
}

/// A normal distribution that is cut off.
struct Cut {
    /// Where it is cut off.
    bounds: (f64, f64),
    /// What part of the whole lies below the lower one.
    below: f64,
    /// What part lies between them.
    inside: f64,
    /// Whether it lies above 0, and is that of the opposite numbers here: parts next to 1 would lose their digits.
    opposite: bool,
}

impl Cut {
    fn around(mean: f64, threshold: f64) -> Self {
        let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let opposite = mean > 0.;
        let mean = if opposite { -mean } else { mean };
        let bounds = (mean - threshold, mean + threshold);
        let lower = below(bounds.0);
        let inside = if bounds.1 < 0. { below(bounds.1) - lower } else { 1. - (lower + below(-bounds.1)) };
        Self { bounds, below: lower, inside, opposite }
    }

    /// The number below which one of this distribution lies with probability `p`.
    fn number(&self, p: f64) -> f64 {
        let p = if self.opposite { 1. - p } else { p };
        // Out where nothing is left of the distribution, its nearer bound is what it comes to.
        let place = (self.below + p * self.inside).max(f64::MIN_POSITIVE);
        let number = inverse_normal(place).clamp(self.bounds.0, self.bounds.1);
        if self.opposite { -number } else { number }
    }
}

/// Spherical interpolation (K. Shoemake, "Animating rotation with quaternion curves", 1985) from `a` (at `t` = 0) to `b`
/// (at `t` = 1) into `out`: along the arc that normal latents lie near, where a straight line would pass through shorter,
/// untypical ones. `t` is 0 to 1; all slices have one length. Nothing exceeds +-65504, the largest finite `f16`, although arcs
/// between latents of very different lengths that are nearly opposite lead far away.
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
        *out = T::from_f32((from * f64::from(a) + to * f64::from(b)).clamp(-FAR, FAR) as f32);
    }
}

/// As far as arcs lead.
const FAR: f64 = crate::request::MAX_VALUE as f64;

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
    fn truncation_towards_a_mean_is_the_distribution_around_it() {
        let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let mut plain = [0f32; 50];
        for threshold in [0.1f32, 0.7, 3.] {
            for index in 0..20 {
                let mut towards = [0f32; 50];
                fill_truncated(3, index, threshold, &mut plain);
                fill_truncated_towards(3, index, threshold, &[0.; 50], &mut towards);
                assert_eq!(towards, plain, "0 is the mean that is none");
                for mean in [-8f32, -2.5, -0.4, 0.3, 1., 4., 8.] {
                    fill_truncated_towards(3, index, threshold, &[mean; 50], &mut towards);
                    let (low, high) = (f64::from(mean) - f64::from(threshold), f64::from(mean) + f64::from(threshold));
                    for (x, whole) in towards.iter().zip(latent(3, index, 50)) {
                        let (x, whole) = (f64::from(*x), f64::from(whole));
                        assert!((low - 1e-6..=high + 1e-6).contains(&x));
                        // Its place in the part between the bounds is that of the other number in the whole, by the tail that
                        // has the digits.
                        let place = match mean < 0. {
                            true => (below(x) - below(low)) / (below(high) - below(low)),
                            false => (below(-low) - below(-x)) / (below(-low) - below(-high)),
                        };
                        assert!((place - below(whole)).abs() < 2e-5, "{mean} +- {threshold}: {place}");
                    }
                }
            }
        }
        let mut whole = [0f32; 50];
        fill_truncated_towards(3, 4, 60., &[2.; 50], &mut whole);
        assert!(whole.iter().zip(latent(3, 4, 50)).all(|(a, b)| (a - b).abs() < 1e-5), "nothing is cut off");
        fill_truncated_towards(3, 4, 1e-6, &[2.; 50], &mut whole);
        assert!(whole.iter().all(|x| (x - 2.).abs() < 2e-6), "the mean alone is left");
        fill_truncated_towards(3, 4, f32::NAN, &[2.; 50], &mut whole);
        assert_eq!(whole[..], latent(3, 4, 50)[..], "no threshold");
        let (mut without, mut zero) = ([0f32; 3], [0f32; 3]);
        fill_truncated_towards(3, 4, f32::INFINITY, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY], &mut without);
        fill_truncated_towards(3, 4, f32::INFINITY, &[0.; 3], &mut zero);
        assert_eq!(without, zero, "what is not finite is no mean");
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
        fill_truncated_towards(0, 0, 0.7, &[0.5, -0.25, 3., -8.], &mut out);
        assert_eq!(out.map(f32::to_bits), GOLDEN_TOWARDS);
        walk(&latent(0, 0, 4), &latent(7, u64::MAX, 4), 0.3, &mut out);
        assert_eq!(out.map(f32::to_bits), GOLDEN_WALK);
    }

    const GOLDEN_TRUNCATED: [u32; 4] = [3_206_256_385, 1_015_937_663, 1_046_205_966, 3_171_421_536];
    const GOLDEN_TOWARDS: [u32; 4] = [3_188_146_374, 3_191_275_292, 1_076_599_137, 3_236_743_757];
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
            fill_truncated_towards(seed, 0, threshold, &a, &mut out);
            prop_assert!(out.iter().zip(&a).all(|(x, mean)| x.is_finite() && (x - mean).abs() <= threshold.max(1e-3) * 1.001));
            walk(&a, &b, t, &mut out);
            prop_assert!(out.iter().all(|x| x.is_finite()));
            // In two dimensions, arcs between what is nearly opposite may go far.
            let mut halves = [f16::ZERO; 2];
            walk(&[6e4, 1e-3 * b[0]], &[-1., 0.], t, &mut halves);
            prop_assert!(halves.iter().all(|x| x.is_finite()));
        }
    }
}
