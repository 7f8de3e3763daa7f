//! Everything that changes while training: who plays, and how far the run is.

use crate::data::{Batch, Dataset, latents};
use crate::error::{Error, Result};
use crate::game::{Adversarial, Clock, Found, Game, Player};
use crate::graph::Network;
use crate::optim::{Learner, LossScale};
use crate::recipe::{Arithmetic, Recipe};
use candle_core::{Device, Tensor};

/// Latents from which batch statistics are taken when the generator is finished for good.
pub const STATISTICS_LATENTS: usize = 1024;

/// The state of a run: what a checkpoint holds.
#[derive(Debug)]
pub struct State {
    /// The recipe it belongs to.
    pub recipe: Recipe,
    /// Who learns, the generator first.
    pub players: Vec<Player>,
    /// How far the run is: with the recipe's seed, the state of all randomness.
    pub clock: Clock,
    /// Where the networks are.
    pub device: Device,
    game: Box<dyn Game>,
}

impl State {
    /// The state before the first step, on `device`.
    ///
    /// # Errors
    /// Images that the recipe's networks cannot make.
    pub fn new(recipe: Recipe, data: &Dataset, device: &Device) -> Result<Self> {
        let precision = recipe.training.precision;
        if device.is_cpu() && precision != Arithmetic::F32 {
            let what = "training.precision is another than f32, which needs a GPU; allowed on the CPU is f32";
            return Err(Error::Recipe { origin: recipe.name, what: what.into() });
        }
        // One setting a process: its runs have one arithmetic.
        #[cfg(feature = "cuda")]
        candle_core::cuda_backend::set_gemm_reduced_precision_f32(precision == Arithmetic::Tf32);
        let dtype = precision.dtype();
        let (generator, discriminator) = recipe.networks(data.shape())?;
        let (o, half_life) = (&recipe.optimizer, Some(recipe.training.ema_half_life_kimg));
        let settings = [
            ("generator", generator, o.generator, o.generator_clip, half_life),
            ("discriminator", discriminator, o.discriminator, o.discriminator_clip, None),
        ];
        let players = settings.map(|(role, network, optimizer, clip, average_kimg)| {
            let network = network.map(|_, t| t.to_device(device))?;
            let learner = Learner::new(&network, optimizer.moments(), average_kimg.is_some(), dtype)?;
            Ok(Player { role, learner, optimizer, clip, average_kimg })
        });
        Ok(Self {
            players: players.into_iter().collect::<Result<_>>()?,
            game: Box::new(Adversarial::new(&recipe)),
            recipe,
            clock: Clock::default(),
            device: device.clone(),
        })
    }

    /// One step of all players, with as many batches as `next` is asked for.
    ///
    /// # Errors
    /// On the CPU, [`Error::Diverged`] when a loss is no longer a number, before anybody learns from it. On a GPU nothing
    /// waits for losses: [`Self::read`] tells. The last checkpoint is untouched either way.
    pub fn step(&mut self, next: &mut dyn FnMut() -> Result<Batch>) -> Result<Found> {
        self.game.step(&mut self.players, &mut self.clock, next)
    }

    /// The figures of some steps; waits for the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] if one of them is no number.
    pub fn read(&self, steps: &[Found]) -> Result<Vec<Vec<(String, f32)>>> {
        let all = Found::read(steps)?;
        for (name, value) in all.iter().flatten() {
            // Gradients of a scaled loss may be too large: that step was skipped.
            if !value.is_finite() && !name.ends_with("_gradient_norm") {
                return Err(Error::diverged(self.clock.images, format!("the {} is {value}", name.replace('_', " "))));
            }
        }
        Ok(all)
    }

    /// What loss scaling has come to, of each player that has some; waits for the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] when gradients are not finite whatever the scale.
    pub fn loss_scales(&self) -> Result<Vec<(&'static str, LossScale)>> {
        let mut all = Vec::new();
        for player in &self.players {
            let Some(found) = player.learner.read_loss_scale()? else { continue };
            if found.lost > 0 {
                let role = player.role;
                let what = format!("gradients of the {role} are not finite though its loss is scaled by no more than 1");
                return Err(Error::diverged(self.clock.images, what));
            }
            all.push((player.role, found));
        }
        Ok(all)
    }

    /// The network that makes images.
    pub fn generator(&self) -> &Learner {
        &self.players[0].learner
    }

    /// The generator for sampling: averaged weights, batch normalisation frozen with the statistics of a batch of `latents`
    /// under these weights (the running ones of training belong to other weights).
    ///
    /// # Errors
    /// None but those of the device.
    pub fn sampler(&self, latents: usize) -> Result<Network> {
        let average = self.generator().average();
        let statistics = average.batch_statistics(&[&self.latents("statistics", 0, latents)?])?;
        Ok(average.evaluated()?.frozen(&statistics)?)
    }

    /// `count` latents for one purpose from `first` on, [count, latent], on the state's device.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn latents(&self, purpose: &str, first: u64, count: usize) -> Result<Tensor> {
        Ok(latents(self.recipe.seed, purpose, first, count, self.recipe.generator.latent())?.to_device(&self.device)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::data::{Batches, mnist};
    use crate::net::Gradients;
    use std::sync::Arc;

    /// A recipe that takes milliseconds a step.
    pub fn small(name: &str) -> Recipe {
        let text = format!(
            r#"
            name = "{name}"
            seed = 5
            data = {{ set = "mnist" }}
            generator = {{ architecture = "dcgan", latent = 8, width = 4 }}
            discriminator = {{ architecture = "dcgan", width = 4, batch_norm = true }}
            objective = {{ loss = "non-saturating" }}
            optimizer = {{ generator_lr = 1e-3, discriminator_lr = 1e-3, beta1 = 0.5, beta2 = 0.99, eps = 1e-8 }}
            training = {{ batch = 8, kimg = 0.16, ema_half_life_kimg = 1.0, tick_kimg = 0.05, checkpoint_kimg = 0.08 }}
            export = {{ precision = "f32" }}
            "#
        );
        Recipe::parse(&text, name, &[]).expect("a valid recipe")
    }

    /// The batches that come next.
    pub fn batches(state: &State, data: &Arc<Dataset>) -> Batches {
        let recipe = &state.recipe;
        Batches::new(data.clone(), &state.device, recipe.seed, state.shown, recipe.training.batch, recipe.latent())
            .expect("a data set that fits the device")
    }

    #[test]
    fn the_discriminator_learns_to_tell_and_the_generator_follows() -> Result<()> {
        let data = Arc::new(mnist::load(None)?);
        for schedule in [Schedule::TwoStage, Schedule::OneStage] {
            let mut recipe = small("learns");
            recipe.training.schedule = schedule;
            let crate::recipe::Discriminator::Dcgan(discriminator) = &mut recipe.discriminator;
            discriminator.batch_norm = schedule == Schedule::TwoStage;
            let mut state = State::new(recipe, &data, &crate::ops::testing::device())?;
            let mut batches = batches(&state, &data);
            let mut all = Vec::new();
            for _ in 0..60 {
                all.push(state.step(&batches.next_batch()?)?);
            }
            let all = Found::read(&all)?;
            let mean = |range: std::ops::Range<usize>, f: fn(&Losses) -> f32| {
                all[range.clone()].iter().map(f).sum::<f32>() / range.len() as f32
            };
            assert!(mean(0..5, |l| l.discriminator) > 1., "{schedule:?}: it begins with guessing: 2 ln 2");
            let told = mean(50..60, |l| l.real_logit - l.fake_logit);
            assert!(told > 0.5, "{schedule:?}: real images are told from others by {told}");
            assert_eq!(state.shown, 480);
        }
        Ok(())
    }

    #[test]
    fn half_precision_needs_a_gpu_and_learns_alike() -> Result<()> {
        let data = Arc::new(mnist::load(None)?);
        let device = crate::ops::testing::device();
        for (precision, r1_gamma, tolerance) in
            [(Arithmetic::Bf16, 0., 0.05), (Arithmetic::F16, 0., 0.02), (Arithmetic::F16, 10., 0.02)]
        {
            let mut recipe = small("half");
            recipe.objective.r1_gamma = r1_gamma;
            let mut reference = State::new(recipe.clone(), &data, &device)?;
            recipe.training.precision = precision;
            let half = State::new(recipe, &data, &device);
            if device.is_cpu() {
                assert!(half.expect_err("no GPU").to_string().contains("training.precision"));
                continue;
            }
            let mut half = half?;
            // A scale that fits: while one is looked for, the other network already learns.
            for scale in [&half.generator, &half.discriminator].into_iter().filter_map(Learner::loss_scale) {
                scale.slice_set(&Tensor::new(&[4096f32], &device)?, 0, 0)?;
            }
            let mut batches = batches(&half, &data);
            let mut apart = Vec::new();
            for _ in 0..10 {
                let batch = batches.next_batch()?;
                let (a, b) = (Found::read(&[reference.step(&batch)?])?[0], Found::read(&[half.step(&batch)?])?[0]);
                for (a, b) in [(a.discriminator, b.discriminator), (a.generator, b.generator)] {
                    apart.push((a - b).abs() / a);
                    assert!((a - b).abs() < tolerance * a, "{precision:?}, R1 {r1_gamma}: {a:?} {b:?}");
                }
            }
            println!("{precision:?}, R1 {r1_gamma}: {apart:.5?}");
            assert!(apart.iter().any(|&far| far > 0.), "half precision was not used");
            let scales = half.loss_scales()?;
            assert!(scales.iter().flatten().all(|found| found.skipped == 0), "{scales:?}");
        }
        Ok(())
    }

    /// A scale that is far too large: both steps are skipped, and nothing but the scales is changed.
    #[test]
    fn a_step_that_overflows_changes_nothing_but_the_scale() -> Result<()> {
        let device = crate::ops::testing::device();
        if device.is_cpu() {
            return Ok(());
        }
        let data = Arc::new(mnist::load(None)?);
        let mut recipe = small("overflows");
        recipe.training.precision = Arithmetic::F16;
        let mut state = State::new(recipe, &data, &device)?;
        let mut batches = batches(&state, &data);
        for _ in 0..8 {
            state.step(&batches.next_batch()?)?;
        }
        let skipped = state.loss_scales()?.map(|found| found.expect("f16").skipped);
        assert!(skipped.iter().all(|&skipped| skipped < 8), "it never learns: {skipped:?}");
        const LARGE: f32 = 1_073_741_824.;
        for scale in [&state.generator, &state.discriminator].into_iter().filter_map(Learner::loss_scale) {
            scale.slice_set(&Tensor::new(&[LARGE], &device)?, 0, 0)?;
        }
        let all = |state: &State| -> Result<Vec<(String, Vec<u32>)>> {
            let mut all = state.generator.tensors()?;
            all.extend(state.discriminator.tensors()?);
            let bits = |t: &Tensor| -> Result<Vec<u32>> {
                Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
            };
            all.iter().filter(|(name, _)| name != "loss_scale").map(|(name, t)| Ok((name.clone(), bits(t)?))).collect()
        };
        let before = all(&state)?;
        state.step(&batches.next_batch()?)?;
        assert!(all(&state)? == before, "a skipped step has changed something");
        assert_eq!(
            state.loss_scales()?.map(|found| found.expect("f16")),
            skipped.map(|skipped| LossScale { scale: LARGE / 2., skipped: skipped + 1, lost: 0 })
        );
        // Gradients that are not finite at any scale are no matter of scales.
        let gradients = |learner: &Learner| -> Result<Gradients> {
            let parameters = learner.network().parameters().into_iter();
            Ok(Gradients {
                input: None,
                parameters: parameters.map(|(_, t)| t.affine(0., f64::NAN)).collect::<candle_core::Result<_>>()?,
            })
        };
        let nan = gradients(&state.discriminator)?;
        for _ in 0..29 {
            state.discriminator.step(&nan, 0.)?;
        }
        assert_eq!(state.loss_scales()?[0].map(|found| found.scale), Some(1.));
        state.discriminator.step(&nan, 0.)?;
        let error = state.loss_scales().expect_err("diverged").to_string();
        assert!(error.contains("gradients of the discriminator") && error.contains("lower learning rates"), "{error}");
        Ok(())
    }

    /// The same seed on the CPU and on the GPU: the same images and latents, and nearly the same losses.
    #[test]
    fn a_gpu_learns_what_the_cpu_does() -> Result<()> {
        let data = Arc::new(mnist::load(None)?);
        let run = |device: &Device| -> Result<Vec<Losses>> {
            let mut state = State::new(small("alike"), &data, device)?;
            let mut batches = batches(&state, &data);
            let steps: Vec<Found> = (0..8).map(|_| state.step(&batches.next_batch()?)).collect::<Result<_>>()?;
            Found::read(&steps)
        };
        let device = crate::ops::testing::device();
        let (cpu, found, again) = (run(&Device::Cpu)?, run(&device)?, run(&device)?);
        for ((a, b), c) in cpu.iter().zip(&found).zip(&again) {
            let all = |l: &Losses| [l.discriminator, l.generator, l.real_logit, l.fake_logit];
            assert_eq!(all(b).map(f32::to_bits), all(c).map(f32::to_bits), "the same seed, the same bits");
            for (a, b) in all(a).into_iter().zip(all(b)) {
                assert!((a - b).abs() < 2e-3 * a.abs().max(1.), "{a} {b}");
            }
        }
        Ok(())
    }

    #[test]
    fn divergence_is_an_error_with_advice() -> Result<()> {
        let data = Arc::new(mnist::load(None)?);
        let mut recipe = small("diverges");
        recipe.optimizer.discriminator_lr = f64::INFINITY;
        let mut state = State::new(recipe, &data, &crate::ops::testing::device())?;
        let batch = batches(&state, &data).next_batch()?;
        let mut step = || state.step(&batch).and_then(|found| state.check(&Found::read(&[found])?[0]));
        step().and_then(|_| step()).expect_err("diverges");
        let error = step().expect_err("stays diverged").to_string();
        assert!(error.contains("discriminator") && error.contains("lower learning rates"), "{error}");
        Ok(())
    }
}
