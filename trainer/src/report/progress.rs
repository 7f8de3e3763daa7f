//! Progress of a run on standard error.

use super::{Bar, Tick, duration};
use std::time::Instant;

/// Shows how far a run is.
#[derive(Debug)]
pub struct Progress {
    bar: Bar,
    total: u64,
    /// The losses that were read last, of discriminator and generator: a GPU is not asked for them between ticks.
    losses: Option<[f64; 2]>,
    /// Images already shown when this process began, and when that was.
    start: (u64, Instant),
}

impl Progress {
    /// Begins at `shown` of `total` images.
    pub fn new(shown: u64, total: u64) -> Self {
        Self { bar: Bar::new(shown, total), total, losses: None, start: (shown, Instant::now()) }
    }

    /// Shows the averages of the tick so far, or those of the last one where nothing of this one has been read.
    pub fn update(&mut self, shown: u64, tick: &Tick) {
        if !tick.is_empty() {
            self.losses = Some([tick.discriminator_loss, tick.generator_loss]);
        }
        let losses = self.losses.map_or_else(String::new, |[d, g]| format!("loss D {d:.3} G {g:.3}  "));
        let elapsed = self.start.1.elapsed().as_secs_f64();
        let rate = (shown - self.start.0) as f64 / elapsed.max(1e-9);
        let left = (self.total - shown.min(self.total)) as f64 / rate;
        self.bar.update(shown, || {
            format!(
                "{:.1}/{:.1} kimg  {rate:.0} img/s  {losses}{} left",
                shown as f64 / 1000.,
                self.total as f64 / 1000.,
                duration(left)
            )
        });
    }

    /// Leaves the bar as it stands.
    pub fn end(&self) {
        self.bar.end();
    }
}
