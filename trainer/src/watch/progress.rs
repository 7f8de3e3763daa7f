//! Progress of a run on standard error.

use super::Tick;
use crate::report::{Bar, duration};
use std::time::Instant;

/// Shows how far a run is.
#[derive(Debug)]
pub struct Progress {
    bar: Bar,
    total: u64,
    /// The losses that were read last, as a text: a GPU is not asked for them between ticks.
    losses: String,
    /// Images already images when this process began, and when that was.
    start: (u64, Instant),
    /// Whether it was said how long all will take.
    estimated: bool,
}

impl Progress {
    /// Begins at `images` of `total` images.
    pub fn new(images: u64, total: u64) -> Self {
        Self {
            bar: Bar::new(images, total),
            total,
            losses: String::new(),
            start: (images, Instant::now()),
            estimated: false,
        }
    }

    /// Shows the averages of the tick so far, or those of the last one where nothing of this one has been read.
    pub fn update(&mut self, images: u64, tick: &Tick) {
        let losses = tick.figures().filter_map(|(name, value)| Some((name.strip_suffix("_loss")?, value)));
        let losses: Vec<String> = losses.map(|(name, value)| format!("{name} {value:.3}")).collect();
        if !losses.is_empty() {
            self.losses = format!("loss {}  ", losses.join(" "));
        }
        let losses = &self.losses;
        let elapsed = self.start.1.elapsed().as_secs_f64();
        let rate = (images - self.start.0) as f64 / elapsed.max(1e-9);
        let left = (self.total - images.min(self.total)) as f64 / rate;
        self.bar.update(images, || {
            format!(
                "{:.1}/{:.1} kimg  {rate:.0} img/s  {losses}{} left",
                images as f64 / 1000.,
                self.total as f64 / 1000.,
                duration(left)
            )
        });
    }

    /// After a tick, with all that belongs to one: says the first time how long the run will take.
    pub fn tick(&mut self, images: u64) {
        let (since, seconds) = (self.start.0, self.start.1.elapsed().as_secs_f64());
        if !std::mem::replace(&mut self.estimated, true) && images > since && images < self.total {
            let left = (self.total - images) as f64 * seconds / (images - since) as f64;
            if left < 60. {
                return;
            }
            self.bar.say(&format!(
                "this run will take about {}, of which {} are left",
                duration(seconds + left),
                duration(left)
            ));
        }
    }

    /// Leaves the bar as it stands.
    pub fn end(&self) {
        self.bar.end();
    }
}
