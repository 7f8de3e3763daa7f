//! Finds and loads ONNX Runtime, once a process.
//!
//! In this order: the file in `ORT_DYLIB_PATH`, and then no other; a library next to the program, or next to the library that
//! this crate is a part of; the one that the feature `bundled` fetched, if it is what is pinned; the system's. An application
//! that knows better says so ([`load`]).

#[cfg(feature = "bundled")]
mod bundled;
mod library;
mod log;
mod places;
mod process;

pub use log::{Severity, log_to};
pub(crate) use process::OfProcess;
#[cfg(all(test, unix))]
pub(crate) use process::in_a_child;

use crate::binding::check;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::graph::build::introduce;
use library::Library;
use ort::environment::Environment;
use places::{Places, places};
use std::ffi::CStr;
use std::fmt::Write as _;
use std::iter::once;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Which ONNX Runtime is loaded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineInfo {
    /// The library's file, or its bare name where the system's loader found it.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
    /// What the library says of its build.
    pub build: String,
    /// The execution providers that it was built with, in ONNX Runtime's names.
    pub providers: Vec<String>,
}

struct Engine {
    environment: Environment,
    info: EngineInfo,
}

static ENGINE: OnceLock<Engine> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// Loads ONNX Runtime, if that has not been done, and says which one it is.
///
/// Official builds from 1.29 on would write into the user's cache folder and send what they see to their maker. Before
/// the library is loaded, `ORT_DISABLE_TELEMETRY=1` is put into the environment of the process, unless it stands there
/// already, and they do neither. Where other threads may look at the environment by C's functions, which no lock
/// protects, set it before they begin: then nothing is changed.
///
/// # Errors
/// [`ErrorKind::Engine`] with every place that was looked at.
pub fn engine_info() -> Result<&'static EngineInfo> {
    Ok(&engine()?.info)
}

/// Loads ONNX Runtime from the library at `path`, wherever others lie, for an application that brings one along and knows where.
/// To be called before anything else needs it.
///
/// # Errors
/// [`ErrorKind::Engine`] if it is no library to use; [`ErrorKind::Argument`] if another one is loaded already, of which
/// there is one a process.
pub fn load(path: impl AsRef<Path>) -> Result<&'static EngineInfo> {
    let path = path.as_ref();
    let info = &engine_of(|| Box::new(once(("asked for".into(), Ok(vec![path.to_owned()])))))?.info;
    let same = |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(&info.path, path) || same(&info.path, &library::resolved(path)) {
        return Ok(info);
    }
    Err(Error::argument(format!(
        "{} cannot be loaded: {} is loaded already, and a process has one ONNX Runtime; call this first",
        path.display(),
        info.path.display()
    )))
}

/// The process's ONNX Runtime environment, for an application that runs models of its own through the crate `ort` beside a
/// generator: there is one a process, which this crate makes if it is not given one ([`share_environment`]). Its log goes
/// to [`log_to`]'s function; for a session of one's own `ort`'s builder sets a level or a logger.
///
/// With the feature `ort-environment`. The type is `ort`'s, of exactly the version that this crate depends on, and changes
/// with it.
///
/// # Errors
/// As [`engine_info`].
pub fn environment() -> Result<&'static Environment> {
    Ok(&engine()?.environment)
}

/// Has generators run in an environment that the application has made, before anything else of this crate has made one.
/// Threads are a generator's own, even where the environment has some; what it says of the log and of telemetry stays,
/// and [`log_to`]'s function hears nothing.
///
/// With the feature `ort-environment`, see [`environment`].
///
/// # Errors
/// [`ErrorKind::Argument`] if it has execution providers, which every session would then run on, or if this crate has
/// loaded ONNX Runtime already; [`ErrorKind::Engine`] if it is too old.
#[cfg(feature = "ort-environment")]
pub fn share_environment(environment: &Environment) -> Result<&'static EngineInfo> {
    use ort::AsPointer;
    let of_all = environment.execution_providers().len();
    if of_all > 0 {
        return Err(Error::argument(format!(
            "the environment has {of_all} execution providers for all sessions, allowed are none: give them to the builders of \
             your own sessions, and Options::provider to generators"
        )));
    }
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = ENGINE.get() {
        if engine.environment.ptr() == environment.ptr() {
            return Ok(&engine.info);
        }
        let path = engine.info.path.display();
        let what = format!("{path} is loaded already, in an environment of Kiln's; call this before");
        return Err(Error::argument(what));
    }
    process::count_forks();
    let engine = shared(environment.clone()).map_err(|what| Fault::new(ErrorKind::Engine, what))?;
    Ok(&ENGINE.get_or_init(|| engine).info)
}

/// Of an environment that is there already.
#[cfg(feature = "ort-environment")]
fn shared(environment: Environment) -> std::result::Result<Engine, String> {
    let api: *const ort::sys::OrtApi = ort::api();
    let library = Library::open(&places::file_of(api.cast()).unwrap_or_else(|| places::NAME.into()))?;
    Engine::new(environment, library)
}

fn engine() -> Result<&'static Engine> {
    engine_of(places)
}

/// What is loaded; if nothing is, from the first of these places that has it.
fn engine_of(places: impl FnOnce() -> Places) -> Result<&'static Engine> {
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    match ENGINE.get() {
        Some(engine) => Ok(engine),
        None => {
            let engine = first_of(places())?;
            Ok(ENGINE.get_or_init(|| engine))
        }
    }
}

fn first_of(places: Places) -> Result<Engine> {
    process::count_forks();
    silence();
    let mut searched = String::new();
    for (place, paths) in places {
        let mut note = |found: &str| {
            let _ = writeln!(searched, "  {place}: {found}");
        };
        match paths {
            Ok(paths) => {
                for path in paths {
                    match open(&path) {
                        Ok(engine) => return Ok(engine),
                        Err(e) => note(&e),
                    }
                }
            }
            Err(e) => note(&e),
        }
    }
    let what = format!(
        "no usable ONNX Runtime library (1.24 or newer); looked at:\n{searched}to get one: set ORT_DYLIB_PATH to the library \
         file (it is in the Python package `onnxruntime`, folder onnxruntime/capi), or place it next to the program, or build \
         with the feature `bundled`"
    );
    Err(Fault::new(ErrorKind::Engine, what).into())
}

/// Keeps ONNX Runtime from writing a number for this user, and what it sees, into the cache folder, and from sending it
/// away: it begins with that as soon as it has an environment, whatever is said to that.
fn silence() {
    const NAME: &str = "ORT_DISABLE_TELEMETRY";
    // Another value, such as 0, would let it.
    if std::env::var_os(NAME).is_some_and(|value| value == "1") {
        return;
    }
    // SAFETY: done once a process, before the library is loaded, so that no thread of its own can look. Rust's own access
    // to the environment is locked; that of an application's C code in another thread is not, of which `engine_info` and
    // the C header warn, and which they tell how to avoid.
    unsafe { std::env::set_var(NAME, "1") }
}

fn open(path: &Path) -> std::result::Result<Engine, String> {
    let library = Library::open(path)?;
    let fail = |e: String| does_not_start(&library, &e);
    let environment = ort::init_from(&library.path)
        .map_err(|e| fail(e.to_string()))?
        .with_name("kiln")
        .with_telemetry(false)
        // Whoever asks hears the reason; the log would repeat it, in colour, on the standard error stream.
        .with_logger(Arc::new(|level, _, _, _, message| log::pass(level, message)))
        .build()
        .map_err(|e| match e.to_string() {
            what if what.contains("only one environment") => fail(OTHERS.to_owned()),
            what => fail(what),
        })?;
    // A logger begins with everything.
    environment.set_log_level(log::least());
    Engine::new(environment, library)
}

/// Of the application's environment, of which nothing but its owner can tell.
const OTHERS: &str = "the program has an environment of its own, made through the crate ort; it is shared by \
                      runtime::share_environment (feature ort-environment), called first, or not made, and had from \
                      runtime::environment";

fn does_not_start(library: &Library, what: &str) -> String {
    format!("{} does not start: {what}", library.path.display())
}

impl Engine {
    fn new(environment: Environment, library: Library) -> std::result::Result<Self, String> {
        let fail = |what: String| does_not_start(&library, &what);
        let providers = providers().map_err(fail)?;
        introduce(&environment).map_err(fail)?;
        let info =
            EngineInfo { path: library.path, version: library.version, build: ort::info().to_owned(), providers };
        Ok(Self { environment, info })
    }
}

fn providers() -> std::result::Result<Vec<String>, String> {
    let (mut names, mut count) = (null_mut(), 0);
    // SAFETY: both pointers are valid for writing.
    check(unsafe { (ort::api().GetAvailableProviders)(&mut names, &mut count) })?;
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the library has written so many texts, which live until they are released.
    let all = (0..count).map(|i| unsafe { CStr::from_ptr(*names.add(i)) }.to_string_lossy().into_owned()).collect();
    // SAFETY: the list came from the call above, and is released once.
    check(unsafe { (ort::api().ReleaseAvailableProviders)(names, count as i32) })?;
    Ok(all)
}
