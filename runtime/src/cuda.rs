//! Whether CUDA can be used, and if not, why: in the words of the library that is missing.

use crate::engine::engine_info;
use crate::error::{Error, Result};
use libloading::Library;
use std::path::Path;

/// ONNX Runtime's own name for its CUDA provider.
const PROVIDER: &str = "CUDAExecutionProvider";

/// Finds out whether generators can run on an NVIDIA GPU here. This version of the crate samples on the CPU only, so that
/// there always is a reason why not; the first one is told.
///
/// # Errors
/// [`Error::Provider`] with the reason; [`Error::Engine`] without ONNX Runtime.
pub fn cuda() -> Result<()> {
    let engine = engine_info()?;
    let fail = |why: String| Err(Error::Provider { provider: "cuda", why });
    if !engine.providers.iter().any(|name| name == PROVIDER) {
        let (path, has) = (engine.path.display(), engine.providers.join(", "));
        return fail(format!(
            "{path} is built without it (it has {has}); the library in the Python package onnxruntime-gpu has it, set \
             ORT_DYLIB_PATH to that"
        ));
    }
    if let Err(why) = load(engine.path.parent().unwrap_or(Path::new(""))) {
        return fail(why);
    }
    fail("this version of the runtime cannot use it yet; ask for cpu or auto".into())
}

/// Loads the libraries of the provider in `folder`, as ONNX Runtime would, to hear what the system's loader says.
fn load(folder: &Path) -> std::result::Result<(), String> {
    for part in ["shared", "cuda"] {
        let path = folder.join(libloading::library_filename(format!("onnxruntime_providers_{part}")));
        // SAFETY: the libraries belong to the ONNX Runtime that is loaded already and run nothing more than that does when
        // it loads them itself. They are never unloaded, as they may have begun threads.
        match unsafe { Library::new(&path) } {
            Ok(library) => std::mem::forget(library),
            Err(e) => {
                // libloading's own words are general; those of the system are the source.
                let words = std::error::Error::source(&e).map_or_else(|| e.to_string(), |source| source.to_string());
                return Err(format!("{} cannot be loaded: {words}", path.display()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_build_of_the_library_the_reason_is_told() {
        let error = cuda().expect_err("this version has no CUDA").to_string();
        assert!(error.contains("onnxruntime-gpu") && error.contains("CPUExecutionProvider"), "{error}");
    }

    /// Stand-ins for the provider's libraries, of which one needs a library that is gone.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_missing_library_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = load(folder.path()).expect_err("nothing there");
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
        let missing = load(folder.path()).expect_err("a library is gone");
        assert!(missing.contains("libkiln_gone.so.12: cannot open shared object file"), "{missing}");
    }
}
