//! Who learns: a network with its learner, and how it learns.

use super::{Clock, Figures};
use crate::optim::average;
use crate::optim::{Clip, Learner, Local, Move, Optimizer, Schedule};
use candle_core::Result;

/// One of those who play.
#[derive(Debug)]
pub struct Player {
    /// What it is in the game; names its tensors in checkpoints and its figures.
    pub role: &'static str,
    /// Its network.
    pub learner: Learner,
    /// What it learns with.
    pub optimizer: Optimizer,
    /// How its gradient is limited.
    pub clip: Option<Clip>,
    /// Half-life of the moving average of its parameters, in thousands of images; none where it has no average.
    pub average_kimg: Option<Schedule>,
    /// What its learning rate is multiplied by in the next step.
    pub pace: f64,
    /// What every parameter is held within after a step, if it is.
    pub bound: Option<f64>,
}

impl Player {
    /// One step with the gradients that the learner has taken up: the optimiser's constants are those of the images shown
    /// at `since`, the average forgets by those that were shown from then until `now`. Adds the gradient's norm to
    /// `figures`.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn step(&mut self, since: &Clock, now: &Clock, figures: &mut Figures) -> Result<()> {
        let average = self.average_kimg.map_or(0., |half_life| {
            average::weight(now.images - since.images, now.images, half_life.at(since.images) * 1000.)
        });
        let mut optimizer = self.optimizer;
        optimizer.scale_rate(self.pace);
        let constants = optimizer.at(since.images);
        let (clip, bound) = (self.clip, self.bound);
        let norm = self.learner.step(Move { constants: &constants, average, clip, bound, reduce: &Local })?;
        figures.add([format!("{}_gradient_norm", self.role)], &norm)
    }
}
