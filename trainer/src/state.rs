//! Everything that changes while training: networks, optimisers, and how many images were shown.

use crate::data::{Batch, Dataset, latents};
use crate::ema;
use crate::error::{Error, Result};
use crate::game;
use crate::net::{Network, WantedGradients};
use crate::optim::Learner;
use crate::recipe::{Recipe, Schedule};
use candle_core::Tensor;

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

impl State {
    /// The state before the first step.
    ///
    /// # Errors
    /// Images that the recipe's networks cannot make.
    pub fn new(recipe: Recipe, data: &Dataset) -> Result<Self> {
        let (generator, discriminator) = recipe.networks(data.shape())?;
        let o = &recipe.optimizer;
        Ok(Self {
            generator: Learner::new(&generator, o.adam(o.generator_lr), true)?,
            discriminator: Learner::new(&discriminator, o.adam(o.discriminator_lr), false)?,
            recipe,
            shown: 0,
        })
    }

    /// One step of both networks, which play on the same generated images.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss is no longer finite; the generator, and in one stage the discriminator, then still
    /// hold the state before this step, and the last checkpoint is untouched.
    pub fn step(&mut self, batch: &Batch) -> Result<Losses> {
        let rules = &self.recipe.objective;
        let trace = self.generator.network().trace(&batch.z)?;
        let fake = trace.output().clone();
        let (judgement, advice) = if self.recipe.training.schedule == Schedule::OneStage {
            let (judgement, advice) = game::one_stage(self.discriminator.network(), rules, &batch.real, &fake)?;
            self.finite("generator", advice.loss)?;
            self.finite("discriminator", judgement.loss)?;
            self.discriminator.step(&judgement.gradients, 0.)?;
            (judgement, advice)
        } else {
            let judgement = game::discriminator(self.discriminator.network(), rules, &batch.real, &fake)?;
            self.finite("discriminator", judgement.loss)?;
            self.discriminator.step(&judgement.gradients, 0.)?;
            // In its own step the generator is judged by the discriminator's new weights.
            let advice = game::generator(self.discriminator.network(), rules, &fake)?;
            self.finite("generator", advice.loss)?;
            (judgement, advice)
        };
        let gradients = trace.backward(&advice.gradient, WantedGradients { input: false, parameters: true })?;
        let count = batch.z.dim(0)? as u64;
        self.shown += count;
        let half_life = self.recipe.training.ema_half_life_kimg * 1000.;
        self.generator.step(&gradients, ema::weight(count, self.shown, half_life))?;

        let mean = |t: &Tensor| t.mean_all()?.to_scalar::<f32>();
        Ok(Losses {
            discriminator: judgement.loss,
            generator: advice.loss,
            real_logit: mean(&judgement.real_logits)?,
            fake_logit: mean(&judgement.fake_logits)?,
        })
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

    /// `count` latents for one purpose from `first` on, [count, latent].
    ///
    /// # Errors
    /// None but those of the device.
    pub fn latents(&self, purpose: &str, first: u64, count: usize) -> Result<Tensor> {
        Ok(latents(self.recipe.seed, purpose, first, count, self.recipe.latent())?)
    }

    fn finite(&self, network: &'static str, loss: f32) -> Result<()> {
        if loss.is_finite() {
            return Ok(());
        }
        let o = &self.recipe.optimizer;
        let advice = format!(
            "try lower learning rates (optimizer.generator_lr is {}, optimizer.discriminator_lr is {})",
            o.generator_lr, o.discriminator_lr
        );
        Err(Error::Diverged { images: self.shown, network, loss, advice })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::data::{Batches, mnist};
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
        Batches::new(data.clone(), recipe.seed, state.shown, recipe.training.batch, recipe.latent())
    }

    #[test]
    fn the_discriminator_learns_to_tell_and_the_generator_follows() -> Result<()> {
        let data = Arc::new(mnist::load(None)?);
        for schedule in [Schedule::TwoStage, Schedule::OneStage] {
            let mut recipe = small("learns");
            recipe.training.schedule = schedule;
            let crate::recipe::Discriminator::Dcgan(discriminator) = &mut recipe.discriminator;
            discriminator.batch_norm = schedule == Schedule::TwoStage;
            let mut state = State::new(recipe, &data)?;
            let mut batches = batches(&state, &data);
            let mut all = Vec::new();
            for _ in 0..60 {
                all.push(state.step(&batches.next_batch()?)?);
            }
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
    fn divergence_is_an_error_with_advice() -> Result<()> {
        let data = Arc::new(mnist::load(None)?);
        let mut recipe = small("diverges");
        recipe.optimizer.discriminator_lr = f64::INFINITY;
        let mut state = State::new(recipe, &data)?;
        let batch = batches(&state, &data).next_batch()?;
        state.step(&batch).and_then(|_| state.step(&batch)).map(|_| ()).expect_err("diverges");
        let error = state.step(&batch).expect_err("stays diverged").to_string();
        assert!(error.contains("discriminator") && error.contains("lower learning rates"), "{error}");
        Ok(())
    }
}
