//! What is seen of a run while it goes on: hooks, which are called at every tick.
//!
//! A hook is a file here and a line in [`Hooks::new`]. What one of them cannot do (a disk is full, say) is told and tried
//! again at the next tick: pictures and figures are not worth a run.

mod alarm;
mod diversity;
mod evaluation;
mod events;
pub mod grid;
mod grids;
mod log;
mod progress;
pub mod tensorboard;
mod tick;

pub(crate) use alarm::MOST_TICKS;
pub use alarm::{OnAlarm, Trouble};
pub use diversity::mean_distance;
pub(crate) use evaluation::Live;
pub(crate) use grids::set_aside as set_grids_aside;
pub(crate) use log::cut as cut_log;
pub use progress::Progress;
pub use tick::Tick;

use crate::data::{self, Order, Splits};
use crate::error::Result;
use crate::recipe::Recipe;
use crate::report::say;
use crate::run::Run;
use crate::state::State;
use candle_core::Tensor;
use std::fmt::Debug;

/// Latents from which batch statistics are taken for what is looked at: enough to look at, and a tick costs no more than it
/// shows.
const STATISTICS: usize = 256;

/// What hooks see of a run.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The state at this moment.
    pub state: &'a State,
    /// What is learned.
    pub data: &'a Splits,
    /// Where the run's files are.
    pub run: &'a Run,
    /// The first images of the order of training, [N, H, W, C] in [-1, 1].
    pub reals: &'a Tensor,
    /// As many samples of the generator's average, of the same latents all along.
    pub samples: &'a Tensor,
    /// How many of them stand in a row of a grid.
    pub columns: usize,
}

/// Something that looks at a run now and then.
pub trait Hook: Debug {
    /// For warnings.
    fn name(&self) -> &'static str;

    /// Called when training begins, or goes on.
    ///
    /// # Errors
    /// What is worth a warning.
    fn begin(&mut self, _: &Scene<'_>) -> Result<()> {
        Ok(())
    }

    /// Called at every tick, with the figures so far, to which it may add.
    ///
    /// # Errors
    /// What is worth a warning.
    fn tick(&mut self, scene: &Scene<'_>, tick: &mut Tick) -> Result<()>;

    /// Called when a run is stopped in the middle of a tick, with the figures so far.
    ///
    /// # Errors
    /// What is worth a warning.
    fn stop(&mut self, _: &Tick) -> Result<()> {
        Ok(())
    }
}

/// All hooks of a run, in the order in which they are called: those that add figures before those that show them.
#[derive(Debug)]
pub struct Hooks {
    all: Vec<Watched>,
    reals: Tensor,
    columns: usize,
}

/// A hook, and whether it failed when it was last called: on a full disk, one warning says as much as a thousand.
#[derive(Debug)]
struct Watched {
    hook: Box<dyn Hook>,
    failing: bool,
}

impl Watched {
    fn call(&mut self, call: impl FnOnce(&mut dyn Hook) -> Result<()>) {
        let result = call(self.hook.as_mut());
        let before = std::mem::replace(&mut self.failing, result.is_err());
        if let (Err(e), false) = (result, before) {
            let name = self.hook.name();
            say!(
                "warning: {name} is not what it should be: {e}; training goes on, and it is tried again at every tick"
            );
        }
    }
}

impl Hooks {
    /// The hooks that a recipe asks for.
    ///
    /// # Errors
    /// Data that they cannot work with.
    pub fn new(recipe: &Recipe, data: &Splits) -> Result<Self> {
        let mut all: Vec<Box<dyn Hook>> = Vec::new();
        all.push(Box::<diversity::Diversity>::default());
        if let Some(every) = recipe.training.evaluate_kimg {
            all.push(Box::new(evaluation::Evaluate::new(every, recipe.training.evaluate_samples, data)?));
        }
        all.push(Box::<alarm::Alarm>::default());
        all.push(Box::new(grids::Grids));
        all.push(Box::<log::Log>::default());
        all.push(Box::<events::Events>::default());
        let (columns, rows) = grid::layout(data.train.shape());
        let mut order = Order::of_training(&data.train, recipe.seed, recipe.data.balance);
        let reals = data::images(&data.train, &mut order, 0, columns * rows)?;
        let all = all.into_iter().map(|hook| Watched { hook, failing: false }).collect();
        Ok(Self { all, reals, columns })
    }

    /// Training begins, or goes on.
    ///
    /// # Errors
    /// No samples; a hook's own are warnings.
    pub fn begin(&mut self, state: &State, data: &Splits, run: &Run) -> Result<()> {
        self.call(state, data, run, |hook, scene| hook.begin(scene))
    }

    /// A tick is full.
    ///
    /// # Errors
    /// No samples; a hook's own are warnings.
    pub fn tick(&mut self, state: &State, data: &Splits, run: &Run, tick: &mut Tick) -> Result<()> {
        self.call(state, data, run, |hook, scene| hook.tick(scene, tick))
    }

    /// The run is stopped in the middle of a tick.
    pub fn stop(&mut self, tick: &Tick) {
        for watched in &mut self.all {
            watched.call(|hook| hook.stop(tick));
        }
    }

    fn call(
        &mut self,
        state: &State,
        data: &Splits,
        run: &Run,
        mut call: impl FnMut(&mut dyn Hook, &Scene<'_>) -> Result<()>,
    ) -> Result<()> {
        let inputs = state.inputs_in_columns("grid", self.reals.dim(0)?, self.columns)?;
        let samples = state.images(&state.sampler(STATISTICS)?, &inputs)?;
        let scene = Scene { state, data, run, reals: &self.reals, samples: &samples, columns: self.columns };
        for watched in &mut self.all {
            watched.call(|hook| call(hook, &scene));
        }
        Ok(())
    }
}
