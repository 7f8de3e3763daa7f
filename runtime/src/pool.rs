//! Several generators on the same weights, for callers in many threads.

use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::lending::{self, Shelf};
use crate::model::ModelInfo;
use crate::options::Options;
use crate::pixels::Pixel;
use crate::request::Request;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Most generators in a pool.
pub const MAX_POOL: usize = lending::MOST;

/// Generators on the same weights, lent to whoever asks; as many callers are served at once as there are generators, the
/// others wait for their turn.
///
/// What a caller gets does not depend on which one serves it: images are functions of the file, the seed and the index.
pub struct Pool {
    generators: Shelf<Generator>,
    info: ModelInfo,
    max_batch: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("size", &self.size()).field("image", &self.info.image).finish_non_exhaustive()
    }
}

impl Pool {
    /// Opens the file at `path` once, for `size` generators, 1 to [`MAX_POOL`]; each computes with `options.threads` threads
    /// of which the first is the caller's.
    ///
    /// # Errors
    /// A size out of range, and what [`Generator::open`] refuses.
    pub fn open(path: impl AsRef<Path>, options: &Options, size: usize) -> Result<Self> {
        // Before the file is opened, which takes long.
        check_size(size)?;
        Self::of(Generator::open(path, options)?, size)
    }

    /// `generator` and clones of it, `size` in all, 1 to [`MAX_POOL`].
    ///
    /// # Errors
    /// A size out of range, and as [`Generator::try_clone`].
    pub fn of(generator: Generator, size: usize) -> Result<Self> {
        check_size(size)?;
        let (info, max_batch) = (generator.info().clone(), generator.max_batch());
        let mut generators = (1..size).map(|_| generator.try_clone()).collect::<Result<Vec<_>>>()?;
        generators.push(generator);
        Ok(Self { generators: Shelf::new(generators), info, max_batch })
    }

    /// What the file says of itself.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Most images a call.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Number of generators.
    pub fn size(&self) -> usize {
        self.generators.size()
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
        self.generators.lend().draw(request, out)
    }

    /// As [`Self::draw`], but never waits: `false`, and nothing drawn, if all generators are lent.
    ///
    /// # Errors
    /// As [`Generator::draw`].
    pub fn try_draw<T: Pixel>(&self, request: &Request<'_>, out: &mut [T]) -> Result<bool> {
        let Some(mut generator) = self.generators.try_lend() else { return Ok(false) };
        generator.draw(request, out)?;
        Ok(true)
    }

    /// As [`Self::draw`], but waits so long at most for a generator: `false`, and nothing drawn, if all are lent until then. How
    /// long the drawing itself may take is [`Options::time_limit`].
    ///
    /// # Errors
    /// As [`Generator::draw`].
    pub fn draw_timeout<T: Pixel>(&self, request: &Request<'_>, limit: Duration, out: &mut [T]) -> Result<bool> {
        let Some(mut generator) = self.generators.lend_timeout(limit) else { return Ok(false) };
        generator.draw(request, out)?;
        Ok(true)
    }

    /// As [`Generator::warm_up`], for every generator once, one after the other; best before the first caller comes. Others
    /// draw meanwhile: it waits for the generators that are lent.
    ///
    /// # Errors
    /// As [`Generator::warm_up`].
    pub fn warm_up(&self, batch: usize) -> Result<()> {
        self.generators.each(|generator| generator.warm_up(batch))
    }
}

fn check_size(size: usize) -> Result<()> {
    if (1..=MAX_POOL).contains(&size) {
        return Ok(());
    }
    Err(Error::argument(format!("the pool's size is {size}, allowed is 1 to {MAX_POOL}")))
}
