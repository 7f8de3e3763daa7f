//! Kernels: compiled by nvrtc for the card at hand when they are first used, kept, and launched.

use super::{Element, type_name};
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaModule, LaunchConfig};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use candle_core::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A source file of kernels.
pub(in crate::ops) struct Module {
    name: &'static str,
    /// What the source takes for granted: the formula of an optimiser, the functions of a criterion.
    rule: &'static str,
    source: &'static str,
}

impl Module {
    /// The kernel of an optimiser's step, with its formula.
    pub(super) const fn update(name: &'static str, rule: &'static str) -> Self {
        Self { name, rule, source: include_str!("kernels/update.cu") }
    }

    /// The kernel of a criterion, with its functions.
    pub(super) const fn loss(name: &'static str, rule: &'static str) -> Self {
        Self { name, rule, source: include_str!("kernels/loss.cu") }
    }
}

macro_rules! module {
    ($name:ident, $file:literal) => {
        pub(in crate::ops) const $name: Module =
            Module { name: $file, rule: "", source: include_str!(concat!("kernels/", $file, ".cu")) };
    };
}
module!(ELEMENTWISE, "elementwise");
module!(CONV, "conv");
module!(CHANNEL, "channel");
module!(NORMALISE, "normalise");
module!(IMAGES, "images");
module!(OPTIMISER, "optimiser");

const PRELUDE: &str = include_str!("kernels/prelude.cu");

/// Threads of a block.
pub(super) const THREADS: u32 = 256;

/// A module on a device: the device's number, the module's name, the element type. The contexts that a process opens on one
/// device are the same, so that its modules serve all of them.
type Key = (usize, &'static str, &'static str);

/// What has been compiled and looked up so far.
#[derive(Default)]
struct Known {
    modules: HashMap<Key, Arc<CudaModule>>,
    functions: HashMap<(Key, &'static str), CudaFunction>,
}

/// The kernel `name` of `module` for elements of type `T`.
pub(super) fn function<T: Element>(device: &CudaDevice, module: &Module, name: &'static str) -> Result<CudaFunction> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let key = (device.cuda_stream().context().ordinal(), module.name, type_name(T::DTYPE));
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(function) = known.functions.get(&(key, name)) {
        return Ok(function.clone());
    }
    let loaded = match known.modules.get(&key) {
        Some(loaded) => loaded.clone(),
        None => {
            let loaded = device.cuda_stream().context().load_module(compile::<T>(device, module)?).w()?;
            known.modules.insert(key, loaded.clone());
            loaded
        }
    };
    let function = loaded.load_function(name).w()?;
    known.functions.insert((key, name), function.clone());
    Ok(function)
}

fn compile<T: Element>(device: &CudaDevice, module: &Module) -> Result<Ptx> {
    let (major, minor) = device.cuda_stream().context().compute_capability().w()?;
    let options = CompileOptions {
        options: vec![format!("--gpu-architecture=compute_{major}{minor}"), "--std=c++17".into()],
        name: Some(format!("{}.cu", module.name)),
        ..CompileOptions::default()
    };
    let source = format!("#define KILN_{}\n{PRELUDE}\n{}\n{}", type_name(T::DTYPE), module.rule, module.source);
    match compile_ptx_with_opts(source, options) {
        Ok(ptx) => Ok(ptx),
        Err(CompileError::CompileError { log, .. }) => Err(Error::Msg(format!(
            "the kernels in {}.cu do not compile for compute capability {major}.{minor}: {}",
            module.name,
            log.to_string_lossy()
        ))),
        Err(other) => Err(Error::Msg(format!("nvrtc, which compiles kernels, cannot be used: {other:?}"))),
    }
}

/// A loop over `n` elements: a thread each, as far as a card has room for them.
pub(super) fn over(n: u32) -> LaunchConfig {
    blocks((n.div_ceil(THREADS).clamp(1, 1 << 14), 1), THREADS)
}

/// So many blocks of so many threads.
pub(super) fn blocks((x, y): (u32, u32), threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (x, y, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

/// Launches a kernel: device, module, element type, name, configuration, references to its arguments.
///
/// What makes it sound is that the arguments are those that the kernel's text declares, in number, order and type, and that
/// slices are as long as its counts say; the tests run every kernel on memory with guarded ends.
macro_rules! launch {
    ($device:expr, $module:expr, $t:ty, $name:literal, $config:expr, $($arg:expr),* $(,)?) => {{
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let function = $crate::ops::cuda::launch::function::<$t>($device, &$module, $name)?;
        let stream = $device.cuda_stream();
        let mut builder = stream.launch_builder(&function);
        $(builder.arg($arg);)*
        // SAFETY: the arguments are what the kernel of this name takes, with slices as long as it is told.
        unsafe { builder.launch($config) }.map(|_| ()).map_err(|e| {
            candle_core::Error::Msg(format!("{}: the kernel cannot be launched: {e}", $name))
        })?;
    }};
}
pub(super) use launch;
