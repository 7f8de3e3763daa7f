//! A run's folder: recipe, log, grids and checkpoints.

use crate::error::{Error, Result};
use crate::files;
use crate::recipe::{Override, Recipe};
use std::path::{Path, PathBuf};

/// Checkpoints that are kept: the last, and the one before in case the disk lost the last.
const KEPT: usize = 2;

/// The folder of one run.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
}

impl Run {
    /// A new run's folder with its `recipe.toml`: `path`, which must not hold a run yet, or the next free
    /// `runs/<recipe>-<n>`.
    ///
    /// # Errors
    /// A folder that holds something already, or cannot be made.
    pub fn create(path: Option<&Path>, recipe: &Recipe) -> Result<Self> {
        let path = match path {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
                let mut inside = std::fs::read_dir(path).map_err(Error::io("list", path))?;
                if inside.next().is_some() {
                    let what = "is not empty and holds no run; give another folder";
                    return Err(Error::Run { path: path.to_owned(), what: what.into() });
                }
                path.to_owned()
            }
            None => next_free(&recipe.name)?,
        };
        let run = Self { path };
        files::write_atomically(&run.recipe_path(), recipe.to_toml()?.as_bytes())?;
        Ok(run)
    }

    /// The run in `path`; `None` if there is none.
    pub fn open(path: &Path) -> Option<Self> {
        let run = Self { path: path.to_owned() };
        run.recipe_path().is_file().then_some(run)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The recipe in the folder, with `overrides`.
    ///
    /// # Errors
    /// A damaged recipe.
    pub fn recipe(&self, overrides: &[Override]) -> Result<Recipe> {
        let path = self.recipe_path();
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        Recipe::parse(&text, &path.display().to_string(), overrides)
    }

    /// Replaces the recipe in the folder, as when a run is made longer.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_recipe(&self, recipe: &Recipe) -> Result<()> {
        files::write_atomically(&self.recipe_path(), recipe.to_toml()?.as_bytes())
    }

    fn recipe_path(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// The log: a JSON object a line.
    pub fn stats_path(&self) -> PathBuf {
        self.path.join("stats.jsonl")
    }

    /// The grid of real images.
    pub fn reals_path(&self) -> PathBuf {
        self.path.join("reals.png")
    }

    /// The grid of samples after so many images.
    pub fn fakes_path(&self, images: u64) -> PathBuf {
        self.path.join(format!("fakes-{:06}.png", images.div_ceil(1000)))
    }

    /// The checkpoint after so many images.
    pub fn checkpoint_path(&self, images: u64) -> PathBuf {
        self.path.join(format!("checkpoint-{:06}.safetensors", images.div_ceil(1000)))
    }

    /// All checkpoints, oldest first.
    ///
    /// # Errors
    /// What the system says.
    pub fn checkpoints(&self) -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.path).map_err(Error::io("list", &self.path))?;
        let number = |path: &PathBuf| -> Option<u64> {
            path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.strip_suffix(".safetensors")?.parse().ok()
        };
        let mut found: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter_map(|path| Some((number(&path)?, path)))
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// Removes all but the newest checkpoints.
    ///
    /// # Errors
    /// What the system says.
    pub fn prune_checkpoints(&self) -> Result<()> {
        let all = self.checkpoints()?;
        for path in &all[..all.len().saturating_sub(KEPT)] {
            std::fs::remove_file(path).map_err(Error::io("remove", path))?;
        }
        Ok(())
    }
}

fn next_free(name: &str) -> Result<PathBuf> {
    let parent = Path::new("runs");
    std::fs::create_dir_all(parent).map_err(Error::io("create the folder", parent))?;
    let mut n = 1;
    loop {
        let path = parent.join(format!("{name}-{n}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
            Err(e) => return Err(Error::io("create the folder", &path)(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_made_once_and_keeps_its_last_checkpoints() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/run");
        let recipe = Recipe::load("digits", &[])?;
        assert!(Run::open(&path).is_none());
        let run = Run::create(Some(&path), &recipe)?;
        assert_eq!(Run::open(&path).expect("a run").recipe(&[])?, recipe);
        let error = Run::create(Some(&path), &recipe).expect_err("taken").to_string();
        assert!(error.contains("not empty"), "{error}");
        for images in [0, 999, 1001, 1_234_567] {
            std::fs::write(run.checkpoint_path(images), b"").expect("writes");
        }
        std::fs::write(path.join("checkpoint-mine.safetensors"), b"").expect("writes");
        run.prune_checkpoints()?;
        let kept = run.checkpoints()?;
        assert_eq!(kept, [run.checkpoint_path(1001), run.checkpoint_path(1_234_567)]);
        assert!(path.join("checkpoint-mine.safetensors").exists());
        Ok(())
    }
}
