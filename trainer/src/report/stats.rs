//! The log of a run: one JSON object a tick.

use crate::error::{Error, Result};
use crate::files;
use crate::optim::LossScale;
use crate::state::Losses;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Averages over one tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Real images shown since the beginning of the run.
    pub images: u64,
    /// Images a second in this tick.
    pub images_per_second: f64,
    /// Mean loss of the discriminator.
    pub discriminator_loss: f64,
    /// Mean loss of the generator.
    pub generator_loss: f64,
    /// Mean logit of real images.
    pub real_logit: f64,
    /// Mean logit of generated images.
    pub fake_logit: f64,
    /// With `training.precision = "f16"`, what the discriminator's loss is multiplied by on the way back at the end of the
    /// tick, and steps that were skipped since the beginning of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_loss_scale: Option<LossScale>,
    /// The same of the generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_loss_scale: Option<LossScale>,
    /// Seconds that the loop waited for data in this tick.
    pub data_wait_seconds: f64,
    /// Seconds that the grid of this tick took.
    pub grid_seconds: f64,
    #[serde(skip)]
    steps: u64,
}

impl Tick {
    /// Takes one more step into the averages.
    pub fn add(&mut self, losses: &Losses) {
        self.steps += 1;
        let weight = 1. / self.steps as f64;
        for (mean, value) in [
            (&mut self.discriminator_loss, losses.discriminator),
            (&mut self.generator_loss, losses.generator),
            (&mut self.real_logit, losses.real_logit),
            (&mut self.fake_logit, losses.fake_logit),
        ] {
            *mean += (f64::from(value) - *mean) * weight;
        }
    }

    /// Whether any step is in it.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }
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
                text.lines().filter(|line| serde_json::from_str::<Tick>(line).is_ok_and(|tick| tick.images <= images));
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
    fn ticks_are_averages() {
        let mut tick = Tick::default();
        assert!(tick.is_empty());
        for value in [1., 2., 6.] {
            tick.add(&Losses { discriminator: value, generator: 0., real_logit: -value, fake_logit: 1. });
        }
        assert!((tick.discriminator_loss - 3.).abs() < 1e-12 && (tick.real_logit + 3.).abs() < 1e-12);
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
        let images: Vec<u64> = text.lines().map(|l| serde_json::from_str::<Tick>(l).expect("a tick").images).collect();
        assert_eq!(images, [10, 20, 31]);
        Ok(())
    }
}
