//! The log of a run: one JSON object a tick.

use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize, Serializer};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// What one tick has come to: a line of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tick {
    /// Real images shown since the beginning of the run.
    pub images: u64,
    /// Images a second in this tick.
    pub images_per_second: f64,
    /// The figures that the steps of this tick found, by their names.
    #[serde(flatten)]
    figures: Figures,
    /// Seconds that the loop waited for data in this tick.
    pub data_wait_seconds: f64,
    /// Seconds that the grid of this tick took.
    pub grid_seconds: f64,
}

/// Averages, in the order in which they were first met.
#[derive(Clone, Debug, Default, PartialEq)]
struct Figures(Vec<(String, Mean)>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mean {
    value: f64,
    count: u64,
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(name, mean)| (name, mean.value)))
    }
}

impl Figures {
    fn mean(&mut self, name: String) -> &mut Mean {
        let place = self.0.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.0.push((name, Mean::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

impl Tick {
    /// Takes the figures of one more step into the averages, each by itself: steps may differ in what they find.
    pub fn add(&mut self, figures: impl IntoIterator<Item = (String, f32)>) {
        for (name, value) in figures {
            let mean = self.figures.mean(name);
            mean.count += 1;
            mean.value += (f64::from(value) - mean.value) / mean.count as f64;
        }
    }

    /// Replaces a figure that is no average.
    pub fn set(&mut self, name: String, value: f64) {
        *self.figures.mean(name) = Mean { value, count: 1 };
    }

    /// The figures so far, in the order in which they were first met.
    pub fn figures(&self) -> impl Iterator<Item = (&str, f64)> {
        self.figures.0.iter().map(|(name, mean)| (name.as_str(), mean.value))
    }
}

/// What is read of a line of the log.
#[derive(Deserialize)]
struct Line {
    images: u64,
}

/// `stats.jsonl`, open for appending.
#[derive(Debug)]
pub struct Log {
    file: File,
}

impl Log {
    /// Opens the log of a run that has shown `images` images: what was logged after that count, by a run that was killed
    /// after its last checkpoint, is dropped.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path, images: u64) -> Result<Self> {
        if path.exists() {
            let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            let kept =
                text.lines().filter(|line| serde_json::from_str::<Line>(line).is_ok_and(|tick| tick.images <= images));
            let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
            files::write_atomically(path, kept.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("open", path))?;
        Ok(Self { file })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, tick: &Tick) -> std::io::Result<()> {
        let line = serde_json::to_string(tick)? + "\n";
        self.file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_averages_of_whatever_steps_find() -> Result<()> {
        let mut tick = Tick { images: 5, ..Tick::default() };
        assert!(tick.figures().next().is_none());
        for value in [1., 2., 6.] {
            tick.add([("loss".to_owned(), value), ("logit".to_owned(), -value)]);
        }
        // Not every step has it.
        tick.add([("r1".to_owned(), 0.5)]);
        tick.set("scale".to_owned(), 4.);
        tick.set("scale".to_owned(), 2.);
        assert!(tick.figures().eq([("loss", 3.), ("logit", -3.), ("r1", 0.5), ("scale", 2.)]));
        let line = serde_json::to_value(&tick).expect("a line");
        assert_eq!((&line["images"], &line["loss"], &line["r1"]), (&5.into(), &3.0.into(), &0.5.into()));
        Ok(())
    }

    #[test]
    fn reopening_drops_what_came_after_the_checkpoint() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stats.jsonl");
        let mut log = Log::open(&path, 0)?;
        for images in [10, 20, 30] {
            log.write(&Tick { images, ..Tick::default() }).expect("writes");
        }
        // A line cut short by a crash.
        log.file.write_all(b"{\"images\":4").expect("writes");
        Log::open(&path, 20)?.write(&Tick { images: 31, ..Tick::default() }).expect("writes");
        let text = std::fs::read_to_string(&path).expect("reads");
        let images: Vec<u64> = text.lines().map(|l| serde_json::from_str::<Line>(l).expect("a tick").images).collect();
        assert_eq!(images, [10, 20, 31]);
        Ok(())
    }
}
