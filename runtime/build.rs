//! With the feature `bundled`: tells the crate which ONNX Runtime is pinned, and fetches it through pip into the user's
//! data folder, where the program looks for it, unless it is there already. Without a network the build goes on; opening
//! a generator then fails with an error that says what to do. What comes with another hash than the pinned one ends the
//! build.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

#[path = "build/place.rs"]
mod place;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// How long what could not be fetched is not tried again: the next command may come at once.
const PAUSE: Duration = Duration::from_secs(180);

/// One of the libraries of build/libraries.txt.
struct Library {
    version: &'static str,
    platform: &'static str,
    wheel_sha256: &'static str,
    member: &'static str,
    sha256: &'static str,
    bytes: &'static str,
    /// Where it lies in Kiln's folder.
    place: String,
}

enum Failure {
    /// It is not there, which can be mended later.
    Missing(String),
    /// Something else is there.
    Wrong(String),
}

fn main() {
    for file in ["build.rs", "build/place.rs", "build/fetch.py", "build/libraries.txt"] {
        println!("cargo::rerun-if-changed={file}");
    }
    if env::var_os("CARGO_FEATURE_BUNDLED").is_none() {
        return;
    }
    for name in ["DOCS_RS", "KILN_DATA", "XDG_DATA_HOME", "HOME", "LOCALAPPDATA"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    // There is no network where documentation is built, and nothing is run.
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    match pinned().and_then(|library| provide(&library)) {
        Ok(()) => {}
        Err(Failure::Missing(why)) => {
            println!(
                "cargo::warning=no ONNX Runtime is bundled: {why}; without, opening a generator needs ORT_DYLIB_PATH"
            );
        }
        Err(Failure::Wrong(why)) => println!("cargo::error=ONNX Runtime cannot be bundled: {why}"),
    }
}

/// The library for the target; it is made known to the crate.
fn pinned() -> Result<Library, Failure> {
    let [system, architecture, libc] = ["OS", "ARCH", "ENV"].map(|of| variable(&format!("CARGO_CFG_TARGET_{of}")));
    let (target, libc) = (format!("{}-{}", system?, architecture?), libc?);
    // Of Linux's C libraries the wheels know one.
    let libc = if target.starts_with("linux") && libc != "gnu" { format!("-{libc}") } else { String::new() };
    for line in include_str!("build/libraries.txt").lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[version, for_target, platform, wheel_sha256, member, sha256, bytes] = &fields[..] else { continue };
        if for_target == format!("{target}{libc}") {
            let name = member.rsplit('/').next().unwrap_or(member);
            let place = format!("onnxruntime/{version}-{target}/{name}");
            for (key, value) in [("PLACE", place.as_str()), ("SHA256", sha256), ("BYTES", bytes)] {
                println!("cargo::rustc-env=KILN_ORT_{key}={value}");
            }
            return Ok(Library { version, platform, wheel_sha256, member, sha256, bytes, place });
        }
    }
    Err(Failure::Missing(format!("no library is pinned for {target}{libc} (build/libraries.txt)")))
}

/// Sees to it that the library lies in its place.
fn provide(library: &Library) -> Result<(), Failure> {
    let folder = place::folder().map_err(Failure::Missing)?;
    let path = folder.join(&library.place);
    // A file that is gone makes cargo run this script again.
    println!("cargo::rerun-if-changed={}", path.display());
    // The program looks at its hash before it loads it.
    let is_there = || {
        let found = place::guarded(&folder, Path::new(&library.place)).map_err(Failure::Missing)?;
        Ok(found.is_some_and(|file| file.len().to_string() == library.bytes))
    };
    if is_there()? {
        return Ok(());
    }
    let marker = Marker::of(&path)?;
    if let Some(why) = marker.failed_lately() {
        return Err(Failure::Missing(why));
    }
    fetch(library, &path).inspect_err(|failure| {
        if let Failure::Missing(why) = failure {
            marker.note(why);
        }
    })?;
    match is_there()? {
        true => Ok(()),
        false => Err(Failure::Wrong(format!("{} is not {} bytes long", path.display(), library.bytes))),
    }
}

fn fetch(library: &Library, path: &Path) -> Result<(), Failure> {
    let mut reasons = Vec::new();
    for python in ["python3", "python", "py"] {
        let mut command = Command::new(python);
        command.arg("build/fetch.py").args([library.version, library.platform, library.wheel_sha256]);
        match command.args([library.member, library.sha256]).arg(path).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let why = format!("{python}: {}", said.lines().last().unwrap_or("failed without a word"));
                match output.status.code() {
                    Some(3) => return Err(Failure::Wrong(why)),
                    // Another Python's would find no more.
                    Some(1) if !said.contains("No module named pip") => return Err(Failure::Missing(why)),
                    _ => reasons.push(why),
                }
            }
            Err(e) => reasons.push(format!("{python}: {e}")),
        }
    }
    Err(Failure::Missing(format!("building needs Python with pip, to fetch it: {}", reasons.join("; "))))
}

/// Notes that a library could not be fetched, so that not every command of cargo's waits for a network that is not there.
struct Marker {
    file: PathBuf,
    library: String,
}

impl Marker {
    fn of(path: &Path) -> Result<Self, Failure> {
        let file = Path::new(&variable("OUT_DIR")?).join("not-fetched");
        Ok(Self { file, library: path.display().to_string() })
    }

    fn failed_lately(&self) -> Option<String> {
        let age = SystemTime::now().duration_since(fs::metadata(&self.file).ok()?.modified().ok()?).ok()?;
        let said = fs::read_to_string(&self.file).ok()?;
        let why = said.strip_prefix(&self.library)?.trim();
        let (since, file) = (age.as_secs(), self.file.display());
        (age < PAUSE)
            .then(|| format!("{why} ({since} s ago; it is tried again after {PAUSE:?}, or once {file} is removed)"))
    }

    fn note(&self, why: &str) {
        // If it cannot be written, the next command tries again.
        let _ = fs::write(&self.file, format!("{}\n{why}\n", self.library));
    }
}

fn variable(name: &str) -> Result<String, Failure> {
    env::var(name).map_err(|_| Failure::Missing(format!("cargo did not set {name}")))
}
