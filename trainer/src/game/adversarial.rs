//! The game of two: a discriminator learns to tell real images from a generator's, and the generator from what it is told.
//!
//! A `scale`, `[1]`, is what a loss is multiplied by before the way back, where the layers' `f16` would lose its gradients
//! otherwise: all gradients are then those of the scaled loss. The losses themselves are not scaled.

use super::{Clock, Figures, Found, Game, Player};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::graph::{Gradients, Trace, Wanted};
use crate::objective::penalty::{Points, penalise, refusal};
use crate::objective::{Loss, Penalty};
use crate::ops::{MeanLoss, both_losses, weighted_loss};
use crate::optim::Learner;
use crate::recipe::{Recipe, Stages};
use candle_core::{DType, Tensor};
use classes::{Told, back};

/// The rules.
#[derive(Clone, Debug)]
pub struct Adversarial {
    /// What both minimise.
    pub loss: Loss,
    /// What the discriminator minimises as well.
    pub penalties: Vec<Penalty>,
    /// How the two take turns.
    pub stages: Stages,
    /// Steps of the discriminator for each of the generator, at least 1: with a batch each, of which the generator learns
    /// from the last.
    pub critic_steps: usize,
    /// Batches that one step learns from, at least 1: their gradients are averaged.
    pub micro_batches: usize,
    /// What the cross-entropy of a classifying discriminator is multiplied by.
    pub classifier_weight: f64,
    /// The type that the layers compute in.
    pub dtype: DType,
}

impl Game for Adversarial {
    fn counts(&self, steps: u64, images_a_step: u64) -> Option<(Clock, Vec<u64>)> {
        let images = steps.checked_mul(images_a_step)?;
        let of_discriminator = steps.checked_mul(self.critic_steps as u64)?;
        Some((Clock { images, latents: images, steps }, vec![steps, of_discriminator]))
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
            Stages::Two => self.two_stages(generator, discriminator, (since, clock), &batches, &mut figures)?,
            Stages::One => self.one_stage(generator, discriminator, (since, clock), &batches, &mut figures)?,
        }
        clock.steps += 1;
        Ok(figures.finish()?)
    }
}

impl Adversarial {
    /// The rules that a recipe states.
    pub fn new(recipe: &Recipe) -> Self {
        let (objective, training) = (&recipe.objective, &recipe.training);
        Self {
            loss: objective.loss,
            penalties: objective.penalties.clone(),
            stages: training.stages,
            critic_steps: training.critic_steps,
            micro_batches: training.micro_batches,
            classifier_weight: objective.classifier_weight,
            dtype: training.precision.dtype(),
        }
    }

    /// What one step learns from, in the type of the layers.
    fn batches(&self, next: &mut dyn FnMut() -> Result<Batch>) -> Result<Vec<Batch>> {
        let batch = |_| {
            let batch = next()?;
            Ok(Batch { real: batch.real.to_dtype(self.dtype)?, z: batch.z.to_dtype(self.dtype)?, ..batch })
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
        generator: &mut Player,
        discriminator: &mut Player,
        (since, clock): (Clock, &mut Clock),
        batches: &[Batch],
        figures: &mut Figures,
    ) -> Result<()> {
        // Of one batch, both learn from one pass through the generator; of several, none is kept.
        let mut only = match batches {
            [batch] => Some(generator.learner.working().trace(&batch.drawn_from())?),
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

        let mut all = Vec::with_capacity(batches.len());
        for batch in batches {
            let trace = match only.take() {
                Some(trace) => trace,
                None => generator.learner.working().trace(&batch.drawn_from())?,
            };
            let network = discriminator.learner.working();
            let judge = network.trace(&batch.judged(network, trace.output()))?;
            let (of, scale) = (self.loss.criterion().generator, generator.learner.loss_scale());
            let found = weighted_loss([(judge.output(), of)], batch.weight_of_generated(), scale)?;
            watch(clock, "generator loss", &found.loss()?)?;
            figures.add(["generator_loss"], &found.loss()?)?;
            let told = self.tell(&judge, batch, 1., scale)?;
            self.report_classes(told.as_ref(), clock, "generator_class_loss", figures)?;
            let gradient = back(judge, &found.slopes(0)?, told.as_ref(), Wanted::INPUTS)?.input()?;
            all.push((trace.updates(), trace.backward(&gradient, Wanted::PARAMETERS)?));
        }
        self.learn(generator, &all)?;
        Ok(generator.step(&since, clock, figures)?)
    }

    /// Both learn from one pass through the discriminator and back (Shen et al., "Training generative adversarial networks
    /// in one stage", 2021). The way back is linear in the gradient it begins with, and each generated image has its own:
    /// scaled by the ratio of both losses' derivatives with respect to its logit, the gradient with respect to the image is
    /// the generator's. `f16` has no room for such ratios.
    fn one_stage(
        &self,
        generator: &mut Player,
        discriminator: &mut Player,
        (since, clock): (Clock, &mut Clock),
        batches: &[Batch],
        figures: &mut Figures,
    ) -> Result<()> {
        let mut all = Vec::with_capacity(batches.len());
        for batch in batches {
            let trace = generator.learner.working().trace(&batch.drawn_from())?;
            let Some(gradient) = self.judge(discriminator, clock, (batch, trace.output()), figures)? else {
                return Err(candle_core::Error::msg(
                    "one-stage training needs a discriminator that treats samples alone, without batch normalisation",
                )
                .into());
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
    fn learn(&self, player: &mut Player, all: &[(Vec<(usize, Tensor)>, Gradients)]) -> Result<()> {
        for (buffers, gradients) in all {
            player.learner.update(buffers)?;
            player.learner.accumulate(gradients, self.share())?;
        }
        Ok(())
    }

    /// The discriminator takes up what it learns from real and generated images. They go through it in one batch where that
    /// makes no difference; in one stage, the gradient of the generator's loss with respect to the generated ones comes with
    /// it.
    fn judge(
        &self,
        player: &mut Player,
        clock: &Clock,
        (batch, fake): (&Batch, &Tensor),
        figures: &mut Figures,
    ) -> Result<Option<Tensor>> {
        let (real, both) = (&batch.real, batch.twice()?);
        let weights = both.weight.as_ref();
        let (learner, criterion, n) = (&player.learner, self.loss.criterion(), real.dim(0)?);
        let (network, scale) = (learner.working(), learner.loss_scale());
        let due: Vec<&Penalty> =
            self.penalties.iter().filter(|penalty| clock.steps.is_multiple_of(penalty.every)).collect();
        let (mut all, mut of_images) = (Vec::new(), None);
        if network.graph().mixes_samples().is_some() {
            if let Some(why) = refusal(network).filter(|_| !due.is_empty()) {
                return Err(candle_core::Error::msg(why).into());
            }
            let (real, fake) =
                (network.trace(&batch.judged(network, real))?, network.trace(&batch.judged(network, fake))?);
            let groups = [(real.output(), criterion.real), (fake.output(), criterion.generated)];
            let found = weighted_loss(groups, weights, scale)?;
            self.report(&found, clock, figures)?;
            for (i, trace) in [real, fake].into_iter().enumerate() {
                let told = self.tell(&trace, batch, 0.5, scale)?;
                self.report_classes(told.as_ref(), clock, "discriminator_class_loss", figures)?;
                all.push((trace.updates(), back(trace, &found.slopes(i)?, told.as_ref(), Wanted::PARAMETERS)?));
            }
        } else {
            let images = Tensor::cat(&[real, fake], 0)?;
            let trace = network.trace(&both.judged(network, &images))?;
            let [of_real, of_fake] = halves(trace.output(), n)?;
            let groups = [(&of_real, criterion.real), (&of_fake, criterion.generated)];
            let found = match self.stages {
                Stages::Two => weighted_loss(groups, weights, scale)?,
                Stages::One => both_losses(groups, criterion.generator, weights)?,
            };
            self.report(&found, clock, figures)?;
            let told = self.tell(&trace, &both, 1., scale)?;
            self.report_classes(told.as_ref(), clock, "discriminator_class_loss", figures)?;
            let updates = trace.updates();
            let penalties =
                due.iter().map(|penalty| self.penalise(learner, penalty, clock, (batch, fake), &trace, figures));
            let penalties = penalties.collect::<Result<Vec<_>>>()?;
            let wanted = if self.stages == Stages::One { Wanted::ALL } else { Wanted::PARAMETERS };
            let mut gradients = back(trace, &found.all_slopes()?, told.as_ref(), wanted)?;
            if self.stages == Stages::One {
                let input = gradients.inputs.swap_remove(0);
                of_images = input.map(|input| of_generator(&input.narrow(0, n, fake.dim(0)?)?, &found)).transpose()?;
            }
            all.push((updates, gradients));
            all.extend(penalties.into_iter().map(|gradients| (Vec::new(), gradients)));
        }
        self.learn(player, &all)?;
        Ok(of_images)
    }

    /// What the discriminator made of a batch.
    fn report(&self, found: &MeanLoss, clock: &Clock, figures: &mut Figures) -> Result<()> {
        watch(clock, "discriminator loss", &found.loss()?)?;
        figures.add(["discriminator_loss"], &found.loss()?)?;
        if self.stages == Stages::One {
            watch(clock, "generator loss", &found.generator_loss()?)?;
            figures.add(["generator_loss"], &found.generator_loss()?)?;
        }
        Ok(figures.add(["real_logit", "fake_logit"], &found.mean_logits()?)?)
    }

    /// What a discriminator that tells classes made of them.
    fn report_classes(&self, told: Option<&Told>, clock: &Clock, name: &str, figures: &mut Figures) -> Result<()> {
        let Some(told) = told else { return Ok(()) };
        watch(clock, &name.replace('_', " "), &told.loss)?;
        Ok(figures.add([name], &told.loss)?)
    }

    /// The gradients of a penalty. They are taken in single precision, whatever the layers compute in.
    fn penalise(
        &self,
        learner: &Learner,
        penalty: &Penalty,
        clock: &Clock,
        (batch, fake): (&Batch, &Tensor),
        trace: &Trace<'_>,
        figures: &mut Figures,
    ) -> Result<Gradients> {
        let (images, first) = match penalty.kind.points() {
            Points::Real => (&batch.real, 0),
            Points::Generated => (fake, batch.real.dim(0)?),
        };
        let points = match self.dtype {
            DType::F16 | DType::BF16 => {
                let (network, images) = (learner.network(), images.to_dtype(DType::F32)?);
                network.trace(&batch.judged(network, &images))?
            }
            _ => trace.rows(first, images.dim(0)?)?,
        };
        let weight = penalty.weight.at(clock.images) * penalty.every as f64;
        let (value, gradients) = penalise(points, penalty.kind, weight, learner.loss_scale())?;
        watch(clock, penalty.kind.name(), &value)?;
        figures.add([penalty.kind.name()], &value)?;
        Ok(gradients)
    }
}

/// The gradient of the generator's loss with respect to generated images, from that of the discriminator's.
fn of_generator(gradient: &Tensor, found: &MeanLoss) -> candle_core::Result<Tensor> {
    let ratios = found.ratios()?.reshape([vec![gradient.dim(0)?], vec![1; gradient.rank() - 1]].concat())?;
    gradient.broadcast_mul(&ratios.to_dtype(gradient.dtype())?)
}

/// Counts what was shown.
fn count(clock: &mut Clock, batches: &[Batch]) -> candle_core::Result<()> {
    for batch in batches {
        clock.count(batch.real.dim(0)?, batch.z.dim(0)?);
    }
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

/// The first `n` rows, and the others.
fn halves(t: &Tensor, n: usize) -> candle_core::Result<[Tensor; 2]> {
    Ok([t.narrow(0, 0, n)?, t.narrow(0, n, t.dim(0)? - n)?])
}

mod classes;
mod footprint;
#[cfg(test)]
mod tests;
