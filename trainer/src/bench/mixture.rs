//! Mixtures of normal distributions in the plane, all as frequent and as wide.

use super::{Protocol, Sighting, Variant};
use crate::data::latents;
use crate::error::Result;
use crate::graph::Network;
use crate::net::{Init, points};
use crate::random;
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Standard deviations from a centre within which a sample is of high quality: `1 - exp(-9 / 2)`, 98.9 %, of those of the
/// distribution itself.
const WITHIN: f32 = 3.;

/// A mixture, as PacGAN's section 4.1 has them: 100,000 points are learned from, 2,500 samples are measured. Networks are
/// those of its appendix; the discriminator has no batch normalisation there, whatever is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// What it is called.
    pub name: &'static str,
    /// The middle of each mode.
    pub centres: Vec<[f32; 2]>,
    /// The standard deviation of both coordinates of a mode.
    pub deviation: f32,
}

impl Protocol for Mixture {
    fn name(&self) -> &'static str {
        self.name
    }

    fn modes(&self) -> usize {
        self.centres.len()
    }

    fn samples(&self) -> usize {
        2500
    }

    fn examples(&self) -> usize {
        100_000
    }

    fn deviation(&self) -> f64 {
        let squares = self.centres.iter().flatten().map(|&c| f64::from(c).powi(2)).sum::<f64>();
        (squares / (2 * self.centres.len()) as f64 + f64::from(self.deviation).powi(2)).sqrt()
    }

    fn numbers(&self) -> usize {
        2
    }

    fn has_images(&self) -> bool {
        false
    }

    fn judges_quality(&self) -> bool {
        true
    }

    fn plain(&self) -> &'static str {
        include_str!("methods/plain-points.toml")
    }

    fn networks(&self, variant: Variant, init: &mut Init) -> Result<[Network; 2]> {
        let Variant { generator_batch_norm: batch_norm, deviation, .. } = variant;
        let generator = points::Generator { latent: 2, hidden: vec![400; 4], batch_norm, deviation };
        let discriminator = points::Discriminator { hidden: vec![200; 3], pieces: 5, deviation };
        Ok([points::generator(&generator, 2, init)?, points::discriminator(&discriminator, 2, init)?])
    }

    fn latents(&self, seed: u64, purpose: &str, first: u64, count: usize) -> Result<Tensor> {
        Ok(latents(seed, purpose, first, count, 2)?)
    }

    fn real(&self, seed: u64, purpose: &str, numbers: &[usize]) -> Result<Tensor> {
        let of_mode = ChaCha8Rng::seed_from_u64(random::derive(seed, &format!("{purpose}, modes")));
        let of_point = random::derive(seed, &format!("{purpose}, points"));
        let points = numbers.iter().flat_map(|&number| {
            let mut rng = of_mode.clone();
            rng.set_stream(number as u64);
            let centre = self.centres[random::below(&mut rng, self.centres.len())];
            let mut noise = [0f32; 2];
            runtime::fill_latent(of_point, number as u64, &mut noise);
            [0, 1].map(|axis| centre[axis] + self.deviation * noise[axis])
        });
        Ok(Tensor::from_iter(points, &Device::Cpu)?.reshape((numbers.len(), 2))?)
    }

    fn look(&self, samples: &Tensor) -> Result<Vec<Sighting>> {
        let points = samples.to_vec2::<f32>()?;
        Ok(points.iter().map(|point| self.sighting(point)).collect())
    }
}

impl Mixture {
    /// The nearest mode, and whether it is near.
    fn sighting(&self, point: &[f32]) -> Sighting {
        let squared = |centre: &[f32; 2]| centre.iter().zip(point).map(|(c, p)| (c - p) * (c - p)).sum::<f32>();
        let distances = self.centres.iter().map(squared).enumerate();
        let (mode, least) = distances.fold((0, f32::INFINITY), |best, next| if next.1 < best.1 { next } else { best });
        Sighting { mode, high_quality: least.sqrt() <= WITHIN * self.deviation }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Method, OURS, PLAIN, Tally, grid, ring};
    use super::*;

    #[test]
    fn real_samples_reach_the_floor() -> Result<()> {
        for mixture in [ring(), grid()] {
            let mut tally = Tally::new(mixture.modes());
            tally.add(&mixture.look(&mixture.real(1, "floor", &(0..20_000).collect::<Vec<_>>())?)?);
            let found = tally.measures();
            let expected = 1. - (-4.5f64).exp();
            // Five standard errors of a share of 20,000.
            assert!(
                (found.high_quality - expected).abs() < 5. * (expected * (1. - expected) / 2e4).sqrt(),
                "{found:?}"
            );
            assert_eq!(found.modes, mixture.modes() as f64);
            // As many degrees of freedom, divided by twice the number of samples, is what is expected of the divergence.
            assert!(found.kl < 3. * (mixture.modes() - 1) as f64 / 4e4, "{found:?}");
        }
        Ok(())
    }

    #[test]
    fn real_samples_are_functions_of_seed_purpose_and_number() -> Result<()> {
        let of = |seed: u64, purpose: &str, numbers: &[usize]| -> Result<Vec<Vec<f32>>> {
            Ok(ring().real(seed, purpose, numbers)?.to_vec2()?)
        };
        let several = of(1, "a", &[5, 2, 5])?;
        assert_eq!(several[0], several[2]);
        assert_eq!(several[1..2], of(1, "a", &[2])?);
        assert_ne!(several[0], several[1]);
        assert_ne!(several[0], of(2, "a", &[5])?[0]);
        assert_ne!(several[0], of(1, "b", &[5])?[0]);
        Ok(())
    }

    /// Of eight centres on a circle half the squared radius; of the grid the mean of 16, 4, 0, 4 and 16.
    #[test]
    fn deviations_are_those_of_a_coordinate() {
        assert!((ring().deviation() - (0.5f64 + 1e-4).sqrt()).abs() < 1e-6);
        assert!((grid().deviation() - (8f64 + 2.5e-3).sqrt()).abs() < 1e-6);
    }

    /// Samples of a generator see each other where it has batch normalisation; the discriminator's never do.
    #[test]
    fn the_generator_has_batch_normalisation_where_it_is_asked_for() -> Result<()> {
        for generator in [true, false] {
            let variant = Variant { generator_batch_norm: generator, discriminator_batch_norm: true, deviation: None };
            let mixes = ring().networks(variant, &mut Init::new(1))?.map(|n| n.graph().mixes_samples().is_some());
            assert_eq!(mixes, [generator, false]);
        }
        Ok(())
    }

    /// PacGAN's published program begins with small weights, which is not the same game as with He's.
    #[test]
    fn the_plain_gan_begins_with_the_weights_of_its_paper() -> Result<()> {
        let deviations = |name: &str| -> Result<Vec<f64>> {
            let networks = ring().networks(Method::load(name, &ring())?.variant(), &mut Init::new(1))?;
            let weights = networks.iter().flat_map(Network::tensors).filter(|t| t.rank() == 2);
            let squares = weights.map(|t| Ok(f64::from(t.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt()));
            squares.collect()
        };
        let (plain, ours) = (deviations(PLAIN)?, deviations(OURS)?);
        // Five layers of the generator, and four of the discriminator; the smallest has 200 weights.
        assert_eq!((plain.len(), ours.len()), (9, 9));
        assert!(plain.iter().all(|deviation| (0.017..0.023).contains(deviation)), "{plain:?}");
        assert!(ours.iter().all(|deviation| *deviation > 0.03), "{ours:?}");
        Ok(())
    }

    #[test]
    fn what_lies_between_modes_is_of_low_quality() -> Result<()> {
        let points = Tensor::new(&[[2.1f32, 4.1], [2.2, 4.2], [1.2, -0.9], [40., 40.]], &Device::Cpu)?;
        let seen = grid().look(&points)?;
        let place = |x: f32, y: f32| grid().centres.iter().position(|&centre| centre == [x, y]);
        // 0.141 is less than 3 x 0.05, and 0.283 is more.
        let expected = [(place(2., 4.), true), (place(2., 4.), false), (place(2., 0.), false), (place(4., 4.), false)];
        assert_eq!(seen.iter().map(|s| (Some(s.mode), s.high_quality)).collect::<Vec<_>>(), expected);
        Ok(())
    }
}
