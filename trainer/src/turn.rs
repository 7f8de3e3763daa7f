//! A run that takes another way, from an earlier state or with another recipe: wholly, or not at all.
//!
//! Checkpoints, log and recipe change together. The state to go on with is written first, under a name that nothing reads; then
//! what is to be done, `turn.json`, with which the turn is taken. Where a process is killed before that, the run is as it was; where
//! it is killed after that, [`settle`] does the rest. Each part may be done twice.

use crate::checkpoint;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files;
use crate::recipe::{Override, Recipe};
use crate::report::say;
use crate::run::Run;
use crate::state::State;
use crate::{keep, watch};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file that says what is to be done.
const PLAN: &str = "turn.json";
/// The state to go on with.
const STATE: &str = "turn.safetensors";
/// A plan that is longer is none that was written here.
const LONGEST: u64 = 1 << 24;

/// Where a run turns.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Images that were shown when it turned.
    pub at: u64,
    /// Images up to which what it was stays a part of it; nothing does where it begins anew.
    pub from: Option<u64>,
    /// A line for `healing.jsonl`: why.
    pub evidence: &'a str,
}

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    from: Option<u64>,
    /// Images of the state to go on with.
    images: u64,
    recipe: String,
    /// Where the log stays as it is now: images, and a number where the run turned there before.
    aside: (u64, u32),
    /// What `changes.jsonl` and `healing.jsonl` get after so many bytes.
    changes: (u64, String),
    healing: (u64, String),
}

/// Has `run`, whose recipe was `then`, go on with the state `now`.
///
/// # Errors
/// A state that cannot be kept; what the system says. The run is then as it was, or has the rest done by [`settle`].
pub fn take(run: &Run, then: &Recipe, now: &State, data: &Dataset, turn: Turn<'_>) -> Result<()> {
    checkpoint::save(now, data, &run.path().join(STATE))?;
    let aside = (0..).map(|n| (turn.at, n)).find(|&aside| !log_aside(run, aside).exists()).unwrap_or_default();
    let plan = Plan {
        from: turn.from,
        images: now.clock.images,
        recipe: now.recipe.to_toml()?,
        aside,
        changes: (
            length(&run.changes_path())?,
            Run::change_lines(turn.from.unwrap_or(0), &now.recipe.differences(then)?)?,
        ),
        healing: (length(&run.healing_path())?, turn.evidence.to_owned() + "\n"),
    };
    let text = serde_json::to_vec(&plan).map_err(candle_core::Error::wrap)?;
    files::write_atomically(&run.path().join(PLAN), &text)?;
    finish(run)
}

/// Does what a process that was killed while its run turned has left to do.
///
/// # Errors
/// Another process is at work in the folder; a damaged plan; what the system says.
pub fn settle(run: &mut Run) -> Result<()> {
    let (plan, state) = (run.path().join(PLAN), run.path().join(STATE));
    if plan.exists() {
        run.lock()?;
        finish(run)?;
        run.unlock();
        say!("the run was interrupted while it took another way: that is done now");
    } else if state.exists() {
        run.lock()?;
        std::fs::remove_file(&state).map_err(Error::io("remove", &state))?;
        run.unlock();
    }
    Ok(())
}

/// The recipe of a run, with `overrides`; the one that it turned to, where that was interrupted. Nothing is changed.
///
/// # Errors
/// A damaged recipe or plan.
pub fn recipe(run: &Run, overrides: &[Override]) -> Result<Recipe> {
    let path = run.path().join(PLAN);
    match path.exists() {
        true => Recipe::parse(&read(&path)?.recipe, &path.display().to_string(), overrides),
        false => run.recipe(overrides),
    }
}

fn read(path: &Path) -> Result<Plan> {
    serde_json::from_slice(&files::read(path, LONGEST)?).map_err(|e| {
        let what = format!("{e}; without this file the run goes on from its newest checkpoint");
        Error::Damaged { path: path.to_owned(), what }
    })
}

fn finish(run: &Run) -> Result<()> {
    let (path, state) = (run.path().join(PLAN), run.path().join(STATE));
    let plan = read(&path)?;
    // The state gets its name last: where it has it, the rest is done.
    if state.exists() {
        let (log, aside) = (run.stats_path(), log_aside(run, plan.aside));
        if log.exists() {
            set_aside(&log, &aside)?;
            watch::cut_log(&log, plan.from.unwrap_or(0))?;
        }
        append(&run.changes_path(), &plan.changes)?;
        append(&run.healing_path(), &plan.healing)?;
        run.write_recipe(&plan.recipe)?;
        keep::forget(run, plan.from)?;
        watch::set_grids_aside(run, plan.from.unwrap_or(0))?;
        files::rename(&state, &run.checkpoint_path(plan.images))?;
    }
    std::fs::remove_file(&path).map_err(Error::io("remove", &path))
}

fn log_aside(run: &Run, (at, number): (u64, u32)) -> PathBuf {
    let number = if number == 0 { String::new() } else { format!("-{number}") };
    run.path().join(format!("stats-before-{at:09}{number}.jsonl"))
}

/// Copies the log, unless that is done: it may have been cut since.
fn set_aside(log: &Path, aside: &Path) -> Result<()> {
    if aside.exists() {
        return Ok(());
    }
    let mut from = files::open(log)?;
    files::write_atomically_with(aside, |to| std::io::copy(&mut from, to).map(drop).map_err(Error::io("copy", log)))
}

/// Bytes of a file; 0 where there is none.
fn length(path: &Path) -> Result<u64> {
    if path.exists() { Ok(std::fs::metadata(path).map_err(Error::io("read", path))?.len()) } else { Ok(0) }
}

/// Has a file hold lines after so many bytes of what it holds.
fn append(path: &Path, (at, lines): &(u64, String)) -> Result<()> {
    let mut all = if path.exists() { files::read(path, LONGEST)? } else { Vec::new() };
    all.truncate(usize::try_from(*at).unwrap_or(usize::MAX));
    all.extend(lines.as_bytes());
    files::write_atomically(path, &all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::keep;
    use crate::ops::testing::device;
    use crate::state::tests::{batches, mnist, small, step};
    use crate::watch::Tick;
    use std::collections::BTreeMap;

    type Files = BTreeMap<String, Vec<u8>>;

    fn files_of(folder: &Path) -> Files {
        let entries = std::fs::read_dir(folder).expect("lists").flatten();
        entries
            .map(|entry| {
                (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("reads"))
            })
            .collect()
    }

    fn put(folder: &Path, files: &Files) {
        std::fs::remove_dir_all(folder).expect("removes");
        std::fs::create_dir(folder).expect("makes");
        files.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).expect("writes"));
    }

    fn log(run: &Run, images: &[u64]) {
        let lines = images.iter().map(|images| format!("{{\"images\":{images}}}\n"));
        std::fs::write(run.stats_path(), lines.collect::<String>()).expect("writes");
    }

    /// A run of four steps of 8 images.
    fn begun() -> Result<(tempfile::TempDir, Run)> {
        let (folder, data) = (tempfile::tempdir().expect("a folder"), mnist()?);
        let run = Run::create(Some(folder.path()), &small("run"))?;
        let mut state = State::new(small("run"), &data, &device())?;
        let mut all = batches(&state, &data);
        for _ in 0..4 {
            step(&mut state, &mut all)?;
            keep(&state, &data, &run)?;
        }
        std::fs::write(run.best_path(24), b"the best").expect("writes");
        [0, 24, 32].iter().for_each(|images| std::fs::write(run.fakes_path(*images), b"a grid").expect("writes"));
        run.set_recipe(&state.recipe)?;
        log(&run, &[8, 16, 24, 32]);
        Ok((folder, run))
    }

    /// The same, which goes on from the third step, or anew, with half the rate.
    fn turned(from: Option<u64>) -> Result<(tempfile::TempDir, Run, Files)> {
        let ((folder, run), data, then) = (begun()?, mnist()?, small("run"));
        let mut recipe = then.clone();
        recipe.optimizer.generator.scale_rate(0.5);
        let mut now = State::new(recipe, &data, &device())?;
        let mut anew = batches(&now, &data);
        step(&mut now, &mut anew)?;
        now.tick = Tick::default();
        take(&run, &then, &now, &data, Turn { at: 32, from, evidence: "{\"winner\":\"half\"}" })?;
        let files = files_of(folder.path());
        Ok((folder, run, files))
    }

    #[test]
    fn a_run_takes_another_way_with_all_that_belongs_to_it() -> Result<()> {
        let (_folder, run, files) = turned(Some(24))?;
        assert_eq!(run.checkpoints()?.iter().map(|(images, _)| *images).collect::<Vec<_>>(), [8, 24]);
        assert_eq!(run.best()?, [(24, run.best_path(24))], "it is not of the way that was given up");
        assert_eq!(files["stats.jsonl"], b"{\"images\":8}\n{\"images\":16}\n{\"images\":24}\n");
        assert_eq!(run.fakes()?.iter().map(|(images, _)| *images).collect::<Vec<_>>(), [0, 24]);
        assert_eq!(files["fakes-000000032.given-up.png"], b"a grid");
        assert!(files["stats-before-000000032.jsonl"].ends_with(b"{\"images\":32}\n"));
        assert_eq!(files["healing.jsonl"], b"{\"winner\":\"half\"}\n");
        assert!(files["changes.jsonl"].starts_with(b"{\"images\":24,\"key\":\"optimizer.generator.lr\""));
        assert!(run.recipe(&[])? != small("run") && run.recipe(&[])?.name == "run");
        assert!(!files.contains_key(PLAN) && !files.contains_key(STATE));

        // Nothing of a run that begins anew stays in the way; its best is kept under a name that is not read.
        let (_folder, run, files) = turned(None)?;
        assert_eq!(run.checkpoints()?.len(), 1);
        assert!(files["stats.jsonl"].is_empty() && run.best()?.is_empty());
        assert!(files["changes.jsonl"].starts_with(b"{\"images\":0,"));
        assert_eq!(files["best-000000024.given-up.safetensors"], b"the best");
        Ok(())
    }

    /// From each moment at which a process can be killed, the run comes to the same.
    #[test]
    fn a_turn_that_was_interrupted_is_taken_to_its_end() -> Result<()> {
        for from in [Some(24), None] {
            let (folder, mut run, end) = turned(from)?;
            // As it was before, with the plan.
            let (old, _) = begun()?;
            let plan = Plan {
                from,
                images: 8,
                recipe: String::from_utf8(end["recipe.toml"].clone()).expect("text"),
                aside: (32, 0),
                changes: (0, String::from_utf8(end["changes.jsonl"].clone()).expect("text")),
                healing: (0, String::from_utf8(end["healing.jsonl"].clone()).expect("text")),
            };
            let mut begun = files_of(old.path());
            begun.insert(PLAN.into(), serde_json::to_vec(&plan).expect("writes"));
            begun.insert(STATE.into(), end["checkpoint-000000008.safetensors"].clone());
            // Each file that changes may have done so already, in this order.
            let order =
                ["stats-before-000000032.jsonl", "stats.jsonl", "changes.jsonl", "healing.jsonl", "recipe.toml"];
            for done in 0..=order.len() {
                let mut files = begun.clone();
                files.extend(order[..done].iter().map(|name| ((*name).to_owned(), end[*name].clone())));
                put(folder.path(), &files);
                run.unlock();
                assert_eq!(recipe(&run, &[])?.to_toml()?.as_bytes(), end["recipe.toml"], "{done}");
                assert_eq!(files_of(folder.path()), files, "looking changes nothing");
                settle(&mut run)?;
                assert_eq!(recipe(&run, &[])?.to_toml()?.as_bytes(), end["recipe.toml"]);
                assert_eq!(files_of(folder.path()), end, "{done} of them, from {from:?}");
            }
            // Some of what goes has gone.
            let mut files = begun.clone();
            files.extend(order.iter().map(|name| ((*name).to_owned(), end[*name].clone())));
            files.remove("checkpoint-000000032.safetensors").expect("the newest, which is given up");
            put(folder.path(), &files);
            settle(&mut run)?;
            assert_eq!(files_of(folder.path()), end);
            // All but the plan's end.
            let mut files = end.clone();
            files.insert(PLAN.into(), begun[PLAN].clone());
            put(folder.path(), &files);
            settle(&mut run)?;
            assert_eq!(files_of(folder.path()), end);
            // A state without a plan is nothing yet.
            let mut files = begun.clone();
            files.remove(PLAN);
            put(folder.path(), &files);
            settle(&mut run)?;
            files.remove(STATE);
            assert_eq!(files_of(folder.path()), files);
            // What is no plan is told.
            files.insert(PLAN.into(), b"{}".to_vec());
            put(folder.path(), &files);
            let error = settle(&mut run).expect_err("damaged").to_string();
            assert!(error.contains(PLAN) && error.contains("newest checkpoint"), "{error}");
        }
        Ok(())
    }

    /// The log of an earlier turn at the same count stays.
    #[test]
    fn every_log_that_is_given_up_is_kept() -> Result<()> {
        let (_folder, run, _) = turned(None)?;
        let data = mnist()?;
        let state = State::new(small("run"), &data, &device())?;
        log(&run, &[32]);
        take(&run, &state.recipe, &state, &data, Turn { at: 32, from: None, evidence: "{}" })?;
        let read = |name: &str| std::fs::read(run.path().join(name)).expect("reads").len();
        assert_eq!((read("stats-before-000000032.jsonl"), read("stats-before-000000032-1.jsonl")), (13 + 3 * 14, 14));
        Ok(())
    }
}
