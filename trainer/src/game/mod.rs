//! Games: who learns what from which batch. A file a game.

mod adversarial;
mod found;
mod player;

pub use adversarial::Adversarial;
pub use found::{Figures, Found, Reading};
pub use player::Player;

use crate::data::Batch;
use crate::error::Result;
use candle_core::Tensor;

/// How far a run is. With the recipe's seed it is the state of all randomness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Real images that the discriminator has learned from.
    pub images: u64,
    /// Latents drawn, and as many images: those, and what the generator has seen of its own. The place in the order of
    /// the data.
    pub latents: u64,
    /// Steps of the game.
    pub steps: u64,
}

impl Clock {
    /// Counts a batch that the discriminator learns from.
    pub fn count(&mut self, images: usize) {
        self.images += images as u64;
        self.latents += images as u64;
    }

    /// Counts a batch that the generator alone learns from.
    pub fn count_own(&mut self, latents: usize) {
        self.latents += latents as u64;
    }
}

/// The rules by which players learn.
pub trait Game: std::fmt::Debug + Send {
    /// What is counted in `steps` steps of so many images each: the clock, and the steps of every player in order. A
    /// checkpoint with other counts is none.
    fn counts(&self, steps: u64, images_a_step: u64) -> Option<(Clock, Vec<u64>)>;

    /// Views of what the game itself keeps from step to step, under stable names.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// One step of all players, with as many batches as `next` is asked for.
    ///
    /// # Errors
    /// On the CPU, [`crate::Error::Diverged`] when a loss is no longer a number, before anybody learns from it; on a GPU
    /// nothing waits for losses. What `next` fails with.
    fn step(
        &mut self,
        players: &mut [Player],
        clock: &mut Clock,
        next: &mut dyn FnMut() -> Result<Batch>,
    ) -> Result<Found>;
}
