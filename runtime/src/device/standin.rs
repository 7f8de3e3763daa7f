//! A library that stands in for CUDA's in tests: no GPU is needed.

use super::{Cudart, Stream};
use crate::binding::{Binding, Place, RunOptions, Session, check};
use crate::gpu::{Backend, Provide};
use libloading::Library;
use ort::session::builder::SessionBuilder;
use ort::sys::{OrtIoBinding, OrtRunOptions, OrtSession, OrtStatusPtr};
use std::ffi::{CString, c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

/// A library of its own, so that tests do not count each other's calls; compiled once a test.
pub(crate) struct StandIn {
    pub(crate) cudart: &'static Cudart,
    library: Library,
    /// Whether the last session was to keep all digits of f32.
    pub(crate) exact: &'static AtomicBool,
    /// Text that the library points to.
    failing: Option<CString>,
    _folder: tempfile::TempDir,
}

impl StandIn {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("libcudart.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/device/standin.c");
        let status =
            std::process::Command::new("cc").args(["-shared", "-fPIC", "-w", "-o"]).arg(&path).arg(source).status();
        assert!(status.expect("the tests need a C compiler, as building the trainer does").success());
        let cudart = Box::leak(Box::new(Cudart::open(path.as_os_str()).expect("loads")));
        // SAFETY: the library runs nothing when it is loaded.
        let library = unsafe { Library::new(&path) }.expect("loads");
        Self { cudart, library, exact: Box::leak(Box::default()), failing: None, _folder: folder }
    }

    fn number(&self, name: &str) -> *mut c_int {
        // SAFETY: the variable is an int, used by one test's thread alone.
        *unsafe { self.library.get::<*mut c_int>(name.as_bytes()) }.expect("is there")
    }

    /// The value of a variable of standin.c.
    pub(crate) fn get(&self, name: &str) -> c_int {
        // SAFETY: the variable is an int, and nobody writes to it while a test looks.
        unsafe { *self.number(name) }
    }

    /// Sets a variable of standin.c.
    pub(crate) fn set(&self, name: &str, value: c_int) {
        // SAFETY: as above.
        unsafe { *self.number(name) = value };
    }

    /// Live device memory, pinned memory, streams, graphs and recordings.
    pub(crate) fn live(&self) -> [c_int; 4] {
        ["live_device", "live_pinned", "live_streams", "live_graphs"].map(|name| self.get(name))
    }

    pub(crate) fn fail(&mut self, function: &str, code: c_int) {
        let text = CString::new(function).expect("no NUL");
        // SAFETY: the variables have these types; the text lives in `self` until another one takes its place.
        unsafe {
            **self.library.get::<*mut *const c_char>(b"failing").expect("is there") = text.as_ptr();
            *self.number("failure") = code;
        }
        self.failing = Some(text);
    }
}

type Run = unsafe extern "system" fn(*mut OrtSession, *const OrtRunOptions, *const OrtIoBinding) -> OrtStatusPtr;
type KilnRun = unsafe extern "C" fn(Run, *mut OrtSession, *const OrtRunOptions, *const OrtIoBinding) -> OrtStatusPtr;

/// ONNX Runtime's CPU provider, which stands in for that of CUDA: its runs can be recorded.
struct Cpu(KilnRun, &'static AtomicBool);

impl Provide for Cpu {
    fn place(&self) -> Place {
        Place::Host
    }

    unsafe fn add(&self, builder: SessionBuilder, _: &Stream, exact: bool) -> Result<SessionBuilder, String> {
        self.1.store(exact, Ordering::Relaxed);
        Ok(builder)
    }

    fn run(&self, session: &Session, binding: &mut Binding, options: &RunOptions) -> Result<(), String> {
        let (session, options, binding) = binding.arguments(session, options);
        // SAFETY: these are the function's arguments; recorded ones live as long as the recording.
        let status = unsafe { (self.0)(ort::api().RunWithBinding, session, options, binding) };
        // What standin.c says, which cannot make a status.
        if status.0.addr() == 1 { Err("the run failed".into()) } else { check(status) }
    }
}

impl StandIn {
    /// Everything of a GPU but its provider.
    pub(crate) fn backend(&self) -> Backend {
        // SAFETY: the function has this type.
        let run = *unsafe { self.library.get::<KilnRun>(b"kiln_run") }.expect("is there");
        Backend { cudart: self.cudart, provider: Box::leak(Box::new(Cpu(run, self.exact))) }
    }
}
