//! Buffers bound to a session once for a batch size, by ONNX Runtime's C interface: running them allocates nothing on
//! Rust's heap, and is the quickest of the ways to call.

use crate::model::Precision;
use half::f16;
use ort::session::Session;
use ort::{AsPointer, sys};
use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null, null_mut};

/// Most inputs of a generator: latent, class, image.
const MAX_INPUTS: usize = 3;

/// Memory that ONNX Runtime reads or writes.
#[derive(Debug)]
pub(crate) enum Buffer {
    F16(Box<[f16]>),
    F32(Box<[f32]>),
    I64(Box<[i64]>),
}

impl Buffer {
    pub(crate) fn new(precision: Precision, len: usize) -> Self {
        match precision {
            Precision::F16 => Self::F16(vec![f16::ZERO; len].into()),
            Precision::F32 => Self::F32(vec![0.; len].into()),
        }
    }

    fn raw(&mut self) -> (*mut c_void, usize, usize, sys::ONNXTensorElementDataType) {
        use sys::ONNXTensorElementDataType as Type;
        match self {
            Self::F16(b) => (b.as_mut_ptr().cast(), b.len(), 2, Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16),
            Self::F32(b) => (b.as_mut_ptr().cast(), b.len(), 4, Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
            Self::I64(b) => (b.as_mut_ptr().cast(), b.len(), 8, Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
        }
    }
}

/// An input or output: its name, its memory, and the shape of one sample in it.
pub(crate) struct Port<'a> {
    pub(crate) name: &'static CStr,
    pub(crate) buffer: &'a mut Buffer,
    pub(crate) sample: &'a [usize],
}

impl Port<'_> {
    /// The first `batch` samples as a tensor.
    ///
    /// # Safety
    /// As [`Value::new`].
    unsafe fn value(&mut self, batch: usize) -> Result<Value, String> {
        let mut shape: heapless::Vec<i64, 4> = heapless::Vec::new();
        for &n in std::iter::once(&batch).chain(self.sample) {
            shape.push(n as i64).map_err(|_| "a sample of more than three dimensions")?;
        }
        let (data, len, size, element) = self.buffer.raw();
        let needed = batch * self.sample.iter().product::<usize>();
        if needed > len {
            return Err(format!("a tensor of shape {shape:?} does not fit a buffer of {len} elements"));
        }
        // SAFETY: the memory holds `needed` elements of this type; the rest is the caller's promise.
        unsafe { Value::new(data, needed * size, &shape, element) }
    }
}

/// The first samples of buffers, bound to a session's inputs and output.
pub(crate) struct Binding {
    pub(crate) batch: usize,
    binding: NonNull<sys::OrtIoBinding>,
    _values: heapless::Vec<Value, { MAX_INPUTS + 1 }>,
}

// SAFETY: the pointers belong to this value alone, and ONNX Runtime's objects are bound to no thread.
unsafe impl Send for Binding {}

impl Drop for Binding {
    fn drop(&mut self) {
        // SAFETY: the binding was made by ONNX Runtime and is released once; its values are released after it.
        unsafe { (ort::api().ReleaseIoBinding)(self.binding.as_ptr()) }
    }
}

impl Binding {
    /// Binds the first `batch` samples of every input, and of the output.
    ///
    /// # Safety
    /// Buffers and session must outlive the binding, the buffers must not be replaced, and no reference into them may
    /// exist while [`Self::run`] runs.
    pub(crate) unsafe fn new<'a>(
        session: &Session,
        batch: usize,
        inputs: impl IntoIterator<Item = Port<'a>>,
        mut output: Port<'_>,
    ) -> Result<Self, String> {
        let mut binding = null_mut();
        // SAFETY: the session is alive; the out pointer is valid.
        check(unsafe { (ort::api().CreateIoBinding)(session.ptr().cast_mut(), &mut binding) })?;
        let binding = NonNull::new(binding).ok_or("no binding")?;
        let mut bound = Self { batch, binding, _values: heapless::Vec::new() };
        for mut input in inputs {
            // SAFETY: the caller's promise; names and values are alive, and ONNX Runtime keeps references of its own.
            unsafe {
                let value = input.value(batch)?;
                check((ort::api().BindInput)(binding.as_ptr(), input.name.as_ptr(), value.0.as_ptr()))?;
                bound._values.push(value).map_err(|_| "more inputs than a generator has")?;
            }
        }
        // SAFETY: as above.
        unsafe {
            let value = output.value(batch)?;
            check((ort::api().BindOutput)(binding.as_ptr(), output.name.as_ptr(), value.0.as_ptr()))?;
            bound._values.push(value).map_err(|_| "more inputs than a generator has")?;
        }
        Ok(bound)
    }

    /// Runs the session on the bound buffers.
    pub(crate) fn run(&mut self, session: &Session) -> Result<(), String> {
        // SAFETY: `new` was promised that session and buffers are alive and the buffers unused meanwhile; a session may run
        // in several threads at once; null run options are the default ones.
        check(unsafe { (ort::api().RunWithBinding)(session.ptr().cast_mut(), null(), self.binding.as_ptr()) })
    }
}

/// An owned OrtValue that describes memory which belongs to somebody else.
struct Value(NonNull<sys::OrtValue>);

impl Value {
    /// A tensor of this shape on the CPU, whose elements are the `bytes` bytes from `data` on.
    ///
    /// # Safety
    /// The memory must be as large as said, aligned for the element type, and outlive the value and every session and
    /// binding that it is given to; while those run, nobody else may touch it, or, if they only read it, write to it.
    unsafe fn new(
        data: *mut c_void,
        bytes: usize,
        shape: &[i64],
        element: sys::ONNXTensorElementDataType,
    ) -> Result<Self, String> {
        let (mut memory, mut value) = (null_mut(), null_mut());
        // SAFETY: all pointers are valid; the description of the memory is copied by the value and released after.
        unsafe {
            check((ort::api().CreateCpuMemoryInfo)(
                sys::OrtAllocatorType::OrtDeviceAllocator,
                sys::OrtMemType::OrtMemTypeDefault,
                &mut memory,
            ))?;
            let made = check((ort::api().CreateTensorWithDataAsOrtValue)(
                memory,
                data,
                bytes,
                shape.as_ptr(),
                shape.len(),
                element,
                &mut value,
            ));
            (ort::api().ReleaseMemoryInfo)(memory);
            made?;
        }
        NonNull::new(value).map(Self).ok_or_else(|| "no value".into())
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the value was made by ONNX Runtime and is released once.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) }
    }
}

/// The message of a status, which is released.
pub(crate) fn check(status: sys::OrtStatusPtr) -> Result<(), String> {
    let Some(status) = NonNull::new(status.0) else { return Ok(()) };
    // SAFETY: the status is alive until it is released, and its message with it.
    unsafe {
        let message = CStr::from_ptr((ort::api().GetErrorMessage)(status.as_ptr())).to_string_lossy().into_owned();
        (ort::api().ReleaseStatus)(status.as_ptr());
        Err(message)
    }
}
