//! What is counted of samples: which modes they fall on, how evenly, and how many are close enough to one.

use crate::metrics::kl_divergence;
use serde::{Deserialize, Serialize};

/// What is seen in one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The mode that it is taken for.
    pub mode: usize,
    /// Whether it is close enough to that mode to count as a sample of it.
    pub high_quality: bool,
}

/// Counts of what was seen so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    all: Vec<u64>,
    high_quality: Vec<u64>,
}

/// The figures of a benchmark (Lin et al., "PacGAN", 2018, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Modes with at least one sample of high quality.
    pub modes: f64,
    /// The part of the samples that are of high quality, in [0, 1].
    pub high_quality: f64,
    /// The divergence of the samples' modes, each sample taken for the one that is the most like it, from a uniform
    /// distribution, in nats; 0 where all modes are as frequent, `ln(M / k)` where samples fall evenly on k of M.
    pub kl: f64,
}

impl Tally {
    /// Nothing seen yet, of so many modes.
    pub fn new(modes: usize) -> Self {
        Self { all: vec![0; modes], high_quality: vec![0; modes] }
    }

    /// Counts what was seen; modes that do not exist are left out.
    pub fn add(&mut self, seen: &[Sighting]) {
        for sighting in seen {
            if let (Some(all), Some(high)) = (self.all.get_mut(sighting.mode), self.high_quality.get_mut(sighting.mode))
            {
                *all += 1;
                *high += u64::from(sighting.high_quality);
            }
        }
    }

    /// The figures; not numbers where nothing was seen.
    pub fn measures(&self) -> Measures {
        let [all, high] = [&self.all, &self.high_quality].map(|counts| counts.iter().sum::<u64>() as f64);
        Measures {
            modes: self.high_quality.iter().filter(|&&count| count > 0).count() as f64,
            high_quality: high / all,
            kl: kl_divergence(&self.all, &vec![1; self.all.len()]),
        }
    }
}

/// A mean over seeds, and how far it may be off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error: the sample's standard deviation divided by the root of the number of seeds; `None` for one seed.
    pub standard_error: Option<f64>,
}

impl Estimate {
    /// Of values, of which there is at least one.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let squares = values.map(|value| (value - mean).powi(2)).sum::<f64>();
        Self { mean, standard_error: (n > 1.).then(|| (squares / (n - 1.) / n).sqrt()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(mode: usize, high_quality: bool) -> Sighting {
        Sighting { mode, high_quality }
    }

    #[test]
    fn figures_are_those_worked_out_by_hand() {
        let mut tally = Tally::new(4);
        tally.add(&[sighting(0, true), sighting(0, true), sighting(2, true)]);
        tally.add(&[sighting(1, false), sighting(9, true)]);
        // Mode 1 has a sample, but none that is close; mode 3 has none.
        let Measures { modes, high_quality, kl } = tally.measures();
        assert_eq!((modes, high_quality), (2., 0.75));
        // 1/2 ln(2) + 2 * 1/4 ln(1).
        assert!((kl - 0.5 * 2f64.ln()).abs() < 1e-12, "{kl}");
    }

    #[test]
    fn a_collapsed_sampler_has_one_mode_and_the_largest_divergence() {
        let mut tally = Tally::new(25);
        tally.add(&[sighting(7, true); 2500]);
        let found = tally.measures();
        assert_eq!((found.modes, found.high_quality), (1., 1.));
        assert!((found.kl - 25f64.ln()).abs() < 1e-12);
        assert!(Tally::new(3).measures().kl.is_nan());
    }

    #[test]
    fn a_mean_has_its_standard_error() {
        let Estimate { mean, standard_error } = Estimate::of([1., 2., 3., 6.].into_iter());
        // Squares 4 + 1 + 0 + 9 = 14; 14 / 3 / 4.
        assert_eq!(mean, 3.);
        assert!((standard_error.expect("four values") - (14f64 / 12.).sqrt()).abs() < 1e-12);
        assert_eq!(Estimate::of([2.].into_iter()), Estimate { mean: 2., standard_error: None });
    }
}
