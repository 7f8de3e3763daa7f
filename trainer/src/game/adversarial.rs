//! The game of two: a discriminator learns to tell real images from a generator's, and the generator from what it is told.
//!
//! A `scale`, `[1]`, is what a loss is multiplied by before the way back, where the layers' `f16` would lose its gradients
//! otherwise: all gradients are then those of the scaled loss. The losses themselves are not scaled.

use super::{Clock, Figures, Found, Game, Player};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::graph::operators::mipmap;
use crate::graph::{Gradients, Trace, Wanted};
use crate::net::Judged;
use crate::objective::criterion::{Asked, How};
use crate::objective::{Loss, Penalty};
use crate::optim::Learner;
use crate::recipe::{Recipe, Remedies, Stages};
use averages::Averages;
use candle_core::{DType, Device, Tensor};
use classes::Told;
use judge::back;
use view::{Shown, best};

/// The rules.
#[derive(Clone, Debug)]
pub struct Adversarial {
    /// What both minimise.
    pub loss: Loss,
    /// What the discriminator minimises as well.
    pub penalties: Vec<Penalty>,
    /// What keeps that from failing.
    pub remedies: Remedies,
    /// How the two take turns.
    pub stages: Stages,
    /// Steps of the discriminator for each of the game, at least 1: with a batch each, of which the generator learns from
    /// the last, if its loss asks for no batch of its own.
    pub critic_steps: usize,
    /// Steps of the generator for each of the game, at least 1: those after the first with batches of their own.
    pub generator_steps: usize,
    /// Batches that one step learns from, at least 1: their gradients are averaged.
    pub micro_batches: usize,
    /// What the cross-entropy of a classifying discriminator is multiplied by.
    pub classifier_weight: f64,
    /// The type that the layers compute in.
    pub dtype: DType,
    /// The seed of what is drawn beside latents.
    pub seed: u64,
    /// The moving averages of the mean logits of real and of generated images, where a penalty asks for them.
    pub averages: Option<Averages>,
    /// The moving average of the discriminator's loss, `[1]`, where its rate follows that; it begins with the ideal.
    pub loss_average: Option<Tensor>,
}

/// What a player has found in a batch: new values of buffers, and gradients.
type Learned = (Vec<(usize, Tensor)>, Gradients);

impl Game for Adversarial {
    fn counts(&self, steps: u64, images_a_step: u64) -> Option<(Clock, Vec<u64>)> {
        let images = steps.checked_mul(images_a_step)?;
        let own = self.generator_steps as u64 - u64::from(!self.generator_has_own());
        let of_generator = steps.checked_mul(images_a_step / self.critic_steps as u64)?.checked_mul(own)?;
        let latents = images.checked_add(of_generator)?;
        let players = [self.generator_steps, self.critic_steps].map(|turns| steps.checked_mul(turns as u64));
        Some((Clock { images, latents, steps }, players.into_iter().collect::<Option<_>>()?))
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let of_logits = self.averages.iter().flat_map(Averages::tensors);
        let of_loss = self.loss_average.iter().map(|average| ("loss_average", average));
        of_logits.chain(of_loss).map(|(name, kept)| (name.to_owned(), kept.clone())).collect()
    }

    fn step(
        &mut self,
        players: &mut [Player],
        clock: &mut Clock,
        next: &mut dyn FnMut() -> Result<Batch>,
    ) -> Result<Found> {
        let [generator, discriminator] = players else {
            return Err(candle_core::Error::msg("a generator and a discriminator play this game").into());
        };
        let since = *clock;
        let mut figures = Figures::default();
        for _ in 1..self.critic_steps {
            let before = *clock;
            let batches = self.batches(next)?;
            for batch in &batches {
                let fake = generator.learner.working().forward(&batch.drawn_from())?;
                self.judge(discriminator, clock, (batch, &fake), &mut figures)?;
            }
            count(clock, &batches)?;
            discriminator.step(&before, clock, &mut figures)?;
        }
        let batches = self.batches(next)?;
        match self.stages {
            Stages::Two => {
                self.two_stages((generator, discriminator), (since, clock), (&batches, next), &mut figures)?
            }
            Stages::One => self.one_stage((generator, discriminator), (since, clock), &batches, &mut figures)?,
        }
        clock.steps += 1;
        Ok(figures.finish()?)
    }
}

impl Adversarial {
    /// The rules that a recipe states, for players on `device`.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn new(recipe: &Recipe, device: &Device) -> Result<Self> {
        let (objective, training) = (&recipe.objective, &recipe.training);
        let remembers = objective.penalties.iter().any(|penalty| penalty.kind.rule().needs_averages());
        let paced = objective.loss.ideal().filter(|_| recipe.remedies.gap_aware);
        Ok(Self {
            loss: objective.loss,
            penalties: objective.penalties.clone(),
            remedies: recipe.remedies.clone(),
            stages: training.stages,
            critic_steps: training.critic_steps,
            generator_steps: training.generator_steps,
            micro_batches: training.micro_batches,
            classifier_weight: objective.classifier_weight,
            dtype: training.precision.dtype(),
            seed: recipe.seed,
            averages: remembers.then(|| Averages::new(device)).transpose()?,
            loss_average: paced.map(|ideal| Tensor::full(ideal as f32, 1, device)).transpose()?,
        })
    }

    /// Whether the generator learns from batches of its own alone: where its loss compares it with real images.
    fn generator_has_own(&self) -> bool {
        self.loss.criterion().asks().1
    }

    /// What one step learns from, in the type of the layers.
    fn batches(&self, next: &mut dyn FnMut() -> Result<Batch>) -> Result<Vec<Batch>> {
        let batch = |_| {
            let batch = next()?;
            let real = if self.remedies.multi_scale { mipmap(&batch.real)? } else { batch.real.clone() };
            Ok(Batch { real: real.to_dtype(self.dtype)?, z: batch.z.to_dtype(self.dtype)?, ..batch })
        };
        (0..self.micro_batches).map(batch).collect()
    }

    /// The part that each batch has in a step.
    fn share(&self) -> f64 {
        1. / self.micro_batches as f64
    }

    /// The discriminator moves first; the generator is then judged by its new weights.
    fn two_stages(
        &self,
        (generator, discriminator): (&mut Player, &mut Player),
        (since, clock): (Clock, &mut Clock),
        (batches, next): (&[Batch], &mut dyn FnMut() -> Result<Batch>),
        figures: &mut Figures,
    ) -> Result<()> {
        // Of one batch, both learn from one pass through the generator; of several, none is kept.
        let only = match batches {
            [batch] if !self.generator_has_own() => Some(generator.learner.working().trace(&batch.drawn_from())?),
            _ => None,
        };
        for batch in batches {
            let fake = match &only {
                Some(trace) => trace.output().clone(),
                None => generator.learner.working().forward(&batch.drawn_from())?,
            };
            self.judge(discriminator, clock, (batch, &fake), figures)?;
        }
        let before = *clock;
        count(clock, batches)?;
        discriminator.step(&before, clock, figures)?;

        let own = if self.generator_has_own() { Some(self.batches(next)?) } else { None };
        let mut all =
            self.taught([generator, discriminator], clock, own.as_deref().unwrap_or(batches), only, figures)?;
        own.iter().flatten().try_for_each(|batch| count_own(clock, batch))?;
        for _ in 1..self.generator_steps {
            self.learn(generator, &all)?;
            // The average moves at the last of them, by all images.
            generator.step(&since, &since, figures)?;
            let own = self.batches(next)?;
            all = self.taught([generator, discriminator], clock, &own, None, figures)?;
            own.iter().try_for_each(|batch| count_own(clock, batch))?;
        }
        self.learn(generator, &all)?;
        Ok(generator.step(&since, clock, figures)?)
    }

    /// What the generator finds in these batches, of the first of which there may be a trace already.
    fn taught(
        &self,
        [generator, discriminator]: [&Player; 2],
        clock: &Clock,
        batches: &[Batch],
        mut first: Option<Trace<'_>>,
        figures: &mut Figures,
    ) -> Result<Vec<Learned>> {
        let mut all = Vec::with_capacity(batches.len());
        for batch in batches {
            let trace = match first.take() {
                Some(trace) => trace,
                None => generator.learner.working().trace(&batch.drawn_from())?,
            };
            let scale = generator.learner.loss_scale();
            let gradient = self.instruct(&discriminator.learner, clock, (batch, trace.output()), scale, figures)?;
            all.push((trace.updates(), trace.backward(&gradient, Wanted::PARAMETERS)?));
        }
        Ok(all)
    }

    /// The gradient of the generator's loss with respect to its images.
    fn instruct(
        &self,
        discriminator: &Learner,
        clock: &Clock,
        (batch, fake): (&Batch, &Tensor),
        scale: Option<&Tensor>,
        figures: &mut Figures,
    ) -> Result<Tensor> {
        let (network, criterion) = (discriminator.working(), self.loss.criterion());
        let (asked, with_real) = criterion.asks();
        let judged = match asked {
            Asked::Outputs => Judged::Outputs,
            Asked::Features => Judged::Features,
        };
        let view = self.show(fake, Shown::GeneratedToGenerator, batch.first, clock.images)?;
        let judge = network.trace(&batch.judged(network, &view.images))?;
        let real = match with_real {
            true => {
                let real = self.show(&batch.real, Shown::RealToGenerator, batch.first, clock.images)?;
                let mut outputs = network.outputs(&batch.judged(network, &real.images), |_, _| ())?;
                Some(outputs.swap_remove(judged as usize))
            }
            false => None,
        };
        let Some(output) = judge.output_at(judged as usize) else {
            return Err(candle_core::Error::msg("the discriminator does not give its features").into());
        };
        let part = self.remedies.top_k.map_or(1., |part| part.at(clock.images));
        let mut weights = batch.weight_of_generated().cloned();
        if part < 1. {
            weights = Some(best(output, part, weights.as_ref())?);
        }
        let how = How { weights: weights.as_ref(), scale, smoothing: 0. };
        let [loss, slopes] = criterion.generator(real.as_ref(), output, how)?;
        watch(clock, "generator loss", &loss)?;
        figures.add(["generator_loss"], &loss)?;
        let told = self.tell(&judge, batch, 1., scale)?;
        self.report_classes(told.as_ref(), clock, "generator_class_loss", figures)?;
        let of_classes = told.as_ref().map(|told| &told.slopes);
        Ok(view.back(&back(judge, (judged, &slopes), of_classes, Wanted::INPUTS)?.input()?)?)
    }

    /// Both learn from one pass through the discriminator and back (Shen et al., "Training generative adversarial networks
    /// in one stage", 2021). The way back is linear in the gradient it begins with, and each generated image has its own:
    /// scaled by the ratio of both losses' derivatives with respect to its logit, the gradient with respect to the image is
    /// the generator's. `f16` has no room for such ratios.
    fn one_stage(
        &self,
        (generator, discriminator): (&mut Player, &mut Player),
        (since, clock): (Clock, &mut Clock),
        batches: &[Batch],
        figures: &mut Figures,
    ) -> Result<()> {
        let mut all = Vec::with_capacity(batches.len());
        for batch in batches {
            let trace = generator.learner.working().trace(&batch.drawn_from())?;
            let Some(gradient) = self.judge(discriminator, clock, (batch, trace.output()), figures)? else {
                let what = "one-stage training needs a loss of single logits, and this one compares images";
                return Err(candle_core::Error::msg(what).into());
            };
            all.push((trace.updates(), trace.backward(&gradient, Wanted::PARAMETERS)?));
        }
        self.learn(generator, &all)?;
        let before = *clock;
        count(clock, batches)?;
        discriminator.step(&before, clock, figures)?;
        Ok(generator.step(&since, clock, figures)?)
    }

    /// Takes up what a player has found in each batch.
    fn learn(&self, player: &mut Player, all: &[Learned]) -> Result<()> {
        for (buffers, gradients) in all {
            player.learner.update(buffers)?;
            player.learner.accumulate(gradients, self.share())?;
        }
        Ok(())
    }

    /// What a discriminator that tells classes made of them.
    fn report_classes(&self, told: Option<&Told>, clock: &Clock, name: &str, figures: &mut Figures) -> Result<()> {
        let Some(told) = told else { return Ok(()) };
        watch(clock, &name.replace('_', " "), &told.loss)?;
        Ok(figures.add([name], &told.loss)?)
    }
}

/// Counts what was shown.
fn count(clock: &mut Clock, batches: &[Batch]) -> candle_core::Result<()> {
    for batch in batches {
        clock.count(batch.real.dim(0)?);
    }
    Ok(())
}

/// Counts what the generator alone was shown.
fn count_own(clock: &mut Clock, batch: &Batch) -> candle_core::Result<()> {
    clock.count_own(batch.z.dim(0)?);
    Ok(())
}

/// Whether a loss is a number, before it is learned from, where looking at it costs nothing: on the CPU.
fn watch(clock: &Clock, what: &str, loss: &Tensor) -> Result<()> {
    if !loss.device().is_cpu() {
        return Ok(());
    }
    let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    if value.is_finite() { Ok(()) } else { Err(Error::diverged(clock.images, format!("the {what} is {value}"))) }
}

mod averages;
mod classes;
mod footprint;
mod judge;
mod pace;
#[cfg(test)]
mod tests;
mod view;
