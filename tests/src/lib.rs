//! The programs under test: `trainer` and `sample`, as a user would run them.

#![allow(clippy::print_stdout, reason = "skipped tests say why")]

/// The README's examples are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod disk;
pub mod process;
pub mod runs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The program `trainer`, to be run in `folder`.
pub fn trainer(folder: &Path) -> Command {
    program("trainer", folder)
}

/// The program `sample`, to be run in `folder`.
pub fn sample(folder: &Path) -> Command {
    program("sample", folder)
}

/// Runs a command to its end, which must be a good one, and gives what it wrote.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let said = said(&output);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
    said
}

/// Runs a command that must end with this exit code, and gives what it wrote.
pub fn fail(command: &mut Command, code: i32) -> String {
    let output = run(command);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?} said:\n{said}");
    said
}

/// A temporary folder.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary folder: {e}"))
}

/// The bytes of a file.
pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Runs a script of `python/` in `folder`, with the interpreter in the variable `PYTHON`, to a good end, and gives what it
/// wrote: why it was skipped, where there is no Python.
pub fn python(folder: &Path, script: &str, arguments: &[&str]) -> String {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut command = Command::new(&python);
    match command.current_dir(folder).arg(script).args(arguments).output() {
        Ok(output) => {
            let said = said(&output);
            assert!(output.status.success(), "{said}");
            said
        }
        Err(e) => format!("skipped: {python} does not start ({e})"),
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"))
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn program(name: &str, folder: &Path) -> Command {
    static FOLDERS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    let (programs, cache) = FOLDERS.get_or_init(|| {
        let programs = build();
        let cache = cache_of(&programs);
        (programs, cache)
    });
    let mut command = Command::new(file_of(programs, name));
    command.current_dir(folder);
    if std::env::var_os("KILN_CACHE").is_none() {
        command.env("KILN_CACHE", cache);
    }
    command
}

fn file_of(programs: &Path, name: &str) -> PathBuf {
    programs.join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Where data is kept: not in the user's own cache, nor where another build has kept it, whose faults it would have.
fn cache_of(programs: &Path) -> PathBuf {
    let built = file_of(programs, "trainer").metadata().unwrap_or_else(|e| panic!("the trainer is not there: {e}"));
    let since = built.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let name = format!("kiln-cache-{}-{}", built.len(), since.unwrap_or_default().as_nanos());
    let others = std::fs::read_dir(programs).into_iter().flatten().flatten();
    for other in others.filter(|other| other.file_name().to_string_lossy().starts_with("kiln-cache")) {
        if *other.file_name() != *name {
            let _ = std::fs::remove_dir_all(other.path());
        }
    }
    programs.join(name)
}

/// Builds both programs in the profile of this test, which takes nothing where `cargo test --workspace` has done it, and
/// gives their folder.
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|e| panic!("this test has no file: {e}"));
    let folder =
        test.parent().and_then(Path::parent).unwrap_or_else(|| panic!("{test:?} is not where cargo puts tests"));
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("{folder:?} names no profile"),
    };
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--workspace", "--bins", "--profile", profile]);
    succeed(&mut cargo);
    folder.to_owned()
}
