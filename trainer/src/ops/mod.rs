//! Operators that candle lacks or has slowly, with their derivatives, on the CPU and, with the feature `cuda`, on NVIDIA GPUs.
//!
//! They are plain functions of tensors, and so are their derivatives, `.._backward` and the like: candle's own graph of
//! gradients ends at each of them.
//!
//! Each works on contiguous `f32` or `f64` tensors (the second so that gradients can be checked against finite
//! differences). Work is split into pieces whose size depends on the shapes only, and partial sums are added in a fixed
//! order: results do not depend on the number of threads.

#[allow(clippy::needless_range_loop, reason = "one index into many slices of one length")]
mod batch_norm;
mod channel;
mod closeness;
#[allow(clippy::needless_range_loop, reason = "one index into many slices of one length")]
mod columns;
mod combine;
mod conv;
mod cross_entropy;
#[cfg(feature = "cuda")]
pub mod cuda;
mod epilogue;
mod flat;
mod function;
mod gemm;
#[allow(clippy::needless_range_loop, reason = "one index into many blocks")]
mod lanes;
mod linear;
mod loss;
mod map;
mod math;
mod normalise;
mod parallel;
mod resample;
mod samples;
pub(crate) mod scaling;
mod take;
#[cfg(test)]
pub(crate) mod testing;
mod update;

pub use batch_norm::{BatchStatistics, batch_norm, batch_norm_backward};
pub use channel::{add_bias, channel_dot, channel_scale, channel_sum};
pub use closeness::{closeness, closeness_backward};
pub use combine::{add, add_scaled, concat, split};
pub use conv::{Geometry, conv, conv_backward, conv_scratch, conv_transpose, conv_transpose_backward};
pub use cross_entropy::cross_entropy;
pub use epilogue::{Activation, LayerGradients};
pub use flat::{Limits, gather, limit, measure};
pub use function::Function;
pub use linear::{linear, linear_backward};
pub use loss::{MeanLoss, Term, both_losses, mean_loss, weighted_loss};
pub(crate) use math::Elementary;
pub use normalise::{Norm, NormGradients};
pub(crate) use parallel::vectorised;
use parallel::{add_into, sum_rows, unwritten};
pub use resample::{
    average_pool, average_pool_backward, pixel_shuffle, pixel_unshuffle, upsample_nearest, upsample_nearest_backward,
};
pub use samples::{sample_dot, sample_scale, sample_shift, sample_sum};
pub use take::{MIRRORED, take_images, values_of};
pub use update::{MOST_AVERAGES, Rule, update};

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, WithDType, bail};

/// Leaves the cores to these operators: candle keeps a pool of threads of its own beside rayon's, which spin while they
/// wait and cost a third of a step's time; what is left to candle is small.
///
/// # Safety
/// Sets an environment variable: to be called while the process has one thread, before candle is used.
pub unsafe fn prepare_candle() {
    // SAFETY: the caller promises that there is no other thread that could read the environment.
    unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") }
}

/// The element types the operators take: `f32`, `f64`.
pub trait Real: WithDType + num_traits::Float + std::iter::Sum {
    /// The elements of a storage of this type, to be written.
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;

    /// Memory of `f64` as elements of this type.
    fn from_doubles(memory: &mut [f64]) -> &mut [Self];
}

impl Real for f32 {
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F32(values) => Some(values),
            _ => None,
        }
    }

    fn from_doubles(memory: &mut [f64]) -> &mut [Self] {
        bytemuck::cast_slice_mut(memory)
    }
}

impl Real for f64 {
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F64(values) => Some(values),
            _ => None,
        }
    }

    fn from_doubles(memory: &mut [f64]) -> &mut [Self] {
        memory
    }
}

/// Memory that an operator works in beside its operands and results, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// On a CPU: once.
    pub shared: u64,
    /// On a CPU: in each thread, which keeps it.
    pub of_thread: u64,
    /// On a GPU.
    pub of_gpu: u64,
}

/// `value` in the type `T`.
pub(crate) fn real<T: Real>(value: f64) -> T {
    <T as WithDType>::from_f64(value)
}

/// `value` in double precision.
fn wide<T: Real>(value: T) -> f64 {
    WithDType::to_f64(value)
}

/// Calls `$body` with `$t` standing for the element type of `$storage`.
macro_rules! with_real {
    ($op:expr, $storage:expr, $t:ident => $body:expr) => {
        match candle_core::backend::BackendStorage::dtype($storage) {
            candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            other => candle_core::bail!("{}: takes f32 or f64, got {other:?}", $op),
        }
    };
}
pub(crate) use with_real;

/// The elements of a contiguous tensor.
fn contiguous<'a, T: Real>(op: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let values = storage.as_slice::<T>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("{op}: takes contiguous tensors, got {layout:?}"),
    }
}

/// Runs `read` on the elements of a contiguous CPU tensor.
fn read_tensor<T: Real, R>(op: &str, tensor: &Tensor, read: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(cpu) => read(contiguous(op, cpu, layout)?),
        _ => bail!("{op}: runs on the CPU only"),
    }
}

/// `vec` as the result of an operator.
fn result<T: Real>(values: Vec<T>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(values), shape.into())
}
