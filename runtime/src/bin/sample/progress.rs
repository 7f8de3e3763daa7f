//! How far a run is, on a terminal, if it takes long.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How long a run is before anybody wants to know.
const PATIENCE: Duration = Duration::from_secs(1);

/// A line that is written over and over.
pub struct Progress {
    began: Instant,
    all: u64,
    is_shown: bool,
    is_terminal: bool,
}

impl Progress {
    pub fn new(all: u64) -> Self {
        Self { began: Instant::now(), all, is_shown: false, is_terminal: std::io::stderr().is_terminal() }
    }

    /// Shows that so many images are done, of which so many were drawn.
    pub fn show(&mut self, done: u64, drawn: u64) {
        let elapsed = self.began.elapsed();
        if self.is_terminal && elapsed >= PATIENCE {
            self.is_shown = true;
            // Whoever looked may be gone.
            let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(done, drawn, self.all, elapsed));
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: u64, drawn: u64, all: u64, elapsed: Duration) -> String {
    const WIDTH: u64 = 24;
    let full = (u128::from(done) * u128::from(WIDTH) / u128::from(all.max(1))) as usize;
    let bar: String = (0..WIDTH as usize).map(|i| if i < full { '#' } else { '.' }).collect();
    let speed = drawn as f64 / elapsed.as_secs_f64();
    let left = match drawn {
        0 => String::new(),
        _ => format!(", {} left", time((all - done.min(all)) as f64 / speed)),
    };
    format!("[{bar}] {done} of {all} images, {speed:.0}/s{left}")
}

/// Seconds in words.
fn time(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_far_it_is_and_how_long_it_takes() {
        let second = Duration::from_secs(1);
        assert_eq!(line(0, 0, 10, second), "[........................] 0 of 10 images, 0/s");
        assert_eq!(line(500, 250, 1000, 5 * second), "[############............] 500 of 1000 images, 50/s, 10 s left");
        assert_eq!(line(10, 10, 10, second), "[########################] 10 of 10 images, 10/s, 0 s left");
        assert!(line(1, 1, u64::MAX, second).ends_with(" min left"));
        assert_eq!([99., 100.5, 6000.].map(time), ["99 s", "2 min", "1 h 40 min"]);
    }
}
