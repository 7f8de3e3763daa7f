//! The training loop.

use crate::data::{Batches, Splits};
use crate::error::{Error, Result};
use crate::game::Found;
use crate::keep::{keep, keep_best};
use crate::report::say;
use crate::run::Run;
use crate::state::{Evaluated, State};
use crate::stop::Stop;
use crate::watch::{Hooks, OnAlarm, Progress, Trouble};
use std::sync::Arc;
use std::time::Instant;

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// All images of the recipe were shown. What was learned last is kept, or this is why not.
    Finished(Result<()>),
    /// It was asked to stop; [`train`] goes on from the checkpoint it left.
    Stopped,
    /// An alarm was raised, at which it was to stop or to turn back; there is a checkpoint of this moment where it was to stop.
    Alarmed(Trouble),
}

/// Trains `state` on `data` until the recipe's count of images is shown or `stop` is asked, keeping checkpoints in `run`'s
/// folder, among which `best` is the best so far, and calling `hooks`.
///
/// A checkpoint that cannot be written on the way is a warning: the ones before are there, and the next one may succeed.
///
/// # Errors
/// Divergence, data that cannot be read any more, and on a stop a state that cannot be kept; the last checkpoint is then
/// still good.
pub fn train(
    state: &mut State,
    data: &Splits,
    run: &Run,
    mut hooks: Hooks,
    mut best: Option<Evaluated>,
    stop: &Stop,
) -> Result<End> {
    let training = state.recipe.training;
    let total = state.recipe.images();
    hooks.begin(state, data, run)?;
    let mut batches = Batches::new(Arc::new(data.train.clone()), &state.device, &state.recipe, state.clock.latents)?;
    let mut progress = Progress::new(state.clock.images, total);
    let mut unread = Vec::new();
    let mut saved = Ok(());
    let mut tick_start = (state.clock.images, Instant::now(), batches.waited());
    let mut alarm = None;
    // What a run turns back from is not worth the place of a good checkpoint, and one that is killed before it has turned must
    // come to the alarm again.
    let mut turns_back = false;
    while state.clock.images < total && !stop.asked() && alarm.is_none() {
        let before = state.clock.images;
        let found = state.step(&mut || batches.next_batch());
        unread.push(found.inspect_err(|_| progress.end())?);

        let images = state.clock.images;
        let passed = |every: u64| before / every != images / every || images >= total;
        let (tick, checkpoint) = (passed(training.tick_kimg.0), passed(training.checkpoint_kimg.0));
        // Reading what a GPU has found waits for it: only when somebody looks.
        if state.device.is_cpu() || tick || checkpoint {
            read(state, &mut unread).inspect_err(|_| progress.end())?;
        }
        progress.update(images, &state.tick);

        if tick {
            let mut tick = std::mem::take(&mut state.tick);
            tick.images = images;
            let (since, start, waited) = tick_start;
            tick.set("images_per_second", (images - since) as f64 / start.elapsed().as_secs_f64());
            tick.set("data_wait_seconds", (batches.waited() - waited).as_secs_f64());
            hooks.tick(state, data, run, &mut tick)?;
            alarm = tick.alarm.filter(|_| training.on_alarm != OnAlarm::Warn);
            turns_back = alarm.is_some() && training.on_alarm.turns_back();
            if tick.evaluated.is_some() {
                state.evaluated = tick.evaluated;
                if !turns_back {
                    warn(keep_best(state, &data.train, run, &mut best))?;
                }
            }
            progress.tick(images);
            tick_start = (images, Instant::now(), batches.waited());
        }
        if checkpoint && !turns_back {
            saved = keep(state, &data.train, run);
            if images < total {
                warn(std::mem::replace(&mut saved, Ok(()))).inspect_err(|_| progress.end())?;
            }
        }
    }
    progress.end();

    if let Some(trouble) = alarm {
        if training.on_alarm == OnAlarm::Stop {
            keep(state, &data.train, run)?;
        }
        return Ok(End::Alarmed(trouble));
    }
    if state.clock.images < total {
        read(state, &mut unread)?;
        keep(state, &data.train, run)?;
        if !state.tick.is_empty() {
            let mut tick = state.tick.clone();
            (tick.images, tick.partial) = (state.clock.images, true);
            hooks.stop(&tick);
        }
        return Ok(End::Stopped);
    }
    match saved {
        Err(diverged @ Error::Diverged { .. }) => Err(diverged),
        saved => Ok(End::Finished(saved)),
    }
}

/// Takes what the steps since the last reading have found into the tick at hand.
///
/// # Errors
/// Divergence.
pub(crate) fn read(state: &mut State, unread: &mut Vec<Found>) -> Result<()> {
    for figures in state.read(unread)? {
        state.tick.add(figures);
    }
    unread.clear();
    for (role, found) in state.loss_scales()? {
        state.tick.set(&format!("{role}_loss_scale"), f64::from(found.scale));
        state.tick.set(&format!("{role}_skipped_steps"), found.skipped as f64);
    }
    Ok(())
}

/// What could not be kept is told; that there is nothing worth keeping is an error.
fn warn(kept: Result<()>) -> Result<()> {
    match kept {
        Err(Error::Diverged { images, what }) => Err(Error::Diverged { images, what }),
        Err(e) => {
            say!("warning: {e}; training goes on, and the next checkpoint is tried again");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
