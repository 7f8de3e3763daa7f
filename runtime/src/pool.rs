//! Several generators on the same weights, for callers in many threads.

use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::model::ModelInfo;
use crate::options::Options;
use crate::pixels::Pixel;
use crate::request::Request;
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Most generators in a pool.
pub const MAX_POOL: usize = 64;

/// Generators on the same weights, lent to whoever asks; as many callers are served at once as there are generators, the
/// others wait for their turn.
///
/// What a caller gets does not depend on which one serves it: images are functions of the file, the seed and the index.
pub struct Pool {
    idle: Mutex<heapless::Vec<Generator, MAX_POOL>>,
    returned: Condvar,
    info: ModelInfo,
    size: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("size", &self.size).field("image", &self.info.image).finish_non_exhaustive()
    }
}

impl Pool {
    /// Opens the file at `path` once, for `size` generators, 1 to [`MAX_POOL`]; each computes with `options.threads` threads
    /// of which the first is the caller's.
    ///
    /// # Errors
    /// A size out of range, and what [`Generator::open`] refuses.
    pub fn open(path: impl AsRef<Path>, options: &Options, size: usize) -> Result<Self> {
        if !(1..=MAX_POOL).contains(&size) {
            return Err(Error::Argument(format!("the pool's size is {size}, allowed is 1 to {MAX_POOL}")));
        }
        let first = Generator::open(path, options)?;
        let (info, mut idle) = (first.info().clone(), heapless::Vec::new());
        for _ in 1..size {
            // There is room for `MAX_POOL`.
            let _ = idle.push(first.try_clone()?);
        }
        let _ = idle.push(first);
        Ok(Self { idle: Mutex::new(idle), returned: Condvar::new(), info, size })
    }

    /// What the file says of itself.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Number of generators.
    pub fn size(&self) -> usize {
        self.size
    }

    /// As [`Generator::sample`], by a generator that is lent for the call; waits while all are lent.
    ///
    /// # Errors
    /// As [`Generator::draw`].
    pub fn sample<T: Pixel>(&self, seed: u64, first_index: u64, out: &mut [T]) -> Result<()> {
        self.draw(&Request::seed(seed).first(first_index), out)
    }

    /// As [`Generator::draw`], by a generator that is lent for the call; waits while all are lent.
    ///
    /// # Errors
    /// As [`Generator::draw`].
    pub fn draw<T: Pixel>(&self, request: &Request<'_>, out: &mut [T]) -> Result<()> {
        let mut idle = self.idle();
        let generator = loop {
            match idle.pop() {
                Some(generator) => break generator,
                None => idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(idle);
        Loan { pool: self, generator: ManuallyDrop::new(generator) }.generator.draw(request, out)
    }

    /// As [`Self::draw`], but never waits: `false`, and nothing drawn, if all generators are lent.
    ///
    /// # Errors
    /// As [`Generator::draw`].
    pub fn try_draw<T: Pixel>(&self, request: &Request<'_>, out: &mut [T]) -> Result<bool> {
        let Some(generator) = self.idle().pop() else { return Ok(false) };
        Loan { pool: self, generator: ManuallyDrop::new(generator) }.generator.draw(request, out)?;
        Ok(true)
    }

    /// As [`Generator::warm_up`], for every generator; call it before the first caller comes.
    ///
    /// # Errors
    /// As [`Generator::warm_up`].
    pub fn warm_up(&self, batch: usize) -> Result<()> {
        self.idle().iter_mut().try_for_each(|generator| generator.warm_up(batch))
    }

    fn idle(&self) -> MutexGuard<'_, heapless::Vec<Generator, MAX_POOL>> {
        // The list is whole after every statement under the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A generator that is given back to its pool when dropped, even by a panic: others wait for it.
struct Loan<'a> {
    pool: &'a Pool,
    generator: ManuallyDrop<Generator>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        // SAFETY: the field is not used after this, the last use of the struct.
        let generator = unsafe { ManuallyDrop::take(&mut self.generator) };
        // There is room: it came from there.
        let _ = self.pool.idle().push(generator);
        self.pool.returned.notify_one();
    }
}
