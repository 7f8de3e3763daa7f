//! The training loop.

use crate::checkpoint;
use crate::data::{self, Batches, Dataset, Order};
use crate::error::{Error, Result};

use crate::game::Found;
use crate::report::{Log, Progress, Tick, grid};
use crate::run::Run;
use crate::state::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Images in a grid, if they are not too large for that, and in one of its rows.
const GRID: (usize, usize) = (128, 16);

/// Latents from which batch statistics are taken for a grid: enough to look at, and a tick costs no more than it shows.
const GRID_STATISTICS: usize = 256;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All images of the recipe were shown.
    Finished,
    /// It was asked to stop; [`train`] goes on from the checkpoint it left.
    Stopped,
}

/// Trains `state` on `data` until the recipe's count of images is shown or `stop` is set, keeping log, grids and
/// checkpoints in `run`'s folder.
///
/// # Errors
/// Divergence, and what the system says of files; the last checkpoint is then still good.
pub fn train(state: &mut State, data: &Arc<Dataset>, run: &Run, stop: &AtomicBool) -> Result<End> {
    let training = state.recipe.training;
    let kimg = |kimg: f64| ((kimg * 1000.) as u64).max(1);
    let total = state.recipe.images();
    let (tick_images, checkpoint_images) = (kimg(training.tick_kimg), kimg(training.checkpoint_kimg));

    // What the grids show: the first images of the order of training, and samples of the same latents all along.
    let in_grid = state.images_in_grid(GRID.0);
    let grid_latents = state.latents("grid", 0, in_grid)?;
    let fakes = |state: &State| -> Result<()> {
        let images = state.images(&state.sampler(GRID_STATISTICS)?, &grid_latents)?;
        grid::write(&run.fakes_path(state.clock.images), &images, GRID.1)
    };
    if state.clock.images == 0 {
        let mut order = Order::of_training(data, state.recipe.seed);
        grid::write(&run.reals_path(), &data::images(data, &mut order, 0, in_grid)?, GRID.1)?;
        fakes(state)?;
    }

    let mut batches = Batches::new(data.clone(), &state.device, &state.recipe, state.clock.images)?;
    let mut log = Log::open(&run.stats_path(), state.clock.images)?;
    let mut progress = Progress::new(state.clock.images, total);
    let (mut tick, mut unread) = (Tick::default(), Vec::new());
    let mut tick_start = (state.clock.images, Instant::now(), batches.waited());
    while state.clock.images < total && !stop.load(Ordering::Relaxed) {
        let before = state.clock.images;
        let found = state.step(&mut || Ok(batches.next_batch()?));
        unread.push(found.inspect_err(|_| progress.end())?);

        let images = state.clock.images;
        let passed = |every: u64| before / every != images / every || images >= total;
        // Reading what a GPU has found waits for it: only when somebody looks.
        if state.device.is_cpu() || passed(tick_images) || passed(checkpoint_images) {
            read(state, &mut unread, &mut tick).inspect_err(|_| progress.end())?;
        }
        progress.update(images, &tick);

        // Every tick: a line of statistics and a grid.
        if passed(tick_images) {
            tick.images = images;
            tick.images_per_second = (images - tick_start.0) as f64 / tick_start.1.elapsed().as_secs_f64();
            tick.data_wait_seconds = (batches.waited() - tick_start.2).as_secs_f64();
            let start = Instant::now();
            fakes(state)?;
            tick.grid_seconds = start.elapsed().as_secs_f64();
            log.write(&tick).map_err(Error::io("write", &run.stats_path()))?;
            tick = Tick::default();
            tick_start = (images, Instant::now(), batches.waited());
        }
        if passed(checkpoint_images) {
            save(state, run)?;
        }
    }
    progress.end();

    if state.clock.images < total {
        read(state, &mut unread, &mut tick)?;
        save(state, run)?;
        return Ok(End::Stopped);
    }
    Ok(End::Finished)
}

/// Takes what the steps since the last reading have found into the tick.
fn read(state: &State, unread: &mut Vec<Found>, tick: &mut Tick) -> Result<()> {
    for figures in state.read(unread)? {
        tick.add(figures);
    }
    unread.clear();
    for (role, found) in state.loss_scales()? {
        tick.set(format!("{role}_loss_scale"), f64::from(found.scale));
        tick.set(format!("{role}_skipped_steps"), found.skipped as f64);
    }
    Ok(())
}

/// Keeps the state, and with it the last few before.
fn save(state: &State, run: &Run) -> Result<()> {
    checkpoint::save(state, &run.checkpoint_path(state.clock.images))?;
    run.prune_checkpoints()
}
