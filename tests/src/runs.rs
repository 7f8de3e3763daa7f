//! Runs that take a moment, and what must be the same of two of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The smallest networks, a checkpoint every other step, statistics and a grid every fifth.
pub const TINY: [&str; 12] = [
    "--set",
    "generator.width=4",
    "--set",
    "generator.latent=16",
    "--set",
    "discriminator.width=4",
    "--set",
    "training.batch=4",
    "--set",
    "training.checkpoint_kimg=0.008",
    "--set",
    "training.tick_kimg=0.02",
];

/// Images between two ticks of them.
pub const TICK: u64 = 20;

/// A discriminator that stands still drives a fast generator into one image.
pub const COLLAPSE: [&str; 6] = [
    "--set",
    "optimizer.generator.lr=1.0",
    "--set",
    "optimizer.generator.beta1=0.9",
    "--set",
    "optimizer.discriminator.lr=1e-9",
];

/// A new run with [`TINY`] settings into `run`, from `folder`.
pub fn tiny(folder: &Path, run: impl AsRef<Path>, steps: u64) -> Command {
    let mut command = super::trainer(folder);
    command.args(TINY).arg("--run").arg(run.as_ref()).args(["--steps", &steps.to_string()]);
    command
}

/// Going on with the run in `run`, from `folder`.
pub fn resume(folder: &Path, run: impl AsRef<Path>) -> Command {
    let mut command = super::trainer(folder);
    command.arg("--run").arg(run.as_ref()).arg("--resume");
    command
}

/// Exports to `file` what untrained networks make, too.
pub fn export(command: &mut Command, file: impl AsRef<Path>) -> &mut Command {
    command.arg("--export").arg(file.as_ref()).arg("--force")
}

/// The checkpoints in a run's folder, oldest first; none where there is no such folder.
pub fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("checkpoint-"));
    let mut all: Vec<PathBuf> = entries.filter(is_one).collect();
    all.sort();
    all
}

/// The lines of a run's log without what the clock decides.
pub fn log(run: &Path) -> Vec<serde_json::Value> {
    let text = String::from_utf8(super::read(run.join("stats.jsonl"))).unwrap_or_else(|e| panic!("{run:?}: {e}"));
    let line = |line: &str| {
        let mut line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{run:?} has the line {line:?}: {e}"));
        if let Some(figures) = line.as_object_mut() {
            figures.retain(|name, _| name != "images_per_second" && !name.ends_with("_seconds"));
        }
        line
    };
    text.lines().map(line).collect()
}

/// Asserts that nothing unfinished is in a folder.
pub fn assert_tidy(folder: &Path) {
    let unfinished: Vec<String> = files(folder).into_keys().filter(|name| name.starts_with(".unfinished-")).collect();
    assert!(unfinished.is_empty(), "{} holds {unfinished:?}", folder.display());
}

/// Asserts that two finished runs have left the same files with the same content, but for times.
pub fn assert_same(a: &Path, b: &Path) {
    let (a_log, b_log) = (log(a), log(b));
    assert_eq!(a_log.len(), b_log.len(), "lines of the logs in {} and {}", a.display(), b.display());
    for (a_line, b_line) in a_log.iter().zip(&b_log) {
        assert_eq!(a_line, b_line, "a line of the logs in {} and {}", a.display(), b.display());
    }
    [a, b].into_iter().for_each(assert_tidy);
    let compared = |folder: &Path| {
        let mut files = files(folder);
        let other = |name: &str| name.starts_with('.') || name.ends_with(".jsonl") || name.contains("tfevents");
        files.retain(|name, _| !other(name));
        files
    };
    let (a_files, b_files) = (compared(a), compared(b));
    let names = |files: &BTreeMap<String, PathBuf>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&a_files), names(&b_files), "files in {} and {}", a.display(), b.display());
    for (name, path) in &a_files {
        assert!(
            super::read(path) == super::read(&b_files[name]),
            "{} and {} differ in {name}",
            a.display(),
            b.display()
        );
    }
}

/// Names and paths of the files in a folder.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}
