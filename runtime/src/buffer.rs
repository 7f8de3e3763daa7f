//! The memory that inputs are written to and images are read from.

#[cfg(feature = "cuda")]
use crate::device::{Cudart, Pinned};
use crate::model::Precision;
use half::f16;
use ort::sys::ONNXTensorElementDataType as Type;
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};

/// Where a generator's memory is allocated.
#[derive(Clone, Copy)]
pub(crate) enum Host {
    /// On Rust's heap, where the CPU computes on it.
    Heap,
    /// By CUDA, where the device copies from and to it.
    #[cfg(feature = "cuda")]
    Pinned(&'static Cudart),
}

/// A slice that stays where it is.
pub(crate) enum Slab<T> {
    Heap(Box<[T]>),
    #[cfg(feature = "cuda")]
    Pinned(Pinned<T>),
}

impl<T: Copy> Slab<T> {
    fn new(value: T, len: usize, host: Host) -> Result<Self, String> {
        match host {
            Host::Heap => Ok(Self::Heap(vec![value; len].into())),
            #[cfg(feature = "cuda")]
            Host::Pinned(cudart) => Pinned::new(cudart, value, len).map(Self::Pinned),
        }
    }
}

impl<T> Deref for Slab<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Heap(slice) => slice,
            #[cfg(feature = "cuda")]
            Self::Pinned(slice) => slice,
        }
    }
}

impl<T> DerefMut for Slab<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Heap(slice) => slice,
            #[cfg(feature = "cuda")]
            Self::Pinned(slice) => slice,
        }
    }
}

/// Elements of one of the types that generators have.
pub(crate) enum Buffer {
    F16(Slab<f16>),
    F32(Slab<f32>),
    I64(Slab<i64>),
}

impl Buffer {
    /// `len` zeros of a generator's type.
    ///
    /// # Errors
    /// None on the heap; CUDA's for pinned memory.
    pub(crate) fn floats(precision: Precision, len: usize, host: Host) -> Result<Self, String> {
        Ok(match precision {
            Precision::F16 => Self::F16(Slab::new(f16::ZERO, len, host)?),
            Precision::F32 => Self::F32(Slab::new(0., len, host)?),
        })
    }

    /// `len` zeros for labels.
    ///
    /// # Errors
    /// As [`Self::floats`].
    pub(crate) fn labels(len: usize, host: Host) -> Result<Self, String> {
        Slab::new(0, len, host).map(Self::I64)
    }

    /// The whole of it, for others than Rust.
    pub(crate) fn raw(&mut self) -> Raw {
        match self {
            Self::F16(b) => Raw::new(b.as_mut_ptr(), b.len(), Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16),
            Self::F32(b) => Raw::new(b.as_mut_ptr(), b.len(), Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
            Self::I64(b) => Raw::new(b.as_mut_ptr(), b.len(), Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
        }
    }
}

/// Memory as ONNX Runtime and CUDA see it.
#[derive(Clone, Copy)]
pub(crate) struct Raw {
    pub(crate) data: *mut c_void,
    /// Number of elements.
    pub(crate) len: usize,
    /// Bytes of one.
    pub(crate) size: usize,
    pub(crate) element: Type,
}

// SAFETY: an address and numbers; whoever uses the address must say why that is right.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Raw {
    fn new<T>(data: *mut T, len: usize, element: Type) -> Self {
        Self { data: data.cast(), len, size: size_of::<T>(), element }
    }
}
