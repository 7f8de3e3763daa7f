//! The few functions of the CUDA runtime that a generator needs: a stream and what is recorded from it, memory on the
//! device, and memory of the host that the device can reach.
//!
//! The library is the one that ONNX Runtime's provider has loaded; nothing of CUDA is needed to build this.

mod recording;

pub(crate) use recording::Recording;

use libloading::Library;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;

/// The library's names, of the versions that ONNX Runtime is built for.
const NAMES: [&str; 2] =
    if cfg!(windows) { ["cudart64_13.dll", "cudart64_12.dll"] } else { ["libcudart.so.13", "libcudart.so.12"] };

/// `cudaStreamNonBlocking`: work in it does not wait for that of others in the process.
const NON_BLOCKING: c_uint = 1;
/// `cudaHostAllocDefault`.
const DEFAULT: c_uint = 0;
/// `cudaMemcpyHostToDevice`.
const TO_DEVICE: c_int = 1;
/// `cudaMemcpyDeviceToHost`.
const TO_HOST: c_int = 2;

/// An enumeration, of which 0 is success.
type Code = c_int;

/// Looks functions up and keeps them under their own names.
macro_rules! functions {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        /// The CUDA runtime. It is never unloaded: the provider uses it, too.
        #[allow(non_snake_case)]
        pub(crate) struct Cudart {
            $($name: unsafe extern "system" fn($($argument),*) -> $result,)*
        }

        impl Cudart {
            fn of(library: Library) -> Result<Self, String> {
                // SAFETY: the functions have had these types since CUDA 11.4, and the library stays loaded.
                let found = unsafe { Self { $($name: *library.get(stringify!($name).as_bytes()).map_err(words)?,)* } };
                std::mem::forget(library);
                Ok(found)
            }
        }
    };
}

functions! {
    cudaGetDeviceCount(*mut c_int) -> Code;
    cudaGetDevice(*mut c_int) -> Code;
    cudaSetDevice(c_int) -> Code;
    cudaGetLastError() -> Code;
    cudaGetErrorString(Code) -> *const c_char;
    cudaStreamCreateWithFlags(*mut *mut c_void, c_uint) -> Code;
    cudaStreamDestroy(*mut c_void) -> Code;
    cudaStreamSynchronize(*mut c_void) -> Code;
    cudaMalloc(*mut *mut c_void, usize) -> Code;
    cudaFree(*mut c_void) -> Code;
    cudaHostAlloc(*mut *mut c_void, usize, c_uint) -> Code;
    cudaFreeHost(*mut c_void) -> Code;
    cudaMemcpyAsync(*mut c_void, *const c_void, usize, c_int, *mut c_void) -> Code;
    cudaStreamBeginCapture(*mut c_void, c_int) -> Code;
    cudaStreamEndCapture(*mut c_void, *mut *mut c_void) -> Code;
    cudaGraphGetNodes(*mut c_void, *mut *mut c_void, *mut usize) -> Code;
    cudaGraphNodeGetType(*mut c_void, *mut c_int) -> Code;
    cudaGraphInstantiateWithFlags(*mut *mut c_void, *mut c_void, u64) -> Code;
    cudaGraphDestroy(*mut c_void) -> Code;
    cudaGraphLaunch(*mut c_void, *mut c_void) -> Code;
    cudaGraphExecDestroy(*mut c_void) -> Code;
}

/// The words of the system, which libloading's general ones have as their source.
pub(crate) fn words(error: libloading::Error) -> String {
    std::error::Error::source(&error).map_or_else(|| error.to_string(), |source| source.to_string())
}

impl Cudart {
    /// The process's CUDA runtime.
    ///
    /// # Errors
    /// No library to be had, in the system's words.
    pub(crate) fn get() -> Result<&'static Self, String> {
        static FOUND: OnceLock<Result<Cudart, String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| match NAMES.into_iter().find_map(loaded) {
            Some(library) => Self::of(library),
            None => {
                let mut last = Err("no name to look for".to_owned());
                for name in NAMES {
                    last = Self::open(name.as_ref());
                    if last.is_ok() {
                        break;
                    }
                }
                last
            }
        });
        found.as_ref().map_err(|why| format!("the CUDA runtime cannot be loaded: {why}"))
    }

    fn open(name: &OsStr) -> Result<Self, String> {
        // SAFETY: the CUDA runtime does nothing of note when it is loaded.
        Self::of(unsafe { Library::new(name) }.map_err(words)?)
    }

    /// Asks the driver for a device.
    ///
    /// # Errors
    /// No driver, one that is too old, or no device, in CUDA's words.
    pub(crate) fn find_device(&self) -> Result<(), String> {
        let mut count = 0;
        // SAFETY: the pointer is valid for writing.
        self.check("cudaGetDeviceCount", unsafe { (self.cudaGetDeviceCount)(&mut count) })?;
        if count > 0 { Ok(()) } else { Err("CUDA finds no device".into()) }
    }

    /// Makes the first device, which ONNX Runtime's provider takes, the calling thread's own until the guard is dropped.
    ///
    /// # Errors
    /// In CUDA's words.
    pub(crate) fn on_device(&'static self) -> Result<OnDevice, String> {
        let mut before = 0;
        // SAFETY: the pointer is valid for writing.
        self.check("cudaGetDevice", unsafe { (self.cudaGetDevice)(&mut before) })?;
        // SAFETY: takes a number, of whatever value.
        self.check("cudaSetDevice", unsafe { (self.cudaSetDevice)(0) })?;
        Ok(OnDevice { cudart: self, before })
    }

    /// For destructors, which have nobody to tell: CUDA keeps no error.
    fn forget(&self, code: Code) {
        if code != 0 {
            // SAFETY: takes nothing.
            unsafe { (self.cudaGetLastError)() };
        }
    }

    /// The text of an error code.
    fn check(&self, function: &str, code: Code) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: takes nothing. CUDA would keep the error, and ONNX Runtime take it for one of its own kernels'.
        unsafe { (self.cudaGetLastError)() };
        // SAFETY: texts of codes, known or not, are static.
        let text = unsafe { (self.cudaGetErrorString)(code).as_ref().map(|text| CStr::from_ptr(text)) };
        let text = text.map_or("an error without a name".into(), CStr::to_string_lossy);
        Err(format!("{text} (error {code} of {function})"))
    }

    /// `bytes` bytes, at least one, from a function that writes the address of new memory.
    fn allocate(
        &self,
        function: &str,
        bytes: usize,
        new: impl FnOnce(*mut *mut c_void, usize) -> Code,
    ) -> Result<NonNull<c_void>, String> {
        let mut data = null_mut();
        self.check(function, new(&mut data, bytes.max(1))).map_err(|why| format!("{bytes} bytes: {why}"))?;
        NonNull::new(data).ok_or_else(|| format!("{bytes} bytes: null from {function}"))
    }
}

/// While it lives, the calling thread's device is the first one.
pub(crate) struct OnDevice {
    cudart: &'static Cudart,
    before: c_int,
}

impl Drop for OnDevice {
    fn drop(&mut self) {
        // SAFETY: takes a number that was the thread's device before.
        self.cudart.forget(unsafe { (self.cudart.cudaSetDevice)(self.before) });
    }
}

/// The library of this name, if the process has it loaded: the provider's, whatever else is installed.
fn loaded(name: &str) -> Option<Library> {
    #[cfg(target_os = "linux")]
    {
        use libloading::os::unix;
        /// Of <dlfcn.h>.
        const RTLD_NOLOAD: c_int = 4;
        // SAFETY: nothing is loaded, and so nothing run.
        unsafe { unix::Library::open(Some(name), unix::RTLD_NOW | RTLD_NOLOAD) }.ok().map(Into::into)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = name;
        None
    }
}

/// A queue of work on the device: what is put into it is done in order, and later.
pub(crate) struct Stream {
    cudart: &'static Cudart,
    stream: NonNull<c_void>,
}

// SAFETY: streams belong to the process, not to a thread; nothing is shared without a lock outside.
unsafe impl Send for Stream {}

impl Stream {
    /// A stream of its own.
    ///
    /// # Errors
    /// In CUDA's words.
    pub(crate) fn new(cudart: &'static Cudart) -> Result<Self, String> {
        let mut stream = null_mut();
        // SAFETY: the pointer is valid for writing.
        let code = unsafe { (cudart.cudaStreamCreateWithFlags)(&mut stream, NON_BLOCKING) };
        cudart.check("cudaStreamCreateWithFlags", code)?;
        let stream = NonNull::new(stream).ok_or("null from cudaStreamCreateWithFlags")?;
        Ok(Self { cudart, stream })
    }

    /// `cudaStream_t`.
    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.stream.as_ptr()
    }

    /// Puts a copy of `bytes` bytes from pinned memory to the device into the stream.
    ///
    /// # Errors
    /// More bytes than the device's memory has; what CUDA refuses.
    ///
    /// # Safety
    /// `from` is pinned, has so many bytes, and they stay as they are until [`Self::synchronize`] has returned.
    pub(crate) unsafe fn copy_in(&self, to: &DeviceMemory, from: *const c_void, bytes: usize) -> Result<(), String> {
        to.has(bytes)?;
        // SAFETY: there is room, and the rest is the caller's promise.
        let code = unsafe { (self.cudart.cudaMemcpyAsync)(to.as_ptr(), from, bytes, TO_DEVICE, self.as_ptr()) };
        self.cudart.check("cudaMemcpyAsync", code)
    }

    /// Puts a copy of `bytes` bytes from the device to pinned memory into the stream.
    ///
    /// # Errors
    /// More bytes than the device's memory has; what CUDA refuses.
    ///
    /// # Safety
    /// `to` is pinned, has so many bytes, and nobody else uses them until [`Self::synchronize`] has returned.
    pub(crate) unsafe fn copy_out(&self, to: *mut c_void, from: &DeviceMemory, bytes: usize) -> Result<(), String> {
        from.has(bytes)?;
        // SAFETY: as many bytes are there, and the rest is the caller's promise.
        let code = unsafe { (self.cudart.cudaMemcpyAsync)(to, from.as_ptr(), bytes, TO_HOST, self.as_ptr()) };
        self.cudart.check("cudaMemcpyAsync", code)
    }

    /// Waits until all that was put into the stream is done.
    ///
    /// # Errors
    /// What has gone wrong on the device since the last time.
    pub(crate) fn synchronize(&self) -> Result<(), String> {
        // SAFETY: the stream is alive.
        self.cudart.check("cudaStreamSynchronize", unsafe { (self.cudart.cudaStreamSynchronize)(self.as_ptr()) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made by CUDA, and destroyed once.
        self.cudart.forget(unsafe { (self.cudart.cudaStreamDestroy)(self.as_ptr()) });
    }
}

/// Memory on the device.
pub(crate) struct DeviceMemory {
    cudart: &'static Cudart,
    data: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: memory of the device belongs to the process, not to a thread.
unsafe impl Send for DeviceMemory {}

impl DeviceMemory {
    /// Memory of `bytes` bytes with whatever is in it.
    ///
    /// # Errors
    /// In CUDA's words, with the size.
    pub(crate) fn new(cudart: &'static Cudart, bytes: usize) -> Result<Self, String> {
        // SAFETY: the pointer that is passed on is valid for writing.
        let data = cudart.allocate("cudaMalloc", bytes, |data, bytes| unsafe { (cudart.cudaMalloc)(data, bytes) })?;
        Ok(Self { cudart, data, bytes })
    }

    /// An address on the device.
    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.data.as_ptr()
    }

    fn has(&self, bytes: usize) -> Result<(), String> {
        if bytes <= self.bytes {
            return Ok(());
        }
        Err(format!("{bytes} bytes do not fit the device's {}", self.bytes))
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: made by CUDA, and freed once.
        self.cudart.forget(unsafe { (self.cudart.cudaFree)(self.as_ptr()) });
    }
}

/// Memory of the host that stays where it is, so that the device copies from and to it by itself.
pub(crate) struct Pinned<T> {
    cudart: &'static Cudart,
    data: NonNull<T>,
    len: usize,
}

// SAFETY: the memory belongs to this value alone, as that of a box.
unsafe impl<T: Send> Send for Pinned<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Pinned<T> {}

impl<T: Copy> Pinned<T> {
    /// `len` times `value`.
    ///
    /// # Errors
    /// In CUDA's words, with the size.
    pub(crate) fn new(cudart: &'static Cudart, value: T, len: usize) -> Result<Self, String> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or("more bytes than there can be")?;
        let data = cudart.allocate("cudaHostAlloc", bytes, |data, bytes| {
            // SAFETY: the pointer that is passed on is valid for writing.
            unsafe { (cudart.cudaHostAlloc)(data, bytes, DEFAULT) }
        })?;
        // Freed by its drop if it cannot be used.
        let pinned = Self { cudart, data: data.cast(), len };
        if !pinned.data.is_aligned() {
            return Err("cudaHostAlloc returned memory that is not aligned".into());
        }
        for i in 0..len {
            // SAFETY: the memory has room for `len` elements and is aligned.
            unsafe { pinned.data.add(i).write(value) };
        }
        Ok(pinned)
    }

    /// Address and number of elements, for others than Rust.
    pub(crate) fn raw_parts(&self) -> (NonNull<T>, usize) {
        (self.data, self.len)
    }
}

impl<T> Deref for Pinned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many elements were written when it was made; copies from and to it are over before it is borrowed
        // again.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Pinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: made by CUDA, and freed once.
        self.cudart.forget(unsafe { (self.cudart.cudaFreeHost)(self.data.as_ptr().cast()) });
    }
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod standin;
#[cfg(all(test, target_os = "linux"))]
mod tests;
