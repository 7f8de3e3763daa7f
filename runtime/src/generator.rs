//! A generator: opened once, checked, and sampled from.

use crate::binding::{Binding, Buffer};
use crate::engine::environment;
use crate::error::{Error, Result};
use crate::latent::fill_latent;
use crate::model::{INPUT_LATENT, ModelInfo, OUTPUT_IMAGE, Precision};
use crate::pixels::Pixel;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{TensorElementType, ValueType};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Most images a call, whatever the options.
pub const MAX_BATCH: usize = 4096;
/// Most bytes in the buffers for latents and images.
pub const MAX_BUFFER_BYTES: usize = 1 << 30;
/// Batch sizes whose bindings are kept; another one takes the place of the oldest.
const BINDINGS: usize = 8;
/// Largest model file.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// Where a generator runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// CUDA where it works, else the CPU; [`Generator::provider`] says which.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU; an error where it does not work.
    Cuda,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(format!("{text:?} is no provider, allowed are auto, cpu and cuda")),
        }
    }
}

/// How a generator is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it runs. Default: [`Provider::Auto`].
    pub provider: Provider,
    /// Threads of one call, 1 to 1024. Default: 1, which has the steadiest latency; more pay for large images or batches.
    pub threads: usize,
    /// Whether idle threads spin while they wait, which saves microseconds a call and burns a core for tens of
    /// milliseconds after the last one; of no effect with one thread. Default: no.
    pub spinning: bool,
    /// Most images a call, 1 to [`MAX_BATCH`]; sizes the buffers. Default: 64.
    pub max_batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { provider: Provider::Auto, threads: 1, spinning: false, max_batch: 64 }
    }
}

/// A generator file, open for sampling.
pub struct Generator {
    // Dropped in this order: bindings refer to all that follows.
    bindings: heapless::Deque<Binding, BINDINGS>,
    session: Session,
    z: Buffer,
    image: Buffer,
    info: ModelInfo,
    provider: Provider,
    max_batch: usize,
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("image", &self.info.image)
            .field("provider", &self.provider)
            .field("max_batch", &self.max_batch)
            .finish_non_exhaustive()
    }
}

impl Generator {
    /// Opens the file at `path`: loads it, checks that inputs, outputs and metadata are a generator's, and replays its
    /// self-test.
    ///
    /// # Errors
    /// Options out of range, no ONNX Runtime, a provider that does not work, a file that is no generator or does not
    /// reproduce its self-test.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let path = path.as_ref();
        if !(1..=1024).contains(&options.threads) {
            return Err(Error::Argument(format!("options.threads is {}, allowed is 1 to 1024", options.threads)));
        }
        if !(1..=MAX_BATCH).contains(&options.max_batch) {
            return Err(Error::Argument(format!(
                "options.max_batch is {}, allowed is 1 to {MAX_BATCH}",
                options.max_batch
            )));
        }
        let fail = |what: String| Error::Model { path: path.to_owned(), what };
        let file = std::fs::metadata(path).map_err(|e| fail(format!("cannot be opened: {e}")))?;
        if !file.is_file() || file.len() == 0 || file.len() > MAX_FILE_BYTES {
            let what =
                format!("is no file of 1 to {MAX_FILE_BYTES} bytes; give the .onnx file that `trainer --export` wrote");
            return Err(fail(what));
        }
        let provider = provider(options.provider)?;
        let session = load(environment()?, path, options).map_err(|e| fail(format!("ONNX Runtime refuses it: {e}")))?;
        let info = describe(&session).map_err(&fail)?;
        let per_image = (info.latent_dim + info.image.len()) * element_size(info.precision);
        if options.max_batch * per_image > MAX_BUFFER_BYTES {
            let most = MAX_BUFFER_BYTES / per_image;
            let what = format!("options.max_batch is {}, images this large allow at most {most}", options.max_batch);
            return Err(Error::Argument(what));
        }
        let mut generator = Self {
            bindings: heapless::Deque::new(),
            session,
            z: Buffer::new(info.precision, options.max_batch * info.latent_dim),
            image: Buffer::new(info.precision, options.max_batch * info.image.len()),
            info,
            provider,
            max_batch: options.max_batch,
        };
        generator.self_test().map_err(fail)?;
        Ok(generator)
    }

    /// What the file says of itself.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Where it really runs; never [`Provider::Auto`].
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Most images a call.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Fills `out` with the images `first_index`, `first_index + 1`, ... of `seed`: [n, C, H, W], where n is the number of
    /// images that fit, 1 to [`Self::max_batch`]. Each is the same in whatever call it is drawn; indices that run past
    /// `u64::MAX` begin again at 0. Allocates nothing on Rust's heap.
    ///
    /// # Errors
    /// A length that is no whole number of images or is too large, or a failure inside ONNX Runtime.
    pub fn sample<T: Pixel>(&mut self, seed: u64, first_index: u64, out: &mut [T]) -> Result<()> {
        let len = self.info.image.len();
        let n = out.len() / len;
        if n == 0 || n > self.max_batch || !out.len().is_multiple_of(len) {
            let most = self.max_batch;
            return Err(Error::Argument(format!(
                "the output holds {} values, allowed are 1 to {most} images (max_batch) of {len} values",
                out.len()
            )));
        }
        let width = self.info.latent_dim;
        let indices = (0..n as u64).map(|i| first_index.wrapping_add(i));
        match &mut self.z {
            Buffer::F16(z) => z.chunks_exact_mut(width).zip(indices).for_each(|(z, i)| fill_latent(seed, i, z)),
            Buffer::F32(z) => z.chunks_exact_mut(width).zip(indices).for_each(|(z, i)| fill_latent(seed, i, z)),
        }
        self.run(n)?;
        match &self.image {
            Buffer::F16(image) => T::from_f16(&image[..out.len()], out),
            Buffer::F32(image) => T::from_f32(&image[..out.len()], out),
        }
        Ok(())
    }

    /// Runs a batch of this size twice, so that the first real call finds every buffer in place.
    ///
    /// # Errors
    /// A batch that [`Self::sample`] would not take, or a failure inside ONNX Runtime.
    pub fn warm_up(&mut self, batch: usize) -> Result<()> {
        if !(1..=self.max_batch).contains(&batch) {
            return Err(Error::Argument(format!("the batch is {batch}, allowed is 1 to {}", self.max_batch)));
        }
        self.run(batch)?;
        self.run(batch)
    }

    /// Runs the first `batch` latents.
    fn run(&mut self, batch: usize) -> Result<()> {
        if !self.bindings.iter().any(|b| b.batch == batch) {
            let shape = [self.info.image.channels, self.info.image.height, self.info.image.width];
            let (z, image) = ((&mut self.z, self.info.latent_dim), (&mut self.image, shape));
            // SAFETY: the binding is a field of the same struct as buffers and session, dropped before them; the buffers
            // are never replaced, and `run` is called with no borrow of them.
            let binding = unsafe { Binding::new(&self.session, batch, z, image) }.map_err(Error::Run)?;
            if self.bindings.is_full() {
                self.bindings.pop_front();
            }
            let _ = self.bindings.push_back(binding);
        }
        match self.bindings.iter_mut().find(|b| b.batch == batch) {
            Some(binding) => binding.run(&mut self.session).map_err(Error::Run),
            None => Err(Error::Run(format!("no binding for a batch of {batch}"))),
        }
    }

    fn self_test(&mut self) -> std::result::Result<(), String> {
        let test = self.info.self_test.clone();
        let mut image = vec![0f32; self.info.image.len()];
        self.sample(test.seed, test.index, &mut image).map_err(|e| e.to_string())?;
        for &(at, expected) in &test.points {
            // In this form a NaN fails, too.
            let close = image.get(at).is_some_and(|found| (found - expected).abs() <= test.tolerance);
            if !close {
                return Err(format!(
                    "fails its self-test: value {at} of seed {} is {:?}, must be {expected} within {}; the file is damaged, \
                     or this ONNX Runtime computes it wrongly",
                    test.seed,
                    image.get(at),
                    test.tolerance
                ));
            }
        }
        Ok(())
    }
}

fn element_size(precision: Precision) -> usize {
    match precision {
        Precision::F16 => 2,
        Precision::F32 => 4,
    }
}

/// The provider that is used for the one that is asked for.
fn provider(asked: Provider) -> Result<Provider> {
    match asked {
        Provider::Auto | Provider::Cpu => Ok(Provider::Cpu),
        Provider::Cuda => {
            let why = "this build of the runtime has no CUDA; ask for cpu or auto";
            Err(Error::Provider { provider: "cuda", why: why.into() })
        }
    }
}

fn load(environment: &Environment, path: &Path, options: &Options) -> std::result::Result<Session, String> {
    let text = |e: ort::Error<ort::session::builder::SessionBuilder>| e.to_string();
    Session::builder(environment)
        .map_err(|e| e.to_string())?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(text)?
        .with_intra_threads(options.threads)
        .map_err(text)?
        .with_inter_threads(1)
        .map_err(text)?
        .with_intra_op_spinning(options.spinning)
        .map_err(text)?
        .commit_from_file(path)
        .map_err(|e| e.to_string())
}

/// The metadata of a session, checked against its inputs and outputs.
fn describe(session: &Session) -> std::result::Result<ModelInfo, String> {
    let metadata = session.metadata().map_err(|e| format!("has no readable metadata: {e}"))?;
    let info = ModelInfo::from_metadata(|key| metadata.custom(key)).map_err(|e| e.to_string())?;
    if info.classes != 0 {
        return Err(format!(
            "is conditional on {} classes; this version samples unconditional generators only",
            info.classes
        ));
    }
    let image = [info.image.channels, info.image.height, info.image.width];
    outlet("input", session.inputs(), INPUT_LATENT, &[info.latent_dim], info.precision)?;
    outlet("output", session.outputs(), OUTPUT_IMAGE, &image, info.precision)?;
    Ok(info)
}

/// Checks that there is one input or output, and that it is `name` [N, sample...] with a symbolic N.
fn outlet(
    kind: &str,
    all: &[ort::value::Outlet],
    name: &str,
    sample: &[usize],
    precision: Precision,
) -> std::result::Result<(), String> {
    let wanted = || format!("a generator has one {kind}, {name}: {precision} [N, {sample:?}] with a symbolic N");
    let [only] = all else {
        let names: Vec<&str> = all.iter().map(|o| o.name()).collect();
        return Err(format!("has the {kind}s {names:?}; {}", wanted()));
    };
    let element = match precision {
        Precision::F16 => TensorElementType::Float16,
        Precision::F32 => TensorElementType::Float32,
    };
    let fits = match only.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let expected = std::iter::once(-1).chain(sample.iter().map(|&n| n as i64));
            *ty == element && shape.iter().copied().eq(expected)
        }
        _ => false,
    };
    if only.name() != name || !fits {
        return Err(format!("has the {kind} {}: {}; {}", only.name(), only.dtype(), wanted()));
    }
    Ok(())
}
