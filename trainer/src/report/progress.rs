//! Progress of a run on standard error: a bar on a terminal, else a line now and then.

use super::{Tick, duration};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a run is.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    total: u64,
    /// Images already shown when this process began, and when that was.
    start: (u64, Instant),
    last_line: Instant,
}

impl Progress {
    /// Begins at `shown` of `total` images.
    pub fn new(shown: u64, total: u64) -> Self {
        let bar =
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4)).with_position(shown);
        let style = ProgressStyle::with_template("{wide_bar:.cyan/dim} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─"));
        let now = Instant::now();
        Self { bar, total, start: (shown, now), last_line: now }
    }

    /// Shows the averages of the tick so far.
    pub fn update(&mut self, shown: u64, tick: &Tick) {
        let elapsed = self.start.1.elapsed().as_secs_f64();
        let rate = (shown - self.start.0) as f64 / elapsed.max(1e-9);
        let left = (self.total - shown.min(self.total)) as f64 / rate;
        let text = format!(
            "{:.1}/{:.1} kimg  {rate:.0} img/s  loss D {:.3} G {:.3}  {} left",
            shown as f64 / 1000.,
            self.total as f64 / 1000.,
            tick.discriminator_loss,
            tick.generator_loss,
            duration(left)
        );
        if self.bar.is_hidden() {
            if self.last_line.elapsed() >= LINE_EVERY || shown >= self.total {
                self.last_line = Instant::now();
                eprintln!("{text}");
            }
        } else {
            self.bar.set_position(shown);
            self.bar.set_message(text);
        }
    }

    /// Leaves the bar as it stands.
    pub fn end(&self) {
        self.bar.abandon();
    }
}
