//! Healing: when an alarm is raised, remedies race from the last good checkpoint, and the run goes on with the winner.
//!
//! A resumed run is exactly the one that was not interrupted, so the race is fair: each remedy begins with the same state, or
//! anew, and learns from as many images. What wins is measured, not believed: the Fréchet distance of samples to the data, in the
//! features of a network of random weights, which needs no labels (Naeem et al., "Reliable fidelity and diversity metrics for
//! generative models", 2020, section 5, use such features). What was tried, and what it came to, is written down.

mod judge;
mod remedies;

pub use remedies::{REMEDIES, Remedy};

use crate::data::{Batches, Dataset, Splits};
use crate::error::{Error, Result};
use crate::keep;
use crate::recipe::Recipe;
use crate::report::{Bar, say};
use crate::run::Run;
use crate::state::State;
use crate::stop::Stop;
use crate::train::read;
use crate::turn::{self, Turn};
use crate::watch::{Tick, Trouble};
use candle_core::Device;
use judge::Judge;
use serde::Serialize;
use std::sync::Arc;

/// How many times something is done about an alarm of a run; from then on it is only told.
pub const MOST: usize = 3;

/// A remedy in a race, and what it came to.
#[derive(Debug, Serialize)]
struct Entry {
    remedy: &'static str,
    /// Images at which it ended, if it came so far.
    images: Option<u64>,
    /// The distance of its samples.
    distance: Option<f64>,
    /// Why there is none.
    failed: Option<String>,
}

/// What is written down of a race, or of a way back without one.
#[derive(Debug, Serialize)]
struct Evidence<'a> {
    /// Images at which the alarm was raised.
    images: u64,
    trouble: &'static str,
    /// Images of the checkpoint from which the remedies began, but for those that begin anew.
    from: u64,
    entries: &'a [Entry],
    /// What the run goes on with.
    winner: Option<&'static str>,
}

impl Evidence<'_> {
    fn line(&self) -> Result<String> {
        Ok(serde_json::to_string(self).map_err(candle_core::Error::wrap)?)
    }
}

/// Races the remedies for a trouble of a run, which is at `state`, has the run go on with the winner, and gives its state. `None`
/// where none of them makes samples at all, or `stop` was asked: the run is then as it was.
///
/// # Errors
/// What the system says; that no remedy helps is none.
pub fn heal(
    trouble: Trouble,
    (state, data): (&State, &Splits),
    run: &Run,
    device: &Device,
    stop: &Stop,
) -> Result<Option<State>> {
    let (recipe, at) = (&state.recipe, state.clock.images);
    let judge = Judge::new(&data.train)?;
    let from = keep::before(run, recipe, &data.train, device, trouble.since)?.clock.images;
    if from == 0 {
        say!("healing: there is no checkpoint from before the trouble, but the beginning");
    }
    // The last step is the run's, which then ends as any other: with a line in the log, grids and an evaluation.
    let left = recipe.images().saturating_sub(from + recipe.training.images_a_step());
    let length = (recipe.images() / 10).max(2 * recipe.training.tick_kimg.0).min(left);
    let racing = remedies::of(trouble.name, recipe);
    match racing.len() {
        1 => say!("healing: one remedy is tried from {from} images, for {length} images"),
        many => say!("healing: {many} remedies race from {from} images, {length} images each"),
    }
    let (mut entries, mut best) = (Vec::new(), None::<(f64, State, &'static Remedy)>);
    for (remedy, changed) in racing {
        if stop.asked() {
            return Ok(None);
        }
        let begun = changed.and_then(|recipe| match remedy.anew {
            true => State::new(recipe, &data.train, device),
            false => keep::before(run, &recipe, &data.train, device, trouble.since),
        });
        let raced = begun.and_then(|state| race(state, &data.train, length, (remedy.name, stop)));
        let measured = raced.and_then(|state| Ok((judge.distance(&state)?, state)));
        let mut entry = Entry { remedy: remedy.name, images: None, distance: None, failed: None };
        match measured {
            Ok((distance, state)) => {
                say!("healing: {} has distance {distance:.3} after {} images", remedy.name, state.clock.images);
                (entry.images, entry.distance) = (Some(state.clock.images), Some(distance));
                if best.as_ref().is_none_or(|(least, ..)| distance < *least) {
                    best = Some((distance, state, remedy));
                }
            }
            Err(error @ (Error::Diverged { .. } | Error::Recipe { .. } | Error::Evaluation(_))) => {
                say!("healing: {}: {error}", remedy.name);
                entry.failed = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
        entries.push(entry);
    }
    if stop.asked() {
        return Ok(None);
    }
    let winner = best.as_ref().map(|(.., remedy)| remedy.name);
    let evidence = Evidence { images: at, trouble: trouble.name, from, entries: &entries, winner }.line()?;
    let Some((_, healed, remedy)) = best else {
        run.log_healing(&evidence)?;
        return Ok(None);
    };
    say!("healing: going on with {}, at {} images", remedy.name, healed.clock.images);
    let from = (!remedy.anew).then_some(from);
    turn::take(run, recipe, &healed, &data.train, Turn { at, from, evidence: &evidence })?;
    Ok(Some(healed))
}

/// Learns from so many images, with nobody looking: what is left in the tick is that of the last one, which is not full.
fn race(mut state: State, data: &Dataset, length: u64, (name, stop): (&str, &Stop)) -> Result<State> {
    let until = state.clock.images + length;
    let mut batches = Batches::new(Arc::new(data.clone()), &state.device, &state.recipe, state.clock.latents)?;
    let (first, mut bar) = (state.clock.images, Bar::new(0, length));
    let mut unread = Vec::new();
    while state.clock.images < until && !stop.asked() {
        let before = state.clock.images;
        unread.push(state.step(&mut || batches.next_batch())?);
        let tick = state.recipe.training.tick_kimg.0;
        let full = before / tick != state.clock.images / tick;
        // Reading what a GPU has found waits for it.
        if state.device.is_cpu() || full {
            read(&mut state, &mut unread)?;
        }
        if full {
            state.tick = Tick::default();
        }
        let done = state.clock.images - first;
        bar.update(done, || format!("{name}  {done}/{length} images"));
    }
    read(&mut state, &mut unread)?;
    bar.end();
    Ok(state)
}

/// Goes back to the last good checkpoint, with both rates halved.
///
/// # Errors
/// What the system says.
pub fn roll_back(trouble: Trouble, (state, data): (&State, &Splits), run: &Run, device: &Device) -> Result<State> {
    let recipe = halved(&state.recipe);
    let back = keep::before(run, &recipe, &data.train, device, trouble.since)?;
    let (at, from) = (state.clock.images, back.clock.images);
    if from == 0 {
        say!("there is no checkpoint from before the trouble, but the beginning");
    }
    let winner = Some("half of both rates");
    let evidence = Evidence { images: at, trouble: trouble.name, from, entries: &[], winner }.line()?;
    turn::take(run, &state.recipe, &back, &data.train, Turn { at, from: Some(from), evidence: &evidence })?;
    say!("rolled back to {from} images, with half the rates");
    Ok(back)
}

fn halved(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.optimizer.generator.scale_rate(0.5);
    recipe.optimizer.discriminator.scale_rate(0.5);
    recipe
}
