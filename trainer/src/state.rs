//! Everything that changes while training: networks, optimisers, and how many images were shown.

use crate::data::{Batches, Dataset};
use crate::ema;
use crate::error::{Error, Result};
use crate::net::Network;
use crate::optim::Adam;
use crate::random;
use crate::recipe::Recipe;
use candle_core::{Device, Tensor};

/// Latents from which batch statistics are taken when the generator is finished for sampling.
const STATISTICS_LATENTS: usize = 1024;

/// The state of a run: what a checkpoint holds.
#[derive(Debug)]
pub struct State {
    /// The recipe it belongs to.
    pub recipe: Recipe,
    /// The network that makes images.
    pub generator: Network,
    /// The network that judges them.
    pub discriminator: Network,
    /// The moving average of the generator's weights.
    pub average: Network,
    /// The generator's optimiser.
    pub generator_adam: Adam,
    /// The discriminator's optimiser.
    pub discriminator_adam: Adam,
    /// Real images shown. The state of all randomness is this count and the recipe's seed.
    pub shown: u64,
}

/// What one step found.
#[derive(Clone, Copy, Debug)]
pub struct Losses {
    /// The discriminator's loss.
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
            average: generator.copy()?,
            generator_adam: Adam::new(&generator, o, o.generator_lr)?,
            discriminator_adam: Adam::new(&discriminator, o, o.discriminator_lr)?,
            generator,
            discriminator,
            recipe,
            shown: 0,
        })
    }

    /// One step of both networks on the next batch of `batches`.
    ///
    /// Both play on the same generated images, so the generator runs once; in its own step it is judged by the
    /// discriminator's new weights.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss is no longer finite; the networks then hold the state before this step's damage
    /// reached the generator, the last checkpoint is untouched.
    pub fn step(&mut self, batches: &mut Batches<'_>) -> Result<Losses> {
        let (batch, loss) = (self.recipe.training.batch, self.recipe.objective.loss);
        let real = batches.batch(self.shown, batch)?;
        let fake = self.generator.forward(&self.latents("latents", self.shown, batch)?)?;

        // The discriminator's step.
        let real_logits = self.discriminator.forward(&real)?;
        let fake_logits = self.discriminator.forward(&fake.detach())?;
        let discriminator_loss = loss.discriminator(&real_logits, &fake_logits)?;
        let discriminator = self.finite("discriminator", &discriminator_loss)?;
        self.discriminator_adam.step(&self.discriminator, &discriminator_loss.backward()?)?;

        // The generator's step: gradients pass through the discriminator, none is computed for its weights.
        let generator_loss = loss.generator(&self.discriminator.frozen().forward(&fake)?)?;
        let generator = self.finite("generator", &generator_loss)?;
        self.generator_adam.step(&self.generator, &generator_loss.backward()?)?;

        self.shown += batch as u64;
        let half_life = self.recipe.training.ema_half_life_kimg * 1000.;
        ema::update(&self.average, &self.generator, batch as u64, self.shown, half_life)?;
        let mean = |t: &Tensor| t.mean_all()?.to_scalar::<f32>();
        Ok(Losses { discriminator, generator, real_logit: mean(&real_logits)?, fake_logit: mean(&fake_logits)? })
    }

    /// The generator for sampling: averaged weights, batch normalisation folded in with the statistics of a large batch
    /// under these weights (the running ones of training belong to other weights).
    ///
    /// # Errors
    /// None but those of the device.
    pub fn sampler(&self) -> Result<Network> {
        let z = self.latents("statistics", 0, STATISTICS_LATENTS)?;
        let (_, statistics) = self.average.frozen().forward_recording(&z)?;
        Ok(self.average.fold_batch_norm(&statistics)?)
    }

    /// `count` latents for one purpose from `first` on, [count, latent].
    ///
    /// # Errors
    /// None but those of the device.
    pub fn latents(&self, purpose: &str, first: u64, count: usize) -> Result<Tensor> {
        let (seed, width) = (random::derive(self.recipe.seed, purpose), self.recipe.latent());
        let mut z = vec![0f32; count * width];
        for (z, index) in z.chunks_exact_mut(width).zip(first..) {
            runtime::fill_latent(seed, index, z);
        }
        Ok(Tensor::from_vec(z, (count, width), &Device::Cpu)?)
    }

    fn finite(&self, network: &'static str, loss: &Tensor) -> Result<f32> {
        let loss = loss.to_scalar::<f32>()?;
        if loss.is_finite() {
            return Ok(loss);
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
    use crate::data::mnist;

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

    #[test]
    fn the_discriminator_learns_to_tell_and_the_generator_follows() -> Result<()> {
        let data = mnist::load(None)?;
        let mut state = State::new(small("learns"), &data)?;
        let mut batches = Batches::new(&data, state.recipe.seed);
        let mut all = Vec::new();
        for _ in 0..60 {
            all.push(state.step(&mut batches)?);
        }
        let mean = |range: std::ops::Range<usize>, f: fn(&Losses) -> f32| {
            all[range.clone()].iter().map(f).sum::<f32>() / range.len() as f32
        };
        assert!(mean(0..5, |l| l.discriminator) > 1., "it begins with guessing: 2 ln 2");
        assert!(mean(50..60, |l| l.real_logit - l.fake_logit) > 0.5, "real images are told from others");
        assert_eq!(state.shown, 480);
        Ok(())
    }

    #[test]
    fn divergence_is_an_error_with_advice() -> Result<()> {
        let data = mnist::load(None)?;
        let mut recipe = small("diverges");
        recipe.optimizer.discriminator_lr = f64::INFINITY;
        let mut state = State::new(recipe, &data)?;
        let mut batches = Batches::new(&data, 0);
        state.step(&mut batches).and_then(|_| state.step(&mut batches)).map(|_| ()).expect_err("diverges");
        let error = state.step(&mut batches).expect_err("stays diverged").to_string();
        assert!(error.contains("discriminator") && error.contains("lower learning rates"), "{error}");
        Ok(())
    }
}
