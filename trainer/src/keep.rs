//! Which checkpoints a run has: written, verified, pruned, and found again.

pub use crate::checkpoint::Loaded;

use crate::checkpoint;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::report::say;
use crate::run::Run;
use crate::state::{Evaluated, State};
use crate::watch::MOST_TICKS;
use candle_core::Device;
use std::path::{Path, PathBuf};

/// Writes the state as the newest checkpoint, and removes all but the last `training.keep`, and those that an alarm may turn
/// back to; on a full disk, all but the newest first.
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
    let all = run.checkpoints()?;
    prune(&all, state.recipe.training.keep.max(needed(&all, state)))
}

/// How many of the newest checkpoints a run needs that turns back at an alarm: it goes to the newest one from before the
/// trouble was seen, some ticks ago.
fn needed(all: &[(u64, PathBuf)], state: &State) -> usize {
    let training = &state.recipe.training;
    if !training.on_alarm.turns_back() {
        return 0;
    }
    // One tick more: ticks are as late as the first step after them, and no closer than steps.
    let tick = training.tick_kimg.0.max(training.images_a_step());
    let before = state.clock.images.saturating_sub((MOST_TICKS as u64 + 1) * tick);
    all.len() - all.partition_point(|(images, _)| *images <= before).saturating_sub(1)
}

/// Keeps the state, which was evaluated just now, as the best one, if it is better than the one before.
///
/// # Errors
/// As [`keep`].
pub fn keep_best(state: &State, data: &Dataset, run: &Run, best: &mut Option<Evaluated>) -> Result<()> {
    let Some(found) = state.evaluation() else { return Ok(()) };
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
    let mut damaged = 0;
    for (images, path) in all(run)?.iter().rev() {
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

/// The newest checkpoint, the best one among them, of at most `images` images that can be read, for a run of `recipe`; where
/// there is none, the state before the first step.
///
/// # Errors
/// As [`checkpoint::load`].
pub fn before(run: &Run, recipe: &Recipe, data: &Dataset, device: &Device, images: u64) -> Result<State> {
    for (number, path) in all(run)?.iter().rev().filter(|(number, _)| *number <= images) {
        match load(*number, path, recipe, data, device) {
            Err(Error::Damaged { .. }) => (),
            loaded => return Ok(loaded?.state),
        }
    }
    State::new(recipe.clone(), data, device)
}

/// All checkpoints, the best one among them, oldest first.
fn all(run: &Run) -> Result<Vec<(u64, PathBuf)>> {
    let mut all = run.checkpoints()?;
    // What is the best is whole, too.
    all.extend(run.best()?);
    all.sort_by_key(|(images, _)| *images);
    Ok(all)
}

/// Removes the checkpoints after `images` images, or all: a run goes on another way from there. The best of the way that is
/// given up stays, under a name that is not read.
///
/// # Errors
/// What the system says.
pub fn forget(run: &Run, images: Option<u64>) -> Result<()> {
    let given_up = |(number, _): &&(u64, PathBuf)| images.is_none_or(|images| *number > images);
    for (_, path) in run.best()?.iter().filter(given_up) {
        let aside = path.with_extension("given-up.safetensors");
        std::fs::rename(path, &aside).map_err(Error::io("rename", path))?;
    }
    remove(run.checkpoints()?.iter().filter(given_up))
}

/// Why the recipe of a run cannot be read: it may be that of another version, whose checkpoints tell.
pub fn explain(run: &Run, error: Error) -> Error {
    let other = |(_, path): &(u64, PathBuf)| match checkpoint::check_format(path) {
        Err(error @ Error::Run { .. }) => Some(error),
        _ => None,
    };
    run.checkpoints().ok().and_then(|all| all.last().and_then(other)).unwrap_or(error)
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
    // What is listed may be gone, where the process that trains has found a better one meanwhile: that was there before.
    for _ in 0..3 {
        let mut is_gone = false;
        for (images, path) in run.best()?.iter().rev() {
            match load(*images, path, recipe, data, device) {
                Err(error @ Error::Damaged { .. }) => say!("warning: {error}"),
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => is_gone = true,
                other => return other.map(Some),
            }
        }
        if !is_gone {
            break;
        }
    }
    Ok(None)
}

/// What the evaluation of the best checkpoint has found, if there is one. A damaged one is told.
///
/// # Errors
/// What the system says.
pub fn best_evaluation(run: &Run) -> Result<Option<Evaluated>> {
    for (_, path) in run.best()?.iter().rev() {
        match checkpoint::evaluated(path) {
            Err(error @ Error::Damaged { .. }) => say!("warning: {error}"),
            other => return other,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::device;
    use crate::state::tests::{batches, mnist, small, step};
    use std::sync::Arc;

    /// A run of `steps` steps that keeps what `small` says after each.
    fn run(steps: u64) -> Result<(tempfile::TempDir, Run, Arc<Dataset>, State)> {
        let (folder, data) = (tempfile::tempdir().expect("a folder"), mnist()?);
        let run = Run::create(Some(folder.path()), &small("run"))?;
        let mut state = State::new(small("run"), &data, &device())?;
        keep(&state, &data, &run)?;
        let mut batches = batches(&state, &data);
        for _ in 0..steps {
            step(&mut state, &mut batches)?;
            keep(&state, &data, &run)?;
        }
        Ok((folder, run, data, state))
    }

    fn names(run: &Run) -> Vec<String> {
        let entries = std::fs::read_dir(run.path()).expect("lists");
        let mut names: Vec<_> = entries.map(|e| e.expect("lists").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Where a run turns back to, and what it then forgets.
    #[test]
    fn a_run_turns_back_to_the_newest_checkpoint_that_is_not_too_new() -> Result<()> {
        let (_folder, run, data, state) = run(4)?;
        let turned =
            |images: u64| Ok::<u64, Error>(before(&run, &small("run"), &data, &device(), images)?.clock.images);
        assert_eq!([turned(100)?, turned(32)?, turned(31)?, turned(24)?], [32, 32, 24, 24]);
        assert_eq!(turned(23)?, 0, "the beginning");
        forget(&run, Some(24))?;
        assert_eq!(names(&run), ["checkpoint-000000024.safetensors"]);
        assert_eq!(state.clock.images, 32);
        Ok(())
    }

    /// A trouble is told some ticks after it began: where a run is to turn back, a checkpoint from before it is kept.
    #[test]
    fn what_an_alarm_turns_back_to_is_kept() -> Result<()> {
        let (_folder, run, data, mut state) = run(1)?;
        state.recipe.training.on_alarm = crate::watch::OnAlarm::Rollback;
        let mut batches = batches(&state, &data);
        // Ticks are no closer than steps, of 8 images.
        for tick in [8, 1] {
            state.recipe.training.tick_kimg = crate::recipe::Images(tick);
            for _ in 0..MOST_TICKS + 5 {
                step(&mut state, &mut batches)?;
                keep(&state, &data, &run)?;
                let now = state.clock.images;
                let since = now.saturating_sub(MOST_TICKS as u64 * 8);
                assert!(run.checkpoints()?[0].0 <= since, "after {now} images, {:?}", names(&run));
            }
            assert_eq!(run.checkpoints()?.len(), MOST_TICKS + 2, "and no more");
        }
        // The best one is a way back, too.
        let (first, path) = run.checkpoints()?.remove(0);
        std::fs::rename(path, run.best_path(first)).expect("renames");
        assert_eq!(before(&run, &small("run"), &data, &device(), first + 7)?.clock.images, first);
        Ok(())
    }

    #[test]
    fn the_last_ones_are_kept_and_the_best() -> Result<()> {
        let (_folder, run, data, mut state) = run(4)?;
        assert_eq!(names(&run), ["checkpoint-000000024.safetensors", "checkpoint-000000032.safetensors"]);
        let mut found = None;
        for (distance, better) in [(5., true), (6., false), (4., true), (4., false)] {
            state.evaluated =
                Some(Evaluated { images: state.clock.images, frechet_distance: distance, floor: None, samples: 2 });
            keep_best(&state, &data, &run, &mut found)?;
            assert_eq!(found.map(|best| best.frechet_distance) == Some(distance), better || distance == 4.);
            let mut batches = batches(&state, &data);
            step(&mut state, &mut batches)?;
        }
        // The two last ones, and the one of 48 images, which had 4.0 first.
        assert_eq!(run.best()?, [(48, run.best_path(48))]);
        let best = best(&run, &state.recipe, &data, &device())?.expect("a best").state;
        assert_eq!((best.clock.images, best.evaluated), (48, found));
        assert_eq!(best_evaluation(&run)?, found);
        // One that is gone when it is read is passed over, if it is not the only one.
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("nowhere", run.best_path(50)).expect("links");
            assert_eq!(super::best(&run, &state.recipe, &data, &device())?.expect("a best").state.clock.images, 48);
            std::fs::remove_file(run.best_path(50)).expect("removes");
        }
        // It is the newest that is whole, too.
        assert_eq!(last(&run, &state.recipe, &data, &device())?.state.clock.images, 48);
        Ok(())
    }

    #[test]
    fn damaged_ones_are_passed_over_and_set_aside() -> Result<()> {
        let (_folder, run, data, state) = run(3)?;
        let newest = run.checkpoint_path(24);
        let mut bytes = std::fs::read(&newest).expect("reads");
        // An older one under a larger number is no newer one.
        std::fs::copy(run.checkpoint_path(16), run.checkpoint_path(9999)).expect("copies");
        *bytes.last_mut().expect("bytes") ^= 1;
        std::fs::write(&newest, bytes).expect("writes");
        let found = last(&run, &state.recipe, &data, &device())?.state;
        assert_eq!(found.clock.images, 16);
        set_aside(&run, 16)?;
        keep(&found, &data, &run)?;
        assert_eq!(run.checkpoints()?, [(16, run.checkpoint_path(16))]);
        assert_eq!(names(&run).iter().filter(|name| name.ends_with(".damaged")).count(), 2);

        std::fs::write(run.checkpoint_path(16), b"").expect("writes");
        let error = last(&run, &state.recipe, &data, &device()).expect_err("nothing").to_string();
        assert!(error.contains("no checkpoint that can be read: 1 are damaged"), "{error}");
        std::fs::remove_file(run.checkpoint_path(16)).expect("removes");
        let error = last(&run, &state.recipe, &data, &device()).expect_err("nothing").to_string();
        assert!(error.contains("nothing was learned here"), "{error}");
        Ok(())
    }

    /// A state that cannot be kept costs none that was.
    #[test]
    fn nothing_is_pruned_for_what_cannot_be_kept() -> Result<()> {
        let (_folder, run, data, mut state) = run(2)?;
        let before = names(&run);
        let mut batches = batches(&state, &data);
        step(&mut state, &mut batches)?;
        let (_, t) = &state.players[0].learner.tensors()?[0];
        t.slice_set(&t.affine(0., f64::NAN)?, 0, 0)?;
        assert!(matches!(keep(&state, &data, &run), Err(Error::Diverged { .. })));
        assert_eq!(names(&run), before);
        Ok(())
    }
}
