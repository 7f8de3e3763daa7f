//! Training to be timed: a recipe, its data, and where it runs.

use candle_core::Device;
use runtime::{ImageShape, Provider};
use std::sync::Arc;
use trainer::Result;
use trainer::data::{Batches, Dataset};
use trainer::device::{self, Choice};
use trainer::game::Found;
use trainer::recipe::Recipe;
use trainer::state::State;

/// The arithmetic that training can compute with.
pub const PRECISIONS: [&str; 4] = ["f32", "tf32", "bf16", "f16"];

/// A state, and the batches that it learns from.
#[derive(Debug)]
pub struct Training {
    state: State,
    batches: Batches,
    device: Device,
}

impl Training {
    /// The state before the first step.
    ///
    /// # Errors
    /// Images that the recipe's networks cannot make; a device or precision that does not work.
    pub fn start(recipe: Recipe, data: &Arc<Dataset>, device: Provider, precision: &str) -> Result<Self> {
        let choice = match device {
            Provider::Cuda => Choice::Cuda,
            Provider::Cpu => Choice::Cpu,
            _ => Choice::Auto,
        };
        let (device, _) = device::open(choice)?;
        let recipe =
            Recipe::parse(&recipe.to_toml()?, &recipe.name, &[("training.precision".into(), precision.into())])?;
        let batches = Batches::new(data.clone(), &device, &recipe, 0)?;
        Ok(Self { state: State::new(recipe, data, &device)?, batches, device })
    }

    /// One step with the next batch, of which nothing is read: a GPU is not waited for.
    ///
    /// # Errors
    /// On the CPU, losses that are no longer finite.
    pub fn step(&mut self) -> Result<Found> {
        self.state.step(&mut || self.batches.next_batch())
    }

    /// The losses of a step, of discriminator and generator; waits for the device.
    ///
    /// # Errors
    /// Losses that are not finite.
    pub fn losses(&self, step: Found) -> Result<[f32; 2]> {
        let figures = self.state.read(&[step])?.into_iter().flatten();
        let mut losses = [f32::NAN; 2];
        for (name, value) in figures {
            for (loss, known) in losses.iter_mut().zip(["discriminator_loss", "generator_loss"]) {
                if name == known {
                    *loss = value;
                }
            }
        }
        Ok(losses)
    }

    /// Waits until the device has done all that it was given: before a clock is read.
    ///
    /// # Errors
    /// What went wrong on the device meanwhile.
    pub fn synchronise(&self) -> Result<()> {
        Ok(self.device.synchronize()?)
    }
}

/// Images of random pixels, the same for the same seed: how long a step takes does not depend on what they show.
pub fn noise(shape: ImageShape, count: usize, seed: u64) -> Dataset {
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let word = |index: u64| {
        let mut x = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let len = count * shape.len();
    let mut pixels: Vec<u8> = (0..len.div_ceil(8) as u64).flat_map(|index| word(index).to_le_bytes()).collect();
    pixels.truncate(len);
    Dataset::new("noise", shape, pixels)
}
