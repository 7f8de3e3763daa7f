//! Whether CUDA can be used, and if not, why: in the words of the library that is missing.

use crate::engine::engine_info;
use crate::error::{Error, Result};
#[cfg(feature = "cuda")]
use {
    crate::device::words,
    crate::engine::EngineInfo,
    crate::gpu::{Backend, registers},
    libloading::Library,
    std::path::Path,
    std::sync::OnceLock,
};

/// Most batch sizes that are recorded on a GPU for one opened file, its clones and pool included:
/// [`Generator::warm_up`](crate::Generator::warm_up).
pub const MAX_GRAPHS: usize = 16;

/// What to do about a library that is not found.
#[cfg(feature = "cuda")]
const FOLDERS: &str = "the folders of NVIDIA's libraries must be where the system's loader looks (LD_LIBRARY_PATH)";

/// Finds out whether generators can run on an NVIDIA GPU here: whether this program was built with the feature `cuda`, ONNX
/// Runtime has its CUDA provider, a driver and the libraries that it needs load, and a device answers. Whether a generator
/// really runs there is found out when it is opened. The first answer is kept for the life of the process.
///
/// # Errors
/// [`ErrorKind::Provider`](crate::ErrorKind::Provider) with the first reason why not, and what to do;
/// [`ErrorKind::Engine`](crate::ErrorKind::Engine) without ONNX Runtime.
pub fn cuda() -> Result<()> {
    backend().map(drop)
}

/// What sessions on a GPU are made with.
///
/// # Errors
/// As [`cuda`].
#[cfg(feature = "cuda")]
pub(crate) fn backend() -> Result<Backend> {
    static FOUND: OnceLock<std::result::Result<Backend, String>> = OnceLock::new();
    let engine = engine_info()?;
    FOUND.get_or_init(|| find(engine)).clone().map_err(Error::cuda)
}

#[cfg(not(feature = "cuda"))]
pub(crate) fn backend() -> Result<std::convert::Infallible> {
    engine_info()?;
    Err(Error::cuda("this program was built without it; build it with `--features cuda`"))
}

#[cfg(feature = "cuda")]
fn find(engine: &EngineInfo) -> std::result::Result<Backend, String> {
    /// ONNX Runtime's own name for its CUDA provider.
    const PROVIDER: &str = "CUDAExecutionProvider";
    /// Of which everything else is part, and without which there is nothing to look for.
    const DRIVER: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

    if !engine.providers.iter().any(|name| name == PROVIDER) {
        let (path, has) = (engine.path.display(), engine.providers.join(", "));
        return Err(format!(
            "{path} is built without it (it has {has}); the library in the Python package onnxruntime-gpu has it, set \
             ORT_DYLIB_PATH to that"
        ));
    }
    loads(Path::new(DRIVER))
        .map_err(|why| format!("there is no driver of NVIDIA's: {why}; install it, or ask for cpu or auto"))?;
    if let Err(why) = registers() {
        // Only now, as ONNX Runtime's own loading begins with a call that its provider cannot do without.
        parts(engine.path.parent().unwrap_or(Path::new("")))?;
        return Err(format!("ONNX Runtime cannot use it: {why}; ask for cpu or auto"));
    }
    let backend = Backend::cuda().map_err(|why| format!("{why}; {FOLDERS}"))?;
    let advice = "look whether `nvidia-smi` works, and whether the driver is as new as CUDA is";
    backend.cudart.find_device().map_err(|why| format!("{why}; {advice}"))?;
    Ok(backend)
}

/// Loads the libraries of the provider in `folder`, which ONNX Runtime could not, to hear what the system's loader says.
#[cfg(feature = "cuda")]
fn parts(folder: &Path) -> std::result::Result<(), String> {
    for part in ["shared", "cuda"] {
        let path = folder.join(libloading::library_filename(format!("onnxruntime_providers_{part}")));
        loads(&path).map_err(|why| format!("{} cannot be loaded: {why}; {FOLDERS}", path.display()))?;
    }
    Ok(())
}

/// Loads a library for the life of the process, or says in the system's words why it does not load.
#[cfg(feature = "cuda")]
fn loads(path: &Path) -> std::result::Result<(), String> {
    // SAFETY: the libraries are NVIDIA's and ONNX Runtime's, and run nothing more than when that loads them itself. They are
    // never unloaded, as they may have begun threads.
    unsafe { open(path) }.map(std::mem::forget).map_err(words)
}

/// Opens a library as ONNX Runtime does: what it defines is there for the ones that follow.
#[cfg(all(feature = "cuda", unix))]
unsafe fn open(path: &Path) -> std::result::Result<Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the caller's promise.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map(Into::into)
}

#[cfg(all(feature = "cuda", not(unix)))]
unsafe fn open(path: &Path) -> std::result::Result<Library, libloading::Error> {
    // SAFETY: the caller's promise.
    unsafe { Library::new(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_build_the_reason_is_told() {
        let error = cuda().expect_err("the tests have a CPU library").to_string();
        #[cfg(feature = "cuda")]
        assert!(error.contains("onnxruntime-gpu") && error.contains("CPUExecutionProvider"), "{error}");
        #[cfg(not(feature = "cuda"))]
        assert!(error.contains("--features cuda"), "{error}");
    }

    /// Stand-ins for the provider's libraries, of which one needs a library that is gone.
    #[test]
    #[cfg(all(feature = "cuda", target_os = "linux"))]
    fn a_missing_library_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = parts(folder.path()).expect_err("nothing there");
        assert!(missing.contains("onnxruntime_providers_shared") && missing.contains("No such file"), "{missing}");
        let build = |arguments: &[&str]| {
            let status = std::process::Command::new("cc").args(arguments).current_dir(folder.path()).status();
            assert!(status.expect("the tests need a C compiler, as building the trainer does").success());
        };
        std::fs::write(folder.path().join("empty.c"), "int kiln_empty(void) { return 0; }\n").expect("writes");
        build(&["-shared", "-fPIC", "-o", "libonnxruntime_providers_shared.so", "empty.c"]);
        build(&["-shared", "-fPIC", "-o", "libkiln_gone.so.12", "-Wl,-soname,libkiln_gone.so.12", "empty.c"]);
        let needs_it = ["-Wl,--no-as-needed", "./libkiln_gone.so.12"];
        build(&[&["-shared", "-fPIC", "-o", "libonnxruntime_providers_cuda.so", "empty.c"][..], &needs_it].concat());
        std::fs::remove_file(folder.path().join("libkiln_gone.so.12")).expect("removes");
        let missing = parts(folder.path()).expect_err("a library is gone");
        assert!(missing.contains("libkiln_gone.so.12: cannot open shared object file"), "{missing}");
    }
}
