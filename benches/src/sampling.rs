//! Times calls of a generator, told what to do by `benches/peers`.
//!
//! A line `run N` is answered by the microseconds of N calls, `batch N` changes the number of images a call, and `check` asks
//! for a latent and some values of its image.

use runtime::{Generator, Options, Provider, Request};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

use crate::protocol;

const SEED: u64 = 7;
/// Values of an image that `check` compares.
const POINTS: usize = 64;

/// What is inside the measured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// From a seed to bytes: latents and conversion are in its time.
    SeedToBytes,
    /// From latents that lie ready to the file's own numbers in the generator's memory, as other frameworks give them.
    LatentsToValues,
}

/// A generator, and the memory that it draws into.
#[derive(Debug)]
pub struct Sampler {
    generator: Generator,
    batch: usize,
    latents: Option<Vec<f32>>,
    images: Vec<u8>,
    next_index: u64,
}

impl Sampler {
    /// Opens the file, prepares every one of the batch sizes, and begins with the first; `options.max_batch` is set to the
    /// largest.
    ///
    /// # Errors
    /// A file that cannot be opened so, no batch sizes.
    pub fn open(model: &Path, options: Options, batches: &[usize], call: Call) -> runtime::Result<Self> {
        let first = batches.first().copied().unwrap_or(0);
        let largest = batches.iter().copied().max().unwrap_or(0);
        let mut generator = Generator::open(model, &Options { max_batch: largest, ..options })?;
        batches.iter().try_for_each(|&batch| generator.warm_up(batch))?;
        let info = generator.info();
        let (latents, images) = match call {
            Call::SeedToBytes => (None, vec![0; largest * info.image.len()]),
            Call::LatentsToValues => (Some(latents_of(info.latent_dim, largest)), Vec::new()),
        };
        let mut sampler = Self { generator, batch: first, latents, images, next_index: 0 };
        sampler.sample()?;
        Ok(sampler)
    }

    /// Where it really runs.
    pub fn provider(&self) -> Provider {
        self.generator.provider()
    }

    fn sample(&mut self) -> runtime::Result<()> {
        let (n, info) = (self.batch, self.generator.info());
        let (len, latent_dim) = (n * info.image.len(), info.latent_dim);
        match &self.latents {
            Some(z) => {
                self.generator.values(&Request::latents(&z[..n * latent_dim]), n)?;
            }
            None => self.generator.sample(SEED, self.next_index, &mut self.images[..len])?,
        }
        self.next_index += n as u64;
        Ok(())
    }

    /// Microseconds of each of `count` calls.
    fn run(&mut self, count: usize) -> runtime::Result<Value> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            self.sample()?;
            times.push(start.elapsed().as_nanos() as f64 / 1e3);
        }
        Ok(json!({ "us": times }))
    }

    fn check(&mut self) -> runtime::Result<Value> {
        let info = self.generator.info();
        let latent = latents_of(info.latent_dim, 1);
        let mut image = vec![0f32; info.image.len()];
        self.generator.sample(SEED, 0, &mut image)?;
        let points = (0..POINTS).map(|i| (2 * i + 1) * image.len() / (2 * POINTS));
        let values: Vec<f32> = points.map(|at| image[at]).collect();
        Ok(json!({ "latent": latent, "values": values }))
    }

    /// The answer to a line of the protocol.
    ///
    /// # Errors
    /// A line that is no command; a failure of the generator's.
    pub fn answer(&mut self, line: &str) -> Result<Value, String> {
        let most = self.generator.max_batch();
        let done = match (line, protocol::number(line, "run"), protocol::number(line, "batch")) {
            ("check", _, _) => self.check(),
            (_, Some(count), _) => self.run(count),
            (_, _, Some(batch)) if (1..=most).contains(&batch) => {
                self.batch = batch;
                Ok(json!({ "batch": batch }))
            }
            _ => return Err(format!("{line:?} is no command, allowed are `run N`, `batch N` (1 to {most}), `check`")),
        };
        done.map_err(|e| e.to_string())
    }
}

/// The first latents of the seed.
fn latents_of(latent_dim: usize, count: usize) -> Vec<f32> {
    let mut latents = vec![0f32; count * latent_dim];
    for (latent, index) in latents.chunks_exact_mut(latent_dim).zip(0..) {
        runtime::fill_latent(SEED, index, latent);
    }
    latents
}

/// The versions of Kiln and of the library that it runs in, as the protocol has them.
///
/// # Errors
/// No ONNX Runtime.
pub fn versions() -> runtime::Result<Value> {
    let engine = runtime::engine_info()?;
    Ok(json!({ "kiln": format!("{} with ONNX Runtime {}", env!("CARGO_PKG_VERSION"), engine.version) }))
}
