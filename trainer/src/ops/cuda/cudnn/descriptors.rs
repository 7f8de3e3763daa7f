//! cuDNN's objects, destroyed with their owners.

use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use std::sync::Arc;

type Result<T> = std::result::Result<T, CudnnError>;

/// Channels are adjacent: the layout of images and, as [O, kh, kw, C], of weights.
const LAYOUT: sys::cudnnTensorFormat_t = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;

/// The library, for the stream of a device. Not for several threads.
pub(super) struct Handle {
    raw: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
}

impl Handle {
    /// The stream's context must be the thread's current one.
    pub(super) fn new(stream: Arc<CudaStream>) -> Result<Self> {
        let handle = Self { raw: result::create_handle()?, stream };
        // SAFETY: both are alive, and the handle keeps the stream.
        unsafe { result::set_stream(handle.raw, handle.stream.cu_stream().cast()) }?;
        Ok(handle)
    }

    pub(super) fn raw(&self) -> sys::cudnnHandle_t {
        self.raw
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: nobody else destroys it. That it fails while a program goes down is of no consequence.
        let _ = unsafe { result::destroy_handle(self.raw) };
    }
}

macro_rules! descriptor {
    ($(#[$doc:meta])* $name:ident, $raw:ty, $create:ident, $destroy:ident) => {
        $(#[$doc])*
        pub(super) struct $name($raw);

        impl $name {
            fn create() -> Result<Self> {
                result::$create().map(Self)
            }

            pub(super) fn raw(&self) -> $raw {
                self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: nobody else destroys it.
                let _ = unsafe { result::$destroy(self.0) };
            }
        }
    };
}

descriptor!(
    /// Images [N, H, W, C].
    Images,
    sys::cudnnTensorDescriptor_t,
    create_tensor_descriptor,
    destroy_tensor_descriptor
);
descriptor!(
    /// Weights [O, kh, kw, C / groups].
    Weights,
    sys::cudnnFilterDescriptor_t,
    create_filter_descriptor,
    destroy_filter_descriptor
);
descriptor!(
    /// Geometry and arithmetic.
    Convolution,
    sys::cudnnConvolutionDescriptor_t,
    create_convolution_descriptor,
    destroy_convolution_descriptor
);

impl Images {
    /// Sizes in the order [N, H, W, C].
    pub(super) fn new(of: sys::cudnnDataType_t, [n, h, w, c]: [i32; 4]) -> Result<Self> {
        let new = Self::create()?;
        // SAFETY: the descriptor has just been made.
        unsafe { result::set_tensor4d_descriptor(new.0, LAYOUT, of, [n, c, h, w]) }?;
        Ok(new)
    }
}

impl Weights {
    /// Sizes in the order [O, kh, kw, C].
    pub(super) fn new(of: sys::cudnnDataType_t, [o, h, w, c]: [i32; 4]) -> Result<Self> {
        let new = Self::create()?;
        // SAFETY: the descriptor has just been made.
        unsafe { result::set_filter4d_descriptor(new.0, of, LAYOUT, [o, c, h, w]) }?;
        Ok(new)
    }
}

impl Convolution {
    pub(super) fn new(
        compute: sys::cudnnDataType_t,
        padding: [i32; 2],
        stride: [i32; 2],
        groups: i32,
        math: sys::cudnnMathType_t,
    ) -> Result<Self> {
        let new = Self::create()?;
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        // SAFETY: the descriptor has just been made.
        unsafe {
            result::set_convolution2d_descriptor(
                new.0, padding[0], padding[1], stride[0], stride[1], 1, 1, mode, compute,
            )?;
            result::set_convolution_group_count(new.0, groups)?;
        }
        new.set_math(math)?;
        Ok(new)
    }

    /// The arithmetic that an algorithm is to be run with.
    pub(super) fn set_math(&self, math: sys::cudnnMathType_t) -> Result<()> {
        // SAFETY: the descriptor lives as long as its owner.
        unsafe { result::set_convolution_math_type(self.0, math) }
    }
}
