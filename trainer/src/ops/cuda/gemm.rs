//! Products of matrices by cuBLAS.

use super::Element;
use candle_core::cuda_backend::cudarc::cublas::{result::gemm_ex, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DevicePtr, DevicePtrMut};
use candle_core::cuda_backend::{CudaDevice, gemm_reduced_precision_f32};
use candle_core::{DType, Error, Result};
use std::ffi::c_void;

/// A matrix of rows that are `stride` elements apart, or its transpose, beginning at `start` of a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    pub values: &'a CudaView<'a, T>,
    pub start: usize,
    pub stride: usize,
    pub transposed: bool,
}

impl<'a, T> Matrix<'a, T> {
    pub(super) fn rows(values: &'a CudaView<'a, T>, start: usize, stride: usize) -> Self {
        Self { values, start, stride, transposed: false }
    }

    pub(super) fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

/// Where a product goes: rows `stride` apart from `start` on, replaced or, where `add` is set, added to.
pub(super) struct Target<'a, O> {
    pub values: &'a mut CudaSlice<O>,
    pub start: usize,
    pub stride: usize,
    pub add: bool,
}

/// `out = a b` or `out += a b`: `a` is m x k, `b` k x n, `out` m x n; none of the sizes is 0.
pub(super) fn multiply<T: Element, O: Element>(
    device: &CudaDevice,
    [m, n, k]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: Target<'_, O>,
) -> Result<()> {
    let last = |rows: usize, columns: usize, stride: usize| (rows - 1) * stride + columns;
    let extent = |x: &Matrix<'_, T>, rows, columns| {
        x.start + if x.transposed { last(columns, rows, x.stride) } else { last(rows, columns, x.stride) }
    };
    assert!(extent(&a, m, k) <= a.values.len(), "the left matrix is shorter than {m} x {k}");
    assert!(extent(&b, k, n) <= b.values.len(), "the right matrix is shorter than {k} x {n}");
    assert!(out.start + last(m, n, out.stride) <= out.values.len(), "the product is shorter than {m} x {n}");
    let int =
        |n: usize| i32::try_from(n).map_err(|_| Error::Msg(format!("a matrix has {n} rows or columns, too many")));
    let operation = |transposed| match transposed {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let (compute, one, zero_or_one): (_, Scalar, Scalar) = match T::DTYPE {
        DType::F64 => (sys::cublasComputeType_t::CUBLAS_COMPUTE_64F, Scalar::F64(1.), Scalar::F64(f64::from(out.add))),
        dtype => {
            let compute = match dtype == DType::F32 && gemm_reduced_precision_f32() {
                true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
                false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            };
            (compute, Scalar::F32(1.), Scalar::F32(f32::from(u8::from(out.add))))
        }
    };
    let (stream, blas) = (device.cuda_stream(), device.cublas_handle());
    let (a_at, _a) = a.values.device_ptr(&stream);
    let (b_at, _b) = b.values.device_ptr(&stream);
    let (out_at, _out) = out.values.device_ptr_mut(&stream);
    let pointer = |at: u64, start: usize, size: usize| (at as usize + start * size) as *mut c_void;
    // cuBLAS has columns where these matrices have rows, so it is asked for out' = b' a'.
    // SAFETY: the handle is the device's own, and its stream that of the slices; the assertions keep every element inside
    // its slice; the scalars are of the type that the computation's type asks for.
    unsafe {
        gemm_ex(
            *blas.handle(),
            operation(b.transposed),
            operation(a.transposed),
            int(n)?,
            int(m)?,
            int(k)?,
            one.pointer(),
            pointer(b_at, b.start, size_of::<T>()),
            data_type::<T>(),
            int(b.stride)?,
            pointer(a_at, a.start, size_of::<T>()),
            data_type::<T>(),
            int(a.stride)?,
            zero_or_one.pointer(),
            pointer(out_at, out.start, size_of::<O>()),
            data_type::<O>(),
            int(out.stride)?,
            compute,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .map_err(|e| Error::Msg(format!("cuBLAS refuses a product of {m} x {k} and {k} x {n}: {e:?}")))
}

enum Scalar {
    F32(f32),
    F64(f64),
}

impl Scalar {
    fn pointer(&self) -> *const c_void {
        match self {
            Self::F32(value) => std::ptr::from_ref(value).cast(),
            Self::F64(value) => std::ptr::from_ref(value).cast(),
        }
    }
}

fn data_type<T: Element>() -> sys::cudaDataType {
    match T::DTYPE {
        DType::F64 => sys::cudaDataType::CUDA_R_64F,
        DType::F16 => sys::cudaDataType::CUDA_R_16F,
        DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}
