//! A session on an NVIDIA GPU: inputs and images on the device, one stream, and recorded work for batch sizes that were
//! asked for.
//!
//! A GPU is one device: whatever is asked of a session is done one after the other, for all generators on it, which share
//! the device's memory. The work of a batch size is recorded from the stream rather than by ONNX Runtime, which would do it
//! anew for every thread, keep it as long as the session lives, and go through all of its own preparations at every replay.

use crate::binding::{Binding, Bindings, MAX_INPUTS, Place, Port, RunOptions, Session};
use crate::buffer::Raw;
use crate::cuda::MAX_GRAPHS;
use crate::device::{Cudart, DeviceMemory, Recording, Stream};
use crate::engine::environment;
use crate::graph::{Graph, build};
use ort::ep::{self, cuda::ConvAlgorithmSearch};
use ort::session::builder::SessionBuilder;
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// A run returns when its work is in the stream, rather than done: the copy of the image comes after it.
pub(crate) const ASYNCHRONOUS: (&CStr, &CStr) = (c"disable_synchronize_execution_providers", c"1");
/// No node may run on the CPU: the session is then refused.
const NO_CPU: (&str, &str) = ("session.disable_cpu_ep_fallback", "1");
/// Padding stays an operator of its own: inside a convolution it may be another at the beginning than at the end, which the
/// provider leaves to the CPU.
const PADS_STAY: (&str, &str) = ("optimization.disable_specified_optimizers", "Pad_Fusion");

/// Where the memory of a generator is: its inputs and its output.
pub(crate) struct Ports<'a> {
    pub(crate) inputs: heapless::Vec<Port<'a>, MAX_INPUTS>,
    pub(crate) image: Port<'a>,
}

/// What a session on a GPU is made with.
#[derive(Clone, Copy)]
pub(crate) struct Backend {
    pub(crate) cudart: &'static Cudart,
    pub(crate) provider: &'static dyn Provide,
}

/// What computes on the memory of a device.
pub(crate) trait Provide: Sync {
    /// Where that memory is for ONNX Runtime.
    fn place(&self) -> Place;

    /// Gets a session to put its work into `stream`; `exact` if products of f32 are to have all of their digits.
    ///
    /// # Safety
    /// The stream outlives the session.
    unsafe fn add(&self, builder: SessionBuilder, stream: &Stream, exact: bool) -> Result<SessionBuilder, String>;

    /// Puts a run into the session's stream.
    fn run(&self, session: &Session, binding: &mut Binding, options: &RunOptions) -> Result<(), String>;
}

/// ONNX Runtime's CUDA provider.
struct Cuda;

impl Provide for Cuda {
    fn place(&self) -> Place {
        Place::Cuda
    }

    unsafe fn add(&self, builder: SessionBuilder, stream: &Stream, exact: bool) -> Result<SessionBuilder, String> {
        // Algorithms are chosen by shapes: the default tries them out, which stalls at the first batch of every size and may
        // choose others, with other last bits, the next time. TF32 would round f32 to 10 bits; without it ONNX Runtime has
        // convolutions of f16, too, do without tensor cores. The arena grows by what a batch takes, not to twice its size.
        let provider = ep::CUDA::default()
            .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
            .with_tf32(!exact)
            .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested);
        // SAFETY: the caller's promise.
        let provider = unsafe { provider.with_compute_stream(stream.as_ptr().cast()) };
        let text = |e: ort::Error<SessionBuilder>| e.to_string();
        builder
            .with_config_entry(NO_CPU.0, NO_CPU.1)
            .map_err(text)?
            .with_config_entry(PADS_STAY.0, PADS_STAY.1)
            .map_err(text)?
            .with_deterministic_compute(true)
            .map_err(text)?
            // Whoever asks hears the reason; the log would repeat it on the standard error stream.
            .with_log_level(ort::logging::LogLevel::Fatal)
            .map_err(text)?
            .with_execution_providers([provider.build().error_on_failure()])
            .map_err(text)
    }

    fn run(&self, session: &Session, binding: &mut Binding, options: &RunOptions) -> Result<(), String> {
        binding.run(session, Some(options))
    }
}

impl Backend {
    /// CUDA's.
    ///
    /// # Errors
    /// No CUDA runtime to be had, in the system's words.
    pub(crate) fn cuda() -> Result<Self, String> {
        Ok(Self { cudart: Cudart::get()?, provider: &Cuda })
    }
}

/// Has ONNX Runtime load its CUDA provider.
///
/// # Errors
/// ONNX Runtime's, which does not tell the reason.
pub(crate) fn registers() -> Result<(), String> {
    let environment = environment().map_err(|e| e.to_string())?;
    let builder = SessionBuilder::new(environment).map_err(|e| e.to_string())?;
    let provider = ep::CUDA::default().build().error_on_failure();
    builder.with_execution_providers([provider]).map(drop).map_err(|e| e.to_string())
}

/// A session on the GPU.
pub(crate) struct Gpu {
    state: Mutex<State>,
    backend: Backend,
}

struct State {
    // Dropped in this order: recordings and bindings refer to session and memory, and the session uses the stream.
    recorded: heapless::Vec<Recorded, MAX_GRAPHS>,
    /// Batch sizes whose work cannot be recorded, and why.
    refused: heapless::Vec<(usize, String), MAX_GRAPHS>,
    bindings: Bindings,
    session: Session,
    memory: Option<Memory>,
    stream: Stream,
    backend: Backend,
    options: RunOptions,
}

/// A batch size whose work is recorded.
struct Recorded {
    batch: usize,
    recording: Recording,
    /// The thread that sees whether it draws what it should, while it does: nobody else has its images until then.
    prover: Option<ThreadId>,
    /// What was recorded, which lives as long.
    _binding: Binding,
}

/// The device's counterparts of a generator's memory.
struct Memory {
    inputs: heapless::Vec<Slot, MAX_INPUTS>,
    image: Slot,
}

/// The device's counterpart of a port.
struct Slot {
    name: &'static CStr,
    device: DeviceMemory,
    raw: Raw,
    sample: heapless::Vec<usize, 3>,
}

impl Gpu {
    /// Makes a session of `graph` that runs on the GPU as a whole; `exact` as for [`Provide::add`].
    ///
    /// # Errors
    /// What CUDA, ONNX Runtime or its provider say. A node that cannot run on the GPU is such an error.
    ///
    /// # Safety
    /// As for [`build::session`].
    pub(crate) unsafe fn open(
        backend: Backend,
        builder: SessionBuilder,
        graph: &Graph<'_>,
        exact: bool,
    ) -> Result<Self, String> {
        let _device = backend.cudart.on_device()?;
        let (stream, options) = (Stream::new(backend.cudart)?, RunOptions::new(&[ASYNCHRONOUS])?);
        // SAFETY: the stream is a field of the same struct as the session, and dropped after it.
        let builder = unsafe { backend.provider.add(builder, &stream, exact) }?;
        // SAFETY: the caller's promise.
        let session = unsafe { build::session(graph, &builder) }?;
        let state = State {
            recorded: heapless::Vec::new(),
            refused: heapless::Vec::new(),
            bindings: Bindings::default(),
            session,
            memory: None,
            stream,
            backend,
            options,
        };
        Ok(Self { state: Mutex::new(state), backend })
    }

    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// Runs the first `batch` samples of the ports, by the recording if there is one, else with `options`, which have
    /// [`ASYNCHRONOUS`] in them, if the caller has some.
    ///
    /// # Errors
    /// What CUDA or ONNX Runtime say.
    ///
    /// # Safety
    /// The ports' memory is pinned, as large as they say, laid out as that of all other calls, and nobody else uses it
    /// before this returns.
    pub(crate) unsafe fn run(
        &self,
        batch: usize,
        ports: &Ports<'_>,
        options: Option<&RunOptions>,
    ) -> Result<(), String> {
        // SAFETY: the caller's promise.
        unsafe { self.state().run(batch, ports, options) }
    }

    /// Records the work of a batch of this size, to be replayed by [`Self::run`] in this thread from then on, and in others
    /// when it is [`proved`](Self::proved); `false` if that has been done, or another thread is at it. Nothing can be
    /// allocated meanwhile: it must have been run twice, the first time to find out what it needs, the second to have that in
    /// one piece.
    ///
    /// # Errors
    /// Why it is not recorded: a size that was not run, [`MAX_GRAPHS`] that are there already, what CUDA or ONNX Runtime
    /// say. The size is then run plainly.
    pub(crate) fn record(&self, batch: usize) -> Result<bool, String> {
        self.state().record(batch)
    }

    /// Has everybody's batches of this size replayed from now on, whose recording this thread has proved.
    pub(crate) fn proved(&self, batch: usize) {
        if let Some(recorded) = self.state().recorded.iter_mut().find(|recorded| recorded.batch == batch) {
            recorded.prover = None;
        }
    }

    /// Whether a batch of this size is replayed.
    pub(crate) fn replays(&self, batch: usize) -> bool {
        self.state().recorded.iter().any(|recorded| recorded.batch == batch && recorded.prover.is_none())
    }

    /// Why a batch of this size is not replayed, if that was tried.
    pub(crate) fn why_plain(&self, batch: usize) -> Option<String> {
        self.state().refused.iter().find(|(refused, _)| *refused == batch).map(|(_, why)| why.clone())
    }

    /// Runs a batch of this size plainly from now on, and is not asked to record it again.
    pub(crate) fn refuse(&self, batch: usize, why: String) {
        let mut state = self.state();
        state.recorded.retain(|recorded| recorded.batch != batch);
        if state.refused.iter().all(|(refused, _)| *refused != batch) {
            if state.refused.is_full() {
                state.refused.remove(0);
            }
            // There is room: one was taken out.
            let _ = state.refused.push((batch, why));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Copies the inputs to the device, runs the session, copies the image back, and waits for all of it.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    unsafe fn run(&mut self, batch: usize, ports: &Ports<'_>, options: Option<&RunOptions>) -> Result<(), String> {
        let _device = self.backend.cudart.on_device()?;
        // SAFETY: the caller's promise.
        let queued = unsafe { self.queue(batch, ports, options) };
        // Also after an error: what is in the stream uses the caller's memory.
        let done = self.stream.synchronize();
        queued.and(done)
    }

    /// Puts all of it into the stream.
    ///
    /// # Safety
    /// As [`Gpu::run`], and the memory is not used before the stream has been waited for.
    unsafe fn queue(&mut self, batch: usize, ports: &Ports<'_>, options: Option<&RunOptions>) -> Result<(), String> {
        let memory = match &mut self.memory {
            Some(memory) => memory,
            none => none.insert(Memory::like(ports, self.backend)?),
        };
        for (port, slot) in ports.inputs.iter().zip(&memory.inputs) {
            // SAFETY: the caller's promise.
            unsafe { self.stream.copy_in(&slot.device, port.memory.data, port.bytes(batch)?) }?;
        }
        match self.recorded.iter().find(|recorded| recorded.batch == batch && recorded.is_for_this_thread()) {
            // SAFETY: what was recorded uses the memory of this struct and of its session.
            Some(recorded) => unsafe { self.stream.replay(&recorded.recording) }?,
            None => {
                let place = self.backend.provider.place();
                // SAFETY: memory and session are fields of the same struct as the bindings, dropped after them; memory is
                // never replaced, and nobody has a reference into the device's.
                let bind = || unsafe {
                    let inputs = memory.inputs.iter().map(Slot::port);
                    Binding::new(&self.session, batch, place, inputs, memory.image.port())
                };
                let binding = self.bindings.of(batch, bind)?;
                self.backend.provider.run(&self.session, binding, options.unwrap_or(&self.options))?;
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.stream.copy_out(ports.image.memory.data, &memory.image.device, ports.image.bytes(batch)?) }
    }

    fn record(&mut self, batch: usize) -> Result<bool, String> {
        if self.recorded.iter().any(|recorded| recorded.batch == batch) {
            return Ok(false);
        }
        if self.recorded.is_full() {
            return Err(format!("{MAX_GRAPHS} batch sizes are recorded, which is the most"));
        }
        let _device = self.backend.cudart.on_device()?;
        let mut binding = self.bindings.take(batch).ok_or("the size was not run before")?;
        let run = || self.backend.provider.run(&self.session, &mut binding, &self.options);
        let recording = self.stream.record(run)?;
        // There is room.
        let prover = Some(std::thread::current().id());
        let _ = self.recorded.push(Recorded { batch, recording, prover, _binding: binding });
        Ok(true)
    }
}

impl Recorded {
    fn is_for_this_thread(&self) -> bool {
        self.prover.is_none_or(|prover| prover == std::thread::current().id())
    }
}

impl Memory {
    fn like(ports: &Ports<'_>, backend: Backend) -> Result<Self, String> {
        let mut inputs = heapless::Vec::new();
        for port in &ports.inputs {
            inputs.push(Slot::like(port, backend.cudart)?).map_err(|_| "more inputs than a generator has")?;
        }
        Ok(Self { inputs, image: Slot::like(&ports.image, backend.cudart)? })
    }
}

impl Slot {
    fn like(port: &Port<'_>, cudart: &'static Cudart) -> Result<Self, String> {
        let device = DeviceMemory::new(cudart, port.memory.len * port.memory.size)?;
        let raw = Raw { data: device.as_ptr(), ..port.memory };
        let sample = heapless::Vec::from_slice(port.sample).map_err(|_| "a sample of more than three dimensions")?;
        Ok(Self { name: port.name, device, raw, sample })
    }

    fn port(&self) -> Port<'_> {
        Port { name: self.name, memory: self.raw, sample: &self.sample }
    }
}
