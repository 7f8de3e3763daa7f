//! How samples spread over the classes of the data.

/// How often each class occurs among `classes`; those that are not below `count` are left out.
pub fn histogram(classes: &[u32], count: usize) -> Vec<u64> {
    let mut found = vec![0; count];
    for &class in classes {
        if let Some(n) = found.get_mut(class as usize) {
            *n += 1;
        }
    }
    found
}

/// The Kullback-Leibler divergence `sum p ln(p / q)` of two histograms, in nats: 0 where they are proportional, `ln(C / k)`
/// where samples fall evenly on k of C classes that are equally frequent in the data.
///
/// `p` is the samples' and `q` the data's, as in the mode experiments of Metz et al., "Unrolled generative adversarial
/// networks" (2017): a class that the samples lack adds nothing infinite. A class that only the samples have makes it
/// infinite. Not a number if either is empty or their lengths differ.
pub fn kl_divergence(p: &[u64], q: &[u64]) -> f64 {
    let sum = |counts: &[u64]| counts.iter().map(|&n| n as f64).sum::<f64>();
    let (all_p, all_q) = (sum(p), sum(q));
    if p.len() != q.len() || all_p == 0. || all_q == 0. {
        return f64::NAN;
    }
    let terms = p.iter().zip(q).filter(|(p, _)| **p > 0).map(|(&p, &q)| {
        let (p, q) = (p as f64 / all_p, q as f64 / all_q);
        p * (p / q).ln()
    });
    // It is never negative but for rounding.
    terms.sum::<f64>().max(0.)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted() {
        assert_eq!(histogram(&[0, 2, 2, 9, 2], 4), [1, 0, 3, 0]);
    }

    #[test]
    fn divergences_are_those_worked_out_by_hand() {
        let close = |p: &[u64], q: &[u64], expected: f64| {
            let found = kl_divergence(p, q);
            assert!((found - expected).abs() < 1e-12, "{p:?} to {q:?}: {found}, expected {expected}");
        };
        close(&[1, 2, 3], &[20, 40, 60], 0.);
        // 1/2 ln((1/2) / (1/4)) + 1/2 ln((1/2) / (3/4)) = 1/2 ln 2 + 1/2 ln(2/3) = 1/2 ln(4/3).
        close(&[5, 5], &[1, 3], (4f64 / 3.).ln() / 2.);
        // The other way round: 1/4 ln(1/2) + 3/4 ln(3/2).
        close(&[1, 3], &[5, 5], 0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln());
        // One of ten classes only.
        close(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0], &[100; 10], 10f64.ln());
    }

    #[test]
    fn classes_on_one_side_only_are_told_apart() {
        assert_eq!(kl_divergence(&[1, 1], &[2, 0]), f64::INFINITY);
        assert!((kl_divergence(&[2, 0], &[1, 1]) - 2f64.ln()).abs() < 1e-12);
        assert!(kl_divergence(&[0, 0], &[1, 1]).is_nan() && kl_divergence(&[1, 1], &[0, 0]).is_nan());
        assert!(kl_divergence(&[1], &[1, 1]).is_nan());
    }
}
