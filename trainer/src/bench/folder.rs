//! The folder of a benchmark: what its seeds have come to, and how far the one at hand is.

use super::{Method, Protocol, Run};
use crate::error::{Error, Result};
use crate::{files, run};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Bytes of the largest record that is read.
const LONGEST: u64 = 1_000_000;

/// `bench.toml` says of what, `seed-N.json` holds the figures of a seed, `seed-N.safetensors` the state of one that is not
/// done.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held while this process is at work in it.
    _lock: Option<File>,
}

impl Folder {
    /// The folder at `path`, which is made if it is not there, for a benchmark of this method.
    ///
    /// # Errors
    /// A folder of another benchmark or method, or that holds something else; another process at work in it; what the system
    /// says.
    pub fn open(path: &Path, protocol: &dyn Protocol, method: &Method) -> Result<Self> {
        let refused = |what: &str| Error::Run { path: path.to_owned(), what: format!("{what}; give another folder") };
        std::fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
        let folder = Self { path: path.to_owned(), _lock: run::lock(path)? };
        let (of, now) = (folder.path.join("bench.toml"), format!("# {}\n{}", protocol.name(), method.to_toml()?));
        if of.exists() {
            let then = files::read(&of, LONGEST)?;
            if then != now.as_bytes() {
                let what = format!("holds a benchmark of another method or distribution ({})", of.display());
                return Err(refused(&what));
            }
        } else if std::fs::read_dir(path).map_err(Error::io("list", path))?.next().is_some() {
            return Err(refused("is not empty and holds no benchmark"));
        } else {
            files::write_atomically(&of, now.as_bytes())?;
        }
        Ok(folder)
    }

    /// What a seed has come to, if it is done.
    ///
    /// # Errors
    /// [`Error::Damaged`]; what the system says.
    pub fn done(&self, seed: u64) -> Result<Option<Run>> {
        let path = self.record_path(seed);
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |what: String| Error::Damaged {
            path: path.clone(),
            what: format!("{what}; remove it, and the seed is learned again"),
        };
        let run: Run = serde_json::from_slice(&files::read(&path, LONGEST)?).map_err(|e| damaged(e.to_string()))?;
        if run.seed == seed { Ok(Some(run)) } else { Err(damaged(format!("its seed is {}", run.seed))) }
    }

    /// Keeps what a seed has come to, and no longer its state.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&self, run: &Run) -> Result<()> {
        let text = serde_json::to_string(run).map_err(candle_core::Error::wrap)?;
        files::write_atomically(&self.record_path(run.seed), text.as_bytes())?;
        let state = self.state_path(run.seed);
        if state.exists() { std::fs::remove_file(&state).map_err(Error::io("remove", &state)) } else { Ok(()) }
    }

    /// Where the state of a seed is kept until it is done.
    pub fn state_path(&self, seed: u64) -> PathBuf {
        self.path.join(format!("seed-{seed}.safetensors"))
    }

    fn record_path(&self, seed: u64) -> PathBuf {
        self.path.join(format!("seed-{seed}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Measures, OURS, grid, ring};
    use super::*;

    #[test]
    fn what_a_seed_has_come_to_is_kept_for_the_same_benchmark_alone() -> Result<()> {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("of/ring");
        let method = Method::load(OURS, &ring())?;
        let samples = Measures { modes: 8., high_quality: 0.1 + 0.2, kl: 1. / 3. };
        let run = Run { seed: 3, seconds: 61.25, samples, floor: Measures { kl: f64::MIN_POSITIVE, ..samples } };
        {
            let folder = Folder::open(&path, &ring(), &method)?;
            assert_eq!(folder.done(3)?, None);
            std::fs::write(folder.state_path(3), "on the way").expect("writes");
            folder.keep(&run)?;
            assert!(!folder.state_path(3).exists());
            let busy = Folder::open(&path, &ring(), &method).expect_err("must be refused").to_string();
            assert!(busy.contains("another trainer is at work"), "{busy}");
        }
        // To the bit.
        assert_eq!(Folder::open(&path, &ring(), &method)?.done(3)?, Some(run));
        let other = Method { batch: 32, ..method.clone() };
        let of_other = [Folder::open(&path, &ring(), &other), Folder::open(&path, &grid(), &method)];
        for said in of_other.map(|opened| opened.expect_err("must be refused").to_string()) {
            assert!(said.contains("another method or distribution") && said.contains("another folder"), "{said}");
        }
        let folder = Folder::open(&path, &ring(), &method)?;
        std::fs::copy(path.join("seed-3.json"), path.join("seed-4.json")).expect("copies");
        assert!(folder.done(4).expect_err("damaged").to_string().contains("its seed is 3"));
        std::fs::write(path.join("seed-4.json"), "{").expect("writes");
        let said = folder.done(4).expect_err("damaged").to_string();
        assert!(said.contains("seed-4.json") && said.contains("remove it, and the seed is learned again"), "{said}");
        Ok(())
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("thesis.txt"), "years").expect("writes");
        let method = Method::load(OURS, &ring())?;
        let said = Folder::open(folder.path(), &ring(), &method).expect_err("must be refused").to_string();
        assert!(said.contains("is not empty and holds no benchmark; give another folder"), "{said}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1);
        Ok(())
    }
}
