//! A generator: opened once, checked, and sampled from.

use crate::binding::Bindings;
use crate::buffer::{Buffer, Host};
use crate::control::{Canceller, Control};
use crate::crew::Crew;
use crate::cuda::backend;
use crate::error::{Error, ErrorKind, Fault, Result};
#[cfg(feature = "cuda")]
use crate::gpu::ASYNCHRONOUS;
use crate::layout::Interleaved;
use crate::model::{ModelInfo, Precision};
use crate::options::{Options, Provider, Start};
use crate::pixels::Pixel;
use crate::request::{Inputs, Request};
use crate::session::{IN_MEMORY, Model, Runner, Target};
use crate::weights::Bytes;
use half::f16;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "cuda")]
mod record;
mod run;
#[cfg(all(test, feature = "cuda", target_os = "linux"))]
mod tests;
mod warm_up;

/// Most bytes in the buffers for inputs and images.
pub const MAX_BUFFER_BYTES: usize = 1 << 30;

/// Why a fast start is the CPU's.
const FAST: &str = "a fast start was asked for, and CUDA takes longer to start than the CPU to draw a few images";

/// Images as a generator computes them, in its own memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// Of a file in half precision.
    F16(&'a [f16]),
    /// Of a file in single precision.
    F32(&'a [f32]),
}

/// A generator file, open for sampling.
///
/// It can be sent to another thread; to sample in several at once, give each a [`Self::try_clone`] or share a
/// [`Pool`](crate::Pool).
pub struct Generator {
    // Dropped in this order: bindings refer to the buffers and to the model's session. On a GPU, that has them.
    bindings: Bindings,
    joint_bindings: Bindings,
    /// The threads beside the caller's, where batches are divided.
    crew: Option<Crew>,
    inputs: Inputs,
    image: Buffer,
    model: Arc<Model>,
    /// Two latents, the ends of a step of a walk.
    scratch: Box<[f32]>,
    control: Arc<Control>,
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("path", &self.model.path())
            .field("image", &self.info().image)
            .field("provider", &self.provider())
            .field("max_batch", &self.max_batch())
            .finish_non_exhaustive()
    }
}

impl Generator {
    /// Opens the file at `path`: loads it, with the safetensors file beside it that it may name as the place of its weights,
    /// checks that inputs, outputs and metadata are a generator's, and replays its self-test.
    ///
    /// The files stay mapped into memory as long as the generator or a clone of it lives. Replace them by renaming another
    /// file over them, as the trainer does; whoever shortens or rewrites an open one in place breaks it.
    ///
    /// # Errors
    /// Options out of range, no ONNX Runtime, a provider that does not work, a file that is no generator or does not
    /// reproduce its self-test, or not within [`Options::time_limit`].
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let path = path.as_ref();
        Self::opened(path, options, |target| Model::open(path, options, target))
    }

    /// Opens a generator that is in memory, as `include_bytes!` or an archive has it: the bytes of its file and, where the file
    /// names another one as the place of its weights, those of that safetensors file. Weights are used where they lie if they
    /// are aligned there, else copied.
    ///
    /// # Errors
    /// As [`Self::open`], whose messages then say "in memory" for the file; weights that are missing, or that the file does not
    /// ask for.
    pub fn from_bytes(
        model: impl Into<Cow<'static, [u8]>>,
        weights: Option<Cow<'static, [u8]>>,
        options: &Options,
    ) -> Result<Self> {
        let path = Path::new(IN_MEMORY);
        let bytes = |given| Bytes::given(given).map_err(|fault| fault.at(path));
        let (model, weights) = (bytes(model.into())?, weights.map(bytes).transpose()?);
        let load = |target| Model::of_bytes(model.clone(), weights.clone(), options, target);
        Self::opened(path, options, load)
    }

    /// Where the options say, on what `load` loads.
    fn opened(path: &Path, options: &Options, load: impl Fn(Target) -> Result<Model>) -> Result<Self> {
        options.check()?;
        let on = |target: Target| Self::tested(load(target)?, path);
        let on_cuda = || match backend()? {
            #[cfg(feature = "cuda")]
            backend => on(Target::Cuda(backend)),
        };
        let why = match options.provider {
            Provider::Cpu => None,
            Provider::Cuda => return on_cuda(),
            Provider::Auto if options.start == Start::Fast => Some(FAST.into()),
            Provider::Auto => match on_cuda() {
                Ok(opened) => return Ok(opened),
                Err(error) => match error.kind() {
                    ErrorKind::Engine => return Err(error),
                    ErrorKind::Provider => Some(error.what().to_owned()),
                    // If it is not CUDA's but the file's fault, the CPU will say so, too.
                    _ => Some(error.to_string()),
                },
            },
        };
        on(Target::Cpu { why })
    }

    /// Puts the weights of the safetensors file at `weights`, a generator of the same architecture, under the graph of this
    /// one; its metadata takes the place of the old one. Seeds, buffers and options stay. Clones keep the old weights.
    ///
    /// # Errors
    /// A file that is no such generator or does not reproduce its self-test. The old weights then stay.
    pub fn swap_weights(&mut self, weights: impl AsRef<Path>) -> Result<()> {
        // Whoever can end calls, and the limit of them, stay those of the process that opened it.
        self.model.check_process()?;
        let mut swapped = Self::tested(self.model.with_weights(weights.as_ref())?, weights.as_ref())?;
        // Whoever can cancel the calls of this one still can.
        swapped.control = self.control.clone();
        *self = swapped;
        Ok(())
    }

    /// Another generator on the same weights, with buffers of its own: for another thread.
    ///
    /// # Errors
    /// On a GPU, no more pinned memory to be had.
    pub fn try_clone(&self) -> Result<Self> {
        Self::on(self.model.clone())
    }

    fn tested(model: Model, path: &Path) -> Result<Self> {
        let mut generator = Self::on(Arc::new(model))?;
        let on_cuda = generator.provider() == Provider::Cuda;
        #[cfg(feature = "cuda")]
        if on_cuda {
            generator.prepare().map_err(Error::cuda)?;
        }
        // On a GPU always: by this it is known to work.
        if generator.model.options().tests_itself() || on_cuda {
            generator.self_test(path)?;
        }
        Ok(generator)
    }

    fn on(model: Arc<Model>) -> Result<Self> {
        let (info, n) = (model.info(), model.options().max_batch);
        let per_image = bytes_per_image(info);
        if n.checked_mul(per_image).is_none_or(|bytes| bytes > MAX_BUFFER_BYTES) {
            let most = MAX_BUFFER_BYTES / per_image;
            let what = format!("options.max_batch is {n}, images this large allow at most {most}");
            return Err(Fault::new(ErrorKind::MemoryLimit, what).into());
        }
        let (host, run_with): (_, &[_]) = match model.runner() {
            Runner::Cpu(_) => (Host::Heap, &[]),
            #[cfg(feature = "cuda")]
            Runner::Cuda(gpu) => (Host::Pinned(gpu.backend().cudart), &[ASYNCHRONOUS]),
        };
        let fail = |fault: Fault| fault.at(model.path());
        let no_memory = |what: String| fail(Fault::new(ErrorKind::Resources, what));
        let others = model.options().threads.min(n) - 1;
        let crew = match model.runner() {
            Runner::Cpu(cpu) if others > 0 && !cpu.alone => Some(Crew::new(others, &model).map_err(fail)?),
            _ => None,
        };
        let floats = |len: usize| Buffer::floats(info.precision, n * len, host).map_err(no_memory);
        Ok(Self {
            bindings: Bindings::default(),
            joint_bindings: Bindings::default(),
            crew,
            inputs: Inputs {
                latent: floats(info.latent_dim)?,
                class: (info.classes > 0).then(|| Buffer::labels(n, host)).transpose().map_err(no_memory)?,
                image: info.image_in.map(|image| floats(image.len())).transpose()?,
            },
            image: floats(info.image.len())?,
            scratch: vec![0.; 2 * info.latent_dim].into(),
            control: Control::new(model.options().time_limit, run_with).map_err(fail)?,
            model,
        })
    }

    /// What the file says of itself.
    pub fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    /// Where it really runs; never [`Provider::Auto`].
    pub fn provider(&self) -> Provider {
        match self.model.runner() {
            Runner::Cpu(_) => Provider::Cpu,
            #[cfg(feature = "cuda")]
            Runner::Cuda(_) => Provider::Cuda,
        }
    }

    /// Whether layers are computed otherwise than as ONNX Runtime's operators for them: on the CPU by kernels of this crate, which
    /// are faster; transposed convolutions on a GPU as ordinary ones, which in single precision give the same bits each time.
    pub fn is_rewritten(&self) -> bool {
        self.model.is_rewritten()
    }

    /// Why [`Provider::Auto`] did not take CUDA; `None` where it did, or was not asked to choose.
    pub fn why_cpu(&self) -> Option<&str> {
        match self.model.runner() {
            Runner::Cpu(cpu) => cpu.why.as_deref(),
            #[cfg(feature = "cuda")]
            Runner::Cuda(_) => None,
        }
    }

    /// Most images a call.
    pub fn max_batch(&self) -> usize {
        self.model.options().max_batch
    }

    /// Bytes of this generator's own buffers, which a clone or a member of a [`Pool`](crate::Pool) takes once more: those of
    /// [`Self::max_batch`] inputs and images. What ONNX Runtime works in comes on top, and the weights, which clones share.
    pub fn buffer_bytes(&self) -> usize {
        self.max_batch() * bytes_per_image(self.info())
    }

    /// Fills `out` with the images `first_index`, `first_index + 1`, ... of `seed`: [n, C, H, W], where n is the number of
    /// images that fit, 1 to [`Self::max_batch`]. Each is the same in whatever call it is drawn (on a GPU, but for the last
    /// bits in batches of another size); indices that run past
    /// `u64::MAX` begin again at 0. Allocates nothing on Rust's heap.
    ///
    /// The short form of [`Self::draw`] with `Request::seed(seed).first(first_index)`.
    ///
    /// # Errors
    /// As [`Self::draw`].
    pub fn sample<T: Pixel>(&mut self, seed: u64, first_index: u64, out: &mut [T]) -> Result<()> {
        self.draw(&Request::seed(seed).first(first_index), out)
    }

    /// Fills `out` with the images that `request` asks for: [n, C, H, W], where n is the number of images that fit, 1 to
    /// [`Self::max_batch`]. Allocates nothing on Rust's heap.
    ///
    /// # Errors
    /// A length that is no whole number of images or is too large, a request that does not fit the generator, a failure
    /// inside ONNX Runtime, or a call that was ended: by [`Options::time_limit`], or a [`Canceller`].
    pub fn draw<T: Pixel>(&mut self, request: &Request<'_>, out: &mut [T]) -> Result<()> {
        let len = self.info().image.len();
        let n = out.len() / len;
        if n == 0 || n > self.max_batch() || !out.len().is_multiple_of(len) {
            let most = self.max_batch();
            return Err(Error::argument(format!(
                "the output holds {} values, allowed are 1 to {most} images (max_batch) of {len} values",
                out.len()
            )));
        }
        match self.values(request, n)? {
            Values::F16(values) => T::from_f16(values, out),
            Values::F32(values) => T::from_f32(values, out),
        }
        Ok(())
    }

    /// Draws the `n` images that `request` asks for, 1 to [`Self::max_batch`], into `out` with the channels of a pixel side by
    /// side: [n, H, W, C] in the caller's layout, such as RGBA with the row stride of a texture. Allocates nothing on Rust's heap.
    ///
    /// # Errors
    /// A layout that does not fit the generator or `out`, and as [`Self::values`]; `out` is then as it was.
    pub fn draw_interleaved<T: Pixel>(
        &mut self,
        request: &Request<'_>,
        n: usize,
        layout: &Interleaved,
        out: &mut [T],
    ) -> Result<()> {
        self.check_batch(n)?;
        let image = self.info().image;
        let placed = layout.place(image, n, out.len())?;
        match self.values(request, n)? {
            Values::F16(values) => placed.fill(image, values, out),
            Values::F32(values) => placed.fill(image, values, out),
        }
        Ok(())
    }

    /// Draws the `n` images that `request` asks for, 1 to [`Self::max_batch`], and leaves them where they are: [n, C, H, W],
    /// in the file's precision, nominally in [-1, 1]. Saves the copy and the conversion of [`Self::draw`], and allocates
    /// nothing on Rust's heap either. On a GPU this is pinned memory, from which an application may copy to a device by
    /// itself.
    ///
    /// # Errors
    /// A number of images out of range, and as [`Self::draw`].
    pub fn values(&mut self, request: &Request<'_>, n: usize) -> Result<Values<'_>> {
        self.check_batch(n)?;
        self.call(|generator, control| generator.compute(request, n, control))?;
        self.computed(n)
    }

    /// Something that ends this generator's calls from other threads, while it is in use: [`Self::draw`], [`Self::values`]
    /// and [`Self::warm_up`]. Clones have cancellers of their own. For a GPU see [`Options::time_limit`].
    pub fn canceller(&self) -> Canceller {
        self.control.canceller()
    }

    /// A call that can be ended meanwhile, if somebody could: `work` is given what to run with.
    fn call(&mut self, work: impl FnOnce(&mut Self, Option<&Arc<Control>>) -> Result<()>) -> Result<()> {
        // First: in a child of `fork` the locks that a call takes may be those of a thread that is not there.
        self.model.check_process()?;
        let Some(call) = self.control.begin() else { return work(self, None) };
        // What has succeeded all the same is no error.
        work(self, Some(call.control())).map_err(|error| call.told().map_or(error, |told| told.at(self.path())))
    }

    /// Runs the inputs that `request` asks for.
    fn compute(&mut self, request: &Request<'_>, n: usize, control: Option<&Arc<Control>>) -> Result<()> {
        request.write(self.model.info(), n, &mut self.inputs, &mut self.scratch)?;
        self.run(n, control)
    }

    /// The first `n` images.
    fn computed(&self, n: usize) -> Result<Values<'_>> {
        let len = n * self.info().image.len();
        match &self.image {
            Buffer::F16(image) => Ok(Values::F16(&image[..len])),
            Buffer::F32(image) => Ok(Values::F32(&image[..len])),
            Buffer::I64(_) => Err(Fault::new(ErrorKind::Run, "images are no labels").at(self.path())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.model.path()
    }

    fn check_batch(&self, n: usize) -> Result<()> {
        if (1..=self.max_batch()).contains(&n) {
            return Ok(());
        }
        Err(Error::argument(format!("the batch is {n}, allowed is 1 to {}", self.max_batch())))
    }

    /// Draws the sample that the file at `path` says it draws.
    fn self_test(&mut self, path: &Path) -> Result<()> {
        let info = self.info();
        let test = info.self_test.clone();
        let grey = vec![0f32; info.image_in.map_or(0, |image| image.len())];
        let mut request = Request::seed(test.seed).first(test.index);
        if info.image_in.is_some() {
            request = request.image(&grey);
        }
        let mut image = vec![0f32; info.image.len()];
        self.draw(&request, &mut image)?;
        for &(at, expected) in &test.points {
            let (found, seed, tolerance) = (image.get(at).copied().unwrap_or(f32::NAN), test.seed, test.tolerance);
            // In this form a NaN fails, too.
            let close = (found - expected).abs() <= tolerance;
            if !close {
                let what = format!(
                    "fails its self-test: value {at} of seed {seed} is {found}, must be {expected} within {tolerance}; the \
                     file is damaged, or this ONNX Runtime computes it wrongly"
                );
                return Err(Fault::new(ErrorKind::SelfTest, what).at(path));
            }
        }
        Ok(())
    }
}

/// What one image and its inputs take in a generator's buffers.
fn bytes_per_image(info: &ModelInfo) -> usize {
    let image_in = info.image_in.map_or(0, |image| image.len());
    let element = match info.precision {
        Precision::F16 => 2,
        Precision::F32 | Precision::Int8 => 4,
    };
    (info.latent_dim + image_in + info.image.len()) * element + size_of::<i64>()
}
