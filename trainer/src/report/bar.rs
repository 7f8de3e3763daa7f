//! How far something is, on standard error: a bar on a terminal, else a line now and then.

use super::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar with a text beside it.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    total: u64,
    last_line: Instant,
}

impl Bar {
    /// Begins at `done` of `total`.
    pub fn new(done: u64, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4)).with_position(done);
        let style = ProgressStyle::with_template("{wide_bar:.cyan/dim} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─"));
        Self { bar, total, last_line: Instant::now() }
    }

    /// Shows that `done` is reached; without a terminal, `text` when it is time for a line or when all is done.
    pub fn update(&mut self, done: u64, text: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_position(done);
            self.bar.set_message(text());
        } else if self.last_line.elapsed() >= LINE_EVERY || done >= self.total {
            self.last_line = Instant::now();
            say!("{}", text());
        }
    }

    /// Says a line above the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| say!("{text}"));
    }

    /// Leaves the bar as it stands.
    pub fn end(&self) {
        self.bar.abandon();
    }
}
