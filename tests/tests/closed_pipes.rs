//! Programs whose output nobody reads: they end as they would otherwise, and do not panic. Programs whose output is lost on a
//! full disk: they fail, as somebody waits for it.

use std::io::pipe;
use std::path::Path;
use std::process::Command;
use tests::{sample, trainer};

/// The exit code of a panic.
const PANIC: i32 = 101;

/// Ends with this code where standard output, standard error, or both are closed from the beginning.
fn ends(mut command: impl FnMut() -> Command, code: i32) {
    for (out, err) in [(true, false), (false, true), (true, true)] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let mut command = command();
        if out {
            command.stdout(writer.try_clone().expect("a second end"));
        }
        if err {
            command.stderr(writer);
        }
        let ended = command.output().expect("it starts").status.code();
        assert_ne!(ended, Some(PANIC), "{command:?} panics");
        assert_eq!(ended, Some(code), "{command:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_are_lost_are_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits/gen.onnx");
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let (mut recipe, mut info) = (trainer(folder.path()), sample(folder.path()));
    recipe.arg("--print-recipe");
    info.arg(&model).arg("--info");
    for command in [&mut recipe, &mut info] {
        let ended = command.stdout(full()).output().expect("it starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("cannot write what was to be printed: No space left"), "{said}");
    }
}

#[test]
fn nobody_listens_to_the_trainer() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |args: &[&str]| {
        let mut command = trainer(folder.path());
        command.args(args);
        command
    };
    ends(|| with(&["--help"]), 0);
    ends(|| with(&["--print-recipe"]), 0);
    ends(|| with(&["--recipe", "nothing"]), 1);
    ends(|| with(&["--steps", "many"]), 2);
    ends(|| with(&["--steps", "2", "--threads", "1", "--export", "gen.onnx"]), 0);
}

#[test]
fn nobody_listens_to_sample() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits/gen.onnx");
    let with = |args: &[&str]| {
        let mut command = sample(folder.path());
        command.arg(&model).args(args);
        command
    };
    ends(|| with(&["--info"]), 0);
    ends(|| with(&["--grid", "out.png"]), 0);
    ends(|| with(&["--doctor"]), 0);
    ends(|| with(&[]), 2);
    ends(|| with(&["--info", "--weights", "missing.safetensors"]), 1);
}
