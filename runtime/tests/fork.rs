//! What is opened before a fork, in the child.

#![cfg(unix)]

#[path = "common/c_programs.rs"]
mod c_programs;

use c_programs::{Kind, compile, compiler, said, succeed};
use std::process::Command;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dcgan-f16.onnx");

#[test]
fn a_child_draws_with_one_thread_and_is_refused_with_more_or_a_limit_and_none_hangs() {
    let Some(compiler) = compiler("CC", "cc") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [Kind::Shared, Kind::Static] {
        let program = compile(&compiler, "-std=c99", "tests/c/fork.c", kind, folder.path());
        let told = |threads: &str, limit: &str| {
            let output = succeed(Command::new(&program).args([MODEL, threads, limit]));
            said(&output)
        };
        assert_eq!(told("1", "0"), "");
        for (threads, limit, what) in
            [("2", "0", "2 threads a call"), ("1", "600000", "options.time_limit"), ("2", "600000", "2 threads a call")]
        {
            let refusals = told(threads, limit);
            let refusal = format!("was opened with {what} before this process was forked; open it in the child");
            let all = refusals.lines().all(|line| line.ends_with(&refusal));
            assert!(refusals.lines().count() == 2 && all, "{refusals}");
        }
    }
}
