//! Finds and loads ONNX Runtime, once a process.
//!
//! In this order: the file in `ORT_DYLIB_PATH`, and then no other; a library next to the program; the one that the
//! feature `bundled` fetched; the system's.

use crate::binding::check;
use crate::error::{Error, Result};
use libloading::Library;
use ort::environment::Environment;
use ort::sys;
use std::ffi::CStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::{Mutex, OnceLock, PoisonError};

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
/// # Errors
/// [`Error::Engine`] with every place that was looked at.
pub fn engine_info() -> Result<&'static EngineInfo> {
    Ok(&engine()?.info)
}

/// The process's ONNX Runtime environment, for an application that runs models of its own through the crate `ort` beside a
/// generator: ONNX Runtime has one environment a process, and this crate makes it.
///
/// # Errors
/// As [`engine_info`].
pub fn environment() -> Result<&'static Environment> {
    Ok(&engine()?.environment)
}

fn engine() -> Result<&'static Engine> {
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    match ENGINE.get() {
        Some(engine) => Ok(engine),
        None => {
            let engine = load()?;
            Ok(ENGINE.get_or_init(|| engine))
        }
    }
}

fn load() -> Result<Engine> {
    let mut searched = String::new();
    let mut note = |place: &str, found: &dyn std::fmt::Display| {
        let _ = writeln!(searched, "  {place}: {found}");
    };
    match std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        Some(path) => match open(Path::new(&path)) {
            Ok(engine) => return Ok(engine),
            // Whoever names a library wants that one.
            Err(e) => note("ORT_DYLIB_PATH", &e),
        },
        None => {
            note("ORT_DYLIB_PATH", &"not set");
            for (place, paths) in places() {
                if paths.is_empty() {
                    note(&place, &"nothing there");
                }
                for path in paths {
                    match open(&path) {
                        Ok(engine) => return Ok(engine),
                        Err(e) => note(&place, &e),
                    }
                }
            }
        }
    }
    Err(Error::Engine { searched })
}

/// The library's name without version.
const NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_vendor = "apple") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// Where to look after `ORT_DYLIB_PATH`: a description, and the files found there.
fn places() -> Vec<(String, Vec<PathBuf>)> {
    let mut places = Vec::new();
    let program = std::env::current_exe().ok();
    if let Some(folder) = program.as_deref().and_then(Path::parent) {
        places.push((format!("next to the program, {}", folder.display()), libraries_in(folder)));
    }
    match option_env!("KILN_ORT_DYLIB") {
        Some(path) => places.push((
            format!("bundled, {path}"),
            vec![path.into()].into_iter().filter(|p: &PathBuf| p.is_file()).collect(),
        )),
        None => places.push(("bundled".into(), Vec::new())),
    }
    for folder in SYSTEM_FOLDERS {
        places.push((format!("system, {folder}"), libraries_in(Path::new(folder))));
    }
    places.push(("system's loader".into(), vec![NAME.into()]));
    places
}

const SYSTEM_FOLDERS: &[&str] = if cfg!(windows) {
    &[]
} else if cfg!(target_vendor = "apple") {
    &["/opt/homebrew/lib", "/usr/local/lib"]
} else {
    &["/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
};

/// The folder's ONNX Runtime libraries: `libonnxruntime.so`, `libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib`;
/// newest names first. Its provider libraries are not among them.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let is_library = |name: &str| {
        let (stem, ending) = NAME.split_once('.').unwrap_or((NAME, ""));
        name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.')).is_some_and(|rest| {
            rest.split('.').all(|part| part == ending || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())))
                && rest.split('.').any(|part| part == ending)
        })
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|e| e.file_name().to_str().is_some_and(is_library))
        .map(|e| e.path())
        .filter(|p| p.is_file())
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

fn open(path: &Path) -> std::result::Result<Engine, String> {
    let builder = ort::init_from(path).map_err(|e| e.to_string())?;
    let environment =
        builder.with_name("kiln").with_telemetry(false).build().map_err(|e| format!("{}: {e}", path.display()))?;
    let fail = |e: String| format!("{}: {e}", path.display());
    let (version, providers) = (version(path).map_err(fail)?, providers().map_err(fail)?);
    let info = EngineInfo { path: path.to_owned(), version, build: ort::info().to_owned(), providers };
    Ok(Engine { environment, info })
}

/// The version of the library at `path`, which is loaded.
fn version(path: &Path) -> std::result::Result<String, String> {
    type GetApiBase = unsafe extern "system" fn() -> *const sys::OrtApiBase;
    // SAFETY: the library is loaded already, so that this runs nothing but counts one user more; the symbol has this type in
    // every version, and the text that it leads to is static.
    unsafe {
        let library = Library::new(path).map_err(|e| e.to_string())?;
        let base = library.get::<GetApiBase>(b"OrtGetApiBase").map_err(|e| e.to_string())?;
        Ok(CStr::from_ptr(((*base()).GetVersionString)()).to_string_lossy().into_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_library_itself_is_found_in_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = [
            "libonnxruntime.so",
            "libonnxruntime.so.1.32.0",
            "libonnxruntime_providers_shared.so",
            "libonnxruntime.so.txt",
            "libonnxruntime.1.so.x",
        ];
        for name in names {
            std::fs::write(folder.path().join(name), b"").expect("writes");
        }
        let found = libraries_in(folder.path());
        assert_eq!(found, [folder.path().join(names[1]), folder.path().join(names[0])]);
        assert!(libraries_in(&folder.path().join("nothing")).is_empty());
    }
}
