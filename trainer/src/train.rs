//! The training loop.

use crate::checkpoint;
use crate::data::{Batches, Dataset, Order};
use crate::error::{Error, Result};

use crate::report::{Log, Progress, Tick, grid};
use crate::run::Run;
use crate::state::{Found, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Images in a grid, and in one of its rows.
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
    let recipe = state.recipe.clone();
    let (batch, kimg) = (recipe.training.batch as u64, |kimg: f64| ((kimg * 1000.) as u64).max(1));
    let total = recipe.steps() * batch;
    let (tick_images, checkpoint_images) = (kimg(recipe.training.tick_kimg), kimg(recipe.training.checkpoint_kimg));

    // What the grids show: the first images of the order of training, and samples of the same latents all along.
    let grid_latents = state.latents("grid", 0, GRID.0)?;
    let fakes = |state: &State| -> Result<()> {
        grid::write(&run.fakes_path(state.shown), &state.sampler(GRID_STATISTICS)?.forward(&grid_latents)?, GRID.1)
    };
    if state.shown == 0 {
        grid::write(&run.reals_path(), &Order::new(data.clone(), recipe.seed).images(0, GRID.0)?, GRID.1)?;
        fakes(state)?;
    }

    let mut batches =
        Batches::new(data.clone(), &state.device, recipe.seed, state.shown, recipe.training.batch, recipe.latent())?;
    let mut log = Log::open(&run.stats_path(), state.shown)?;
    let mut progress = Progress::new(state.shown, total);
    let (mut tick, mut unread) = (Tick::default(), Vec::new());
    let mut tick_start = (state.shown, Instant::now(), batches.waited());
    while state.shown < total && !stop.load(Ordering::Relaxed) {
        let before = state.shown;
        let found = batches.next_batch().map_err(Error::from).and_then(|batch| state.step(&batch));
        unread.push(found.inspect_err(|_| progress.end())?);

        let passed = |every: u64| before / every != state.shown / every || state.shown >= total;
        // Reading what a GPU has found waits for it: only when somebody looks.
        if state.device.is_cpu() || passed(tick_images) || passed(checkpoint_images) {
            read(state, &mut unread, &mut tick).inspect_err(|_| progress.end())?;
        }
        progress.update(state.shown, &tick);

        // Every tick: a line of statistics and a grid.
        if passed(tick_images) {
            tick.images = state.shown;
            tick.images_per_second = (state.shown - tick_start.0) as f64 / tick_start.1.elapsed().as_secs_f64();
            tick.data_wait_seconds = (batches.waited() - tick_start.2).as_secs_f64();
            let start = Instant::now();
            fakes(state)?;
            tick.grid_seconds = start.elapsed().as_secs_f64();
            log.write(&tick).map_err(Error::io("write", &run.stats_path()))?;
            tick = Tick::default();
            tick_start = (state.shown, Instant::now(), batches.waited());
        }
        if passed(checkpoint_images) {
            save(state, run)?;
        }
    }
    progress.end();

    if state.shown < total {
        read(state, &mut unread, &mut tick)?;
        save(state, run)?;
        return Ok(End::Stopped);
    }
    Ok(End::Finished)
}

/// Takes what the steps since the last reading have found into the tick.
fn read(state: &State, unread: &mut Vec<Found>, tick: &mut Tick) -> Result<()> {
    for losses in Found::read(unread)? {
        state.check(&losses)?;
        tick.add(&losses);
    }
    unread.clear();
    [tick.discriminator_loss_scale, tick.generator_loss_scale] = state.loss_scales()?;
    Ok(())
}

/// Keeps the state, and with it the last few before.
fn save(state: &State, run: &Run) -> Result<()> {
    checkpoint::save(state, &run.checkpoint_path(state.shown))?;
    run.prune_checkpoints()
}
