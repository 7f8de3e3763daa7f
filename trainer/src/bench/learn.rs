//! A run of a benchmark: the game that training plays, on the benchmark's own distribution.

use super::{Measures, Method, Protocol, Tally};
use crate::data::{Batch, Order};
use crate::error::Result;
use crate::game::{Clock, Game, Player};
use crate::graph::Network;
use crate::net::Init;
use crate::optim::Learner;
use crate::state::STATISTICS_LATENTS;
use candle_core::DType;

/// Samples that are looked at together.
const TOGETHER: usize = 500;

/// Learns the distribution of `protocol` by `method`, and gives the generator to [`measure`]: its averaged weights, with batch
/// normalisation frozen under them. `watch` is told how many real samples were shown, after each step. The same seed
/// and number of threads give the same generator.
///
/// # Errors
/// [`crate::Error::Diverged`]; penalties on a discriminator in which samples see each other.
pub fn learn(protocol: &dyn Protocol, method: &Method, seed: u64, watch: &mut dyn FnMut(u64)) -> Result<Network> {
    let [generator, discriminator] = protocol.networks(method.norms(), &mut Init::new(seed))?;
    let o = &method.optimizer;
    let settings = [
        ("generator", generator, o.generator, o.generator_clip, method.ema_half_life_kimg),
        ("discriminator", discriminator, o.discriminator, o.discriminator_clip, None),
    ];
    let players = settings.map(|(role, network, optimizer, clip, average_kimg)| {
        let learner = Learner::new(&network, optimizer.moments(), average_kimg.is_some(), DType::F32)?;
        Ok(Player { role, learner, optimizer, clip, average_kimg, pace: 1., bound: None })
    });
    let mut players = players.into_iter().collect::<Result<Vec<_>>>()?;
    let (mut game, mut clock, mut taken) = (method.game(protocol, seed)?, Clock::default(), 0);
    let unit = method.unit(protocol);
    let mut order = Order::new(protocol.examples(), seed, "order");
    while clock.images < method.kimg.0 {
        game.step(&mut players, &mut clock, &mut || {
            let real = (protocol.real(seed, "examples", &order.take(taken, method.batch))? / unit)?;
            let z = protocol.latents(seed, "latents", taken, method.batch)?;
            let batch = Batch { real, z, class: None, weight: None, first: taken };
            taken += method.batch as u64;
            Ok(batch)
        })?;
        watch(clock.images);
    }
    let average = players[0].learner.average();
    let statistics = average.batch_statistics(&[&protocol.latents(seed, "statistics", 0, STATISTICS_LATENTS)?])?;
    Ok(average.evaluated()?.frozen(&statistics)?)
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

    fn sampled(method: &Method, seed: u64) -> Result<Vec<Vec<f32>>> {
        let generator = learn(&ring(), method, seed, &mut |_| ())?;
        let samples = generator.forward(&[&ring().latents(seed, "samples", 0, 500)?])?;
        Ok((samples * method.unit(&ring()))?.to_vec2()?)
    }

    #[test]
    fn the_same_seed_gives_the_same_samples() -> Result<()> {
        let method = short(640);
        assert_eq!(sampled(&method, 3)?, sampled(&method, 3)?);
        assert_ne!(sampled(&method, 3)?, sampled(&method, 4)?);
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
        let [generator, _] = ring().networks(short(64).norms(), &mut Init::new(1))?;
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
