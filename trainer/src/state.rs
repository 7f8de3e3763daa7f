//! Everything that changes while training: networks, optimisers, and how many images were shown.

use crate::data::{Batch, Dataset, latents};
use crate::error::{Error, Result};
use crate::game;
use crate::net::{Network, WantedGradients};
use crate::optim::{Learner, LossScale, average};
use crate::recipe::{Arithmetic, Recipe, Schedule};
use candle_core::{Device, Tensor};

/// Latents from which batch statistics are taken when the generator is finished for good.
pub const STATISTICS_LATENTS: usize = 1024;

/// The state of a run: what a checkpoint holds.
#[derive(Debug)]
pub struct State {
    /// The recipe it belongs to.
    pub recipe: Recipe,
    /// The network that makes images, with its moving average.
    pub generator: Learner,
    /// The network that judges them.
    pub discriminator: Learner,
    /// Where the networks are.
    pub device: Device,
    /// Real images shown. The state of all randomness is this count and the recipe's seed.
    pub shown: u64,
}

/// What one step found.
#[derive(Clone, Copy, Debug)]
pub struct Losses {
    /// The discriminator's loss, penalties included.
    pub discriminator: f32,
    /// The generator's loss.
    pub generator: f32,
    /// Mean logit of the real images.
    pub real_logit: f32,
    /// Mean logit of the generated images.
    pub fake_logit: f32,
}

/// What one step found, where it was computed: reading it waits for the device.
#[derive(Clone, Debug)]
pub struct Found {
    /// The fields of [`Losses`], in their order.
    values: Tensor,
}

impl Found {
    /// The numbers of some steps, which wait for the device once.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn read(steps: &[Self]) -> Result<Vec<Losses>> {
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let rows = Tensor::cat(&steps.iter().map(|step| &step.values).collect::<Vec<_>>(), 0)?.to_vec1::<f32>()?;
        let read = |&[discriminator, generator, real_logit, fake_logit]: &[f32; 4]| Losses {
            discriminator,
            generator,
            real_logit,
            fake_logit,
        };
        Ok(rows.as_chunks().0.iter().map(read).collect())
    }
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
        let generator = generator.map(|t| t.to_device(device))?;
        let discriminator = discriminator.map(|t| t.to_device(device))?;
        let o = &recipe.optimizer;
        Ok(Self {
            generator: Learner::new(&generator, o.adam(o.generator_lr), true, dtype)?,
            discriminator: Learner::new(&discriminator, o.adam(o.discriminator_lr), false, dtype)?,
            recipe,
            device: device.clone(),
            shown: 0,
        })
    }

    /// One step of both networks, which play on the same generated images.
    ///
    /// # Errors
    /// On the CPU, [`Error::Diverged`] when a loss is no longer finite; the generator, and in one stage the discriminator,
    /// then still hold the state before this step. On a GPU nothing waits for the losses: [`Self::check`] tells when they
    /// are read. The last checkpoint is untouched either way.
    pub fn step(&mut self, batch: &Batch) -> Result<Found> {
        let rules = &self.recipe.objective;
        let dtype = self.recipe.training.precision.dtype();
        let (real, z) = (batch.real.to_dtype(dtype)?, batch.z.to_dtype(dtype)?);
        let trace = self.generator.working().trace(&z)?;
        let fake = trace.output().clone();
        let (judgement, advice) = if self.recipe.training.schedule == Schedule::OneStage {
            let (judgement, advice) = game::one_stage(self.discriminator.working(), rules, &real, &fake)?;
            self.watch("generator", &advice.loss)?;
            self.watch("discriminator", &judgement.loss)?;
            self.discriminator.step(&judgement.gradients, 0.)?;
            (judgement, advice)
        } else {
            let scale = self.discriminator.loss_scale();
            let judgement = game::discriminator(self.discriminator.working(), rules, &real, &fake, scale)?;
            self.watch("discriminator", &judgement.loss)?;
            self.discriminator.step(&judgement.gradients, 0.)?;
            // In its own step the generator is judged by the discriminator's new weights.
            let advice = game::generator(self.discriminator.working(), rules, &fake, self.generator.loss_scale())?;
            self.watch("generator", &advice.loss)?;
            (judgement, advice)
        };
        let gradients = trace.backward(&advice.gradient, WantedGradients { input: false, parameters: true })?;
        let count = batch.z.dim(0)? as u64;
        self.shown += count;
        let half_life = self.recipe.training.ema_half_life_kimg * 1000.;
        self.generator.step(&gradients, average::weight(count, self.shown, half_life))?;

        let values = [judgement.loss, advice.loss, judgement.real_logit, judgement.fake_logit];
        let values = values.map(|value| value.reshape(1));
        let values = values.into_iter().collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Found { values: Tensor::cat(&values, 0)? })
    }

    /// Whether the losses of a step are numbers.
    ///
    /// # Errors
    /// [`Error::Diverged`] if not.
    pub fn check(&self, losses: &Losses) -> Result<()> {
        self.finite("discriminator", losses.discriminator)?;
        self.finite("generator", losses.generator)
    }

    /// What loss scaling has come to, of discriminator and generator, where there is some; waits for the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] when gradients are not finite whatever the scale.
    pub fn loss_scales(&self) -> Result<[Option<LossScale>; 2]> {
        let found = [self.discriminator.read_loss_scale()?, self.generator.read_loss_scale()?];
        for (network, found) in ["discriminator", "generator"].into_iter().zip(found) {
            if found.is_some_and(|found| found.lost > 0) {
                let what =
                    format!("gradients of the {network} are not finite though its loss is scaled by no more than 1");
                return Err(self.diverged(what));
            }
        }
        Ok(found)
    }

    /// [`Self::check`] before a loss is learned from, where looking at it costs nothing.
    fn watch(&self, network: &'static str, loss: &Tensor) -> Result<()> {
        if self.device.is_cpu() { self.finite(network, loss.to_scalar()?) } else { Ok(()) }
    }

    /// The generator for sampling: averaged weights, batch normalisation folded in with the statistics of a batch of
    /// `latents` under these weights (the running ones of training belong to other weights).
    ///
    /// # Errors
    /// None but those of the device.
    pub fn sampler(&self, latents: usize) -> Result<Network> {
        let average = self.generator.average().unwrap_or(self.generator.network());
        let (_, statistics) = average.forward_recording(&self.latents("statistics", 0, latents)?)?;
        Ok(average.fold_batch_norm(&statistics)?)
    }

    /// `count` latents for one purpose from `first` on, [count, latent], on the state's device.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn latents(&self, purpose: &str, first: u64, count: usize) -> Result<Tensor> {
        Ok(latents(self.recipe.seed, purpose, first, count, self.recipe.latent())?.to_device(&self.device)?)
    }

    fn finite(&self, network: &'static str, loss: f32) -> Result<()> {
        if loss.is_finite() { Ok(()) } else { Err(self.diverged(format!("the {network} loss is {loss}"))) }
    }

    fn diverged(&self, what: String) -> Error {
        let o = &self.recipe.optimizer;
        let advice = format!(
            "try lower learning rates (optimizer.generator_lr is {}, optimizer.discriminator_lr is {})",
            o.generator_lr, o.discriminator_lr
        );
        Error::Diverged { images: self.shown, what, advice }
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
