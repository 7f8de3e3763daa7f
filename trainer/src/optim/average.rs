//! Moving averages of weights, from which samples and exports are made: how fast they forget, and which others can be made
//! of them afterwards.
//!
//! An average with a half-life is tracked and used as it is. Averages with power functions are tracked for two lengths
//! ([`POST_HOC`]) and kept as snapshots from time to time; after training, any other length is a sum of these (Karras et al.,
//! "Analyzing and improving the training dynamics of diffusion models", 2024, section 3.2 and appendix C).

use nalgebra::{DMatrix, DVector};

/// What the average moves towards the new weights by, after a step of `batch` images, in [0, 1].
///
/// The weight of the past halves in `half_life` images (Karras et al., "Progressive growing of GANs", 2018), and in no
/// more than a twentieth of the `images` so far, so that the first, useless weights are soon forgotten (the ramp-up
/// of StyleGAN2-ADA). A half-life of 0 copies the network.
pub fn weight(batch: u64, images: u64, half_life: f64) -> f64 {
    let half_life = half_life.min(images as f64 * 0.05);
    if half_life > 0. { 1. - 0.5f64.powf(batch as f64 / half_life) } else { 1. }
}

/// Lengths of the two averages that are tracked (section 3.2 of the paper), as parts of the run: the standard deviation of
/// when their weights are from, relative to the time they are taken at.
pub const POST_HOC: [f64; 2] = [0.05, 0.1];

/// The longest average there is: with the exponent 0, the plain mean of the whole run.
pub const LONGEST: f64 = 0.288_675_134_594_812_9;

/// The exponent `gamma` of the average `(gamma + 1) / t^(gamma + 1) * integral of tau^gamma theta(tau)` whose length is
/// `sigma_rel`, in (0, [`LONGEST`]]: the largest root of `(gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2`
/// (algorithm 2 of the paper).
pub fn gamma_of(sigma_rel: f64) -> f64 {
    let t = sigma_rel.powi(-2);
    // Newton's method from the right of the largest root, where the polynomial is convex: every iterate is to the right of
    // it, too, until rounding ends that.
    let mut gamma = t.sqrt();
    loop {
        let value = (gamma + 2.).powi(2) * (gamma + 3.) - t * (gamma + 1.);
        let slope = (gamma + 2.) * (3. * gamma + 8.) - t;
        let next = gamma - value / slope;
        if next >= gamma || next.is_nan() {
            return gamma;
        }
        gamma = next;
    }
}

/// What is kept of the average of exponent `gamma` when weights after `images` images, of which the last step took `batch`,
/// are taken up: `(1 - 1 / t)^(gamma + 1)` with `t` counted in steps (section 3.2 of the paper). What the average moves by
/// is 1 minus this; with the first step it becomes the weights.
pub fn power_beta(batch: u64, images: u64, gamma: f64) -> f64 {
    (1. - batch as f64 / images as f64).max(0.).powf(gamma + 1.)
}

/// A power-function average at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken, in any unit: images, steps.
    pub at: f64,
    /// Its exponent.
    pub gamma: f64,
}

/// What `snapshots` are to be multiplied by so that their sum is as near as possible to the average `target`: the least
/// squares of the difference of both as functions of when weights are from (algorithm 3 of the
/// paper). The factors add up to nearly 1.
///
/// # Errors
/// No snapshots; times that are not above 0, exponents below 0; twice the same snapshot.
pub fn solve_weights(snapshots: &[Snapshot], target: Snapshot) -> Result<Vec<f64>, String> {
    if snapshots.is_empty() {
        return Err("no snapshots: there is nothing to make an average of".into());
    }
    for snapshot in snapshots.iter().chain([&target]) {
        if !(snapshot.at > 0. && snapshot.at.is_finite() && snapshot.gamma >= 0. && snapshot.gamma.is_finite()) {
            return Err(format!("{snapshot:?}: allowed are times above 0 and exponents from 0 on"));
        }
    }
    if let Some(twice) = (1..snapshots.len()).find(|&i| snapshots[..i].contains(&snapshots[i])) {
        return Err(format!("{:?} is given twice", snapshots[twice]));
    }
    let n = snapshots.len();
    let products = DMatrix::from_fn(n, n, |i, j| inner_product(snapshots[i], snapshots[j]));
    let with_target = DVector::from_fn(n, |i, _| inner_product(snapshots[i], target));
    match products.lu().solve(&with_target) {
        Some(weights) if weights.iter().all(|weight| weight.is_finite()) => Ok(weights.iter().copied().collect()),
        _ => Err(format!("{n} snapshots are too much alike to be told apart: leave some of them out")),
    }
}

/// The integral of the product of two averages' weight functions (appendix C of the paper).
fn inner_product(a: Snapshot, b: Snapshot) -> f64 {
    let (ratio, exponent) = (a.at / b.at, if a.at < b.at { b.gamma } else { -a.gamma });
    (a.gamma + 1.) * (b.gamma + 1.) * ratio.powf(exponent) / ((a.gamma + b.gamma + 1.) * a.at.max(b.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_halves_in_a_half_life() {
        // 1,000 images in ten steps, two half-lives: a quarter of the past is left.
        let left: f64 = (0..10).map(|_| 1. - weight(100, 1_000_000, 500.)).product();
        assert!((left - 0.25).abs() < 1e-12);
        // Early on, a twentieth of what was shown.
        assert!((weight(100, 2000, 500.) - 0.5).abs() < 1e-12);
        assert_eq!(weight(100, 1_000_000, 0.), 1.);
        assert_eq!(weight(100, 0, 500.), 1.);
    }

    /// Values that the paper and its code give: 16.97 and 6.94.
    #[test]
    fn exponents_have_the_length_asked_for() {
        for (sigma_rel, gamma) in [(0.05, 16.97), (0.1, 6.94)] {
            assert!((gamma_of(sigma_rel) - gamma).abs() < 5e-3, "{sigma_rel}: {}", gamma_of(sigma_rel));
        }
        assert!(gamma_of(LONGEST).abs() < 1e-6, "{}", gamma_of(LONGEST));
        for sigma_rel in [0.001, 0.01, 0.05, 0.1, 0.2, 0.25] {
            let gamma = gamma_of(sigma_rel);
            // The standard deviation of a time with the density (gamma + 1) tau^gamma in [0, 1], from its moments.
            let (mean, square) = ((gamma + 1.) / (gamma + 2.), (gamma + 1.) / (gamma + 3.));
            assert!(((square - mean * mean).sqrt() / sigma_rel - 1.).abs() < 1e-9, "{sigma_rel}");
        }
    }

    /// A weight that wanders, as weights do: slowly here, with jitter.
    fn trajectory(step: u64) -> f64 {
        let t = step as f64;
        (t / 300.).sin() + 3. * (-t / 500.).exp() + 0.1 * (t * 12.9898).sin()
    }

    /// The averages of exponents `gammas` after each of the steps in `at`, tracked as in training.
    fn track(gammas: &[f64], at: &[u64]) -> Vec<(Snapshot, f64)> {
        const BATCH: u64 = 16;
        let (mut averages, mut found) = (vec![f64::NAN; gammas.len()], Vec::new());
        for step in 1..=*at.last().expect("steps") {
            for (average, &gamma) in averages.iter_mut().zip(gammas) {
                let beta = power_beta(BATCH, BATCH * step, gamma);
                *average = if beta > 0. { beta * *average } else { 0. } + (1. - beta) * trajectory(step);
                if at.contains(&step) {
                    found.push((Snapshot { at: step as f64, gamma }, *average));
                }
            }
        }
        found
    }

    #[test]
    fn an_average_is_the_integral_that_it_stands_for() {
        let gamma = gamma_of(0.1);
        let found = track(&[gamma], &[4000])[0].1;
        let density = |step: u64| step as f64 / 4000.;
        let sum: f64 = (1..=4000).map(|step| density(step).powf(gamma) * trajectory(step)).sum();
        let expected = sum / (1..=4000).map(|step| density(step).powf(gamma)).sum::<f64>();
        assert!((found - expected).abs() < 2e-3, "{found} {expected}");
        // The first weights count like any others.
        assert_eq!(power_beta(16, 16, gamma), 0.);
    }

    #[test]
    fn other_lengths_are_made_of_snapshots() {
        let gammas = POST_HOC.map(gamma_of);
        let at: Vec<u64> = (1..=16).map(|i| i * 250).collect();
        let kept = track(&gammas, &at);
        let snapshots: Vec<Snapshot> = kept.iter().map(|(snapshot, _)| *snapshot).collect();
        for (sigma_rel, step) in [(0.06, 4000), (0.075, 4000), (0.1, 4000), (0.15, 4000), (0.2, 4000), (0.07, 3100)] {
            let (target, expected) = track(&[gamma_of(sigma_rel)], &[step])[0];
            let weights = solve_weights(&snapshots, target).expect("solves");
            let found: f64 = weights.iter().zip(&kept).map(|(weight, (_, average))| weight * average).sum();
            assert!((weights.iter().sum::<f64>() - 1.).abs() < 1e-2, "{sigma_rel}: {weights:?}");
            assert!((found - expected).abs() < 1e-2, "{sigma_rel} at {step}: {found}, tracked {expected}");
            // The nearest snapshot alone would not do.
            let other = kept.iter().filter(|(s, _)| s.at <= step as f64 && *s != target).map(|(_, average)| average);
            let nearest = other.map(|average| (average - expected).abs()).fold(f64::INFINITY, f64::min);
            println!("{sigma_rel} at {step}: {:.1e}, nearest {nearest:.1e}", (found - expected).abs());
        }
    }

    #[test]
    fn what_is_among_the_snapshots_is_found_there() {
        let gammas = POST_HOC.map(gamma_of);
        let snapshots: Vec<Snapshot> =
            [100., 200., 350., 400.].into_iter().flat_map(|at| gammas.map(|gamma| Snapshot { at, gamma })).collect();
        for (i, &target) in snapshots.iter().enumerate() {
            let weights = solve_weights(&snapshots, target).expect("solves");
            for (j, weight) in weights.into_iter().enumerate() {
                assert!((weight - f64::from(u8::from(i == j))).abs() < 1e-8, "{i} {j}: {weight}");
            }
        }
    }

    /// The closed form of products of weight functions, against sums.
    #[test]
    fn inner_products_are_integrals() {
        let [a, b] = [Snapshot { at: 3., gamma: 2.5 }, Snapshot { at: 2., gamma: 7. }];
        let density =
            |s: Snapshot, t: f64| if t < s.at { (s.gamma + 1.) * (t / s.at).powf(s.gamma) / s.at } else { 0. };
        for (a, b) in [(a, b), (b, a), (a, a)] {
            let sum: f64 =
                (0..300_000).map(|i| (f64::from(i) + 0.5) * 1e-5).map(|t| density(a, t) * density(b, t)).sum();
            assert!((inner_product(a, b) - sum * 1e-5).abs() < 1e-4, "{} {}", inner_product(a, b), sum * 1e-5);
        }
    }

    #[test]
    fn snapshots_that_say_nothing_are_refused() {
        let one = Snapshot { at: 10., gamma: 7. };
        for (snapshots, target, part) in [
            (vec![], one, "no snapshots"),
            (vec![one, one], one, "given twice"),
            (vec![Snapshot { at: 0., ..one }], one, "times above 0"),
            (vec![one], Snapshot { gamma: f64::NAN, ..one }, "exponents from 0"),
        ] {
            let error = solve_weights(&snapshots, target).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
