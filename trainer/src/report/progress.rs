//! Progress of a run on standard error.

use super::{Bar, Tick, duration};
use std::time::Instant;

/// Shows how far a run is.
#[derive(Debug)]
pub struct Progress {
    bar: Bar,
    total: u64,
    /// Images already shown when this process began, and when that was.
    start: (u64, Instant),
}

impl Progress {
    /// Begins at `shown` of `total` images.
    pub fn new(shown: u64, total: u64) -> Self {
        Self { bar: Bar::new(shown, total), total, start: (shown, Instant::now()) }
    }

    /// Shows the averages of the tick so far.
    pub fn update(&mut self, shown: u64, tick: &Tick) {
        let elapsed = self.start.1.elapsed().as_secs_f64();
        let rate = (shown - self.start.0) as f64 / elapsed.max(1e-9);
        let left = (self.total - shown.min(self.total)) as f64 / rate;
        self.bar.update(shown, || {
            format!(
                "{:.1}/{:.1} kimg  {rate:.0} img/s  loss D {:.3} G {:.3}  {} left",
                shown as f64 / 1000.,
                self.total as f64 / 1000.,
                tick.discriminator_loss,
                tick.generator_loss,
                duration(left)
            )
        });
    }

    /// Leaves the bar as it stands.
    pub fn end(&self) {
        self.bar.end();
    }
}
