//! Buffers bound to a session once for a batch size, by ONNX Runtime's C interface: running them allocates nothing on
//! Rust's heap, and is the quickest of the ways to call.

use crate::buffer::Raw;
use crate::text::one_line;
use ort::sys;
use std::ffi::{CStr, c_int};
use std::ptr::{NonNull, null, null_mut};

/// Most inputs of a generator: latent, class, image.
pub(crate) const MAX_INPUTS: usize = 3;

/// Batch sizes whose bindings are kept; another one takes the place of the one that was not used for longest.
pub const MAX_BINDINGS: usize = 8;

/// Where ONNX Runtime reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Host,
    #[cfg(feature = "cuda")]
    Cuda,
}

/// What runs a graph. ort's own type cannot be made of a session that was built piece by piece.
pub(crate) struct Session(NonNull<sys::OrtSession>);

// SAFETY: the pointer belongs to this value alone, and ONNX Runtime's objects are bound to no thread.
unsafe impl Send for Session {}
// SAFETY: a session may run in several threads at once.
unsafe impl Sync for Session {}

impl Session {
    /// Takes over what ONNX Runtime has made.
    pub(crate) fn new(session: *mut sys::OrtSession) -> Result<Self, String> {
        NonNull::new(session).map(Self).ok_or_else(|| "no session".into())
    }

    /// For ONNX Runtime's functions.
    pub(crate) fn ptr(&self) -> *mut sys::OrtSession {
        self.0.as_ptr()
    }

    /// The output of this name for these inputs, in memory of its own.
    #[cfg(test)]
    pub(crate) fn run(
        &self,
        inputs: &[(&CStr, ort::value::DynValue)],
        output: &CStr,
    ) -> Result<ort::value::DynValue, String> {
        use ort::AsPointer;
        let names: Vec<_> = inputs.iter().map(|(name, _)| name.as_ptr()).collect();
        let values: Vec<_> = inputs.iter().map(|(_, value)| value.ptr()).collect();
        let mut made = null_mut();
        // SAFETY: names and values are alive, and as many as is said.
        check(unsafe {
            let (names, values) = (names.as_ptr(), values.as_ptr());
            (ort::api().Run)(self.0.as_ptr(), null(), names, values, inputs.len(), &output.as_ptr(), 1, &mut made)
        })?;
        // SAFETY: the value was made by ONNX Runtime, with its own allocator.
        Ok(unsafe { ort::value::Value::from_ptr(NonNull::new(made).ok_or("no value")?, Some(&Default::default())) })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the session was made by ONNX Runtime and is released once.
        unsafe { (ort::api().ReleaseSession)(self.0.as_ptr()) }
    }
}

/// An input or output: its name, its memory, and the shape of one sample in it.
pub(crate) struct Port<'a> {
    pub(crate) name: &'static CStr,
    pub(crate) memory: Raw,
    pub(crate) sample: &'a [usize],
}

impl Port<'_> {
    /// The samples after the first `count`, of which there are as many.
    pub(crate) fn after(self, count: usize) -> Self {
        let elements = self.sample.iter().product::<usize>() * count;
        let data = self.memory.data.wrapping_byte_add(elements * self.memory.size);
        Self { memory: Raw { data, len: self.memory.len.saturating_sub(elements), ..self.memory }, ..self }
    }

    /// Bytes of the first `batch` samples.
    ///
    /// # Errors
    /// More than the memory has.
    pub(crate) fn bytes(&self, batch: usize) -> Result<usize, String> {
        let needed = self.sample.iter().try_fold(batch, |n, &size| n.checked_mul(size));
        if let Some(needed) = needed.filter(|&needed| needed <= self.memory.len)
            && let Some(bytes) = needed.checked_mul(self.memory.size)
        {
            return Ok(bytes);
        }
        Err(format!("{batch} samples of shape {:?} do not fit a buffer of {} elements", self.sample, self.memory.len))
    }

    /// The first `batch` samples as a tensor.
    ///
    /// # Safety
    /// As [`Value::new`].
    unsafe fn value(&self, batch: usize, place: Place) -> Result<Value, String> {
        let mut shape: heapless::Vec<i64, 4> = heapless::Vec::new();
        for &n in std::iter::once(&batch).chain(self.sample) {
            shape.push(n as i64).map_err(|_| "a sample of more than three dimensions")?;
        }
        let len = self.bytes(batch)? / self.memory.size;
        // SAFETY: the memory holds `len` elements of this type; the rest is the caller's promise.
        unsafe { Value::new(Raw { len, ..self.memory }, &shape, place) }
    }
}

/// The bindings of the batch sizes that were used last, the one used just now at the end.
pub(crate) struct Bindings<B = Binding>(heapless::Vec<(usize, B), MAX_BINDINGS>);

impl<B> Default for Bindings<B> {
    fn default() -> Self {
        Self(heapless::Vec::new())
    }
}

impl<B> Bindings<B> {
    /// The binding for `batch`; `make` makes it if there is none.
    pub(crate) fn of(&mut self, batch: usize, make: impl FnOnce() -> Result<B, String>) -> Result<&mut B, String> {
        match self.0.iter().position(|(bound, _)| *bound == batch) {
            Some(at) => self.0[at..].rotate_left(1),
            None => {
                let binding = make()?;
                if self.0.is_full() {
                    self.0.remove(0);
                }
                // There is room: one was taken out.
                let _ = self.0.push((batch, binding));
            }
        }
        self.0.last_mut().map(|(_, binding)| binding).ok_or_else(|| "no binding".into())
    }

    /// Takes out the binding for `batch`.
    #[cfg(feature = "cuda")]
    pub(crate) fn take(&mut self, batch: usize) -> Option<B> {
        let at = self.0.iter().position(|(bound, _)| *bound == batch)?;
        Some(self.0.remove(at).1)
    }
}

/// The first samples of buffers, bound to a session's inputs and output.
pub(crate) struct Binding {
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
    /// Binds the first `batch` samples of every input, and of the output, which all lie in `place`.
    ///
    /// # Safety
    /// Buffers and session must outlive the binding, the buffers must not be replaced, and no reference into them may
    /// exist while [`Self::run`] runs.
    pub(crate) unsafe fn new<'a>(
        session: &Session,
        batch: usize,
        place: Place,
        inputs: impl IntoIterator<Item = Port<'a>>,
        output: Port<'_>,
    ) -> Result<Self, String> {
        let mut binding = null_mut();
        // SAFETY: the session is alive; the out pointer is valid.
        check(unsafe { (ort::api().CreateIoBinding)(session.0.as_ptr(), &mut binding) })?;
        let binding = NonNull::new(binding).ok_or("no binding")?;
        let mut bound = Self { binding, _values: heapless::Vec::new() };
        for input in inputs {
            // SAFETY: the caller's promise; names and values are alive, and ONNX Runtime keeps references of its own.
            unsafe {
                let value = input.value(batch, place)?;
                check((ort::api().BindInput)(binding.as_ptr(), input.name.as_ptr(), value.0.as_ptr()))?;
                bound._values.push(value).map_err(|_| "more inputs than a generator has")?;
            }
        }
        // SAFETY: as above.
        unsafe {
            let value = output.value(batch, place)?;
            check((ort::api().BindOutput)(binding.as_ptr(), output.name.as_ptr(), value.0.as_ptr()))?;
            bound._values.push(value).map_err(|_| "more inputs than a generator has")?;
        }
        Ok(bound)
    }

    /// Runs the session on the bound buffers; without options, with the default ones.
    pub(crate) fn run(&mut self, session: &Session, options: Option<&RunOptions>) -> Result<(), String> {
        let options = options.map_or(null(), |options| options.0.as_ptr().cast_const());
        // SAFETY: `new` was promised that session and buffers are alive and the buffers unused meanwhile; a session may run
        // in several threads at once; null run options are the default ones.
        check(unsafe { (ort::api().RunWithBinding)(session.0.as_ptr(), options, self.binding.as_ptr()) })
    }

    /// What [`Self::run`] runs with.
    #[cfg(all(test, feature = "cuda", target_os = "linux"))]
    pub(crate) fn arguments(
        &mut self,
        session: &Session,
        options: &RunOptions,
    ) -> (*mut sys::OrtSession, *const sys::OrtRunOptions, *const sys::OrtIoBinding) {
        (session.0.as_ptr(), options.0.as_ptr(), self.binding.as_ptr())
    }
}

/// How a session is to be run. On the CPU the default options do, unless a run is to be ended before its time.
pub(crate) struct RunOptions(NonNull<sys::OrtRunOptions>);

// SAFETY: the pointer belongs to this value alone, and ONNX Runtime's objects are bound to no thread.
unsafe impl Send for RunOptions {}
// SAFETY: what is shared is read, but for the flag that ends a run, which is made to be set while that reads it.
unsafe impl Sync for RunOptions {}

impl RunOptions {
    /// Options with these entries.
    pub(crate) fn new(entries: &[(&CStr, &CStr)]) -> Result<Self, String> {
        /// `ORT_LOGGING_LEVEL_FATAL`: whoever asks hears the reason; the log would repeat it on the standard error stream.
        const FATAL: c_int = 4;
        let mut options = null_mut();
        // SAFETY: the pointer is valid for writing.
        check(unsafe { (ort::api().CreateRunOptions)(&mut options) })?;
        let options = Self(NonNull::new(options).ok_or("no run options")?);
        // SAFETY: the options are alive.
        check(unsafe { (ort::api().RunOptionsSetRunLogSeverityLevel)(options.0.as_ptr(), FATAL) })?;
        for (key, value) in entries {
            // SAFETY: the options are alive, and copy both texts.
            check(unsafe { (ort::api().AddRunConfigEntry)(options.0.as_ptr(), key.as_ptr(), value.as_ptr()) })?;
        }
        Ok(options)
    }

    /// Whether runs with these options are to end, the one at hand included: with an error, before their next node.
    pub(crate) fn terminate(&self, yes: bool) {
        let api = ort::api();
        let set = if yes { api.RunOptionsSetTerminate } else { api.RunOptionsUnsetTerminate };
        // SAFETY: the options are alive; any thread may do this. It sets a flag, which cannot fail.
        let _ = check(unsafe { set(self.0.as_ptr()) });
    }
}

impl Drop for RunOptions {
    fn drop(&mut self) {
        // SAFETY: the options were made by ONNX Runtime and are released once.
        unsafe { (ort::api().ReleaseRunOptions)(self.0.as_ptr()) }
    }
}

/// An owned OrtValue: of memory of its own, or one that describes memory which belongs to somebody else.
pub(crate) struct Value(pub(crate) NonNull<sys::OrtValue>);

impl Value {
    /// A tensor of this shape, whose elements are those of `memory`, which lies in `place`.
    ///
    /// # Safety
    /// The memory must be as large as said, aligned for the element type, and outlive the value and every session and
    /// binding that it is given to; while those run, nobody else may touch it, or, if they only read it, write to it.
    pub(crate) unsafe fn new(memory: Raw, shape: &[i64], place: Place) -> Result<Self, String> {
        let (mut info, mut value) = (null_mut(), null_mut());
        let allocator = sys::OrtAllocatorType::OrtDeviceAllocator;
        let default = sys::OrtMemType::OrtMemTypeDefault;
        let bytes = memory.len.checked_mul(memory.size).ok_or("more bytes than there can be")?;
        // SAFETY: all pointers are valid; the description of the memory is copied by the value and released after.
        unsafe {
            check(match place {
                Place::Host => (ort::api().CreateCpuMemoryInfo)(allocator, default, &mut info),
                #[cfg(feature = "cuda")]
                Place::Cuda => (ort::api().CreateMemoryInfo)(c"Cuda".as_ptr(), allocator, 0, default, &mut info),
            })?;
            let made = check((ort::api().CreateTensorWithDataAsOrtValue)(
                info,
                memory.data,
                bytes,
                shape.as_ptr(),
                shape.len(),
                memory.element,
                &mut value,
            ));
            (ort::api().ReleaseMemoryInfo)(info);
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
        // It quotes names of the model's.
        let message = one_line(&CStr::from_ptr((ort::api().GetErrorMessage)(status.as_ptr())).to_string_lossy());
        (ort::api().ReleaseStatus)(status.as_ptr());
        Err(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Buffer, Host};
    use crate::model::Precision;

    #[test]
    fn the_size_that_was_not_used_for_longest_goes() {
        let (mut bindings, mut made) = (Bindings::<usize>::default(), Vec::new());
        let mut of = |batch: usize| {
            let make = || {
                made.push(batch);
                Ok(batch * 10)
            };
            assert_eq!(bindings.of(batch, make), Ok(&mut (batch * 10)));
            std::mem::take(&mut made).len()
        };
        assert!((1..=MAX_BINDINGS).all(|batch| of(batch) == 1));
        // The one that was made first is used again; the next to go is then the second.
        assert_eq!([1, MAX_BINDINGS + 1, 1, 2, 1].map(&mut of), [0, 1, 0, 1, 0]);
        assert_eq!(of(3), 1, "made room for the second");
        assert_eq!(bindings.of(99, || Err("no".into())), Err("no".into()));
        assert_eq!(bindings.of(1, || Err("it was lost".into())), Ok(&mut 10));
    }

    #[test]
    fn sizes_that_no_number_holds_do_not_fit() {
        let mut buffer = Buffer::floats(Precision::F32, 6, Host::Heap).expect("there is memory");
        let mut bytes = |batch: usize, sample: &[usize]| Port { name: c"z", memory: buffer.raw(), sample }.bytes(batch);
        assert_eq!((bytes(2, &[3]), bytes(1, &[])), (Ok(24), Ok(4)));
        for (batch, sample) in [(3, &[3][..]), (2, &[usize::MAX]), (usize::MAX, &[2, 2]), (1, &[usize::MAX / 2, 3])] {
            let error = bytes(batch, sample).expect_err("does not fit");
            assert!(error.contains("6 elements"), "{error}");
        }
    }
}
