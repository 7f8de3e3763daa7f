//! Everything that changes while training: who plays, and how far the run is.

use crate::data::{Batch, Dataset, classes_like, latents, shares};
use crate::error::{Error, Result};
use crate::game::{Adversarial, Clock, Found, Game, Player, Reading};
use crate::graph::Network;
use crate::optim::{Learner, LossScale};
use crate::recipe::{Arithmetic, Recipe};
use crate::watch::Tick;
use candle_core::{Device, Tensor};
use runtime::Precision;

/// Latents from which batch statistics are taken when the generator is finished for good.
pub const STATISTICS_LATENTS: usize = 1024;

/// Bytes that a batch of samples takes at most, on its way through a generator, unless one sample takes more.
pub const SAMPLING_BYTES: u64 = 512 << 20;

/// The state of a run: what a checkpoint holds.
#[derive(Debug)]
pub struct State {
    /// The recipe it belongs to.
    pub recipe: Recipe,
    /// Who learns, the generator first.
    pub players: Vec<Player>,
    /// How far the run is: with the recipe's seed, the state of all randomness.
    pub clock: Clock,
    /// What the steps since the last tick have found.
    pub tick: Tick,
    /// The last evaluation, if there was one.
    pub evaluated: Option<Evaluated>,
    /// Where the networks are.
    pub device: Device,
    /// How many images of each class are shown in an epoch, where images are made of classes; else none.
    pub class_counts: Vec<u64>,
    /// The rules, and what they keep.
    pub(crate) game: Box<dyn Game>,
}

/// How far the samples of a state were from the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluated {
    /// Real images shown until then.
    pub images: u64,
    /// Their Fréchet distance, a number.
    pub frechet_distance: f64,
    /// That of the data's own test images, where there are some.
    pub floor: Option<f64>,
    /// How many samples were drawn.
    pub samples: u64,
}

impl Evaluated {
    /// As text, from which [`Self::restore`] makes the same numbers to the bit.
    pub fn numbers(&self) -> String {
        let floor = self.floor.map_or("none".to_owned(), |floor| floor.to_string());
        format!("{} {} {floor} {}", self.images, self.frechet_distance, self.samples)
    }

    /// What has these [`Self::numbers`]; `None` if they are none.
    pub fn restore(numbers: &str) -> Option<Self> {
        let [images, distance, floor, samples] = numbers.split(' ').collect::<Vec<_>>()[..] else { return None };
        Some(Self {
            images: images.parse().ok()?,
            frechet_distance: distance.parse().ok()?,
            floor: if floor == "none" { None } else { Some(floor.parse().ok()?) },
            samples: samples.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Evaluated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fréchet distance {:.3} ({} samples", self.frechet_distance, self.samples)?;
        match self.floor {
            Some(floor) => write!(f, "; the data's own test images have {floor:.3})"),
            None => write!(f, ")"),
        }
    }
}

impl State {
    /// The state before the first step, on `device`.
    ///
    /// # Errors
    /// Images that the recipe's networks cannot make; a run that needs more memory than there is, before any is taken.
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
        footprint::check(&recipe, data, device)?;
        let subject = recipe.subject(data)?;
        let (generator, discriminator) = recipe.networks(subject)?;
        if recipe.export.precision == Precision::Int8 && generator.doublings() < 2 {
            let what = "export.precision is int8, for which the generator has no layer: it makes images larger once, and that \
                        layer stays as it is; allowed are f16 and f32, a generator.depth of 2 or more, and larger images";
            return Err(Error::Recipe { origin: recipe.name, what: what.into() });
        }
        let class_counts = match data.labels() {
            Some(labels) if subject.classes > 0 => shares(labels, recipe.data.balance, data.len() as u64),
            _ => Vec::new(),
        };
        let (o, half_life) = (&recipe.optimizer, Some(recipe.training.ema_half_life_kimg));
        let remedies = &recipe.remedies;
        let settings = [
            ("generator", generator, o.generator, o.generator_clip, half_life, None),
            ("discriminator", discriminator, o.discriminator, o.discriminator_clip, None, remedies.weight_clip),
        ];
        let players = settings.map(|(role, network, optimizer, clip, average_kimg, bound)| {
            let network = network.map(|_, t| t.to_device(device))?;
            let mut learner = Learner::new(&network, optimizer.moments(), average_kimg.is_some(), dtype)?;
            if remedies.historical_averaging > 0. {
                learner = learner.with_history(remedies.historical_averaging)?;
            }
            Ok(Player { role, learner, optimizer, clip, average_kimg, pace: 1., bound })
        });
        Ok(Self {
            players: players.into_iter().collect::<Result<_>>()?,
            game: Box::new(Adversarial::new(&recipe, device)?),
            recipe,
            clock: Clock::default(),
            tick: Tick::default(),
            evaluated: None,
            device: device.clone(),
            class_counts,
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

    /// What an evaluation of this very state has found, if there was one.
    pub fn evaluation(&self) -> Option<Evaluated> {
        self.evaluated.filter(|found| found.images == self.clock.images)
    }

    /// The figures of some steps; waits for the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] if one of them is no number.
    pub fn read(&self, steps: &[Found]) -> Result<Vec<Reading>> {
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
                let what =
                    format!("gradients of the {role} are not finite though its loss is scaled by no more than 1");
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
    /// under these weights (the running ones of training belong to other weights); of fewer where images are so large that
    /// the batch would need more than [`SAMPLING_BYTES`].
    ///
    /// # Errors
    /// None but those of the device.
    pub fn sampler(&self, latents: usize) -> Result<Network> {
        let average = self.generator().average().last_output()?;
        let latents = average.graph().samples_within(SAMPLING_BYTES, latents);
        let statistics =
            average.batch_statistics(&self.inputs("statistics", 0, latents)?.iter().collect::<Vec<_>>())?;
        Ok(average.evaluated()?.frozen(&statistics)?)
    }

    /// The images that a network makes of its inputs, N of each, as many at a time as [`SAMPLING_BYTES`] have room for.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn images(&self, sampler: &Network, inputs: &[Tensor]) -> Result<Tensor> {
        let n = inputs[0].dim(0)?;
        let part = sampler.graph().samples_within(SAMPLING_BYTES, n).max(1);
        let parts = (0..n).step_by(part).map(|first| {
            let inputs = inputs.iter().map(|t| t.narrow(0, first, part.min(n - first)));
            sampler.forward(&inputs.collect::<candle_core::Result<Vec<_>>>()?.iter().collect::<Vec<_>>())
        });
        let parts = parts.collect::<candle_core::Result<Vec<_>>>()?;
        Ok(if parts.len() == 1 { parts[0].clone() } else { Tensor::cat(&parts, 0)? })
    }

    /// What the generator draws `count` images from, for one purpose from `first` on: latents [count, latent] and, where
    /// there are classes, theirs in the proportions in which they are shown.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn inputs(&self, purpose: &str, first: u64, count: usize) -> Result<Vec<Tensor>> {
        self.inputs_of(purpose, first, &classes_like(&self.class_counts, first, count))
    }

    /// The same for a picture of so many columns: every column is of one class, the first of the first.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn inputs_in_columns(&self, purpose: &str, count: usize, columns: usize) -> Result<Vec<Tensor>> {
        let classes = self.class_counts.len().max(1);
        self.inputs_of(purpose, 0, &(0..count).map(|i| (i % columns % classes) as u32).collect::<Vec<_>>())
    }

    fn inputs_of(&self, purpose: &str, first: u64, classes: &[u32]) -> Result<Vec<Tensor>> {
        let latent = self.recipe.generator.latent();
        let mut inputs =
            vec![latents(self.recipe.seed, purpose, first, classes.len(), latent)?.to_device(&self.device)?];
        if !self.class_counts.is_empty() {
            inputs.push(Tensor::new(classes, &self.device)?);
        }
        Ok(inputs)
    }
}

mod footprint;
#[cfg(test)]
pub(crate) mod tests;
