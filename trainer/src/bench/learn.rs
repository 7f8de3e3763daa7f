//! A run of a benchmark: the game that training plays, on the benchmark's own distribution.

use super::{Measures, Method, Protocol, Tally};
use crate::checkpoint::{playing, sealed};
use crate::data::{Batch, Order};
use crate::error::{Error, Result};
use crate::game::{Adversarial, Clock, Game, Player};
use crate::graph::Network;
use crate::net::Init;
use crate::optim::Learner;
use crate::state::STATISTICS_LATENTS;
use candle_core::{DType, Device};
use std::path::Path;

/// Samples that are looked at together.
const TOGETHER: usize = 500;

/// Networks that learn the distribution of a protocol by a method. The same seed and number of threads give the same
/// generator, in one process or in several, one after the other.
pub struct Learning<'a> {
    protocol: &'a dyn Protocol,
    method: &'a Method,
    seed: u64,
    players: Vec<Player>,
    game: Adversarial,
    clock: Clock,
    order: Order,
}

impl<'a> Learning<'a> {
    /// Before the first step.
    ///
    /// # Errors
    /// Penalties on a discriminator in which samples see each other.
    pub fn new(protocol: &'a dyn Protocol, method: &'a Method, seed: u64) -> Result<Self> {
        let [generator, discriminator] = protocol.networks(method.variant(), &mut Init::new(seed))?;
        let o = &method.optimizer;
        let settings = [
            ("generator", generator, o.generator, o.generator_clip, method.ema_half_life_kimg),
            ("discriminator", discriminator, o.discriminator, o.discriminator_clip, None),
        ];
        let players = settings.map(|(role, network, optimizer, clip, average_kimg)| {
            let learner = Learner::new(&network, optimizer.moments(), average_kimg.is_some(), DType::F32)?;
            Ok(Player { role, learner, optimizer, clip, average_kimg, pace: 1., bound: None })
        });
        Ok(Self {
            protocol,
            method,
            seed,
            players: players.into_iter().collect::<Result<_>>()?,
            game: method.game(protocol, seed)?,
            clock: Clock::default(),
            order: Order::new(protocol.examples(), seed, "order"),
        })
    }

    /// Real samples that were shown.
    pub fn images(&self) -> u64 {
        self.clock.images
    }

    /// Whether as many were shown as the method asks for.
    pub fn has_ended(&self) -> bool {
        self.images() >= self.method.kimg.0
    }

    /// One step of both networks.
    ///
    /// # Errors
    /// [`Error::Diverged`].
    pub fn step(&mut self) -> Result<()> {
        let Self { protocol, method, seed, order, .. } = self;
        let (unit, mut taken) = (method.unit(*protocol), self.clock.latents);
        self.game.step(&mut self.players, &mut self.clock, &mut || {
            let real = (protocol.real(*seed, "examples", &order.take(taken, method.batch))? / unit)?;
            let z = protocol.latents(*seed, "latents", taken, method.batch)?;
            let batch = Batch { real, z, class: None, weight: None, first: taken };
            taken += method.batch as u64;
            Ok(batch)
        })?;
        // Nothing is shown twice, nor left out, by one that goes on from the clock.
        debug_assert_eq!(taken, self.clock.latents);
        Ok(())
    }

    /// The generator for [`measure`]: its averaged weights, with batch normalisation frozen under them.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn generator(&self) -> Result<Network> {
        let average = self.players[0].learner.average();
        let latents = self.protocol.latents(self.seed, "statistics", 0, STATISTICS_LATENTS)?;
        let statistics = average.batch_statistics(&[&latents])?;
        Ok(average.evaluated()?.frozen(&statistics)?)
    }

    /// Writes how far it is to `path`, whole or not at all, with the seconds that it took until here.
    ///
    /// # Errors
    /// [`Error::Diverged`] where a number of it is none, which is not written. What the system says.
    pub fn save(&self, path: &Path, seconds: f64) -> Result<()> {
        let counts = playing::counts(&self.players, self.clock).map(|(name, count)| (name, count.to_string()));
        let of_run = self.described()?.into_iter().map(|(name, value)| (name.to_owned(), value));
        let metadata = of_run.chain([("seconds".to_owned(), seconds.to_string())]).chain(counts).collect();
        sealed::write(path, playing::tensors(&self.players, &self.game)?, metadata, self.images())
    }

    /// Goes on from what [`Self::save`] wrote, and says how many seconds it took until there.
    ///
    /// # Errors
    /// [`Error::Damaged`]; what another protocol, method or seed wrote.
    pub fn resume(&mut self, path: &Path) -> Result<f64> {
        let bytes = sealed::read(path, &playing::tensors(&self.players, &self.game)?)?;
        let file = sealed::Sealed::new(path, &bytes)?;
        for (name, expected) in self.described()? {
            if file.get(name)? != expected {
                let what = format!("was written for another {name}; remove it, or give another folder");
                return Err(Error::Run { path: path.to_owned(), what });
            }
        }
        let seconds = file.get("seconds")?.parse().map_err(|e| file.damaged(format!("seconds: {e}")))?;
        let images_a_step = (self.method.batch * self.method.critic_steps) as u64;
        self.clock = playing::restore(&file, &mut self.players, &self.game, images_a_step, &Device::Cpu)?;
        Ok(seconds)
    }

    /// What a checkpoint belongs to.
    fn described(&self) -> Result<[(&'static str, String); 3]> {
        Ok([
            ("benchmark", self.protocol.name().to_owned()),
            ("method", self.method.to_toml()?),
            ("seed", self.seed.to_string()),
        ])
    }
}

/// The figures of the samples of a generator that has learned by `method`.
///
/// # Errors
/// A generator of another benchmark.
pub fn measure(protocol: &dyn Protocol, method: &Method, generator: &Network, seed: u64) -> Result<Measures> {
    let unit = method.unit(protocol);
    tally(protocol, |first, count| {
        Ok((generator.forward(&[&protocol.latents(seed, "samples", first, count)?])? * unit)?)
    })
}

/// The figures of as many real samples that nothing was learned from: what is left to chance and to the eye.
///
/// # Errors
/// None but those of the device.
pub fn floor(protocol: &dyn Protocol, seed: u64) -> Result<Measures> {
    tally(protocol, |first, count| {
        let first = first as usize;
        protocol.real(seed, "floor", &(first..first + count).collect::<Vec<_>>())
    })
}

fn tally(
    protocol: &dyn Protocol,
    mut samples: impl FnMut(u64, usize) -> Result<candle_core::Tensor>,
) -> Result<Measures> {
    let mut tally = Tally::new(protocol.modes());
    for first in (0..protocol.samples()).step_by(TOGETHER) {
        let count = TOGETHER.min(protocol.samples() - first);
        tally.add(&protocol.look(&samples(first as u64, count)?)?);
    }
    Ok(tally.measures())
}

#[cfg(test)]
mod tests {
    use super::super::{Sighting, ring};
    use super::*;
    use crate::recipe::Images;
    use candle_core::Tensor;

    fn short(images: u64) -> Method {
        Method { kimg: Images(images), ..Method::load(super::super::OURS, &ring()).expect("is built in") }
    }

    fn learned(method: &Method, seed: u64) -> Result<Network> {
        let ring = ring();
        let mut learning = Learning::new(&ring, method, seed)?;
        while !learning.has_ended() {
            learning.step()?;
        }
        learning.generator()
    }

    fn sampled(method: &Method, seed: u64) -> Result<Vec<Vec<f32>>> {
        let samples = learned(method, seed)?.forward(&[&ring().latents(seed, "samples", 0, 500)?])?;
        Ok((samples * method.unit(&ring()))?.to_vec2()?)
    }

    #[test]
    fn the_same_seed_gives_the_same_samples() -> Result<()> {
        let method = short(640);
        assert_eq!(sampled(&method, 3)?, sampled(&method, 3)?);
        assert_ne!(sampled(&method, 3)?, sampled(&method, 4)?);
        Ok(())
    }

    /// In the middle of a schedule, between two penalties, with steps of the generator of its own.
    #[test]
    fn what_was_interrupted_goes_on_to_the_same_generator() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("seed-3.safetensors");
        let ring = ring();
        for generator_steps in [1, 2] {
            let method = Method { generator_steps, critic_steps: 2, ..short(64 * 2 * 13) };
            let run = |mut learning: Learning, until: u64| -> Result<()> {
                while learning.images() < until && !learning.has_ended() {
                    learning.step()?;
                }
                learning.save(&path, 12.25)
            };
            run(Learning::new(&ring, &method, 3)?, u64::MAX)?;
            let at_once = std::fs::read(&path).expect("reads");
            run(Learning::new(&ring, &method, 3)?, 64 * 2 * 6)?;
            assert_ne!(std::fs::read(&path).expect("reads"), at_once);
            let mut resumed = Learning::new(&ring, &method, 3)?;
            assert_eq!(resumed.resume(&path)?, 12.25);
            assert_eq!(resumed.images(), 64 * 2 * 6);
            run(resumed, u64::MAX)?;
            assert!(std::fs::read(&path).expect("reads") == at_once, "{generator_steps} steps of the generator");

            let other = Method { batch: 32, ..method.clone() };
            for (mut other, words) in [
                (Learning::new(&ring, &method, 4)?, "another seed"),
                (Learning::new(&ring, &other, 3)?, "another method"),
            ] {
                let said = other.resume(&path).expect_err("must be refused").to_string();
                assert!(said.contains(words) && said.contains("seed-3"), "{said}");
            }
            let mut damaged = at_once.clone();
            *damaged.last_mut().expect("bytes") ^= 1;
            std::fs::write(&path, damaged).expect("writes");
            let said = Learning::new(&ring, &method, 3)?.resume(&path).expect_err("must be refused").to_string();
            assert!(said.contains("does not have its hash"), "{said}");
        }
        Ok(())
    }

    /// The mean distance of samples to their nearest mode falls to a part of what it was: what is learned is the ring.
    #[test]
    fn a_few_hundred_steps_learn_something() -> Result<()> {
        let far = |points: &[Vec<f32>]| {
            let nearest = |p: &Vec<f32>| {
                let to = |c: &[f32; 2]| (c[0] - p[0]).hypot(c[1] - p[1]);
                ring().centres.iter().map(to).fold(f32::INFINITY, f32::min)
            };
            points.iter().map(nearest).sum::<f32>() / points.len() as f32
        };
        let (begun, learned) = (far(&sampled(&short(64), 1)?), far(&sampled(&short(64 * 400), 1)?));
        assert!(learned < 0.5 * begun, "{begun} after one step, {learned} after 400");
        Ok(())
    }

    /// A generator that makes one point only is seen to.
    #[test]
    fn a_collapsed_generator_is_seen() -> Result<()> {
        let [generator, _] = ring().networks(short(64).variant(), &mut Init::new(1))?;
        // No weight but the last bias: the first mode's centre.
        let collapsed = generator.map(|parameter, t| match parameter.name.as_str() {
            "point.bias" => Tensor::new(&ring().centres[0], t.device()),
            _ => t.zeros_like(),
        })?;
        let found = measure(&ring(), &Method::load(super::super::PLAIN, &ring())?, &collapsed, 0)?;
        assert_eq!((found.modes, found.high_quality), (1., 1.));
        assert!((found.kl - 8f64.ln()).abs() < 1e-9);
        assert!(
            ring()
                .look(&Tensor::zeros((1, 2), DType::F32, &candle_core::Device::Cpu)?)?
                .iter()
                .all(|Sighting { high_quality, .. }| !high_quality)
        );
        Ok(())
    }
}
