//! Errors as programs in C and bindings for other languages see them.

#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

#[path = "common/c_programs.rs"]
mod c_programs;

use c_programs::{Kind, compile, compiler, libraries, said, succeed};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn a_c_program_decides_by_statuses_and_gets_texts_in_any_thread() {
    let Some(compiler) = compiler("CC", "cc") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [Kind::Shared, Kind::Static] {
        let program = compile(&compiler, "-std=c99", "tests/c/errors.c", kind, folder.path());
        let output = succeed(Command::new(&program).arg(format!("{ROOT}/tests/fixtures")));
        assert_eq!(said(&output), "as it should be\n", "{kind:?}");
    }
}

#[test]
fn a_binding_gets_texts_in_any_thread() {
    let library = libraries().join(format!("libruntime{}", std::env::consts::DLL_SUFFIX));
    let mut python = Command::new("python3");
    python.arg(format!("{ROOT}/tests/python/errors.py")).arg(library);
    python.args([format!("{ROOT}/include/kiln.h"), format!("{ROOT}/tests/fixtures")]);
    match python.output() {
        Ok(output) if output.status.success() => {
            assert_eq!(said(&output), format!("as it should be, with {}\n", env!("CARGO_PKG_VERSION")));
        }
        Ok(output) => panic!("{}", said(&output)),
        Err(e) => eprintln!("not tested: there is no python3 ({e})"),
    }
}
