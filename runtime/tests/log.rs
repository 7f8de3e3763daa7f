//! ONNX Runtime's log: who asks for it in time has it, in processes of their own, since a process has one.

#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

#[path = "common/c_programs.rs"]
mod c_programs;

use c_programs::{Kind, compile, compiler, said, succeed};
use ort::session::Session;
use ort::value::Tensor;
use runtime::{ErrorKind, Generator, Options, Severity, environment, log_to};
use std::process::Command;
use std::sync::{Arc, Mutex};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/conditional.onnx");
const CHILD: &str = "KILN_TEST_LOG";

/// Runs a test of this program once more by itself, and gives what it has said.
fn alone(test: &str) -> String {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    said(&succeed(command.args([test, "--exact", "--nocapture"]).env(CHILD, "1")))
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Makes ONNX Runtime fail in a call, which it logs.
fn fail() {
    let model = std::fs::read(MODEL).expect("reads");
    let mut session = Session::builder(environment().expect("a library"))
        .and_then(|mut builder| builder.commit_from_memory(&model))
        .expect("a session");
    // The table has ten rows.
    let z = Tensor::from_array(([1usize, 6], vec![0f32; 6])).expect("a tensor");
    let class = Tensor::from_array(([1usize], vec![50i64])).expect("a tensor");
    session.run(ort::inputs!["z" => z, "class" => class]).map(drop).expect_err("no such row");
}

#[test]
fn a_function_gets_what_is_severe_enough_and_nothing_is_printed() {
    if !is_child() {
        let said = alone("a_function_gets_what_is_severe_enough_and_nothing_is_printed");
        return assert!(!said.contains("idx=50") && !said.contains("onnxruntime"), "{said}");
    }
    let messages = Arc::new(Mutex::new(Vec::new()));
    let theirs = messages.clone();
    let push = move |severity, text: &str| theirs.lock().expect("no panic").push((severity, text.to_owned()));
    log_to(Severity::Error, push).expect("nothing is loaded");
    Generator::open(MODEL, &Options::default()).expect("opens");
    assert_eq!(*messages.lock().expect("no panic"), [], "opening is no error");
    fail();
    let messages = messages.lock().expect("no panic");
    assert!(messages.iter().any(|(_, text)| text.contains("idx=50")), "{messages:?}");
    assert!(messages.iter().all(|(severity, _)| *severity >= Severity::Error), "{messages:?}");
    assert!(messages.iter().all(|(_, text)| !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t')));
    let late = log_to(Severity::Error, |_, _| ()).expect_err("too late");
    assert!(late.kind() == ErrorKind::Argument && late.what().contains("is loaded already"), "{late}");
}

#[test]
fn a_function_that_panics_loses_its_message() {
    if !is_child() {
        alone("a_function_that_panics_loses_its_message");
        return;
    }
    log_to(Severity::Info, |_, text| panic!("{text}")).expect("nothing is loaded");
    let second = log_to(Severity::Info, |_, _| ()).expect_err("there is one");
    assert!(second.kind() == ErrorKind::Argument && second.what().contains("another function"), "{second}");
    let mut generator = Generator::open(MODEL, &Options::default()).expect("opens");
    fail();
    generator.sample(1, 0, &mut [0u8; 6]).expect("draws");
}

#[test]
fn a_c_program_gets_it_in_time_and_hears_that_it_is_late() {
    let Some(compiler) = compiler("CC", "cc") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [Kind::Shared, Kind::Static] {
        let program = compile(&compiler, "-std=c99", "tests/c/log.c", kind, folder.path());
        assert_eq!(said(&succeed(Command::new(&program).arg(MODEL))), "", "{kind:?}");
    }
}
