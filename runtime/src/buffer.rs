//! The memory that inputs are written to and images are read from.

#[cfg(feature = "cuda")]
use crate::device::{Cudart, Pinned};
use crate::model::Precision;
use half::f16;
use ort::sys::ONNXTensorElementDataType as Type;
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, slice_from_raw_parts_mut};

/// Where a generator's memory is allocated.
#[derive(Clone, Copy)]
pub(crate) enum Host {
    /// On Rust's heap, where the CPU computes on it.
    Heap,
    /// By CUDA, where the device copies from and to it.
    #[cfg(feature = "cuda")]
    Pinned(&'static Cudart),
}

/// A slice that stays where it is, and that others than Rust have the address of: it is borrowed only as long as it is
/// looked at, and its address is that of the memory, not of a borrow, which the next one would end.
pub(crate) enum Slab<T> {
    Heap(Heap<T>),
    #[cfg(feature = "cuda")]
    Pinned(Pinned<T>),
}

impl<T: Copy> Slab<T> {
    fn new(value: T, len: usize, host: Host) -> Result<Self, String> {
        match host {
            Host::Heap => Ok(Self::Heap(Heap::new(value, len))),
            #[cfg(feature = "cuda")]
            Host::Pinned(cudart) => Pinned::new(cudart, value, len).map(Self::Pinned),
        }
    }

    fn raw(&mut self, element: Type) -> Raw {
        let (data, len) = match self {
            Self::Heap(memory) => (memory.data, memory.len),
            #[cfg(feature = "cuda")]
            Self::Pinned(memory) => memory.raw_parts(),
        };
        Raw { data: data.as_ptr().cast(), len, size: size_of::<T>(), element }
    }
}

impl<T> Deref for Slab<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Heap(memory) => memory,
            #[cfg(feature = "cuda")]
            Self::Pinned(memory) => memory,
        }
    }
}

impl<T> DerefMut for Slab<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Heap(memory) => memory,
            #[cfg(feature = "cuda")]
            Self::Pinned(memory) => memory,
        }
    }
}

/// A boxed slice in parts.
pub(crate) struct Heap<T> {
    data: NonNull<T>,
    len: usize,
}

// SAFETY: the memory belongs to this value alone, as that of a box.
unsafe impl<T: Send> Send for Heap<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Heap<T> {}

impl<T: Copy> Heap<T> {
    fn new(value: T, len: usize) -> Self {
        let data = NonNull::from(Box::leak(vec![value; len].into_boxed_slice()));
        Self { data: data.cast(), len }
    }
}

impl<T> Deref for Heap<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many elements are there; who else has the address does nothing with it while they are borrowed.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Heap<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

impl<T> Drop for Heap<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a box of this length, and is given back once.
        drop(unsafe { Box::from_raw(slice_from_raw_parts_mut(self.data.as_ptr(), self.len)) });
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
            Precision::F32 | Precision::Int8 => Self::F32(Slab::new(0., len, host)?),
        })
    }

    /// `len` zeros for labels.
    ///
    /// # Errors
    /// As [`Self::floats`].
    pub(crate) fn labels(len: usize, host: Host) -> Result<Self, String> {
        Slab::new(0, len, host).map(Self::I64)
    }

    /// Exchanges the first `len` elements with the ones of sample `i`.
    pub(crate) fn exchange(&mut self, i: usize, len: usize) {
        fn with_first<T>(all: &mut [T], i: usize, len: usize) {
            let (first, rest) = all.split_at_mut(i * len);
            first[..len].swap_with_slice(&mut rest[..len]);
        }
        match self {
            Self::F16(all) => with_first(all, i, len),
            Self::F32(all) => with_first(all, i, len),
            Self::I64(all) => with_first(all, i, len),
        }
    }

    /// The whole of it, for others than Rust.
    pub(crate) fn raw(&mut self) -> Raw {
        match self {
            Self::F16(memory) => memory.raw(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16),
            Self::F32(memory) => memory.raw(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
            Self::I64(memory) => memory.raw(Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What ONNX Runtime and the generator do in turns, to be run under Miri, too: `cargo +nightly miri test buffer::tests`.
    #[test]
    fn an_address_outlives_borrows() {
        let mut buffer = Buffer::floats(Precision::F32, 3, Host::Heap).expect("there is memory");
        let raw = buffer.raw();
        assert_eq!((raw.len, raw.size), (3, 4));
        let Buffer::F32(values) = &mut buffer else { panic!("of another type") };
        for round in 0..3 {
            values[1] = round as f32;
            // SAFETY: the memory is alive, and borrowed by nobody.
            unsafe {
                let data = raw.data.cast::<f32>();
                assert_eq!(data.add(1).read(), round as f32);
                data.add(2).write(round as f32 + 0.5);
            }
            assert_eq!(values[..], [0., round as f32, round as f32 + 0.5]);
        }
    }
}
