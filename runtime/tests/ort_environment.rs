//! An application that has an ONNX Runtime environment of its own. A process has one: each test is a process.

#![allow(clippy::print_stderr, reason = "said to whoever runs the tests")]

mod common;

use common::{draw, fixture, open};
use ort::environment::{EnvironmentBuilder, GlobalThreadPoolOptions};
use ort::ep::CPU;
use ort::session::Session;
use ort::value::Tensor;
use runtime::{ErrorKind, Generator, Options, Provider, Request, engine_info, environment, share_environment};
use std::process::Command;

const CHILD: &str = "KILN_TEST_ENVIRONMENT";
const IMAGES: &str = "KILN_TEST_IMAGES";
const MODEL: &str = "dcgan-f32.onnx";

/// Runs a test of this program by itself, with the library that is found here and with what is drawn here, in an environment
/// of Kiln's.
fn in_a_process_of_its_own(test: &str, body: fn(&str, &[u8])) {
    if let (Ok(library), Some(images)) = (std::env::var(CHILD), std::env::var_os(IMAGES)) {
        return body(&library, &std::fs::read(images).expect("reads"));
    }
    let library = &engine_info().unwrap_or_else(|e| panic!("{e}")).path;
    let images = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(images.path(), drawn(&options())).expect("writes");
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args([test, "--exact", "--nocapture"]).env(CHILD, library).env(IMAGES, images.path());
    let output = command.output().expect("starts");
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn made(library: &str) -> EnvironmentBuilder {
    ort::init_from(library).expect("a library").with_name("theirs").with_telemetry(false)
}

fn options() -> Options {
    Options { provider: Provider::Cpu, threads: 2, ..Options::default() }
}

fn drawn(options: &Options) -> Vec<u8> {
    let images: Vec<f32> = draw(&mut open(MODEL, options), &Request::seed(3), 9);
    images.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Its own threads do not matter to what is drawn, and its own models run beside.
#[test]
fn it_is_shared() {
    in_a_process_of_its_own("it_is_shared", |library, images| {
        let builder = made(library);
        let threads = GlobalThreadPoolOptions::default();
        let threads = threads.with_intra_threads(3).and_then(|t| t.with_inter_threads(2)).expect("threads");
        let theirs = builder.with_global_thread_pool(threads).build().expect("an environment");
        let info = share_environment(&theirs).unwrap_or_else(|e| panic!("{e}"));
        let real = std::fs::canonicalize(library).expect("is there");
        assert!(info.path == real && info.version.starts_with("1."), "{info:?}");
        assert!(info.providers.iter().any(|name| name == "CPUExecutionProvider"));
        share_environment(&theirs).expect("once more");
        share_environment(environment().expect("theirs")).expect("the same");
        for threads in [1, 2] {
            assert!(drawn(&Options { threads, ..options() }) == images, "{threads} threads");
        }

        #[cfg(target_os = "linux")]
        {
            let threads = || std::fs::read_dir("/proc/self/task").expect("lists").count();
            let before = threads();
            let three = open(MODEL, &Options { threads: 3, ..options() });
            // Two that divide a batch with the caller, and two of the session's that draw an image with it: not theirs.
            assert_eq!(threads() - before, 4);
            drop(three);
        }

        let mut session = Session::builder(&theirs)
            .and_then(|mut builder| builder.commit_from_file(fixture("trivial.onnx")))
            .expect("a session of theirs");
        let z = Tensor::from_array(([1usize, 1], vec![0.5f32])).expect("a tensor");
        assert_eq!(session.run(ort::inputs!["z" => z]).expect("runs").len(), 1);
    });
}

#[test]
fn one_that_is_not_shared_is_told_of() {
    in_a_process_of_its_own("one_that_is_not_shared_is_told_of", |library, _| {
        let theirs = made(library).build().expect("an environment");
        let error = Generator::open(fixture(MODEL), &options()).expect_err("there are two");
        assert_eq!(error.kind(), ErrorKind::Engine);
        assert!(
            error.to_string().contains("shared by runtime::share_environment (feature ort-environment)"),
            "{error}"
        );
        // It is not too late.
        share_environment(&theirs).expect("is there");
        Generator::open(fixture(MODEL), &options()).expect("opens");
    });
}

#[test]
fn one_whose_sessions_would_run_elsewhere_is_refused() {
    in_a_process_of_its_own("one_whose_sessions_would_run_elsewhere_is_refused", |library, _| {
        let theirs = made(library).with_execution_providers([CPU::default().build()]).build().expect("an environment");
        let error = share_environment(&theirs).expect_err("has providers");
        assert_eq!(error.kind(), ErrorKind::Argument);
        assert!(error.to_string().contains("1 execution providers for all sessions, allowed are none"), "{error}");
    });
}
