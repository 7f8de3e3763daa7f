//! Buffers bound to a session once for a batch size, by ONNX Runtime's C interface: running them allocates nothing on
//! Rust's heap, and is the quickest of the ways to call.

use crate::model::{INPUT_LATENT, OUTPUT_IMAGE, Precision};
use half::f16;
use ort::session::Session;
use ort::{AsPointer, sys};
use std::ffi::{CStr, CString, c_void};
use std::ptr::{NonNull, null, null_mut};

/// Memory that ONNX Runtime reads or writes, of a generator's element type.
#[derive(Debug)]
pub(crate) enum Buffer {
    F16(Box<[f16]>),
    F32(Box<[f32]>),
}

impl Buffer {
    pub(crate) fn new(precision: Precision, len: usize) -> Self {
        match precision {
            Precision::F16 => Self::F16(vec![f16::ZERO; len].into()),
            Precision::F32 => Self::F32(vec![0.; len].into()),
        }
    }

    fn raw(&mut self) -> (*mut c_void, usize, sys::ONNXTensorElementDataType) {
        use sys::ONNXTensorElementDataType as Type;
        match self {
            Self::F16(b) => (b.as_mut_ptr().cast(), size_of_val(&**b), Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16),
            Self::F32(b) => (b.as_mut_ptr().cast(), size_of_val(&**b), Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
        }
    }
}

/// The first images of a pair of buffers, bound to a session's input and output.
pub(crate) struct Binding {
    pub(crate) batch: usize,
    binding: NonNull<sys::OrtIoBinding>,
    input: Value,
    output: Value,
}

// SAFETY: the pointers belong to this value alone, and ONNX Runtime's objects are bound to no thread.
unsafe impl Send for Binding {}

/// An owned OrtValue; the memory it describes belongs to a [`Buffer`].
struct Value(NonNull<sys::OrtValue>);

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the value was made by ONNX Runtime and is released once.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) }
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // SAFETY: the binding was made by ONNX Runtime and is released once; its values are released after it.
        unsafe { (ort::api().ReleaseIoBinding)(self.binding.as_ptr()) }
    }
}

impl Binding {
    /// Binds the first `batch` rows of both buffers, which must hold at least `batch` times `latent` and `image` values.
    ///
    /// # Safety
    /// Buffers and session must outlive the binding, the buffers must not be replaced, and no reference into them may
    /// exist while [`Self::run`] runs.
    pub(crate) unsafe fn new(
        session: &Session,
        batch: usize,
        (z, latent): (&mut Buffer, usize),
        (image, shape): (&mut Buffer, [usize; 3]),
    ) -> Result<Self, String> {
        let n = batch as i64;
        let input = value(z, &[n, latent as i64])?;
        let output = value(image, &[n, shape[0] as i64, shape[1] as i64, shape[2] as i64])?;
        let mut binding = null_mut();
        // SAFETY: the session is alive; the out pointer is valid.
        check(unsafe { (ort::api().CreateIoBinding)(session.ptr().cast_mut(), &mut binding) })?;
        let binding = NonNull::new(binding).ok_or("no binding")?;
        let bound = Self { batch, binding, input, output };
        // `c"..."` literals cannot be made from constants; the names have no zero inside.
        let names = [INPUT_LATENT, OUTPUT_IMAGE].map(CString::new);
        let [Ok(z), Ok(image)] = names else { return Err("a name with a zero inside".into()) };
        // SAFETY: binding, names and values are alive; ONNX Runtime keeps references of its own to the values.
        unsafe {
            check((ort::api().BindInput)(bound.binding.as_ptr(), z.as_ptr(), bound.input.0.as_ptr()))?;
            check((ort::api().BindOutput)(bound.binding.as_ptr(), image.as_ptr(), bound.output.0.as_ptr()))?;
        }
        Ok(bound)
    }

    /// Runs the session on the bound buffers.
    pub(crate) fn run(&mut self, session: &mut Session) -> Result<(), String> {
        // SAFETY: `new` was promised that session and buffers are alive and the buffers unused meanwhile; null run
        // options are the default ones.
        check(unsafe { (ort::api().RunWithBinding)(session.ptr().cast_mut(), null(), self.binding.as_ptr()) })
    }
}

fn value(buffer: &mut Buffer, shape: &[i64]) -> Result<Value, String> {
    let (data, bytes, element) = buffer.raw();
    let needed = shape.iter().product::<i64>() as usize * if matches!(buffer, Buffer::F16(_)) { 2 } else { 4 };
    if needed > bytes {
        return Err(format!("a tensor of shape {shape:?} does not fit a buffer of {bytes} bytes"));
    }
    let (mut memory, mut value) = (null_mut(), null_mut());
    // SAFETY: all pointers are valid, the memory holds `needed` bytes; the memory description is copied by the value and
    // released after.
    unsafe {
        check((ort::api().CreateCpuMemoryInfo)(
            sys::OrtAllocatorType::OrtDeviceAllocator,
            sys::OrtMemType::OrtMemTypeDefault,
            &mut memory,
        ))?;
        let made = check((ort::api().CreateTensorWithDataAsOrtValue)(
            memory,
            data,
            needed,
            shape.as_ptr(),
            shape.len(),
            element,
            &mut value,
        ));
        (ort::api().ReleaseMemoryInfo)(memory);
        made?;
    }
    NonNull::new(value).map(Value).ok_or_else(|| "no value".into())
}

/// The message of a status, which is released.
fn check(status: sys::OrtStatusPtr) -> Result<(), String> {
    let Some(status) = NonNull::new(status.0) else { return Ok(()) };
    // SAFETY: the status is alive until it is released, and its message with it.
    unsafe {
        let message = CStr::from_ptr((ort::api().GetErrorMessage)(status.as_ptr())).to_string_lossy().into_owned();
        (ort::api().ReleaseStatus)(status.as_ptr());
        Err(message)
    }
}
