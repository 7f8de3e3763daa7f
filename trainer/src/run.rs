//! A run's folder: recipe, log, grids and checkpoints, and who is at work in it.

use crate::error::{Error, Result};
use crate::files;
use crate::recipe::{Change, Override, Recipe};
use crate::report::say;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of changes, or of what was tried, that is longer is none that was written here.
const MOST_LINES: u64 = 1 << 24;

/// The folder of one run.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    /// Held while this process trains in the folder; the system takes it back whatever becomes of the process.
    lock: Option<File>,
    /// Whether this process made the folder, and everything in it.
    made: bool,
}

impl Run {
    /// A folder for a new run: `path`, which must not hold a run yet, or the next free `runs/<recipe>-<n>`. It holds a run
    /// once it has a recipe ([`Self::set_recipe`]).
    ///
    /// # Errors
    /// A folder that holds something already, cannot be made, or in which another process is at work.
    pub fn create(path: Option<&Path>, recipe: &Recipe) -> Result<Self> {
        let Some(path) = path else { return next_free(&recipe.name) };
        let made = !path.exists();
        std::fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
        let mut run = Self { path: path.to_owned(), lock: None, made };
        run.lock()?;
        for entry in std::fs::read_dir(path).map_err(Error::io("list", path))?.flatten() {
            // A process that was killed while it began leaves what comes before the recipe.
            if !run.beginnings().contains(&entry.path()) || run.recipe_path().exists() {
                let what = "is not empty and holds no run; give another folder";
                return Err(Error::Run { path: path.to_owned(), what: what.into() });
            }
        }
        Ok(run)
    }

    /// The run in `path`; `None` if there is none.
    pub fn open(path: &Path) -> Option<Self> {
        let run = Self { path: path.to_owned(), lock: None, made: false };
        run.recipe_path().is_file().then_some(run)
    }

    /// Keeps other processes from training in the folder until this one ends, and removes what one that was killed has left
    /// unfinished.
    ///
    /// # Errors
    /// Another process is at work in the folder; the folder cannot be written to.
    pub fn lock(&mut self) -> Result<()> {
        self.lock = lock(&self.path)?;
        files::probe(&self.recipe_path())
    }

    /// Lets other processes train in the folder.
    pub(crate) fn unlock(&mut self) {
        self.lock = None;
    }

    /// What a run has before it has a recipe.
    fn beginnings(&self) -> [PathBuf; 2] {
        [self.checkpoint_path(0), self.data_log_path()]
    }

    /// Removes the folder of a run that did not begin, if this process made it; else what it put there.
    pub fn abandon(self) {
        // What cannot be removed is left: why the run did not begin is the news.
        if self.made {
            let _ = std::fs::remove_dir_all(&self.path);
        } else {
            self.beginnings().iter().for_each(|path| drop(std::fs::remove_file(path)));
        }
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
        Recipe::read(&self.recipe_path(), overrides)
    }

    /// Writes the recipe, in place of the one that was there.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_recipe(&self, recipe: &Recipe) -> Result<()> {
        self.write_recipe(&recipe.to_toml()?)
    }

    pub(crate) fn write_recipe(&self, recipe: &str) -> Result<()> {
        files::write_atomically(&self.recipe_path(), recipe.as_bytes())
    }

    /// Writes how the data was read, if there is something to tell.
    ///
    /// # Errors
    /// What the system says.
    pub fn log_data(&self, log: &str) -> Result<()> {
        if log.is_empty() { Ok(()) } else { files::write_atomically(&self.data_log_path(), log.as_bytes()) }
    }

    /// Adds what changed in the recipe after `images` images to `changes.jsonl`, a JSON object a line.
    ///
    /// # Errors
    /// What the system says.
    pub fn log_changes(&self, images: u64, changes: &[Change]) -> Result<()> {
        append(&self.changes_path(), &Self::change_lines(images, changes)?)
    }

    /// What [`Self::log_changes`] adds.
    pub(crate) fn change_lines(images: u64, changes: &[Change]) -> Result<String> {
        #[derive(serde::Serialize)]
        struct Line<'a> {
            images: u64,
            #[serde(flatten)]
            change: &'a Change,
        }
        let lines =
            changes.iter().map(|change| serde_json::to_string(&Line { images, change }).map(|line| line + "\n"));
        Ok(lines.collect::<serde_json::Result<_>>().map_err(candle_core::Error::wrap)?)
    }

    /// Images at which this key of the recipe was last changed, if it was.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn changed(&self, key: &str) -> Result<Option<u64>> {
        #[derive(serde::Deserialize)]
        struct Line {
            images: u64,
            key: String,
        }
        let lines = lines::<Line>(&self.changes_path())?;
        Ok(lines.iter().rfind(|line| line.key == key).map(|line| line.images))
    }

    /// Writes down what a race of remedies has come to that nobody has won.
    ///
    /// # Errors
    /// What the system says.
    pub fn log_healing(&self, evidence: &str) -> Result<()> {
        append(&self.healing_path(), &format!("{evidence}\n"))
    }

    /// How many times something was done about an alarm.
    ///
    /// # Errors
    /// What the system says; something that is no file.
    pub fn healings(&self) -> Result<usize> {
        #[derive(serde::Deserialize)]
        struct Line {
            winner: Option<String>,
        }
        Ok(lines::<Line>(&self.healing_path())?.iter().filter(|line| line.winner.is_some()).count())
    }

    fn data_log_path(&self) -> PathBuf {
        self.path.join("data.log")
    }

    pub(crate) fn changes_path(&self) -> PathBuf {
        self.path.join("changes.jsonl")
    }

    pub(crate) fn healing_path(&self) -> PathBuf {
        self.path.join("healing.jsonl")
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
        self.path.join(format!("fakes-{images:09}.png"))
    }

    /// The checkpoint after so many images.
    pub fn checkpoint_path(&self, images: u64) -> PathBuf {
        self.path.join(format!("checkpoint-{images:09}.safetensors"))
    }

    /// The checkpoint that was the best after so many images.
    pub fn best_path(&self, images: u64) -> PathBuf {
        self.path.join(format!("best-{images:09}.safetensors"))
    }

    /// All checkpoints with the images that their names state, oldest first.
    ///
    /// # Errors
    /// What the system says.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>> {
        self.numbered("checkpoint-", ".safetensors")
    }

    /// The best checkpoint with the images that its name states: usually one at most, the newest last.
    ///
    /// # Errors
    /// What the system says.
    pub fn best(&self) -> Result<Vec<(u64, PathBuf)>> {
        self.numbered("best-", ".safetensors")
    }

    /// The grids of samples with the images that their names state, in their order.
    ///
    /// # Errors
    /// What the system says.
    pub fn fakes(&self) -> Result<Vec<(u64, PathBuf)>> {
        self.numbered("fakes-", ".png")
    }

    fn numbered(&self, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>> {
        let entries = std::fs::read_dir(&self.path).map_err(Error::io("list", &self.path))?;
        let number = |path: &Path| -> Option<u64> {
            path.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut found: Vec<_> = paths.filter_map(|path| Some((number(&path)?, path))).collect();
        found.sort();
        Ok(found)
    }
}

/// Keeps other processes from working in the folder at `path` as long as what is returned is held, and removes what one that
/// was killed has left unfinished.
///
/// # Errors
/// Another process is at work in the folder.
pub(crate) fn lock(path: &Path) -> Result<Option<File>> {
    let busy = "another trainer is at work in this folder; wait until it ends, stop it, or give another folder";
    let lock = match File::open(path).map(|folder| folder.try_lock().map(|()| folder)) {
        Ok(Ok(folder)) => Some(folder),
        Ok(Err(TryLockError::WouldBlock)) => return Err(Error::Run { path: path.to_owned(), what: busy.into() }),
        // Not every system locks folders.
        Ok(Err(TryLockError::Error(e))) | Err(e) => {
            say!("warning: {} cannot be locked ({e}): two trainers in it would harm each other", path.display());
            None
        }
    };
    files::sweep(path)?;
    Ok(lock)
}

/// What the lines of a file say that are such objects; none where there is no file.
fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let all = files::read(path, MOST_LINES)?;
    Ok(all.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Adds lines to a file.
fn append(path: &Path, lines: &str) -> Result<()> {
    let write = || File::options().create(true).append(true).open(path)?.write_all(lines.as_bytes());
    if lines.is_empty() { Ok(()) } else { write().map_err(Error::io("write", path)) }
}

fn next_free(name: &str) -> Result<Run> {
    let parent = Path::new("runs");
    std::fs::create_dir_all(parent).map_err(Error::io("create the folder", parent))?;
    let mut n = 1;
    loop {
        let path = parent.join(format!("{name}-{n}"));
        match std::fs::create_dir(&path) {
            Ok(()) => {
                let mut run = Run { path, lock: None, made: true };
                run.lock()?;
                return Ok(run);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
            Err(e) => return Err(Error::io("create the folder", &path)(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_one_run_of_one_process() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/run");
        let recipe = Recipe::load("digits", &[])?;
        assert!(Run::open(&path).is_none());
        let run = Run::create(Some(&path), &recipe)?;
        let error = Run::create(Some(&path), &recipe).expect_err("locked").to_string();
        assert!(error.contains("another trainer is at work"), "{error}");
        run.set_recipe(&recipe)?;
        drop(run);
        let mut run = Run::open(&path).expect("a run");
        assert_eq!(run.recipe(&[])?, recipe);
        let error = Run::create(Some(&path), &recipe).expect_err("taken").to_string();
        assert!(error.contains("not empty"), "{error}");

        std::fs::write(path.join(".unfinished-x"), b"").expect("writes");
        std::fs::create_dir_all(path.join(".unfinished-y/z")).expect("makes");
        run.lock()?;
        assert_eq!(std::fs::read_dir(&path).expect("lists").count(), 1, "what was unfinished is gone");
        Ok(())
    }

    #[test]
    fn checkpoints_stand_in_the_order_of_their_images() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let run = Run::create(Some(folder.path()), &Recipe::load("digits", &[])?)?;
        let all = [0, 7, 999, 1_234_567, 12_345_678_901];
        for images in all {
            std::fs::write(run.checkpoint_path(images), b"").expect("writes");
        }
        std::fs::write(folder.path().join("checkpoint-mine.safetensors"), b"").expect("writes");
        std::fs::write(run.best_path(3), b"").expect("writes");
        assert_eq!(run.checkpoints()?, all.map(|images| (images, run.checkpoint_path(images))));
        assert_eq!(run.best()?, [(3, run.best_path(3))]);
        Ok(())
    }

    /// A process that was killed between the first checkpoint and the recipe has left no run, and nothing in the way of one.
    #[test]
    fn a_run_that_did_not_begin_leaves_its_folder_free() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let (recipe, path) = (Recipe::load("digits", &[])?, folder.path().join("run"));
        let run = Run::create(Some(&path), &recipe)?;
        std::fs::write(run.checkpoint_path(0), b"half").expect("writes");
        run.log_data("an image was skipped\n")?;
        drop(run);
        let run = Run::create(Some(&path), &recipe)?;
        run.abandon();
        std::fs::remove_dir(&path).expect("empty");
        Run::create(Some(&path), &recipe)?.abandon();
        assert!(!path.exists());
        Ok(())
    }
}
