//! With the feature `bundled` (or `KILN_BUNDLED=1`, which this workspace sets for its own programs): fetches the official
//! build of ONNX Runtime through pip, once, and tells the crate where it is. Without network the build goes on; opening a
//! generator then fails with an error that says what to do.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/fetch.py");
    println!("cargo:rerun-if-env-changed=KILN_BUNDLED");
    let workspace_wants_it = env::var("KILN_BUNDLED").is_ok_and(|value| value == "1");
    if env::var_os("CARGO_FEATURE_BUNDLED").is_none() && !workspace_wants_it {
        return;
    }
    match fetch() {
        Ok(library) => {
            // A file that is gone makes cargo run this script again.
            println!("cargo:rerun-if-changed={library}");
            println!("cargo:rustc-env=KILN_ORT_DYLIB={library}");
        }
        Err(why) => {
            println!("cargo:rerun-if-changed=no-library-yet");
            println!(
                "cargo:warning=ONNX Runtime was not fetched: {why}; opening a generator needs ORT_DYLIB_PATH, or build \
                 again with Python, pip and a network"
            );
        }
    }
}

fn fetch() -> Result<String, String> {
    let variable = |name: &str| env::var(name).map_err(|_| format!("cargo did not set {name}"));
    let target = format!("{}-{}", variable("CARGO_CFG_TARGET_OS")?, variable("CARGO_CFG_TARGET_ARCH")?);
    // OUT_DIR is <target folder>/<profile>/build/<crate>/out: one copy serves all profiles.
    let out = PathBuf::from(variable("OUT_DIR")?);
    let folder = out.ancestors().nth(4).ok_or("OUT_DIR is no folder of cargo's")?.join("onnxruntime");
    let mut reasons = Vec::new();
    for python in ["python3", "python", "py"] {
        let run = Command::new(python).arg("build/fetch.py").arg(&target).arg(&folder).output();
        match run {
            Ok(output) if output.status.success() => {
                return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                reasons.push(format!("{python}: {}", said.lines().last().unwrap_or("failed without a word")));
            }
            Err(e) => reasons.push(format!("{python}: {e}")),
        }
    }
    Err(reasons.join("; "))
}
