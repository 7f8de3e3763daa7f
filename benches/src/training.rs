//! Training to be timed: a recipe, its data, and where it runs.

use candle_core::Device;
use runtime::{ImageShape, Provider};
use std::sync::Arc;
use trainer::Result;
use trainer::data::{Batches, Dataset};
use trainer::recipe::Recipe;
use trainer::state::{Losses, State};

/// The numbers that training can compute with.
pub const PRECISIONS: [&str; 3] = ["f32", "bf16", "f16"];

/// A state, and the batches that it learns from.
#[derive(Debug)]
pub struct Training {
    state: State,
    batches: Batches,
    device: Device,
}

/// THE ONE PLACE where the device and the precision of training are chosen.
fn state_on(device: Provider, precision: &str, recipe: Recipe, data: &Dataset) -> Result<(State, Device)> {
    match (device, precision) {
        (Provider::Cpu | Provider::Auto, "f32") => Ok((State::new(recipe, data)?, Device::Cpu)),
        _ => {
            let what = format!("training on {device} in {precision} is not in this version, only on the CPU in f32");
            Err(candle_core::Error::msg(what).into())
        }
    }
}

impl Training {
    /// The state before the first step.
    ///
    /// # Errors
    /// Images that the recipe's networks cannot make; a device or precision that does not work.
    pub fn start(recipe: Recipe, data: &Arc<Dataset>, device: Provider, precision: &str) -> Result<Self> {
        let batches = Batches::new(data.clone(), recipe.seed, 0, recipe.training.batch, recipe.latent());
        let (state, device) = state_on(device, precision, recipe, data)?;
        Ok(Self { state, batches, device })
    }

    /// One step with the next batch.
    ///
    /// # Errors
    /// Losses that are no longer finite.
    pub fn step(&mut self) -> Result<Losses> {
        self.state.step(&self.batches.next_batch()?)
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
