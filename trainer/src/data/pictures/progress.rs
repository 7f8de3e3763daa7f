//! One bar for all the time that pictures are read.

use crate::report::Bar;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

/// What takes less is not worth a bar.
const LONG: Duration = Duration::from_secs(2);
/// Between two looks at the bar.
const EVERY: Duration = Duration::from_millis(100);

/// How far the reading is. Every picture is read twice: to see what it is, and to decode it.
#[derive(Debug)]
pub struct Progress {
    files: u64,
    done: AtomicU64,
    start: Instant,
    shown: Mutex<(Option<Bar>, Instant)>,
}

impl Progress {
    /// Of the reading of so many files, which begins now.
    pub fn new(files: usize) -> Self {
        let start = Instant::now();
        Self { files: files as u64, done: AtomicU64::new(0), start, shown: Mutex::new((None, start)) }
    }

    /// Does something for one file.
    pub fn one<T>(&self, read: impl FnOnce() -> T) -> T {
        let result = read();
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        // Whoever finds it taken goes on.
        let shown = match self.shown.try_lock() {
            Ok(shown) => Some(shown),
            Err(TryLockError::Poisoned(shown)) => Some(shown.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut shown) = shown
            && shown.1.elapsed() >= EVERY
            && self.start.elapsed() >= LONG
        {
            let total = 2 * self.files;
            let (what, of) = if done <= self.files { ("read", done) } else { ("decoded", done - self.files) };
            let bar = shown.0.get_or_insert_with(|| Bar::new(done, total));
            // The last line comes with the summary.
            bar.update(done.min(total.saturating_sub(1)), || format!("{of} of {} files {what}", self.files));
            shown.1 = Instant::now();
        }
        result
    }

    /// Leaves the bar as it stands.
    pub fn end(self) {
        if let Some(bar) = self.shown.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).0 {
            bar.end();
        }
    }
}
