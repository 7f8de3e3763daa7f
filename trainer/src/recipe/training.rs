//! `[training]`: how long a run is, and what happens in a step.

use super::{Checked, Images, within};
use crate::optim::Schedule;
use crate::watch::OnAlarm;
use candle_core::DType;
use serde::{Deserialize, Serialize};

/// Length and rhythm of a run, in thousands of real images shown (kimg).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Images that a step of a network learns from.
    pub batch: usize,
    /// Into how many parts, of which one is computed at a time, these images are divided.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub micro_batches: usize,
    /// How the two networks take turns.
    #[serde(default)]
    pub stages: Stages,
    /// Steps of the discriminator, with a batch each, for each of the generator.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub critic_steps: usize,
    /// Steps of the generator, with latents of their own, for these.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub generator_steps: usize,
    /// The arithmetic of the layers.
    #[serde(default, skip_serializing_if = "Arithmetic::is_default")]
    pub precision: Arithmetic,
    /// Length of the run.
    pub kimg: Images,
    /// Half-life of the average of the generator's weights.
    pub ema_half_life_kimg: Schedule,
    /// Between two lines of statistics, each with a grid of samples.
    pub tick_kimg: Images,
    /// Between two checkpoints; others are written at the start and at the end.
    pub checkpoint_kimg: Images,
    /// How many checkpoints are kept, beside the best one.
    #[serde(default = "two", skip_serializing_if = "is_two")]
    pub keep: usize,
    /// What happens when the figures show that the game goes wrong.
    #[serde(default, skip_serializing_if = "OnAlarm::is_default")]
    pub on_alarm: OnAlarm,
    /// Between two evaluations, each at the tick that follows, and another one at the end; without it, there are none. The
    /// best checkpoint by them is kept beside the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate_kimg: Option<Images>,
    /// Samples that an evaluation draws.
    #[serde(default = "ten_thousand", skip_serializing_if = "is_ten_thousand")]
    pub evaluate_samples: u64,
}

/// How the two networks take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stages {
    /// The discriminator learns first; the generator is then judged by its new weights.
    #[default]
    Two,
    /// Both networks learn from one pass through the discriminator (Shen et al., "Training generative adversarial networks
    /// in one stage", 2021): a tenth to a fifth less time a step. The discriminator must treat samples alone.
    One,
}

impl Stages {
    pub(crate) fn is_two(&self) -> bool {
        *self == Self::Two
    }
}

/// The arithmetic of the layers. Parameters, their moments and averages, biases, statistics and losses are `f32` in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// Single precision.
    #[default]
    F32,
    /// Single precision, but the operands of products of matrices are rounded to 10 bits: a GPU's tensor cores.
    Tf32,
    /// Images, weights and their gradients on the way are `bf16`, which has the range of `f32`: no loss needs scaling.
    Bf16,
    /// The same in `f16`, which has three bits more and a small range: losses are scaled on the way back, by as much as
    /// their gradients bear, and a step whose gradients were too large is skipped ([`crate::optim::Scaling`]). Not for one-stage
    /// training.
    F16,
}

impl Arithmetic {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The type of images and of the layers' weights.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 | Self::Tf32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

fn two() -> usize {
    2
}

fn is_two(count: &usize) -> bool {
    *count == 2
}

fn ten_thousand() -> u64 {
    10_000
}

fn is_ten_thousand(count: &u64) -> bool {
    *count == 10_000
}

impl Training {
    pub(super) fn check(&self) -> Checked {
        within("training.batch", self.batch, 2, 4096)?;
        within("training.micro_batches", self.micro_batches, 1, self.batch)?;
        // Batch normalisation needs two samples to differ.
        if !self.batch.is_multiple_of(self.micro_batches) || self.batch / self.micro_batches < 2 {
            let (batch, parts) = (self.batch, self.micro_batches);
            return Err(format!(
                "training.micro_batches is {parts}, allowed are divisors of training.batch, {batch}, up to its half"
            ));
        }
        within("training.critic_steps", self.critic_steps, 1, 1000)?;
        within("training.generator_steps", self.generator_steps, 1, 1000)?;
        self.kimg.check("training.kimg", self.batch as u64)?;
        self.ema_half_life_kimg.check("training.ema_half_life_kimg", 0., 1e6)?;
        self.tick_kimg.check("training.tick_kimg", 1)?;
        self.checkpoint_kimg.check("training.checkpoint_kimg", 1)?;
        within("training.keep", self.keep, 1, 1_000_000)?;
        self.evaluate_kimg.map_or(Ok(()), |every| every.check("training.evaluate_kimg", 1))?;
        if !(2..=10_000_000).contains(&self.evaluate_samples) {
            let count = self.evaluate_samples;
            return Err(format!("training.evaluate_samples is {count}, allowed is 2 to 10000000"));
        }
        Ok(())
    }

    /// Real images that a step of the game shows.
    pub fn images_a_step(&self) -> u64 {
        (self.batch * self.critic_steps) as u64
    }

    /// How many images had been shown at the last tick, `images` images into the run.
    pub fn last_tick(&self, images: u64) -> u64 {
        let step = self.images_a_step();
        (images / self.tick_kimg.0 * self.tick_kimg.0).div_ceil(step) * step
    }

    /// Steps of a whole run.
    pub fn steps(&self) -> u64 {
        self.kimg.0.div_ceil(self.images_a_step())
    }
}
