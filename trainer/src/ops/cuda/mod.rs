//! The operators on NVIDIA GPUs: kernels of our own, compiled when they are first used, and cuBLAS.
//!
//! Each operator computes what it computes on the CPU, on the same layouts. Sums are added in an order that depends on
//! shapes only, without atomics: the same inputs give the same bits on the same card. Beside `f32` and `f64` the layers
//! take `f16` and `bf16` images and weights; arithmetic, biases and gradients of weights are then `f32`.

mod batch_norm;
mod channel;
mod conv;
mod epilogue;
mod flat;
mod gemm;
mod images;
mod launch;
mod linear;
mod loss;
mod map;
mod normalise;
mod scaling;
#[cfg(test)]
mod tests;
mod update;

pub(super) use batch_norm::{batch_norm_backward, batch_norm_forward};
pub(super) use channel::{dot, map_channels, sum};
pub(super) use conv::{conv, conv_transpose, weight_grad};
pub(super) use flat::{gather, limit, measure};
pub(super) use images::{resample, take_images};
pub(super) use linear::{linear, product};
pub(super) use loss::mean_loss;
pub(super) use map::map;
pub(super) use normalise::normalise;
pub(super) use scaling::{decide, watch};
pub(super) use update::update;

use super::Activation;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, CudaView, DevicePtr, DeviceRepr, SyncOnDrop, ValidAsZeroBits,
};
use candle_core::cuda_backend::{CudaDType, CudaDevice};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Layout, Result, Shape, Storage, Tensor, WithDType, bail};
use half::{bf16, f16};

/// What tensors on the device are made of.
pub(super) trait Element: WithDType + CudaDType + DeviceRepr + ValidAsZeroBits {
    /// The type of arithmetic, biases and gradients of weights: `f64` for itself, else `f32`.
    type Wide: Element;

    /// `value` for the device's arithmetic.
    fn wide(value: f64) -> Self::Wide;
}

macro_rules! element {
    ($($t:ty => $wide:ty),*) => {$(
        impl Element for $t {
            type Wide = $wide;

            fn wide(value: f64) -> $wide {
                value as $wide
            }
        }
    )*};
}
element!(f32 => f32, f64 => f64, f16 => f32, bf16 => f32);

/// Calls `$body` with `$t` standing for the element type of `$storage`.
macro_rules! with_element {
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
            candle_core::DType::F16 => {
                type $t = half::f16;
                $body
            }
            candle_core::DType::BF16 => {
                type $t = half::bf16;
                $body
            }
            other => candle_core::bail!("{}: takes f32 or f64, f16 or bf16, got {other:?}", $op),
        }
    };
}
use with_element;

/// A storage and its layout, as candle passes them to operators.
pub(super) type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// The elements of a contiguous tensor.
fn view<'a, T: Element>(op: &str, (storage, layout): Operand<'a>) -> Result<CudaView<'a, T>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<T>()?.slice(start..end)),
        None => bail!("{op}: takes contiguous tensors, got {layout:?}"),
    }
}

/// The address of what a kernel may do without, null if it has to, and what keeps it until the launch.
fn optional<'a, T>(values: &'a Option<CudaView<'a, T>>, stream: &'a CudaStream) -> (u64, Option<SyncOnDrop<'a>>) {
    match values {
        Some(values) => {
            let (at, kept) = values.device_ptr(stream);
            (at, Some(kept))
        }
        None => (0, None),
    }
}

/// Memory that is to be written whole.
fn unwritten<T: Element>(device: &CudaDevice, len: usize) -> Result<CudaSlice<T>> {
    // SAFETY: all bits are valid for these types; whoever calls this launches a kernel that writes all of it, after which,
    // in the order of the stream, everything reads.
    // The driver refuses a length of 0.
    unsafe { device.alloc::<T>(len.max(1)) }
}

/// `values` as the result of an operator.
fn done<T: Element>(values: CudaSlice<T>, device: &CudaDevice, shape: impl Into<Shape>) -> (CudaStorage, Shape) {
    (CudaStorage::wrap_cuda_slice(values, device.clone()), shape.into())
}

/// What a kernel has made, as a tensor of its own.
pub(super) fn tensor(storage: CudaStorage, shape: Shape) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// A length or count as the kernels take it.
fn count(op: &str, n: usize) -> Result<u32> {
    match u32::try_from(n) {
        // Loops add the number of threads to their counter.
        Ok(n) if n < 1 << 31 => Ok(n),
        _ => bail!("{op}: takes up to 2^31 elements, got {n}"),
    }
}

/// An activation as the kernels take it: its number, and the slope.
fn activation_code(activation: Activation) -> (i32, f64) {
    match activation {
        Activation::None => (0, 0.),
        Activation::LeakyRelu(slope) => (1, slope),
        Activation::Tanh => (2, 0.),
    }
}

/// The short name of an element type, for modules.
fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "F64",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        _ => "F32",
    }
}
