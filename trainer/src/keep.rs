//! Which checkpoints a run has: written, verified, pruned, and found again.

pub use crate::checkpoint::Loaded;

use crate::checkpoint;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::report::say;
use crate::run::Run;
use crate::state::{Evaluated, State};
use candle_core::Device;
use std::path::{Path, PathBuf};

/// Writes the state as the newest checkpoint, and removes all but the last `training.keep`; on a full disk, all but the
/// newest first.
///
/// # Errors
/// [`Error::Diverged`], and what the system says; then no checkpoint that was there is gone but those there is no room for.
pub fn keep(state: &State, data: &Dataset, run: &Run) -> Result<()> {
    let path = run.checkpoint_path(state.clock.images);
    match checkpoint::save(state, data, &path) {
        Err(Error::Io { source, .. }) if is_full(&source) && run.checkpoints()?.len() > 1 => {
            prune(&run.checkpoints()?, 1)?;
            checkpoint::save(state, data, &path)?;
        }
        saved => saved?,
    }
    prune(&run.checkpoints()?, state.recipe.training.keep)
}

/// Keeps the state, which was evaluated just now, as the best one, if it is better than the one before.
///
/// # Errors
/// As [`keep`].
pub fn keep_best(state: &State, data: &Dataset, run: &Run, best: &mut Option<Evaluated>) -> Result<()> {
    let Some(found) = state.evaluated else { return Ok(()) };
    if best.is_some_and(|best| best.frechet_distance <= found.frechet_distance) {
        return Ok(());
    }
    let path = run.best_path(state.clock.images);
    checkpoint::save(state, data, &path)?;
    *best = Some(found);
    remove(run.best()?.iter().filter(|(_, other)| *other != path))
}

/// Removes all but the newest `kept`.
fn prune(all: &[(u64, PathBuf)], kept: usize) -> Result<()> {
    remove(&all[..all.len().saturating_sub(kept)])
}

fn remove<'a>(all: impl IntoIterator<Item = &'a (u64, PathBuf)>) -> Result<()> {
    all.into_iter().try_for_each(|(_, path)| std::fs::remove_file(path).map_err(Error::io("remove", path)))
}

/// Whether there is no room.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Which of a run's checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The one with the smallest Fréchet distance of those that were evaluated
    Best,
    /// The newest
    Last,
}

/// The newest checkpoint of a run that can be read; damaged ones are told and passed over.
///
/// # Errors
/// As [`checkpoint::load`]; no checkpoint that can be read.
pub fn last(run: &Run, recipe: &Recipe, data: &Dataset, device: &Device) -> Result<Loaded> {
    let mut all = run.checkpoints()?;
    // What is the best is whole, too.
    all.extend(run.best()?);
    all.sort_by_key(|(images, _)| *images);
    let mut damaged = 0;
    for (images, path) in all.iter().rev() {
        match load(*images, path, recipe, data, device) {
            Err(error @ Error::Damaged { .. }) => {
                damaged += 1;
                say!("warning: {error}; looking at the one before");
            }
            // It was pruned meanwhile, by the process that trains.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => (),
            other => return other,
        }
    }
    if damaged == 0 {
        return Err(nothing(run));
    }
    let what = format!("has no checkpoint that can be read: {damaged} are damaged; begin again in another folder");
    Err(Error::Run { path: run.path().to_owned(), what })
}

/// The folder has a recipe and no checkpoint, as one of the zoo has.
pub fn nothing(run: &Run) -> Error {
    let what = "has no checkpoint: nothing was learned here; begin a run with --recipe FILE and without --run, or with \
                another folder";
    Error::Run { path: run.path().to_owned(), what: what.into() }
}

/// The best checkpoint of a run; `None` where none was evaluated. A damaged one is told.
///
/// # Errors
/// As [`checkpoint::load`].
pub fn best(run: &Run, recipe: &Recipe, data: &Dataset, device: &Device) -> Result<Option<Loaded>> {
    for (images, path) in run.best()?.iter().rev() {
        match load(*images, path, recipe, data, device) {
            Err(error @ Error::Damaged { .. }) => say!("warning: {error}"),
            other => return other.map(Some),
        }
    }
    Ok(None)
}

/// A checkpoint whose name tells the truth.
fn load(images: u64, path: &Path, recipe: &Recipe, data: &Dataset, device: &Device) -> Result<Loaded> {
    let loaded = checkpoint::load(path, recipe.clone(), data, device)?;
    if loaded.state.clock.images == images {
        return Ok(loaded);
    }
    let what = format!("it is of {} images, its name says {images}", loaded.state.clock.images);
    Err(Error::Damaged { path: path.to_owned(), what })
}

/// Gives the checkpoints after `images` images, which could not be read, names that are not read: they would stand in the
/// way of new ones.
///
/// # Errors
/// What the system says.
pub fn set_aside(run: &Run, images: u64) -> Result<()> {
    for (_, path) in run.checkpoints()?.into_iter().chain(run.best()?).filter(|(number, _)| *number > images) {
        let mut aside = path.clone().into_os_string();
        aside.push(".damaged");
        let aside = PathBuf::from(aside);
        std::fs::rename(&path, &aside).map_err(Error::io("rename", &path))?;
        say!("{} is now {}", path.display(), aside.display());
    }
    Ok(())
}
